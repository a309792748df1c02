/* transactor: each call to librdkafka with the verdict on its error; see the header for why. */
#include "worker/transactor.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/log.h"

enum {
    CALL_MS = 2000, // of one call; a call that timed out is made again and goes on
    WAIT_MS = 100,
    BACKOFF_MS = 100, // doubled up to the next
    BACKOFF_MAX_MS = 2000,
    STUCK_MS = 5000,
    // Before the broker's timeout an open transaction is given up: its end, too, takes time.
    TIMEOUT_MARGIN_PERCENT = 20,
};

/* What a call asks for. */
enum step {
    STEP_DONE,
    STEP_RETRY,   // the same call
    STEP_ABORT,   // abort the transaction
    STEP_REPLACE, // a new producer
    STEP_STOP,    // no repetition helps: transactor->error
    STEP_QUIT,    // the worker stops and waits for no broker
};

static uint64_t now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void transactor_init(struct transactor *transactor, const struct config *config,
                     struct producer *producer, struct transactor_host host)
{
    *transactor = (struct transactor){
        .config = config,
        .producer = producer,
        .host = host,
        .timeout_ns = (uint64_t)kafka_client_transaction_timeout_ms(config) * 1000000,
    };
}

static bool is_abandoning(const struct transactor *transactor)
{
    return *transactor->host.is_abandoning;
}

static void nap(struct transactor *transactor, int timeout_ms)
{
    transactor->host.sleep(transactor->host.context, timeout_ms);
}

static bool is_denied(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT ||
           code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
           code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
}

static enum step stop(struct transactor *transactor, const char *reason)
{
    transactor->error = (struct error){0};
    (void)error_set(&transactor->error, ERROR_FATAL, NULL, NULL, "%s", reason);
    return STEP_STOP;
}

/* Another process has our transactional.id, or the broker's timeout struck: it raises the epoch,
 * too. */
static enum step judge_fence(struct transactor *transactor)
{
    bool is_late = now_ns() - transactor->begun_ns >= transactor->timeout_ns;
    if (is_late || transactor->config->worker_id_is_unique) {
        return STEP_REPLACE;
    }
    transactor->error = (struct error){0};
    (void)error_set(&transactor->error, ERROR_FATAL, NULL, NULL,
                    "another process runs as worker.id %s and has fenced this one, which stops; "
                    "what it had open was not committed",
                    transactor->config->worker_id);
    return STEP_STOP;
}

/* Takes the error. */
static enum step judge(struct transactor *transactor, const char *call, rd_kafka_error_t *error)
{
    if (error == NULL) {
        return STEP_DONE;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool is_fatal = rd_kafka_error_is_fatal(error) != 0;
    char reason[256];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        code = rd_kafka_fatal_error(producer_client(transactor->producer), reason, sizeof reason);
    }
    log_event(rd_kafka_error_is_retriable(error) ? LOG_INFO : LOG_WARN, "transaction_error",
              "call=%s code=%s reason=%s", call, rd_kafka_err2name(code),
              rd_kafka_error_string(error));
    enum step step = STEP_REPLACE; // what librdkafka says nothing about is as good as fatal
    if (kafka_is_fence(code)) {
        step = judge_fence(transactor);
    } else if (is_denied(code)) {
        step = stop(transactor, rd_kafka_error_string(error));
    } else if (!is_fatal && rd_kafka_error_txn_requires_abort(error)) {
        step = STEP_ABORT;
    } else if (!is_fatal && rd_kafka_error_is_retriable(error)) {
        step = STEP_RETRY;
    }
    rd_kafka_error_destroy(error);
    return step;
}

typedef rd_kafka_error_t *call_function(struct transactor *transactor,
                                        struct transaction *transaction);

static rd_kafka_error_t *call_init(struct transactor *transactor, struct transaction *transaction)
{
    (void)transaction;
    return rd_kafka_init_transactions(producer_client(transactor->producer), CALL_MS);
}

static rd_kafka_error_t *call_begin(struct transactor *transactor, struct transaction *transaction)
{
    (void)transaction;
    return rd_kafka_begin_transaction(producer_client(transactor->producer));
}

static rd_kafka_error_t *call_offsets(struct transactor *transactor,
                                      struct transaction *transaction)
{
    return rd_kafka_send_offsets_to_transaction(producer_client(transactor->producer),
                                                transaction->offsets, transaction->group, CALL_MS);
}

static rd_kafka_error_t *call_commit(struct transactor *transactor, struct transaction *transaction)
{
    (void)transaction;
    transactor->is_commit_called = true;
    return rd_kafka_commit_transaction(producer_client(transactor->producer), CALL_MS);
}

