/* publisher: one committer, one transaction at a time. */
#include "worker/publisher.h"

#include <stdlib.h>

#include "schemas/base/check.h"
#include "worker/committer.h"
#include "worker/group_read.h"
#include "worker/kafka_client.h"
#include "worker/log.h"
#include "worker/metrics.h"
#include "worker/partition.h"

enum {
    TAKEN_MAX = 256,
    DEMO_TIMEOUT_MS = 5000,
    OFFSETS_INTERVAL_MS = 250, // of commits that bring no results
    HURRY_INTERVAL_MS = 5,     // of commits that records wait for
    RESOLVE_INTERVAL_MS = 20,
};

struct publisher {
    uv_loop_t *loop;
    const struct delivery_setting *setting; // borrowed
    struct consumer *consumer;              // borrowed
    struct publisher_end end;
    struct committer *committer;
    bool is_exactly_once;
    size_t count; // jobs inside

    uv_async_t wake;  // by the committer
    uv_timer_t timer; // when a transaction is due
    int handles_open;

    // Exactly once.
    struct transaction *transaction;
    struct group_read *read; // while it is being resolved
    uint64_t started_ns;     // of the transaction
    uint64_t offsets_at_ms;  // not before: a commit that brings no results
    uint64_t hurry_at_ms;    // not before: a commit that records wait for
    bool is_finishing;
    bool is_giving_up;
};

static void drop(void *context, struct delivery *delivery)
{
    struct publisher *publisher = context;
    struct job *job = delivery->job;
    delivery_close(delivery);
    publisher->count--;
    publisher->end.on_done(publisher->end.context, job, false);
}

static void complete(void *context, struct delivery *delivery)
{
    struct publisher *publisher = context;
    struct job *job = delivery->job;
    struct partition *partition = job->end;
    if (partition->assigned_ms > 0) {
        metrics_observe(METRIC_FIRST_RESULT, partition->former_owner,
                        (double)(uv_now(publisher->loop) - partition->assigned_ms) / 1e3);
        partition->assigned_ms = 0;
    }
    delivery_close(delivery);
    publisher->count--;
    publisher->end.on_done(publisher->end.context, job, true);
}

static void fail(struct publisher *publisher, const struct error *error)
{
    publisher->is_giving_up = publisher->is_giving_up || publisher->is_exactly_once;
    publisher->end.on_failure(publisher->end.context, error);
}

/* A delivery that the topic does not take: makes it smaller, or fails. Returns whether it can be
 * sent again. */
static bool mend(struct publisher *publisher, struct delivery *delivery)
{
    struct error error = {0};
    if (delivery->state == DELIVERY_TOO_LARGE) {
        if (delivery_shrink(publisher->setting, delivery, &error)) {
            return true;
        }
        fail(publisher, &error);
    } else if (delivery->state == DELIVERY_REFUSED) {
        (void)error_set(&error, ERROR_FATAL, NULL, NULL, "topic %s does not take results: %s",
                        delivery->topic, rd_kafka_err2str((rd_kafka_resp_err_t)delivery->code));
        fail(publisher, &error);
    }
    return false;
}

/* At least once. */
static void settle(struct publisher *publisher, struct delivery *delivery)
{
    if (delivery->state == DELIVERY_DONE) {
        struct job *job = delivery->job;
        consumer_finish(publisher->consumer, job->end, job->source.offset);
        complete(publisher, delivery);
    } else if (!publisher->is_giving_up && mend(publisher, delivery)) {
        committer_post(publisher->committer, delivery);
    } else {
        drop(publisher, delivery);
    }
}

void publisher_take(struct publisher *publisher)
{
    struct delivery *taken[TAKEN_MAX];
    size_t count = TAKEN_MAX;
    while (!publisher->is_exactly_once && count == TAKEN_MAX) {
        count = committer_take(publisher->committer, taken, TAKEN_MAX);
        for (size_t i = 0; i < count; i++) {
            settle(publisher, taken[i]);
        }
    }
}

