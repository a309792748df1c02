/* remote_queue: calls that wait for an endpoint, in an order that its prefix cache likes.
 *
 * By priority, then by arrival; but after a call go those with the longest common beginning of
 * their prompts, while they share more of it than the first in order does. As in the local engine's
 * look-ahead, a follower passes nobody that it is more than a minute behind, no deadline and no
 * better priority. Thread: its owner's.
 */
#ifndef WORKER_REMOTE_QUEUE_H
#define WORKER_REMOTE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/bytes.h"

enum { REMOTE_QUEUE_LAST_BYTES = 16384 }; // of the last prompt, for comparing

/* Embedded in what waits. */
struct remote_queue_entry {
    struct bytes prompt; // borrowed while it waits
    int priority;        // a lower one first
    bool has_deadline;
    double arrived_ms;
    struct remote_queue_entry *previous, *next; // the queue's
};

struct remote_queue {
    struct remote_queue_entry *first, *last;
    struct remote_queue_entry **sorted; // [count] by prompt
    int count, max;
    char last_prompt[REMOTE_QUEUE_LAST_BYTES]; // of what was taken last
    size_t last_size;
};

bool remote_queue_open(struct remote_queue *queue, int max); // false: out of memory
void remote_queue_close(struct remote_queue *queue);
/* There is room: count < max. */
void remote_queue_add(struct remote_queue *queue, struct remote_queue_entry *entry);
void remote_queue_remove(struct remote_queue *queue, struct remote_queue_entry *entry);
/* Takes the next one out; the queue is not empty. */
struct remote_queue_entry *remote_queue_take(struct remote_queue *queue);

#endif
