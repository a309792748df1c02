/* http: one file for the server; what it shows comes from metrics and from is_ready. */
#include "worker/http.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "schemas/base/buffer.h"
#include "worker/log.h"
#include "worker/metrics.h"

enum {
    BODY_BYTES_MAX = 4 << 20,
    IDLE_SECONDS_MAX = 5,
    CHECK_MS = 500, // how often connections are looked at for their age
    REASON_BYTES_MAX = 1000,
};

struct connection {
    bool is_open;
    int fd;
    double opened_ms;
};

struct http {
    struct http_options options;
    int port;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    int handles_count; // that still have to close
    struct connection connections[HTTP_CONNECTIONS_MAX];
};

struct page {
    unsigned code;
    const char *type;
    struct buffer body;
};

static void write_health(struct http *http, struct page *page)
{
    (void)http;
    buffer_append_text(&page->body, "ok\n");
}

/* Writes "ready" or why not. */
static bool write_readiness(struct http *http, struct buffer *out)
{
    struct buffer reason;
    buffer_init(&reason, REASON_BYTES_MAX);
    bool is_ready = http->options.is_ready(http->options.context, &reason);
    metrics_set(METRIC_READY, 0, is_ready);
    if (is_ready) {
        buffer_append_text(out, "ready");
    } else {
        buffer_append_text(out, "not ready: ");
        buffer_append_bytes(out, buffer_bytes(&reason));
    }
    buffer_close(&reason);
    return is_ready;
}

static void write_ready(struct http *http, struct page *page)
{
    page->code = write_readiness(http, &page->body) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    buffer_append_char(&page->body, '\n');
}

static void sample(struct http *http)
{
    if (http->options.sample != NULL) {
        http->options.sample(http->options.context);
    }
}

static void write_metrics(struct http *http, struct page *page)
{
    sample(http);
    struct buffer ignored;
    buffer_init(&ignored, 2 * REASON_BYTES_MAX);
    (void)write_readiness(http, &ignored); // for its metric
    buffer_close(&ignored);
    page->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(&page->body);
}

static void write_escaped(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        switch (text.data[i]) {
        case '<':
            buffer_append_text(out, "&lt;");
            break;
        case '&':
            buffer_append_text(out, "&amp;");
            break;
        default:
            buffer_append_char(out, text.data[i]);
        }
    }
}

static void write_status(struct http *http, struct page *page)
{
    static const struct {
        const char *name;
        enum metric metric;
        int label;
    } rows[] = {
        {"answers", METRIC_RECORDS, METRIC_OUTCOME_RESPONSE},
        {"error answers", METRIC_RECORDS, METRIC_OUTCOME_ERROR},
        {"expired", METRIC_RECORDS, METRIC_OUTCOME_EXPIRED},
        {"dead letters", METRIC_RECORDS, METRIC_OUTCOME_DEAD_LETTER},
        {"records inside", METRIC_RECORDS_INSIDE, 0},
        {"sequences running", METRIC_RUNNING, 0},
        {"sequences waiting", METRIC_WAITING, 0},
        {"partitions assigned", METRIC_PARTITIONS, METRIC_PARTITIONS_ASSIGNED},
        {"partitions paused", METRIC_PARTITIONS, METRIC_PARTITIONS_PAUSED},
    };
    struct buffer *out = &page->body;
    struct buffer readiness;
    sample(http);
    buffer_init(&readiness, 2 * REASON_BYTES_MAX);
    (void)write_readiness(http, &readiness);
    page->type = "text/html; charset=utf-8";
    buffer_append_text(out, "<!doctype html><html lang=en><meta charset=utf-8>"
                            "<meta http-equiv=refresh content=5><title>millrace</title>"
                            "<h1>millrace " MILLRACE_VERSION "</h1><p>");
    write_escaped(out, buffer_bytes(&readiness));
    buffer_append_text(out, "</p><table>");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buffer_printf(out, "<tr><th align=left>%s</th><td align=right>%.0f</td></tr>", rows[i].name,
                      metrics_value(rows[i].metric, rows[i].label));
    }
    buffer_append_text(out, "</table><p><a href=/metrics>metrics</a></p></html>\n");
    buffer_close(&readiness);
}

