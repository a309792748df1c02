/* mailbox: a bounded queue of pointers from any thread to one owner.
 *
 * Posting to an empty mailbox calls `on_wake` once, so that an owner that sleeps in an event loop
 * can be woken; an owner that takes all there is on each wake misses nothing. The call is inside
 * the lock: whoever has taken an item knows that its poster is done with the mailbox, and may close
 * it. The capacity is set from what the credits at intake admit, so that a post inside cannot fail.
 */
#ifndef PIPELINE_MAILBOX_H
#define PIPELINE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

struct mailbox;

/* NULL when out of memory. `on_wake` (may be NULL) runs on the posting thread; it must be quick and
 * not use the mailbox. */
struct mailbox *mailbox_open(size_t capacity, void (*on_wake)(void *context), void *context);
void mailbox_close(struct mailbox *mailbox); // accepts NULL; what is inside stays its owner's

/* Thread: any. False when full. */
bool mailbox_post(struct mailbox *mailbox, void *item);
/* Thread: the owner. Moves at most `items_max` items, oldest first; returns how many. */
size_t mailbox_take(struct mailbox *mailbox, void **items_out, size_t items_max);

#endif