/* The transaction is over and was not committed. */
static void end_aborted(struct publisher *publisher)
{
    struct transaction *transaction = publisher->transaction;
    metrics_add(METRIC_COMMITS, METRIC_ABORTED, 1);
    consumer_settle(publisher->consumer, transaction->offsets, false);
    for (size_t i = 0; i < transaction->count; i++) {
        if (transaction->deliveries[i]->state != DELIVERY_ENCODED) {
            (void)mend(publisher, transaction->deliveries[i]);
        }
    }
    publisher->hurry_at_ms = uv_now(publisher->loop) + OFFSETS_INTERVAL_MS;
    log_event(LOG_INFO, "transaction_aborted", "results=%zu", transaction->count);
    transaction_return(transaction, uv_now(publisher->loop));
    transaction_end(transaction);
}

static void end_committed(struct publisher *publisher)
{
    struct transaction *transaction = publisher->transaction;
    metrics_add(METRIC_COMMITS, METRIC_COMMITTED, 1);
    metrics_observe(METRIC_COMMIT_TIME, 0, (double)(uv_hrtime() - publisher->started_ns) / 1e9);
    consumer_settle(publisher->consumer, transaction->offsets, true);
    transaction_complete(transaction, complete, publisher);
    transaction_end(transaction);
}

static void step_resolve(struct publisher *publisher)
{
    struct transaction *transaction = publisher->transaction;
    if (publisher->read == NULL) {
        publisher->read = group_read_open(consumer_client(publisher->consumer),
                                          publisher->setting->group, transaction->offsets, -1);
    }
    const rd_kafka_topic_partition_list_t *committed =
        publisher->read == NULL ? NULL : group_read_step(publisher->read, uv_now(publisher->loop));
    if (committed == NULL && !publisher->is_giving_up) {
        return;
    }
    bool is_committed = committed != NULL && transaction_was_committed(transaction, committed);
    log_event(LOG_WARN, "transaction_resolved", "is_committed=%d results=%zu", is_committed,
              transaction->count);
    group_read_close(publisher->read);
    publisher->read = NULL;
    if (is_committed) {
        end_committed(publisher);
    } else {
        end_aborted(publisher);
    }
}

/* The committer has given the transaction back. */
static void take_result(struct publisher *publisher)
{
    struct transaction *transaction = publisher->transaction;
    switch (transaction->result) {
    case TRANSACTION_COMMITTED:
        end_committed(publisher);
        return;
    case TRANSACTION_UNKNOWN:
        transaction->state = TRANSACTION_RESOLVING;
        return;
    case TRANSACTION_FAILED:
        fail(publisher, &transaction->error);
        end_aborted(publisher);
        return;
    case TRANSACTION_ABANDONED: // perhaps committed: never sent again from here
        publisher->is_giving_up = true;
        end_aborted(publisher);
        return;
    case TRANSACTION_ABORTED:
        end_aborted(publisher);
        return;
    }
    CHECK(false);
}

static bool is_due(const struct publisher *publisher)
{
    uint64_t now_ms = uv_now(publisher->loop);
    const struct transaction *transaction = publisher->transaction;
    if (publisher->is_finishing) {
        return transaction->first != NULL || consumer_needs_commit(publisher->consumer, true);
    }
    if (transaction_is_due(transaction, now_ms) || consumer_is_leaving(publisher->consumer)) {
        return true;
    }
    bool needs_commit = consumer_needs_commit(publisher->consumer, false);
    return (now_ms >= publisher->offsets_at_ms && needs_commit) ||
           (now_ms >= publisher->hurry_at_ms && (needs_commit || transaction->first != NULL) &&
            consumer_has_waiting(publisher->consumer));
}

/* What is inside and what is to be committed are taken in one turn of the loop, so that they fit
 * each other and the membership. */
static void form(struct publisher *publisher)
{
    struct transaction *transaction = publisher->transaction;
    if (publisher->is_giving_up) {
        transaction_clear(transaction, drop, publisher);
        return;
    }
    if (!is_due(publisher) || !consumer_reserve_snapshot(publisher->consumer)) {
        return;
    }
    transaction->group = consumer_membership(publisher->consumer);
    if (transaction->group == NULL) {
        return; // the group is asked again soon
    }
    transaction_fill(transaction, drop, publisher);
    bool is_last = publisher->is_finishing && transaction->first == NULL;
    transaction->offsets = consumer_snapshot(publisher->consumer, is_last);
    publisher->offsets_at_ms = uv_now(publisher->loop) + OFFSETS_INTERVAL_MS;
    publisher->hurry_at_ms = uv_now(publisher->loop) + HURRY_INTERVAL_MS;
    if (transaction->offsets->cnt == 0) {
        CHECK(transaction->count == 0);
        transaction_end(transaction);
        return;
    }
    transaction->state = TRANSACTION_SENT;
    publisher->started_ns = uv_hrtime();
    committer_post_transaction(publisher->committer, transaction);
}

