/* http: metrics, health and a status page, for people and for probes.
 *
 *     /metrics  Prometheus text          /healthz  200 while the loop turns
 *     /readyz   200, or 503 with why     /         a status page
 *
 * The server is libmicrohttpd without threads, driven by the loop through its epoll descriptor.
 * What comes in is untrusted: connections, and the bytes and time of each, are bounded; each has
 * one request, and nothing but GET and HEAD is answered. Thread: loop.
 */
#ifndef WORKER_HTTP_H
#define WORKER_HTTP_H

#include <stdbool.h>
#include <uv.h>

#include "schemas/base/error.h"

struct buffer;
struct http;

enum {
    HTTP_CONNECTIONS_MAX = 32,
    HTTP_CONNECTION_BYTES_MAX = 32 * 1024, // request line and headers
    HTTP_CONNECTION_MS_MAX = 10000,        // from accept to the last byte
};

struct http_options {
    const char *host;     // name or address
    int port;             // 0 = no server
    bool port_is_default; // then a taken port gives another one and a warning
    /* Whether this process takes work; otherwise writes why into `reason`. */
    bool (*is_ready)(void *context, struct buffer *reason);
    /* Brings gauges up to date before they are shown; may be NULL. */
    void (*sample)(void *context);
    void *context;
};

/* Copies what it needs. *http_out is NULL when the port is 0. Does not keep the loop alive. */
MUST_CHECK bool http_open(uv_loop_t *loop, const struct http_options *options,
                          struct http **http_out, struct error *error);
/* Ends all connections. Memory goes when the loop has run the handles' close callbacks. Accepts
 * NULL. */
void http_close(struct http *http);

int http_port(const struct http *http); // that it listens on

#endif
