/* waiting: a binary heap whose members know their place. */
#include "pipeline/engine/waiting.h"

#include <stdlib.h>

#include "schemas/base/check.h"

bool waiting_open(struct waiting *waiting, int capacity)
{
    *waiting = (struct waiting){.capacity = capacity};
    waiting->heap = calloc((size_t)capacity, sizeof(struct sequence_state *));
    return waiting->heap != NULL;
}

void waiting_close(struct waiting *waiting)
{
    free(waiting->heap);
    *waiting = (struct waiting){0};
}

static void place(struct waiting *waiting, int index, struct sequence_state *state)
{
    waiting->heap[index] = state;
    state->waiting_index = index;
}

static void sift_up(struct waiting *waiting, int index, struct sequence_state *state)
{
    while (index > 0) {
        int parent = (index - 1) / 2;
        if (!sequence_state_precedes(state, waiting->heap[parent])) {
            break;
        }
        place(waiting, index, waiting->heap[parent]);
        index = parent;
    }
    place(waiting, index, state);
}

static void sift_down(struct waiting *waiting, int index, struct sequence_state *state)
{
    for (;;) {
        int child = 2 * index + 1;
        if (child >= waiting->count) {
            break;
        }
        if (child + 1 < waiting->count &&
            sequence_state_precedes(waiting->heap[child + 1], waiting->heap[child])) {
            child++;
        }
        if (!sequence_state_precedes(waiting->heap[child], state)) {
            break;
        }
        place(waiting, index, waiting->heap[child]);
        index = child;
    }
    place(waiting, index, state);
}

void waiting_add(struct waiting *waiting, struct sequence_state *state)
{
    CHECK(waiting->count < waiting->capacity);
    waiting->count++;
    sift_up(waiting, waiting->count - 1, state);
}

void waiting_remove(struct waiting *waiting, struct sequence_state *state)
{
    int index = state->waiting_index;
    CHECK(index >= 0 && index < waiting->count && waiting->heap[index] == state);
    state->waiting_index = -1;
    waiting->count--;
    struct sequence_state *last = waiting->heap[waiting->count];
    if (last == state) {
        return;
    }
    sift_down(waiting, index, last);
    sift_up(waiting, last->waiting_index, last);
}

struct sequence_state *waiting_first(const struct waiting *waiting)
{
    return waiting->count == 0 ? NULL : waiting->heap[0];
}