static void on_timer(uv_timer_t *handle);

static void start_timer(struct publisher *publisher)
{
    const struct transaction *transaction = publisher->transaction;
    uint64_t wait_ms = OFFSETS_INTERVAL_MS;
    if (transaction->state == TRANSACTION_RESOLVING) {
        wait_ms = RESOLVE_INTERVAL_MS;
    } else if (transaction->state == TRANSACTION_IDLE && transaction->first != NULL) {
        uint64_t now_ms = uv_now(publisher->loop);
        // When it is due and yet could not be formed, it is tried again a little later.
        wait_ms = transaction_is_due(transaction, now_ms)
                      ? RESOLVE_INTERVAL_MS
                      : transaction->waiting_since_ms + transaction->limits.interval_ms - now_ms;
    }
    if (transaction->state == TRANSACTION_IDLE && consumer_has_waiting(publisher->consumer) &&
        wait_ms > HURRY_INTERVAL_MS) {
        wait_ms = HURRY_INTERVAL_MS;
    }
    CHECK(uv_timer_start(&publisher->timer, on_timer, wait_ms, 0) == 0);
}

static void step(struct publisher *publisher)
{
    if (!publisher->is_exactly_once) {
        publisher_take(publisher);
        return;
    }
    if (committer_take_transaction(publisher->committer) != NULL) {
        take_result(publisher);
    }
    if (publisher->transaction->state == TRANSACTION_RESOLVING) {
        step_resolve(publisher);
    }
    if (publisher->transaction->state == TRANSACTION_IDLE) {
        form(publisher);
    }
    start_timer(publisher);
    if (publisher->is_finishing && publisher_is_finished(publisher)) {
        publisher->end.on_finished(publisher->end.context);
    }
}

static void on_timer(uv_timer_t *handle)
{
    step(handle->data);
}

static void on_wake(uv_async_t *handle)
{
    step(handle->data);
}

/* Thread: committer. */
static void wake(void *context)
{
    struct publisher *publisher = context;
    (void)uv_async_send(&publisher->wake);
}

void publisher_nudge(struct publisher *publisher)
{
    (void)uv_async_send(&publisher->wake);
}

void publisher_add(struct publisher *publisher, struct job *job)
{
    struct error error = {0};
    struct delivery *delivery = delivery_open(publisher->setting, job, &error);
    if (delivery == NULL) {
        publisher->end.on_done(publisher->end.context, job, false);
        fail(publisher, &error);
        return;
    }
    publisher->count++;
    if (!publisher->is_exactly_once) {
        committer_post(publisher->committer, delivery);
        return;
    }
    struct transaction *transaction = publisher->transaction;
    transaction_add(transaction, delivery, uv_now(publisher->loop));
    // Not formed here: that may end other jobs, while the session walks through them.
    bool is_first = transaction->waiting_count == 1;
    bool is_full = transaction->waiting_count == transaction->limits.records_max;
    if (is_first || is_full || publisher->is_giving_up) {
        publisher_nudge(publisher);
    }
}

void publisher_finish(struct publisher *publisher)
{
    if (!publisher->is_finishing) {
        publisher->is_finishing = true;
        publisher_nudge(publisher);
    }
}

void publisher_abandon(struct publisher *publisher)
{
    publisher->is_giving_up = true;
    committer_abandon(publisher->committer);
    publisher_nudge(publisher);
}

size_t publisher_count(const struct publisher *publisher)
{
    return publisher->count;
}

bool publisher_is_finished(const struct publisher *publisher)
{
    if (!publisher->is_exactly_once) {
        return publisher->count == 0; // the consumer commits what is left when it closes
    }
    return publisher->count == 0 && publisher->transaction->state == TRANSACTION_IDLE &&
           (publisher->is_giving_up || !consumer_needs_commit(publisher->consumer, true));
}

