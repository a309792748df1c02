/* http_client: curl says which sockets and which time it waits for, libuv waits. */
#include "worker/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"

enum {
    AUTHORIZATION_BYTES_MAX = 8192,
};

/* A socket that curl watches. */
struct watch {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t socket;
};

struct http_client {
    uv_loop_t *loop;
    struct http_client_options options; // texts are not kept
    char *ca_file, *proxy;
    CURLM *multi;
    struct curl_slist *headers;
    uv_timer_t timer;
    int handles_open;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    client->handles_open--;
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    watch->client->handles_open--;
    free(watch);
}

/* Errors before a connection is there. */
static bool is_unreached(CURLcode code)
{
    static const CURLcode codes[] = {
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY,    CURLE_COULDNT_CONNECT,
        CURLE_SSL_CONNECT_ERROR,    CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

static enum http_result result_of(CURLcode code, const struct http_exchange *exchange)
{
    if (code == CURLE_OK) {
        return HTTP_DONE;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        curl_off_t sent_us = 0; // 0 until there is a connection
        (void)curl_easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
        return sent_us == 0 ? HTTP_UNREACHED : HTTP_TIMED_OUT;
    }
    if (code == CURLE_WRITE_ERROR && buffer_failed(&exchange->answer)) {
        return HTTP_TOO_LARGE;
    }
    return is_unreached(code) ? HTTP_UNREACHED : HTTP_BROKEN;
}

static void finish(struct http_exchange *exchange, CURLcode code)
{
    long status = 0;
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->status = (int)status;
    exchange->done_ms = clock_monotonic_ms();
    exchange->result = result_of(code, exchange);
    if (exchange->result == HTTP_TOO_LARGE) {
        (void)snprintf(exchange->reason, sizeof exchange->reason,
                       "the answer is larger than %zu bytes",
                       exchange->client->options.body_bytes_max);
    } else if (exchange->result != HTTP_DONE) {
        (void)snprintf(exchange->reason, sizeof exchange->reason, "%s", curl_easy_strerror(code));
    }
    http_client_cancel(exchange);
    exchange->on_done(exchange->context);
}

static void take_finished(struct http_client *client)
{
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode code = message->data.result; // the message does not outlive what follows
        struct http_exchange *exchange = NULL;
        CHECK(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange) == CURLE_OK);
        finish(exchange, code);
    }
}

static void act(struct http_client *client, curl_socket_t socket, int flags)
{
    int running = 0;
    CHECK(curl_multi_socket_action(client->multi, socket, flags, &running) == CURLM_OK);
    take_finished(client);
}

static void on_timer(uv_timer_t *handle)
{
    act(handle->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    const struct watch *watch = handle->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    act(watch->client, watch->socket, flags);
}

/* Curl wants to be called after so long, 0: soon, -1: not at all. */
static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct http_client *client = context;
    if (timeout_ms < 0) {
        CHECK(uv_timer_stop(&client->timer) == 0);
    } else {
        uv_update_time(client->loop); // counted from now, not from the turn's begin
        CHECK(uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0) == 0);
    }
    return 0;
}

static struct watch *open_watch(struct http_client *client, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return NULL;
    }
    watch->client = client;
    watch->socket = socket;
    watch->poll.data = watch;
    if (uv_poll_init_socket(client->loop, &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    client->handles_open++;
    return watch;
}

static int set_socket(CURL *easy, curl_socket_t socket, int what, void *context,
                      void *socket_context)
{
    (void)easy;
    struct http_client *client = context;
    struct watch *watch = socket_context;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            (void)uv_poll_stop(&watch->poll);
            uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
            (void)curl_multi_assign(client->multi, socket, NULL);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = open_watch(client, socket);
        if (watch == NULL) {
            return -1; // curl fails the transfers
        }
        (void)curl_multi_assign(client->multi, socket, watch);
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    return uv_poll_start(&watch->poll, events, on_ready) == 0 ? 0 : -1;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct http_exchange *exchange = context;
    buffer_append(&exchange->answer, data, size * count);
    if (buffer_failed(&exchange->answer)) {
        return 0;
    }
    if (exchange->arrivals_count < HTTP_ARRIVALS_MAX) {
        exchange->arrivals[exchange->arrivals_count++] =
            (struct http_arrival){exchange->answer.size, clock_monotonic_ms()};
    }
    return size * count;
}

static bool is_named(const char *line, size_t size, const char *name)
{
    size_t name_size = strlen(name);
    return size > name_size && line[name_size] == ':' && curl_strnequal(line, name, name_size);
}

static void copy_value(const char *line, size_t size, const char *name, char *value)
{
    const char *at = line + strlen(name) + 1;
    const char *end = line + size;
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (end > at && (unsigned char)end[-1] <= ' ') {
        end--;
    }
    if ((size_t)(end - at) < HTTP_HEADER_BYTES_MAX) {
        memcpy(value, at, (size_t)(end - at));
        value[end - at] = '\0';
    }
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct http_limits *limits = &((struct http_exchange *)context)->limits;
    const struct {
        const char *name;
        char *value;
    } wanted[] = {
        {"retry-after", limits->retry_after},
        {"retry-after-ms", limits->retry_after_ms},
        {"x-ratelimit-remaining-requests", limits->remaining_requests},
        {"x-ratelimit-remaining-tokens", limits->remaining_tokens},
        {"x-ratelimit-reset-requests", limits->reset_requests},
        {"x-ratelimit-reset-tokens", limits->reset_tokens},
    };
    size *= count;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (is_named(line, size, wanted[i].name)) {
            copy_value(line, size, wanted[i].name, wanted[i].value);
        }
    }
    return size;
}

