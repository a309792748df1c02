/* key_sample: whether a record belongs to a part of the traffic, by the hash of its key. The same
 * key always has the same answer, and a larger share holds every smaller one. Thread: any, no
 * state. */
#ifndef WORKER_KEY_SAMPLE_H
#define WORKER_KEY_SAMPLE_H

#include <stdbool.h>

#include "schemas/base/bytes.h"

/* `share` is 0 to 1. */
bool key_sample_has(struct bytes key, double share);

#endif