static const struct {
    const char *path;
    void (*write)(struct http *http, struct page *page);
} pages[] = {
    {"/metrics", write_metrics},
    {"/healthz", write_health},
    {"/readyz", write_ready},
    {"/", write_status},
};

/* The index of the code among METRIC_HTTP's words. */
static void count_request(unsigned code)
{
    static const unsigned codes[] = {MHD_HTTP_OK, MHD_HTTP_NOT_FOUND, MHD_HTTP_METHOD_NOT_ALLOWED,
                                     MHD_HTTP_SERVICE_UNAVAILABLE};
    for (int i = 0; i < (int)(sizeof codes / sizeof codes[0]); i++) {
        if (codes[i] == code) {
            metrics_add(METRIC_HTTP, i, 1);
        }
    }
}

static void fill_page(struct http *http, const char *method, const char *path, struct page *page)
{
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        page->code = MHD_HTTP_METHOD_NOT_ALLOWED;
        buffer_append_text(&page->body, "only GET and HEAD are allowed\n");
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].path, path) == 0) {
            pages[i].write(http, page);
            return;
        }
    }
    page->code = MHD_HTTP_NOT_FOUND;
    buffer_append_text(&page->body, "there are /metrics, /healthz, /readyz and /\n");
}

static enum MHD_Result send_page(struct MHD_Connection *connection, struct page *page)
{
    if (buffer_failed(&page->body)) {
        return MHD_NO;
    }
    struct bytes body = buffer_bytes(&page->body);
    // MHD only reads what it copies; its parameter lacks the const.
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.size, page->body.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    enum MHD_Result result = MHD_NO;
    if (MHD_add_response_header(response, "Content-Type", page->type) == MHD_YES &&
        MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
        MHD_add_response_header(response, "Connection", "close") == MHD_YES &&
        (page->code != MHD_HTTP_METHOD_NOT_ALLOWED ||
         MHD_add_response_header(response, "Allow", "GET, HEAD") == MHD_YES)) {
        result = MHD_queue_response(connection, page->code, response);
    }
    MHD_destroy_response(response);
    return result;
}

/* MHD's access handler: called once after the headers, so that nothing of a body is ever read. */
// NOLINTNEXTLINE(readability-function-size): the parameters are MHD's.
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    (void)upload_size;
    (void)state;
    struct page page = {.code = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
    buffer_init(&page.body, BODY_BYTES_MAX);
    fill_page(context, method, path, &page);
    count_request(page.code);
    enum MHD_Result result = send_page(connection, &page);
    buffer_close(&page.body);
    return result;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*slot != NULL) {
            ((struct connection *)*slot)->is_open = false;
        }
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (size_t i = 0; info != NULL && i < HTTP_CONNECTIONS_MAX; i++) {
        if (!http->connections[i].is_open) {
            http->connections[i] = (struct connection){
                .is_open = true, .fd = info->connect_fd, .opened_ms = clock_monotonic_ms()};
            *slot = &http->connections[i];
            return;
        }
    }
}

/* MHD knows only how long a connection was idle; a client that sends a byte now and then is not. */
static void end_old_connections(const struct http *http)
{
    double now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        const struct connection *connection = &http->connections[i];
        if (connection->is_open && now_ms - connection->opened_ms > HTTP_CONNECTION_MS_MAX) {
            (void)shutdown(connection->fd, SHUT_RDWR);
        }
    }
}

static int open_connections(const struct http *http)
{
    int count = 0;
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        count += http->connections[i].is_open;
    }
    return count;
}

static void on_timer(uv_timer_t *timer);

/* Lets MHD do what is to be done, and asks when it wants to be called again. */
static void run(struct http *http)
{
    int before = open_connections(http);
    end_old_connections(http);
    (void)MHD_run(http->daemon);
    // Once more after the last has gone: only then MHD listens again if it was at its limit.
    bool is_busy = before + open_connections(http) > 0;
    MHD_UNSIGNED_LONG_LONG wait_ms = CHECK_MS;
    bool has_timeout = MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES;
    if (is_busy || has_timeout) {
        (void)uv_timer_start(&http->timer, on_timer, wait_ms < CHECK_MS ? wait_ms : CHECK_MS, 0);
    } else {
        (void)uv_timer_stop(&http->timer);
    }
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* A listening socket, or -1 with errno. */
static int listen_at(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(fd, HTTP_CONNECTIONS_MAX) != 0) {
        int fault = errno;
        (void)close(fd);
        errno = fault;
        return -1;
    }
    return fd;
}

