/* upstream: an HTTP server that answers each request as its text says, byte for byte, and
 * misbehaves as endpoints do. One thread for each connection.
 *
 * The request's body has "do NAME" in its text, where NAME is what is looked up in a table of
 * replies of the test; "once NAME" does so for the first request of the process with this body and
 * replies as "ok" to the next.
 */
#ifndef TESTS_SUPPORT_UPSTREAM_H
#define TESTS_SUPPORT_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>

enum upstream_end {
    UPSTREAM_KEEP,  // the connection stays for the next request
    UPSTREAM_CLOSE, // it ends after what is sent
    UPSTREAM_HANG,  // nothing more comes
};

struct upstream_reply {
    const char *name;
    const char *head; // status line and headers, each with its end, but for Content-Length
    const char *body; // NULL: `head` is all that is sent
    enum upstream_end end;
    int pause_ms; // between two halves of the body
};

/* Serves on a free port, which is returned; `replies` end with a NULL name. */
int upstream_start(const struct upstream_reply *replies);
void upstream_stop(void);

int upstream_requests(void);     // so far
int upstream_connections(void);  // likewise
int upstream_most_at_once(void); // requests
/* The headers and body of the latest request. */
void upstream_latest(char *text, size_t size);
/* How long each reply takes at least. */
void upstream_set_delay(int delay_ms);

#endif
