/* relay: passes TCP connections on 127.0.0.1:port on to another port of this machine. librdkafka's
 * mock broker chooses its own port; through this, clients find it under a known one. Thread: loop.
 */
#ifndef WORKER_RELAY_H
#define WORKER_RELAY_H

#include <uv.h>

#include "schemas/base/error.h"

struct relay;

MUST_CHECK bool relay_open(uv_loop_t *loop, int port, int target_port, struct relay **relay_out,
                           struct error *error);
/* Ends all connections; the loop must run on until the struct has freed itself. Accepts NULL. */
void relay_close(struct relay *relay);

#endif