static bool listen_on(const char *host, int port, int *fd_out, struct error *error)
{
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int fault = getaddrinfo(host, service, &hints, &addresses);
    if (fault != 0) {
        return error_set(error, ERROR_CONFIG, NULL, "http.host", "http.host %s: %s", host,
                         gai_strerror(fault));
    }
    int fd = -1;
    for (const struct addrinfo *at = addresses; at != NULL && fd < 0; at = at->ai_next) {
        fd = listen_at(at);
    }
    fault = errno;
    freeaddrinfo(addresses);
    *fd_out = fd;
    if (fd < 0) {
        (void)error_set(error, ERROR_CONFIG, NULL, "http.port", "http.port %d on %s: %s", port,
                        host, strerror(fault));
    }
    errno = fault; // for the caller, who looks for EADDRINUSE
    return fd >= 0;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* As configured, or on any port where the default one is taken. */
static bool listen_somewhere(struct http *http, int *fd_out, struct error *error)
{
    const struct http_options *options = &http->options;
    bool ok = listen_on(options->host, options->port, fd_out, error);
    if (!ok && errno == EADDRINUSE && options->port_is_default) {
        ok = listen_on(options->host, 0, fd_out, error);
        if (ok) {
            log_event(LOG_WARN, "http_port_taken", "port=%d instead=%d", options->port,
                      port_of(*fd_out));
        }
    }
    http->port = ok ? port_of(*fd_out) : 0;
    return ok;
}

/* Takes the socket over, also when it fails. */
static bool start_daemon(struct http *http, int fd, struct error *error)
{
    const struct MHD_OptionItem items[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_CONNECTION_BYTES_MAX, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS_MAX, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    http->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http,
                                    MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
                                    MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (http->daemon == NULL) {
        (void)close(fd);
        return error_set(error, ERROR_CONFIG, NULL, "http.port", "the HTTP server cannot start: %s",
                         strerror(errno));
    }
    return true;
}

static void release_handle(uv_handle_t *handle)
{
    struct http *http = handle->data;
    http->handles_count--;
    if (http->handles_count == 0) {
        free(http);
    }
}

static bool attach(struct http *http, uv_loop_t *loop, struct error *error)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    (void)uv_timer_init(loop, &http->timer); // cannot fail
    http->timer.data = http;
    http->handles_count = 1;
    int fault = info == NULL ? UV_EINVAL : uv_poll_init(loop, &http->poll, info->epoll_fd);
    if (fault == 0) {
        http->poll.data = http;
        http->handles_count = 2;
        fault = uv_poll_start(&http->poll, UV_READABLE, on_readable);
    }
    if (fault != 0) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "the HTTP server cannot be watched: %s",
                         uv_strerror(fault));
    }
    uv_unref((uv_handle_t *)&http->timer);
    uv_unref((uv_handle_t *)&http->poll);
    return true;
}

bool http_open(uv_loop_t *loop, const struct http_options *options, struct http **http_out,
               struct error *error)
{
    *http_out = NULL;
    if (options->port == 0) {
        return true;
    }
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "no memory for the HTTP server");
    }
    http->options = *options;
    metrics_set(METRIC_START, 0, (double)clock_unix_ms() / 1000);
    int fd;
    if (!listen_somewhere(http, &fd, error) || !start_daemon(http, fd, error) ||
        !attach(http, loop, error)) {
        http_close(http);
        return false;
    }
    http->options.host = NULL; // borrowed only until here
    *http_out = http;
    return true;
}

void http_close(struct http *http)
{
    if (http == NULL) {
        return;
    }
    bool has_handles = http->handles_count > 0;
    if (http->handles_count > 1) {
        uv_close((uv_handle_t *)&http->poll, release_handle);
    }
    if (has_handles) {
        uv_close((uv_handle_t *)&http->timer, release_handle);
    }
    if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon); // after its descriptor left the loop
    }
    if (!has_handles) {
        free(http);
    }
}

int http_port(const struct http *http)
{
    return http->port;
}
