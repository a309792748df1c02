/* observe: turns what happened to a job, and what an engine says of itself, into metrics. */
#ifndef WORKER_OBSERVE_H
#define WORKER_OBSERVE_H

#include <stddef.h>

struct engine_stats;
struct job;

/* Once for each job that ended: after its result was committed, or when it was dropped. Thread: the
 * job's owner. */
void observe_outcome(const struct job *job);
/* The engine's counters so far. Thread: loop. */
void observe_engine(const struct engine_stats *stats);

#endif
