/* http: what it answers, and what it does with clients that misbehave. A client runs in a thread of
 * its own, with a plain socket, while the loop turns here. */
#include "worker/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"
#include "worker/metrics.h"

static uv_loop_t loop;
static struct http *http;
static bool is_ready;

static bool tell_ready(void *context, struct buffer *reason)
{
    assert_ptr_equal(context, &is_ready);
    buffer_append_text(reason, is_ready ? "" : "models <are> loading");
    return is_ready;
}

static void sample(void *context)
{
    assert_ptr_equal(context, &is_ready);
    metrics_set(METRIC_RUNNING, 0, metrics_value(METRIC_RUNNING, 0) + 1);
}

/* A port that was free a moment ago. */
static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static struct http_options options_for(int port)
{
    return (struct http_options){.host = "127.0.0.1",
                                 .port = port,
                                 .is_ready = tell_ready,
                                 .sample = sample,
                                 .context = &is_ready};
}

static int setup(void **state)
{
    (void)state;
    is_ready = true;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct http_options options = options_for(free_port());
    struct error error = {0};
    if (!http_open(&loop, &options, &http, &error)) {
        fail_msg("%s", error.message);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_close(http);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

struct client {
    const char *request;
    int port;
    int pause_ms; // before each byte; 0 = all at once
    uv_async_t done;
    char response[1 << 16];
    double took_ms;
};

static int dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 30};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void send_slowly(int fd, const char *text, int pause_ms)
{
    for (; *text != '\0'; text++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000L}, NULL);
        if (send(fd, text, 1, MSG_NOSIGNAL) != 1) {
            return;
        }
    }
}

static void *run_client(void *context)
{
    struct client *client = context;
    double started_ms = clock_monotonic_ms();
    int fd = dial(client->port);
    size_t size = 0;
    if (fd >= 0) {
        if (client->pause_ms > 0) {
            send_slowly(fd, client->request, client->pause_ms);
        } else {
            (void)send(fd, client->request, strlen(client->request), MSG_NOSIGNAL);
        }
        ssize_t got;
        while (size < sizeof client->response - 1 &&
               (got = recv(fd, client->response + size, sizeof client->response - 1 - size, 0)) >
                   0) {
            size += (size_t)got;
        }
        close(fd);
    }
    client->response[size] = '\0';
    client->took_ms = clock_monotonic_ms() - started_ms;
    (void)uv_async_send(&client->done);
    return NULL;
}

static void on_done(uv_async_t *done)
{
    uv_close((uv_handle_t *)done, NULL);
}

static struct client client;

/* The whole answer to the bytes of a request. */
static const char *exchange(const char *request, int pause_ms)
{
    client.request = request;
    client.pause_ms = pause_ms;
    client.port = http_port(http);
    assert_int_equal(uv_async_init(&loop, &client.done, on_done), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_client, &client), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT); // until the client's handle is closed
    assert_int_equal(pthread_join(thread, NULL), 0);
    return client.response;
}

static const char *get(const char *path)
{
    static char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return exchange(request, 0);
}

static void assert_answer(const char *answer, const char *status, const char *part)
{
    if (strncmp(answer, status, strlen(status)) != 0 || strstr(answer, part) == NULL) {
        fail_msg("not %s with %s but %s", status, part, answer);
    }
}

static void test_tells_that_it_lives(void **state)
{
    (void)state;
    assert_answer(get("/healthz"), "HTTP/1.1 200", "\r\n\r\nok\n");
    assert_non_null(strstr(client.response, "Connection: close"));
}

static void test_tells_whether_it_is_ready_and_why_not(void **state)
{
    (void)state;
    assert_answer(get("/readyz"), "HTTP/1.1 200", "\r\n\r\nready\n");
    is_ready = false;
    assert_answer(get("/readyz"), "HTTP/1.1 503", "not ready: models <are> loading\n");
    assert_answer(get("/metrics"), "HTTP/1.1 200", "\nmillrace_ready 0\n");
}

static void test_shows_metrics(void **state)
{
    (void)state;
    metrics_add(METRIC_RECORDS, METRIC_OUTCOME_RESPONSE, 3);
    assert_answer(get("/metrics"), "HTTP/1.1 200",
                  "\nmillrace_records_total{outcome=\"response\"} 3\n");
    assert_non_null(strstr(client.response, "Content-Type: text/plain; version=0.0.4"));
}

static void test_samples_gauges_before_it_shows_them(void **state)
{
    (void)state;
    metrics_set(METRIC_RUNNING, 0, 0);
    assert_answer(get("/metrics"), "HTTP/1.1 200", "\nmillrace_num_requests_running 1\n");
    assert_answer(get("/metrics"), "HTTP/1.1 200", "\nmillrace_num_requests_running 2\n");
    assert_answer(get("/"), "HTTP/1.1 200", "sequences running</th><td align=right>3<");
    assert_answer(get("/healthz"), "HTTP/1.1 200", "ok");
    assert_true(metrics_value(METRIC_RUNNING, 0) == 3);
}