bool publisher_is_stuck(const struct publisher *publisher)
{
    return committer_is_stuck(publisher->committer);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct publisher *publisher = handle->data;
    if (--publisher->handles_open == 0) {
        free(publisher);
    }
}

static void open_handles(struct publisher *publisher)
{
    CHECK(uv_async_init(publisher->loop, &publisher->wake, on_wake) == 0);
    CHECK(uv_timer_init(publisher->loop, &publisher->timer) == 0);
    publisher->wake.data = publisher;
    publisher->timer.data = publisher;
    publisher->handles_open = 2;
}

static bool open_committer(struct publisher *publisher, bool is_exactly_once, struct error *error)
{
    const struct config *config = publisher->setting->config;
    // Every job takes a credit, so no more than this can be inside; one more for the last intake.
    size_t inside_max = (size_t)config->intake_records_max + 1;
    struct committer_wake wake_loop = {wake, publisher};
    publisher->is_exactly_once = is_exactly_once;
    return committer_open(config, is_exactly_once, inside_max, wake_loop, &publisher->committer,
                          error);
}

/* What delivery.guarantee asks for, as far as this broker can do it. */
static bool choose_guarantee(struct publisher *publisher, struct error *error)
{
    enum config_guarantee guarantee = publisher->setting->config->delivery_guarantee;
    if (guarantee == GUARANTEE_AT_LEAST_ONCE) {
        return open_committer(publisher, false, error);
    }
    const char *why = "the demo broker shows aborted records and forgets offsets";
    struct error none = {0};
    if (!kafka_client_is_demo(consumer_client(publisher->consumer), DEMO_TIMEOUT_MS)) {
        if (open_committer(publisher, true, &none)) {
            return true;
        }
        if (none.kind != ERROR_NOT_FOUND) {
            *error = none;
            return false;
        }
        why = "the broker has no transactions";
    }
    if (guarantee == GUARANTEE_EXACTLY_ONCE) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "delivery.guarantee is exactly_once, but %s: use a Kafka broker, or "
                         "at_least_once",
                         why);
    }
    log_event(LOG_WARN, "at_least_once", "reason=%s", why);
    return open_committer(publisher, false, error);
}

bool publisher_open(uv_loop_t *loop, const struct delivery_setting *setting,
                    struct consumer *consumer, const struct publisher_end *end,
                    struct publisher **publisher_out, struct error *error)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the publisher");
    }
    publisher->loop = loop;
    publisher->setting = setting;
    publisher->consumer = consumer;
    publisher->end = *end;
    open_handles(publisher);
    const struct config *config = setting->config;
    struct transaction_limits limits = {
        .records_max = (size_t)config->transaction_records_max,
        .bytes_max = (size_t)config->transaction_bytes_max,
        .interval_ms = (uint64_t)config->transaction_interval_ms,
    };
    if (!transaction_open(&limits, &publisher->transaction, error) ||
        !choose_guarantee(publisher, error)) {
        publisher_close(publisher);
        return false;
    }
    if (publisher->is_exactly_once) {
        consumer_use_transactions(consumer);
        start_timer(publisher);
    }
    log_event(LOG_INFO, "delivery", "guarantee=%s",
              publisher->is_exactly_once ? "exactly_once" : "at_least_once");
    *publisher_out = publisher;
    return true;
}

/* The committer's thread has ended. */
static void take_last(struct publisher *publisher)
{
    if (!publisher->is_exactly_once) {
        publisher_take(publisher);
        return;
    }
    if (committer_take_transaction(publisher->committer) != NULL) {
        take_result(publisher);
    }
    publisher->transaction->state = TRANSACTION_IDLE;
    transaction_clear(publisher->transaction, drop, publisher);
}

void publisher_close(struct publisher *publisher)
{
    if (publisher == NULL) {
        return;
    }
    publisher->is_giving_up = true;
    if (publisher->committer != NULL) {
        committer_stop(publisher->committer);
        take_last(publisher);
        committer_close(publisher->committer);
    }
    group_read_close(publisher->read);
    transaction_close(publisher->transaction);
    uv_close((uv_handle_t *)&publisher->wake, on_handle_closed);
    uv_close((uv_handle_t *)&publisher->timer, on_handle_closed);
}
