/* committer: the thread; see the header for its states. */
#include "worker/committer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/mailbox.h"
#include "schemas/base/check.h"
#include "worker/log.h"
#include "worker/producer.h"
#include "worker/transactor.h"

enum {
    BATCH_MAX = 4096,
    IDLE_MS = 500,    // a producer without work is still served: its errors are logged
    WAIT_MS = 100,    // how soon committer_abandon is noticed
    BACKOFF_MS = 100, // before a batch is sent again, doubled up to the next
    BACKOFF_MAX_MS = 2000,
    STUCK_MS = 5000, // a batch that nobody acknowledged for so long shows in readiness
    CLOSE_TIMEOUT_MS = 5000,
    START_TIMEOUT_MS = 30000,
};

struct committer {
    pthread_t thread;
    struct producer *producer; // the thread's
    struct mailbox *posted;    // of deliveries, or of transactions
    struct mailbox *done;
    bool is_exactly_once;
    struct transactor transactor; // the thread's

    pthread_mutex_t mutex; // holds is_awake and is_closing
    pthread_cond_t is_changed;
    bool is_awake;
    bool is_closing;
    _Atomic bool is_abandoning;
    _Atomic bool is_stuck;

    size_t batch_count;
    struct delivery *batch[BATCH_MAX]; // the thread's
};

static void wake(void *context)
{
    struct committer *committer = context;
    CHECK(pthread_mutex_lock(&committer->mutex) == 0);
    committer->is_awake = true;
    CHECK(pthread_cond_signal(&committer->is_changed) == 0);
    CHECK(pthread_mutex_unlock(&committer->mutex) == 0);
}

/* Sleeps until something is posted, closed or abandoned, but no longer than timeout_ms. Returns
 * false when the thread is to end. */
static bool sleep_at_most(struct committer *committer, int timeout_ms)
{
    struct timespec until;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    CHECK(pthread_mutex_lock(&committer->mutex) == 0);
    int status = 0;
    while (!committer->is_awake && !committer->is_closing && status != ETIMEDOUT) {
        status = pthread_cond_timedwait(&committer->is_changed, &committer->mutex, &until);
    }
    committer->is_awake = false;
    bool goes_on = !committer->is_closing;
    CHECK(pthread_mutex_unlock(&committer->mutex) == 0);
    return goes_on;
}

/* Sends all of the batch that is encoded. */
static void send_batch(struct committer *committer)
{
    for (size_t i = 0; i < committer->batch_count; i++) {
        struct delivery *delivery = committer->batch[i];
        if (delivery->state != DELIVERY_ENCODED || committer->is_abandoning) {
            continue;
        }
        while (!producer_send(committer->producer, delivery)) {
            (void)producer_wait(committer->producer, WAIT_MS);
            if (committer->is_abandoning) {
                return;
            }
        }
    }
}

/* Waits until nothing is in flight; gives up when abandoned. */
static void await_reports(struct committer *committer)
{
    int waited_ms = 0;
    while (producer_wait(committer->producer, WAIT_MS) > 0) {
        waited_ms += WAIT_MS;
        committer->is_stuck = committer->is_stuck || waited_ms >= STUCK_MS;
        if (committer->is_abandoning) {
            producer_purge(committer->producer);
        }
    }
}

static size_t count_encoded(const struct committer *committer)
{
    size_t count = 0;
    for (size_t i = 0; i < committer->batch_count; i++) {
        count += committer->batch[i]->state == DELIVERY_ENCODED ? 1 : 0;
    }
    return count;
}

/* A broken producer makes room for a new one; otherwise waits before the next attempt. */
static void recover(struct committer *committer, int backoff_ms)
{
    if (!producer_is_broken(committer->producer)) {
        (void)sleep_at_most(committer, backoff_ms);
        return;
    }
    struct error error = {0};
    log_event(LOG_WARN, "producer_replaced", "unacknowledged=%zu", count_encoded(committer));
    while (!producer_replace(committer->producer, &error)) {
        // The same configuration opened one before: only memory or threads can be short.
        log_event(LOG_ERROR, "producer_not_opened", "reason=%s", error.message);
        if (committer->is_abandoning || !sleep_at_most(committer, BACKOFF_MAX_MS)) {
            return;
        }
    }
}