static rd_kafka_error_t *call_abort(struct transactor *transactor, struct transaction *transaction)
{
    (void)transaction;
    return rd_kafka_abort_transaction(producer_client(transactor->producer), CALL_MS);
}

/* Whether the transaction has to end now, if it is not to run into the broker's timeout. */
static bool is_late(const struct transactor *transactor)
{
    return now_ns() - transactor->begun_ns >=
           transactor->timeout_ns / 100 * (100 - TIMEOUT_MARGIN_PERCENT);
}

/* Makes the call until it has an end. */
static enum step repeat(struct transactor *transactor, const char *name, call_function *function,
                        struct transaction *transaction)
{
    uint64_t start_ns = now_ns();
    int backoff_ms = BACKOFF_MS;
    for (;;) {
        enum step step = judge(transactor, name, function(transactor, transaction));
        if (step != STEP_RETRY) {
            return step;
        }
        if (is_abandoning(transactor)) {
            return STEP_QUIT;
        }
        // Only before the commit: from then on librdkafka takes nothing but the same call.
        if (function == call_offsets && is_late(transactor)) {
            return STEP_ABORT;
        }
        if (now_ns() - start_ns >= (uint64_t)STUCK_MS * 1000000) {
            *transactor->host.is_stuck = true;
        }
        nap(transactor, backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

/* Waits until librdkafka has reported everything. */
static void get_all_back(struct transactor *transactor)
{
    producer_purge(transactor->producer);
    while (producer_wait(transactor->producer, WAIT_MS) > 0) {
        producer_purge(transactor->producer);
    }
}

/* A new producer whose init_transactions has worked: whatever the one before had open is over. */
static enum step replace(struct transactor *transactor)
{
    int backoff_ms = BACKOFF_MS;
    for (;;) {
        get_all_back(transactor);
        struct error error = {0};
        transactor->is_initialized = false;
        enum step step = STEP_REPLACE;
        if (producer_replace(transactor->producer, &error)) {
            log_event(LOG_WARN, "producer_replaced", "worker_id=%s", transactor->config->worker_id);
            step = repeat(transactor, "init", call_init, NULL);
        } else {
            // The same configuration opened one before: only memory or threads can be short.
            log_event(LOG_ERROR, "producer_not_opened", "reason=%s", error.message);
        }
        if (step == STEP_DONE || step == STEP_STOP || step == STEP_QUIT) {
            transactor->is_initialized = step == STEP_DONE;
            return step;
        }
        if (is_abandoning(transactor)) {
            return STEP_QUIT;
        }
        nap(transactor, backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

bool transactor_start(struct transactor *transactor, int timeout_ms, struct error *error)
{
    uint64_t until_ns = now_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        rd_kafka_error_t *cause = call_init(transactor, NULL);
        if (cause == NULL) {
            transactor->is_initialized = true;
            return true;
        }
        rd_kafka_resp_err_t code = rd_kafka_error_code(cause);
        bool goes_on = rd_kafka_error_is_retriable(cause) && now_ns() < until_ns;
        if (!goes_on) {
            enum error_kind kind =
                code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ? ERROR_NOT_FOUND : ERROR_FATAL;
            (void)error_set(error, kind, NULL, NULL, "transactions cannot begin: %s",
                            rd_kafka_error_string(cause));
        }
        rd_kafka_error_destroy(cause);
        if (!goes_on) {
            return false;
        }
        nap(transactor, BACKOFF_MS);
    }
}

/* Produces what is inside. librdkafka may run full on the way. */
static enum step send_all(struct transactor *transactor, struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++) {
        while (!producer_send(transactor->producer, transaction->deliveries[i])) {
            (void)producer_wait(transactor->producer, WAIT_MS);
            if (is_abandoning(transactor) || is_late(transactor)) {
                return STEP_ABORT;
            }
        }
    }
    return STEP_DONE;
}

static bool is_settled(enum delivery_state state)
{
    return state == DELIVERY_TOO_LARGE || state == DELIVERY_REFUSED;
}

/* A producer that is broken may be so because it was fenced, which only librdkafka's own reason
 * tells: where records were purged, no call has been refused. */
static enum step judge_broken(struct transactor *transactor)
{
    rd_kafka_t *client = producer_client(transactor->producer);
    char reason[256];
    bool is_fenced =
        client != NULL && kafka_is_fence(rd_kafka_fatal_error(client, reason, sizeof reason));
    return is_fenced ? judge_fence(transactor) : STEP_REPLACE;
}

/* Records were purged: the next call says why the transaction failed, which may be for good. */
static enum step find_reason(struct transactor *transactor, struct transaction *transaction)
{
    if (producer_is_broken(transactor->producer)) {
        return judge_broken(transactor);
    }
    enum step step = judge(transactor, "send_offsets", call_offsets(transactor, transaction));
    return step == STEP_DONE || step == STEP_RETRY ? STEP_ABORT : step;
}

/* Waits for the reports; all must be good. */
static enum step await_reports(struct transactor *transactor, struct transaction *transaction)
{
    uint64_t start_ns = now_ns();
    while (producer_wait(transactor->producer, WAIT_MS) > 0) {
        if (now_ns() - start_ns >= (uint64_t)STUCK_MS * 1000000) {
            *transactor->host.is_stuck = true;
        }
        if (is_abandoning(transactor) || is_late(transactor)) {
            return STEP_ABORT;
        }
    }
    bool is_complete = true;
    for (size_t i = 0; i < transaction->count; i++) {
        if (is_settled(transaction->deliveries[i]->state)) {
            return STEP_ABORT; // for the loop to mend
        }
        is_complete = is_complete && transaction->deliveries[i]->state == DELIVERY_DONE;
    }
    return is_complete ? STEP_DONE : find_reason(transactor, transaction);
}

static enum step attempt(struct transactor *transactor, struct transaction *transaction)
{
    transactor->begun_ns = now_ns();
    enum step step = repeat(transactor, "begin", call_begin, transaction);
    if (step == STEP_DONE) {
        step = send_all(transactor, transaction);
    }
    if (step == STEP_DONE) {
        step = await_reports(transactor, transaction);
    }
    if (step == STEP_DONE) {
        step = repeat(transactor, "send_offsets", call_offsets, transaction);
    }
    return step == STEP_DONE ? repeat(transactor, "commit", call_commit, transaction) : step;
}

/* Ends what `attempt` left open. From here on only STEP_DONE means that it is over. */
static enum step give_up(struct transactor *transactor, enum step step,
                         struct transaction *transaction)
{
    if (step == STEP_STOP) { // nobody should have to wait for the broker's timeout
        rd_kafka_error_t *error = call_abort(transactor, transaction);
        if (error != NULL) {
            rd_kafka_error_destroy(error);
        }
    }
    if (step == STEP_ABORT) {
        step = repeat(transactor, "abort", call_abort, transaction);
    }
    if (step == STEP_REPLACE || step == STEP_ABORT) { // an abort asks for no other abort
        step = replace(transactor);
    }
    return step;
}

/* Of a transaction that was not committed: what it acknowledged is not visible. */
static void take_back(struct transactor *transactor, struct transaction *transaction)
{
    get_all_back(transactor);
    bool is_own_fault = false;
    for (size_t i = 0; i < transaction->count; i++) {
        struct delivery *delivery = transaction->deliveries[i];
        is_own_fault = is_own_fault || is_settled(delivery->state);
        if (!is_settled(delivery->state)) {
            delivery->state = DELIVERY_ENCODED;
        }
    }
    // The next transaction may meet the same fault, so it waits; what was too large will not.
    if (!is_own_fault && !is_abandoning(transactor)) {
        int shift = transactor->aborts_count < 5 ? transactor->aborts_count : 5;
        int backoff_ms = BACKOFF_MS << shift;
        transactor->aborts_count++;
        nap(transactor, backoff_ms < BACKOFF_MAX_MS ? backoff_ms : BACKOFF_MAX_MS);
    }
}

/* Before a transaction. A producer that was fenced between two of them was so by another process.
 */
static enum step prepare(struct transactor *transactor)
{
    if (transactor->is_initialized && !producer_is_broken(transactor->producer)) {
        return STEP_DONE;
    }
    transactor->begun_ns = now_ns();
    enum step step = judge_broken(transactor);
    return step == STEP_REPLACE ? replace(transactor) : step;
}

void transactor_run(struct transactor *transactor, struct transaction *transaction)
{
    transactor->is_commit_called = false;
    enum step step = prepare(transactor);
    if (step == STEP_DONE) {
        step = attempt(transactor, transaction);
        if (step == STEP_DONE) {
            transaction->result = TRANSACTION_COMMITTED;
            transactor->aborts_count = 0;
            *transactor->host.is_stuck = false;
            return;
        }
        step = give_up(transactor, step, transaction);
    }
    if (step == STEP_DONE) {
        transaction->result =
            transactor->is_commit_called ? TRANSACTION_UNKNOWN : TRANSACTION_ABORTED;
    } else if (step == STEP_STOP) {
        transaction->result = TRANSACTION_FAILED;
        transaction->error = transactor->error;
    } else {
        transaction->result = TRANSACTION_ABANDONED;
    }
    take_back(transactor, transaction);
    *transactor->host.is_stuck = false;
}
