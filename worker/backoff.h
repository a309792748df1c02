/* backoff: how long to wait before an endpoint is asked again. Thread: any, no state. */
#ifndef WORKER_BACKOFF_H
#define WORKER_BACKOFF_H

#include <stdint.h>

#include "worker/http_client.h"

enum { BACKOFF_ASKED_MAX_MS = 3600000 }; // a longer wait that an endpoint asks for is cut

/* Before try `failures` + 1: doubles from half a second to a minute; between half and all of it, as
 * `random` has it. */
double backoff_ms(int failures, uint64_t random);

/* What a duration of the rate-limit headers says: "20ms", "1s", "6m0s", "1h2m3.5s", or seconds as a
 * number. Negative when it is none. */
double backoff_duration_ms(const char *text);

/* How long the endpoint asks everybody to stay away, by Retry-After (seconds or a date),
 * retry-after-ms, and what is left of the limits of requests and tokens. 0: it does not ask. */
double backoff_asked_ms(const struct http_limits *limits, int64_t unix_ms);

#endif
