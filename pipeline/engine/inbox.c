/* inbox: a mutex, a condition variable, two lists and the pool of sequence states. */
#include "pipeline/engine/inbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"

struct inbox {
    pthread_mutex_t mutex;
    pthread_cond_t has_mail;
    bool has_stopped;
    bool was_woken; // since the last collection
    int waiting_max;
    int inside_max;
    int inside_count;
    uint64_t arrivals_count;
    uint64_t collected_count;          // of the arrivals, by the engine's thread
    struct sequence_state *states;     // [inside_max]
    struct sequence_state *free_first; // linked by next
    struct sequence *submitted_first;  // linked by next, in order
    struct sequence *submitted_last;
    struct sequence_state *asked_first; // linked by next and previous, in order
    struct sequence_state *asked_last;
    int any_inside; // states below it are free, once stopped
    struct engine_stats stats;
};

bool inbox_open(int waiting_max, int inside_max, struct inbox **inbox_out, struct error *error)
{
    CHECK(waiting_max > 0 && inside_max >= waiting_max);
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox != NULL) {
        inbox->states = calloc((size_t)inside_max, sizeof *inbox->states);
    }
    if (inbox == NULL || inbox->states == NULL) {
        free(inbox);
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                         "no memory for %d sequences; lower max_waiting", inside_max);
    }
    inbox->waiting_max = waiting_max;
    inbox->inside_max = inside_max;
    for (int i = inside_max - 1; i >= 0; i--) {
        inbox->states[i].next = inbox->free_first;
        inbox->free_first = &inbox->states[i];
    }
    CHECK(pthread_mutex_init(&inbox->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&inbox->has_mail, NULL) == 0);
    *inbox_out = inbox;
    return true;
}

void inbox_close(struct inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    (void)pthread_cond_destroy(&inbox->has_mail);
    (void)pthread_mutex_destroy(&inbox->mutex);
    free(inbox->states);
    free(inbox);
}

static void lock(struct inbox *inbox)
{
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
}

static void unlock(struct inbox *inbox)
{
    CHECK(pthread_mutex_unlock(&inbox->mutex) == 0);
}

static int64_t unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add_submitted(struct inbox *inbox, struct sequence *sequence)
{
    sequence->next = NULL;
    if (inbox->submitted_first == NULL) {
        inbox->submitted_first = sequence;
    } else {
        inbox->submitted_last->next = sequence;
    }
    inbox->submitted_last = sequence;
}

static bool has_room(const struct inbox *inbox)
{
    return !inbox->has_stopped && inbox->free_first != NULL &&
           inbox->inside_count - inbox->stats.running < inbox->waiting_max;
}

bool inbox_submit(struct inbox *inbox, struct sequence *sequence)
{
    int64_t now_ms = unix_ms();
    lock(inbox);
    bool is_accepted = has_room(inbox);
    if (is_accepted) {
        struct sequence_state *state = inbox->free_first;
        inbox->free_first = state->next;
        inbox->inside_count++;
        sequence_state_init(state, sequence, inbox->arrivals_count++, now_ms);
        sequence->state = state;
        add_submitted(inbox, sequence);
        (void)pthread_cond_signal(&inbox->has_mail);
    }
    unlock(inbox);
    return is_accepted;
}

static void add_asked(struct inbox *inbox, struct sequence_state *state)
{
    state->next = NULL;
    state->previous = inbox->asked_last;
    if (inbox->asked_last == NULL) {
        inbox->asked_first = state;
    } else {
        inbox->asked_last->next = state;
    }
    inbox->asked_last = state;
}

static void remove_asked(struct inbox *inbox, struct sequence_state *state)
{
    if (state->previous == NULL) {
        inbox->asked_first = state->next;
    } else {
        state->previous->next = state->next;
    }
    if (state->next == NULL) {
        inbox->asked_last = state->previous;
    } else {
        state->next->previous = state->previous;
    }
}

void inbox_ask(struct inbox *inbox, struct sequence *sequence, enum finish_reason reason,
               bool only_waiting)
{
    lock(inbox);
    struct sequence_state *state = sequence->state;
    if (state != NULL && state->asked == FINISH_NONE) {
        state->asked = reason;
        state->asked_only_waiting = only_waiting;
        add_asked(inbox, state);
        (void)pthread_cond_signal(&inbox->has_mail);
    } else if (state != NULL && state->asked_only_waiting && !only_waiting) {
        state->asked = reason;
        state->asked_only_waiting = false;
    }
    unlock(inbox);
}

void inbox_wake(struct inbox *inbox)
{
    lock(inbox);
    inbox->was_woken = true;
    (void)pthread_cond_signal(&inbox->has_mail);
    unlock(inbox);
}

void inbox_stop(struct inbox *inbox)
{
    lock(inbox);
    inbox->has_stopped = true;
    (void)pthread_cond_signal(&inbox->has_mail);
    unlock(inbox);
}

void inbox_get_stats(struct inbox *inbox, struct engine_stats *stats_out)
{
    lock(inbox);
    *stats_out = inbox->stats;
    // Sequences that have finished since the stats were published still count as running there.
    int64_t waiting = inbox->inside_count - inbox->stats.running;
    stats_out->waiting = waiting < 0 ? 0 : waiting;
    unlock(inbox);
}

bool inbox_collect(struct inbox *inbox, const struct engine_stats *stats, bool may_wait,
                   struct sequence **submitted_out)
{
    lock(inbox);
    inbox->stats = *stats;
    while (may_wait && !inbox->has_stopped && !inbox->was_woken && inbox->submitted_first == NULL &&
           inbox->asked_first == NULL) {
        CHECK(pthread_cond_wait(&inbox->has_mail, &inbox->mutex) == 0);
    }
    inbox->was_woken = false;
    *submitted_out = inbox->submitted_first;
    inbox->submitted_first = NULL;
    inbox->submitted_last = NULL;
    inbox->collected_count = inbox->arrivals_count;
    bool goes_on = !inbox->has_stopped;
    unlock(inbox);
    return goes_on;
}

/* Whether the wish was for a waiting sequence that has run a step by now. */
static bool came_too_late(const struct sequence_state *state)
{
    return state->asked_only_waiting && state->sequence->timing.scheduled_ms > 0;
}

struct sequence_state *inbox_take_asked(struct inbox *inbox, enum finish_reason *reason_out)
{
    lock(inbox);
    struct sequence_state *state = inbox->asked_first;
    while (state != NULL) {
        struct sequence_state *next = state->next;
        // What was submitted and asked for since the last collection comes later.
        bool is_collected = state->arrival < inbox->collected_count;
        if (is_collected && !came_too_late(state)) {
            *reason_out = state->asked;
            break; // stays in the list until it finishes
        }
        if (is_collected) {
            remove_asked(inbox, state);
            state->asked = FINISH_NONE;
            state->asked_only_waiting = false;
        }
        state = next;
    }
    unlock(inbox);
    return state;
}

void inbox_free_state(struct inbox *inbox, struct sequence_state *state)
{
    lock(inbox);
    if (state->asked != FINISH_NONE) {
        remove_asked(inbox, state);
    }
    state->sequence->state = NULL;
    state->sequence = NULL;
    state->next = inbox->free_first;
    inbox->free_first = state;
    inbox->inside_count--;
    unlock(inbox);
}

struct sequence_state *inbox_any_inside(struct inbox *inbox)
{
    while (inbox->any_inside < inbox->inside_max) {
        struct sequence_state *state = &inbox->states[inbox->any_inside];
        if (state->sequence != NULL) {
            return state;
        }
        inbox->any_inside++;
    }
    return NULL;
}