static void test_shows_a_status_page_with_the_reason_escaped(void **state)
{
    (void)state;
    is_ready = false;
    assert_answer(get("/"), "HTTP/1.1 200", "not ready: models &lt;are> loading");
    assert_non_null(strstr(client.response, "Content-Type: text/html"));
    assert_non_null(strstr(client.response, "partitions paused"));
}

static void test_refuses_other_paths_and_methods(void **state)
{
    (void)state;
    assert_answer(get("/etc/passwd"), "HTTP/1.1 404", "there are /metrics");
    assert_answer(get("/metrics/../healthz"), "HTTP/1.1 404", "");
    assert_answer(get("/healthz?x=1"), "HTTP/1.1 200", "ok");
    assert_answer(exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 0),
                  "HTTP/1.1 405", "Allow: GET, HEAD");
    assert_answer(exchange("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 0), "HTTP/1.1 200",
                  "Content-Length: 3");
    assert_null(strstr(client.response, "ok\n"));
}

static void test_does_not_read_a_body(void **state)
{
    (void)state;
    double started_ms = clock_monotonic_ms();
    assert_answer(
        exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", 0),
        "HTTP/1.1 200", "ok\n");
    assert_true(clock_monotonic_ms() - started_ms < 3000);
}

static void test_survives_what_is_not_http(void **state)
{
    (void)state;
    static char large[2 * HTTP_CONNECTION_BYTES_MAX];
    memset(large, 'A', sizeof large - 1);
    (void)exchange("\x16\x03\x01\x02\r\n\r\n", 0);
    (void)exchange(large, 0);
    memcpy(large, "GET /", 5);
    assert_null(strstr(exchange(large, 0), "HTTP/1.1 200"));
    assert_answer(get("/healthz"), "HTTP/1.1 200", "ok");
}

static void test_ends_a_client_that_sends_slowly(void **state)
{
    (void)state;
    static char request[1024] = "GET /healthz HTTP/1.1\r\nHost: ";
    memset(request + strlen(request), 'x', 500);
    assert_string_equal(exchange(request, 200), "");
    assert_in_range((long)client.took_ms, HTTP_CONNECTION_MS_MAX, HTTP_CONNECTION_MS_MAX + 5000);
}

static void test_bounds_the_connections(void **state)
{
    (void)state;
    int idle[HTTP_CONNECTIONS_MAX];
    for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        idle[i] = dial(http_port(http));
        assert_true(idle[i] >= 0);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    // The next one waits until the idle ones have had their time, and is then served.
    assert_answer(get("/healthz"), "HTTP/1.1 200", "ok");
    assert_true(client.took_ms > 1000);
    for (int i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        close(idle[i]);
    }
}

static void test_a_taken_port_is_replaced_only_when_it_is_the_default(void **state)
{
    (void)state;
    struct http_options options = options_for(http_port(http));
    struct http *second = NULL;
    struct error error = {0};
    assert_false(http_open(&loop, &options, &second, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "Address already in use"));
    assert_null(second);
    options.port_is_default = true;
    assert_true(http_open(&loop, &options, &second, &error));
    assert_int_not_equal(http_port(second), http_port(http));
    assert_true(http_port(second) > 0);
    http_close(second);
}

static void test_no_port_is_no_server_and_a_wrong_host_is_an_error(void **state)
{
    (void)state;
    struct http_options options = options_for(0);
    struct http *none = http;
    struct error error = {0};
    assert_true(http_open(&loop, &options, &none, &error));
    assert_null(none);
    http_close(NULL);
    options = options_for(1);
    options.host = "256.1.1.1.invalid";
    assert_false(http_open(&loop, &options, &none, &error));
    assert_non_null(strstr(error.message, "http.host 256.1.1.1.invalid"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tells_that_it_lives),
        TEST(test_tells_whether_it_is_ready_and_why_not),
        TEST(test_shows_metrics),
        TEST(test_samples_gauges_before_it_shows_them),
        TEST(test_shows_a_status_page_with_the_reason_escaped),
        TEST(test_refuses_other_paths_and_methods),
        TEST(test_does_not_read_a_body),
        TEST(test_survives_what_is_not_http),
        TEST(test_ends_a_client_that_sends_slowly),
        TEST(test_bounds_the_connections),
        TEST(test_a_taken_port_is_replaced_only_when_it_is_the_default),
        TEST(test_no_port_is_no_server_and_a_wrong_host_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