static void publish_batch(struct committer *committer)
{
    int backoff_ms = BACKOFF_MS;
    for (;;) {
        send_batch(committer);
        await_reports(committer);
        if (count_encoded(committer) == 0 || committer->is_abandoning) {
            break;
        }
        committer->is_stuck = true;
        recover(committer, backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    committer->is_stuck = false;
}

static void hand_back(struct committer *committer)
{
    for (size_t i = 0; i < committer->batch_count; i++) {
        struct delivery *delivery = committer->batch[i];
        if (delivery->state == DELIVERY_ENCODED) {
            delivery->state = DELIVERY_ABANDONED;
        }
        CHECK(mailbox_post(committer->done, delivery));
    }
    committer->batch_count = 0;
}

/* False when nothing was posted. */
static bool publish_posted(struct committer *committer)
{
    if (committer->is_exactly_once) {
        void *transaction;
        if (mailbox_take(committer->posted, &transaction, 1) == 0) {
            return false;
        }
        transactor_run(&committer->transactor, transaction);
        CHECK(mailbox_post(committer->done, transaction));
        return true;
    }
    committer->batch_count = mailbox_take(committer->posted, (void **)committer->batch, BATCH_MAX);
    if (committer->batch_count == 0) {
        return false;
    }
    publish_batch(committer);
    hand_back(committer);
    return true;
}

static void *run(void *context)
{
    struct committer *committer = context;
    for (;;) {
        if (publish_posted(committer)) {
            continue;
        }
        if (!sleep_at_most(committer, IDLE_MS)) {
            return NULL;
        }
        (void)producer_wait(committer->producer, 0);
    }
}

static void init_condition(struct committer *committer)
{
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&committer->is_changed, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
    CHECK(pthread_mutex_init(&committer->mutex, NULL) == 0);
}

static void free_parts(struct committer *committer)
{
    producer_close(committer->producer, CLOSE_TIMEOUT_MS);
    mailbox_close(committer->posted);
    mailbox_close(committer->done);
    CHECK(pthread_cond_destroy(&committer->is_changed) == 0);
    CHECK(pthread_mutex_destroy(&committer->mutex) == 0);
    free(committer);
}

static void sleep_for_transactor(void *context, int timeout_ms)
{
    (void)sleep_at_most(context, timeout_ms);
}

static bool open_producer(struct committer *committer, const struct config *config,
                          struct error *error)
{
    enum kafka_role role = committer->is_exactly_once ? KAFKA_TRANSACTIONAL : KAFKA_PRODUCER;
    if (!producer_open(config, role, &committer->producer, error)) {
        return false;
    }
    if (!committer->is_exactly_once) {
        return true;
    }
    struct transactor_host host = {sleep_for_transactor, committer, &committer->is_abandoning,
                                   &committer->is_stuck};
    transactor_init(&committer->transactor, config, committer->producer, host);
    return transactor_start(&committer->transactor, START_TIMEOUT_MS, error);
}

bool committer_open(const struct config *config, bool is_exactly_once, size_t inside_max,
                    struct committer_wake wake_loop, struct committer **committer_out,
                    struct error *error)
{
    struct committer *committer = calloc(1, sizeof *committer);
    if (committer == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the committer");
    }
    committer->is_exactly_once = is_exactly_once;
    init_condition(committer);
    committer->posted = mailbox_open(inside_max, wake, committer);
    committer->done = mailbox_open(inside_max, wake_loop.on_done, wake_loop.context);
    bool is_open = committer->posted != NULL && committer->done != NULL;
    if (!is_open) {
        (void)error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the committer");
    }
    is_open = is_open && open_producer(committer, config, error);
    if (is_open && pthread_create(&committer->thread, NULL, run, committer) != 0) {
        is_open = error_set(error, ERROR_FATAL, NULL, NULL, "cannot start the committer's thread");
    }
    if (!is_open) {
        free_parts(committer);
        return false;
    }
    *committer_out = committer;
    return true;
}

void committer_stop(struct committer *committer)
{
    committer_abandon(committer);
    CHECK(pthread_mutex_lock(&committer->mutex) == 0);
    committer->is_closing = true;
    CHECK(pthread_cond_signal(&committer->is_changed) == 0);
    CHECK(pthread_mutex_unlock(&committer->mutex) == 0);
    CHECK(pthread_join(committer->thread, NULL) == 0);
}

void committer_close(struct committer *committer)
{
    if (committer == NULL) {
        return;
    }
    if (!committer->is_closing) { // which only the loop sets
        committer_stop(committer);
    }
    free_parts(committer);
}

void committer_post_transaction(struct committer *committer, struct transaction *transaction)
{
    CHECK(mailbox_post(committer->posted, transaction));
}

struct transaction *committer_take_transaction(struct committer *committer)
{
    void *transaction;
    return mailbox_take(committer->done, &transaction, 1) == 0 ? NULL : transaction;
}

void committer_post(struct committer *committer, struct delivery *delivery)
{
    CHECK(delivery->state == DELIVERY_ENCODED);
    CHECK(mailbox_post(committer->posted, delivery));
}

size_t committer_take(struct committer *committer, struct delivery **deliveries_out,
                      size_t deliveries_max)
{
    return mailbox_take(committer->done, (void **)deliveries_out, deliveries_max);
}

void committer_abandon(struct committer *committer)
{
    committer->is_abandoning = true;
    wake(committer);
}

bool committer_is_stuck(const struct committer *committer)
{
    return committer->is_stuck;
}
