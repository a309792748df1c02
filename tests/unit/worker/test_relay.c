/* relay: bytes pass both ways, and an end on one side is one on the other. */
#include "tests/support/cmocka.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "worker/relay.h"

enum { ECHO_BYTES = 300000 };

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A socket that listens on a free port. */
static int listen_anywhere(int *port_out)
{
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    *port_out = ntohs(address.sin_port);
    return listener;
}

/* Sends back what one connection brings, until it ends. */
static void *echo_once(void *context)
{
    int listener = *(int *)context;
    int connection = accept(listener, NULL, NULL);
    char chunk[4096];
    ssize_t size;
    while ((size = read(connection, chunk, sizeof chunk)) > 0) {
        CHECK(write(connection, chunk, (size_t)size) == size);
    }
    CHECK(close(connection) == 0);
    return NULL;
}

struct running {
    uv_loop_t loop;
    uv_async_t stop;
    struct relay *relay;
    pthread_t thread;
};

static void on_stop(uv_async_t *handle)
{
    struct running *running = handle->data;
    relay_close(running->relay);
    uv_close((uv_handle_t *)handle, NULL);
}

static void *run_loop(void *context)
{
    struct running *running = context;
    (void)uv_run(&running->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void *write_all(void *context)
{
    int connection = *(int *)context;
    char chunk[1000];
    memset(chunk, 'x', sizeof chunk);
    for (int sent = 0; sent < ECHO_BYTES; sent += (int)sizeof chunk) {
        CHECK(write(connection, chunk, sizeof chunk) == (ssize_t)sizeof chunk);
    }
    return NULL;
}

static void test_passes_bytes_both_ways(void **state)
{
    (void)state;
    int target_port;
    int port;
    int target = listen_anywhere(&target_port);
    CHECK(close(listen_anywhere(&port)) == 0); // free a moment ago
    struct running running = {0};
    struct error error = {0};
    assert_int_equal(uv_loop_init(&running.loop), 0);
    assert_true(relay_open(&running.loop, port, target_port, &running.relay, &error));
    assert_int_equal(uv_async_init(&running.loop, &running.stop, on_stop), 0);
    running.stop.data = &running;
    pthread_t echo;
    pthread_t writer;
    CHECK(pthread_create(&running.thread, NULL, run_loop, &running) == 0);
    CHECK(pthread_create(&echo, NULL, echo_once, &target) == 0);

    int connection = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = address_of(port);
    assert_int_equal(connect(connection, (struct sockaddr *)&address, sizeof address), 0);
    CHECK(pthread_create(&writer, NULL, write_all, &connection) == 0);
    char chunk[4096];
    int received = 0;
    while (received < ECHO_BYTES) {
        ssize_t size = read(connection, chunk, sizeof chunk);
        assert_true(size > 0);
        received += (int)size;
    }
    CHECK(pthread_join(writer, NULL) == 0);
    assert_int_equal(received, ECHO_BYTES);
    assert_int_equal(close(connection), 0);
    CHECK(pthread_join(echo, NULL) == 0);
    assert_int_equal(uv_async_send(&running.stop), 0);
    CHECK(pthread_join(running.thread, NULL) == 0);
    assert_int_equal(uv_loop_close(&running.loop), 0);
    assert_int_equal(close(target), 0);
}

static void test_a_taken_port_is_an_error(void **state)
{
    (void)state;
    int port;
    int taken = listen_anywhere(&port);
    uv_loop_t loop;
    struct relay *relay = NULL;
    struct error error = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_false(relay_open(&loop, port, 1, &relay, &error));
    assert_non_null(strstr(error.message, "cannot listen"));
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(close(taken), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_bytes_both_ways),
        cmocka_unit_test(test_a_taken_port_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
