/* share: how much of the worker's room, in records or in bytes, a partition may take.
 *
 * A topic may hold at most SHARE_FACTOR times what all of them leave free, and a partition
 * SHARE_FACTOR times what its topic may still take. So the limits of all move with what the others
 * hold: one that is flooded takes 3/4 of the room, k that are flooded take equal parts and leave
 * 1 / (3 k + 1) of it, and one that was quiet finds that room at once. Where there is only one, it
 * may take everything.
 *
 * Pure: no time, no memory of its own. Thread: loop.
 */
#ifndef WORKER_SHARE_H
#define WORKER_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/config.h"

enum { SHARE_FACTOR = 3 };

struct share_topic {
    size_t used;
    size_t members_count;
};

struct share {
    size_t room;
    size_t used;
    size_t topics_count; // with members
    struct share_topic topics[CONFIG_NAMES_MAX];
};

struct share_member {    // a partition's part of it
    struct share *share; // NULL: none any more
    size_t topic;        // its index
    size_t used;
};

void share_init(struct share *share, size_t room);
/* A member of the topic, which has taken nothing yet. */
void share_join(struct share *share, struct share_member *member, size_t topic);
/* What it holds no longer counts; it may still give it back. */
void share_leave(struct share_member *member);

/* How much more the member may take now. */
size_t share_left(const struct share_member *member);
/* Whether it may take `amount`. The first always may, or a large one would wait for ever. */
bool share_allows(const struct share_member *member, size_t amount);
/* Whether it may take so much that it is worth to begin again. */
bool share_is_ample(const struct share_member *member);
void share_take(struct share_member *member, size_t amount);
void share_give(struct share_member *member, size_t amount);

#endif