static void set_transport(const struct http_client *client, CURL *easy)
{
    const struct http_client_options *options = &client->options;
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, client->proxy); // "" also turns off the environment
    (void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    if (client->ca_file[0] != '\0') {
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
    }
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
}

static void set_request(const struct http_client *client, struct http_exchange *exchange)
{
    CURL *easy = exchange->easy;
    (void)curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers);
    (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.size);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body.data);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
}

bool http_client_start(struct http_client *client, struct http_exchange *exchange)
{
    exchange->client = client;
    exchange->arrivals_count = 0;
    exchange->status = 0;
    exchange->reason[0] = '\0';
    exchange->limits = (struct http_limits){.retry_after = ""};
    buffer_init(&exchange->answer, client->options.body_bytes_max);
    exchange->easy = curl_easy_init();
    if (exchange->easy == NULL) {
        return false;
    }
    set_transport(client, exchange->easy);
    set_request(client, exchange);
    if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK) {
        curl_easy_cleanup(exchange->easy);
        exchange->easy = NULL;
        return false;
    }
    return true;
}

void http_client_cancel(struct http_exchange *exchange)
{
    CHECK(exchange->easy != NULL);
    CHECK(curl_multi_remove_handle(exchange->client->multi, exchange->easy) == CURLM_OK);
    curl_easy_cleanup(exchange->easy);
    exchange->easy = NULL;
}

void http_exchange_close(struct http_exchange *exchange)
{
    buffer_close(&exchange->answer);
}

/* NULL when out of memory. A later failure to append leaves out a header, so all are looked at. */
static struct curl_slist *make_headers(const char *key)
{
    char authorization[AUTHORIZATION_BYTES_MAX + sizeof "Authorization: Bearer "];
    (void)snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", key);
    const char *lines[] = {"Content-Type: application/json",
                           "User-Agent: millrace/" MILLRACE_VERSION,
                           "Expect:", // no waiting for 100 Continue
                           authorization};
    struct curl_slist *headers = NULL;
    size_t count = sizeof lines / sizeof lines[0] - (key[0] == '\0' ? 1 : 0);
    for (size_t i = 0; i < count; i++) {
        struct curl_slist *longer = curl_slist_append(headers, lines[i]);
        if (longer == NULL) {
            curl_slist_free_all(headers);
            return NULL;
        }
        headers = longer;
    }
    return headers;
}

static bool open_multi(struct http_client *client)
{
    client->multi = curl_multi_init();
    if (client->multi == NULL) {
        return false;
    }
    CURLM *multi = client->multi;
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
    (void)curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)client->options.connections_max);
    return true;
}

bool http_client_open(uv_loop_t *loop, const struct http_client_options *options,
                      struct http_client **client_out, struct error *error)
{
    if (strlen(options->key) > AUTHORIZATION_BYTES_MAX ||
        strpbrk(options->key, "\r\n") != NULL) { // it would end the header
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "the key must be one line of at most %d bytes", AUTHORIZATION_BYTES_MAX);
    }
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); // counted
    struct http_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        curl_global_cleanup();
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for an HTTP client");
    }
    client->loop = loop;
    client->options = *options;
    client->ca_file = strdup(options->ca_file);
    client->proxy = strdup(options->proxy);
    client->headers = make_headers(options->key);
    client->options.key = client->options.ca_file = client->options.proxy = NULL;
    CHECK(uv_timer_init(loop, &client->timer) == 0);
    client->timer.data = client;
    client->handles_open = 1;
    if (client->ca_file == NULL || client->proxy == NULL || client->headers == NULL ||
        !open_multi(client)) {
        http_client_close(client);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for an HTTP client");
    }
    *client_out = client;
    return true;
}

void http_client_close(struct http_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->multi != NULL) {
        CHECK(curl_multi_cleanup(client->multi) == CURLM_OK); // closes idle connections
    }
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    while (client->handles_open > 0) {
        (void)uv_run(client->loop, UV_RUN_ONCE);
    }
    curl_slist_free_all(client->headers);
    free(client->ca_file);
    free(client->proxy);
    free(client);
    curl_global_cleanup();
}
