/* look_ahead: rank, and the follower that may come before it. */
#include "pipeline/engine/look_ahead.h"

bool look_ahead_open(struct look_ahead *look_ahead, int capacity, int block_tokens, bool is_enabled)
{
    *look_ahead =
        (struct look_ahead){.is_enabled = is_enabled, .block_tokens = block_tokens, .step = 1};
    return waiting_open(&look_ahead->waiting, capacity);
}

void look_ahead_close(struct look_ahead *look_ahead)
{
    waiting_close(&look_ahead->waiting);
}

int look_ahead_count(const struct look_ahead *look_ahead)
{
    return look_ahead->waiting.count;
}

void look_ahead_add(struct look_ahead *look_ahead, struct sequence_state *state)
{
    waiting_add(&look_ahead->waiting, state);
    if (look_ahead->is_enabled) {
        prefix_order_add(&look_ahead->order, state);
    }
}

static void forget(struct look_ahead *look_ahead, const struct sequence_state *state)
{
    for (int i = 0; i < FOLLOWERS_MAX; i++) {
        struct follower *follower = &look_ahead->followers[i];
        if (follower->state == state) {
            *follower = (struct follower){0};
        } else if (follower->compared == state) {
            follower->compared = NULL;
        }
    }
}

void look_ahead_remove(struct look_ahead *look_ahead, struct sequence_state *state)
{
    waiting_remove(&look_ahead->waiting, state);
    if (look_ahead->is_enabled) {
        prefix_order_remove(&look_ahead->order, state);
        forget(look_ahead, state);
    }
}

void look_ahead_begin(struct look_ahead *look_ahead)
{
    look_ahead->step++;
}

void look_ahead_defer(struct look_ahead *look_ahead, struct sequence_state *state)
{
    state->deferred_step = look_ahead->step;
}

static int shared_count(const struct look_ahead *look_ahead, const struct sequence_state *a,
                        const struct sequence_state *b)
{
    int tokens = a == NULL || b == NULL ? 0 : prefix_order_shared(a->sequence, b->sequence);
    return tokens - tokens % look_ahead->block_tokens;
}

static bool may_pass(const struct sequence_state *state, const struct sequence_state *first)
{
    return !first->is_urgent && state->rank_ms - first->rank_ms <= LOOK_AHEAD_MS;
}

static bool comes_before(const struct look_ahead *look_ahead, struct follower *follower,
                         const struct sequence_state *first)
{
    if (follower->compared != first) {
        follower->compared = first;
        // What shares as much is as good, and was there before.
        follower->has_won =
            may_pass(follower->state, first) &&
            shared_count(look_ahead, follower->state, first) < follower->shared_count;
    }
    return follower->has_won;
}

struct sequence_state *look_ahead_next(struct look_ahead *look_ahead)
{
    struct sequence_state *first = waiting_first(&look_ahead->waiting);
    for (int i = 0; first != NULL && i < FOLLOWERS_MAX; i++) {
        struct follower *follower = &look_ahead->followers[i];
        if (follower->state != NULL && follower->state->deferred_step != look_ahead->step &&
            comes_before(look_ahead, follower, first)) {
            return follower->state;
        }
    }
    return first == NULL || first->deferred_step == look_ahead->step ? NULL : first;
}

/* Where the follower of `state` goes: it goes on from the place that `state` had itself. */
static struct follower *place_of(struct look_ahead *look_ahead, const struct sequence_state *state)
{
    struct follower *unused = NULL;
    for (int i = 0; i < FOLLOWERS_MAX; i++) {
        struct follower *follower = &look_ahead->followers[i];
        if (follower->state == state) {
            return follower;
        }
        unused = follower->state == NULL ? follower : unused;
    }
    if (unused == NULL) {
        unused = &look_ahead->followers[look_ahead->oldest_follower];
        look_ahead->oldest_follower = (look_ahead->oldest_follower + 1) % FOLLOWERS_MAX;
    }
    return unused;
}

void look_ahead_admit(struct look_ahead *look_ahead, struct sequence_state *state)
{
    if (!look_ahead->is_enabled) {
        look_ahead_remove(look_ahead, state);
        return;
    }
    struct sequence_state *previous = state->prefix.previous;
    struct sequence_state *next = state->prefix.next;
    int with_previous = shared_count(look_ahead, state, previous);
    int with_next = shared_count(look_ahead, state, next);
    struct follower *place = place_of(look_ahead, state);
    look_ahead_remove(look_ahead, state);
    if (with_previous == 0 && with_next == 0) {
        return;
    }
    struct sequence_state *neighbour = with_previous > with_next ? previous : next;
    forget(look_ahead, neighbour);
    *place = (struct follower){
        .state = neighbour,
        .shared_count = with_previous > with_next ? with_previous : with_next,
    };
}
