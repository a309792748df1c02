/* http_client: HTTP requests to one server on the loop, hundreds at once.
 *
 * libcurl's multi interface, driven by uv_poll and one timer. Connections are reused, HTTP/2 is
 * used over TLS where the server has it. Redirects are never followed, other protocols than http
 * and https never spoken, certificates always verified, and no proxy is used but the one of the
 * options. Thread: loop, all of it.
 */
#ifndef WORKER_HTTP_CLIENT_H
#define WORKER_HTTP_CLIENT_H

#include <curl/curl.h>
#include <uv.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum { HTTP_ARRIVALS_MAX = 64, HTTP_HEADER_BYTES_MAX = 64 };

struct http_client;

struct http_client_options {
    int connections_max; // kept open
    const char *ca_file; // "" = the system's
    const char *proxy;   // "" = none
    const char *key;     // sent as bearer; "" = none. Copied
    int connect_timeout_ms;
    int timeout_ms;        // of a whole exchange
    size_t body_bytes_max; // of an answer
};

/* What the answer's headers say about when to come back; "" where they say nothing. */
struct http_limits {
    char retry_after[HTTP_HEADER_BYTES_MAX];
    char retry_after_ms[HTTP_HEADER_BYTES_MAX];
    char remaining_requests[HTTP_HEADER_BYTES_MAX];
    char remaining_tokens[HTTP_HEADER_BYTES_MAX];
    char reset_requests[HTTP_HEADER_BYTES_MAX];
    char reset_tokens[HTTP_HEADER_BYTES_MAX];
};

/* When which part of an answer had come: `size` bytes at `at_ms` (monotonic). Of a long answer only
 * the first parts. */
struct http_arrival {
    size_t size;
    double at_ms;
};

enum http_result {
    HTTP_DONE,      // a status and a whole body
    HTTP_UNREACHED, // no connection: nothing was asked
    HTTP_TIMED_OUT,
    HTTP_BROKEN,    // the connection ended, or what came is not HTTP
    HTTP_TOO_LARGE, // the body is over its limit
};

/* One request and its answer. The caller's until start, and again from on_done on. */
struct http_exchange {
    const char *url;   // borrowed until on_done
    struct bytes body; // likewise
    void (*on_done)(void *context);
    void *context;

    enum http_result result;
    int status; // 0: none came
    struct buffer answer;
    struct http_limits limits;
    struct http_arrival arrivals[HTTP_ARRIVALS_MAX];
    int arrivals_count;
    double done_ms;   // monotonic
    char reason[160]; // why not HTTP_DONE; has no secret

    CURL *easy; // the client's own
    struct http_client *client;
};

MUST_CHECK bool http_client_open(uv_loop_t *loop, const struct http_client_options *options,
                                 struct http_client **client_out, struct error *error);
/* No exchange may be under way. Runs the loop until its handles are closed. Accepts NULL. */
void http_client_close(struct http_client *client);

/* Posts JSON. on_done comes later, never from inside. `answer` is opened here; the caller closes
 * it with http_exchange_close after on_done or cancel. False when out of memory. */
MUST_CHECK bool http_client_start(struct http_client *client, struct http_exchange *exchange);
/* Ends an exchange that is under way, without on_done. */
void http_client_cancel(struct http_exchange *exchange);
void http_exchange_close(struct http_exchange *exchange);

#endif
