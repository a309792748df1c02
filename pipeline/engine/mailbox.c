/* mailbox: a mutex, a condition variable, two lists and the pool of sequence states. */
#include "pipeline/engine/mailbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"

struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t has_mail;
    bool has_stopped;
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

bool mailbox_open(int waiting_max, int inside_max, struct mailbox **mailbox_out,
                  struct error *error)
{
    CHECK(waiting_max > 0 && inside_max >= waiting_max);
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);
    if (mailbox != NULL) {
        mailbox->states = calloc((size_t)inside_max, sizeof *mailbox->states);
    }
    if (mailbox == NULL || mailbox->states == NULL) {
        free(mailbox);
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                         "no memory for %d sequences; lower max_waiting", inside_max);
    }
    mailbox->waiting_max = waiting_max;
    mailbox->inside_max = inside_max;
    for (int i = inside_max - 1; i >= 0; i--) {
        mailbox->states[i].next = mailbox->free_first;
        mailbox->free_first = &mailbox->states[i];
    }
    CHECK(pthread_mutex_init(&mailbox->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&mailbox->has_mail, NULL) == 0);
    *mailbox_out = mailbox;
    return true;
}

void mailbox_close(struct mailbox *mailbox)
{
    if (mailbox == NULL) {
        return;
    }
    (void)pthread_cond_destroy(&mailbox->has_mail);
    (void)pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox->states);
    free(mailbox);
}

static void lock(struct mailbox *mailbox)
{
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
}

static void unlock(struct mailbox *mailbox)
{
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
}

static int64_t unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add_submitted(struct mailbox *mailbox, struct sequence *sequence)
{
    sequence->next = NULL;
    if (mailbox->submitted_first == NULL) {
        mailbox->submitted_first = sequence;
    } else {
        mailbox->submitted_last->next = sequence;
    }
    mailbox->submitted_last = sequence;
}

static bool has_room(const struct mailbox *mailbox)
{
    return !mailbox->has_stopped && mailbox->free_first != NULL &&
           mailbox->inside_count - mailbox->stats.running < mailbox->waiting_max;
}

bool mailbox_submit(struct mailbox *mailbox, struct sequence *sequence)
{
    int64_t now_ms = unix_ms();
    lock(mailbox);
    bool is_accepted = has_room(mailbox);
    if (is_accepted) {
        struct sequence_state *state = mailbox->free_first;
        mailbox->free_first = state->next;
        mailbox->inside_count++;
        sequence_state_init(state, sequence, mailbox->arrivals_count++, now_ms);
        sequence->state = state;
        add_submitted(mailbox, sequence);
        (void)pthread_cond_signal(&mailbox->has_mail);
    }
    unlock(mailbox);
    return is_accepted;
}

static void add_asked(struct mailbox *mailbox, struct sequence_state *state)
{
    state->next = NULL;
    state->previous = mailbox->asked_last;
    if (mailbox->asked_last == NULL) {
        mailbox->asked_first = state;
    } else {
        mailbox->asked_last->next = state;
    }
    mailbox->asked_last = state;
}

static void remove_asked(struct mailbox *mailbox, struct sequence_state *state)
{
    if (state->previous == NULL) {
        mailbox->asked_first = state->next;
    } else {
        state->previous->next = state->next;
    }
    if (state->next == NULL) {
        mailbox->asked_last = state->previous;
    } else {
        state->next->previous = state->previous;
    }
}

void mailbox_ask(struct mailbox *mailbox, struct sequence *sequence, enum finish_reason reason)
{
    lock(mailbox);
    struct sequence_state *state = sequence->state;
    if (state != NULL && state->asked == FINISH_NONE) {
        state->asked = reason;
        add_asked(mailbox, state);
        (void)pthread_cond_signal(&mailbox->has_mail);
    }
    unlock(mailbox);
}

void mailbox_stop(struct mailbox *mailbox)
{
    lock(mailbox);
    mailbox->has_stopped = true;
    (void)pthread_cond_signal(&mailbox->has_mail);
    unlock(mailbox);
}

void mailbox_get_stats(struct mailbox *mailbox, struct engine_stats *stats_out)
{
    lock(mailbox);
    *stats_out = mailbox->stats;
    stats_out->waiting = mailbox->inside_count - mailbox->stats.running;
    unlock(mailbox);
}

bool mailbox_collect(struct mailbox *mailbox, const struct engine_stats *stats, bool may_wait,
                     struct sequence **submitted_out)
{
    lock(mailbox);
    mailbox->stats = *stats;
    while (may_wait && !mailbox->has_stopped && mailbox->submitted_first == NULL &&
           mailbox->asked_first == NULL) {
        CHECK(pthread_cond_wait(&mailbox->has_mail, &mailbox->mutex) == 0);
    }
    *submitted_out = mailbox->submitted_first;
    mailbox->submitted_first = NULL;
    mailbox->submitted_last = NULL;
    mailbox->collected_count = mailbox->arrivals_count;
    bool goes_on = !mailbox->has_stopped;
    unlock(mailbox);
    return goes_on;
}

struct sequence_state *mailbox_take_asked(struct mailbox *mailbox)
{
    lock(mailbox);
    struct sequence_state *state = mailbox->asked_first;
    while (state != NULL && state->arrival >= mailbox->collected_count) {
        state = state->next; // submitted and asked for since the last collection
    }
    unlock(mailbox);
    return state; // stays in the list until it finishes
}

void mailbox_free_state(struct mailbox *mailbox, struct sequence_state *state)
{
    lock(mailbox);
    if (state->asked != FINISH_NONE) {
        remove_asked(mailbox, state);
    }
    state->sequence->state = NULL;
    state->sequence = NULL;
    state->next = mailbox->free_first;
    mailbox->free_first = state;
    mailbox->inside_count--;
    unlock(mailbox);
}

struct sequence_state *mailbox_any_inside(struct mailbox *mailbox)
{
    while (mailbox->any_inside < mailbox->inside_max) {
        struct sequence_state *state = &mailbox->states[mailbox->any_inside];
        if (state->sequence != NULL) {
            return state;
        }
        mailbox->any_inside++;
    }
    return NULL;
}
