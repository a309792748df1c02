/* sender: librdkafka's calls for one transaction after the other. */
#include "worker/sender.h"

#include <stdlib.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"
#include "worker/kafka_client.h"

enum {
    RECORDS_DUE = 10000,
    BYTES_DUE = 32 << 20,
    AGE_DUE_MS = 1000,
    CALL_MS = 2000,
    CALLS_MS_MAX = 60000, // of one call with its repetitions
    POLL_MS = 100,
    CLOSE_TIMEOUT_MS = 5000,
};

/* librdkafka holds so much at a time. */
#define QUEUE_KBYTES_MAX "65536"
/* A broker that stays away for so long ends the command; without transactions likewise. */
#define TRANSACTION_TIMEOUT_MS "60000"

struct sender {
    const struct config *config;
    const char *transactional_id; // borrowed until open
    rd_kafka_t *client;
    bool is_transactional;
    bool is_begun;
    int64_t records; // since the last commit
    int64_t bytes;
    double begun_ms;
    rd_kafka_resp_err_t failure; // the first record's that was not delivered
};

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
    (void)client;
    struct sender *sender = context;
    if (sender->failure == RD_KAFKA_RESP_ERR_NO_ERROR) {
        sender->failure = message->err;
    }
}

/* A default of ours, where the configuration says nothing. */
static void set_default(const struct sender *sender, rd_kafka_conf_t *conf, const char *name,
                        const char *value)
{
    if (config_kafka(sender->config, name) == NULL) {
        CHECK(rd_kafka_conf_set(conf, name, value, NULL, 0) == RD_KAFKA_CONF_OK);
    }
}

static bool open_client(struct sender *sender, struct error *error)
{
    enum kafka_role role = sender->is_transactional ? KAFKA_TRANSACTIONAL : KAFKA_PRODUCER;
    rd_kafka_conf_t *conf;
    if (!kafka_client_conf(sender->config, role, &conf, error)) {
        return false;
    }
    set_default(sender, conf, "queue.buffering.max.kbytes", QUEUE_KBYTES_MAX);
    if (sender->is_transactional) {
        set_default(sender, conf, "transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        CHECK(rd_kafka_conf_set(conf, "transactional.id", sender->transactional_id, NULL, 0) ==
              RD_KAFKA_CONF_OK);
    } else {
        set_default(sender, conf, "message.timeout.ms", TRANSACTION_TIMEOUT_MS);
    }
    CHECK(rd_kafka_conf_set(conf, "partitioner", "murmur2_random", NULL, 0) == RD_KAFKA_CONF_OK);
    rd_kafka_conf_set_opaque(conf, sender);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    return kafka_client_open(role, conf, &sender->client, error);
}

/* Whether the call is to be made again. */
static bool is_retriable(rd_kafka_error_t *error, double until_ms)
{
    return error != NULL && rd_kafka_error_is_retriable(error) && clock_monotonic_ms() < until_ms;
}

typedef rd_kafka_error_t *call_function(rd_kafka_t *client, int timeout_ms);

/* Makes the call until it has an end. NULL: it worked. */
static rd_kafka_error_t *repeat(struct sender *sender, call_function *function)
{
    double until_ms = clock_monotonic_ms() + CALLS_MS_MAX;
    rd_kafka_error_t *error = function(sender->client, CALL_MS);
    while (is_retriable(error, until_ms)) {
        rd_kafka_error_destroy(error);
        (void)rd_kafka_poll(sender->client, POLL_MS);
        error = function(sender->client, CALL_MS);
    }
    return error;
}

/* False, with what the code means. */
static bool explain(const struct sender *sender, const char *what, rd_kafka_resp_err_t code,
                    struct error *error)
{
    char reason[256];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        code = rd_kafka_fatal_error(sender->client, reason, sizeof reason);
    }
    if (kafka_is_fence(code)) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "%s: another process has begun to do the same, or the transaction lasted "
                         "longer than kafka.transaction.timeout.ms; what was open is taken back",
                         what);
    }
    return error_set(error, ERROR_FATAL, NULL, NULL, "%s: %s", what, rd_kafka_err2str(code));
}

/* Ends the transaction without a trace. */
static void take_back(struct sender *sender)
{
    if (sender->is_begun && sender->is_transactional) {
        rd_kafka_error_t *failed = rd_kafka_abort_transaction(sender->client, CLOSE_TIMEOUT_MS);
        if (failed != NULL) { // the broker ends it after its timeout
            rd_kafka_error_destroy(failed);
        }
    }
    sender->is_begun = false;
}

static void close_client(struct sender *sender)
{
    (void)kafka_client_destroy(sender->client, CLOSE_TIMEOUT_MS);
    sender->client = NULL;
}

static bool start(struct sender *sender, struct error *error)
{
    if (!open_client(sender, error) || !sender->is_transactional) {
        return sender->client != NULL;
    }
    rd_kafka_error_t *failed = repeat(sender, rd_kafka_init_transactions);
    if (failed == NULL) {
        return true;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE &&
        sender->config->delivery_guarantee == GUARANTEE_AUTO) {
        close_client(sender);
        sender->is_transactional = false;
        return open_client(sender, error);
    }
    return explain(sender, "no transaction can be begun", code, error);
}

bool sender_open(const struct config *config, const char *transactional_id,
                 struct sender **sender_out, struct error *error)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    sender->config = config;
    sender->transactional_id = transactional_id;
    sender->is_transactional = config->delivery_guarantee != GUARANTEE_AT_LEAST_ONCE;
    if (!start(sender, error)) {
        sender_close(sender);
        return false;
    }
    *sender_out = sender;
    return true;
}

void sender_close(struct sender *sender)
{
    if (sender != NULL) {
        if (sender->client != NULL) {
            (void)rd_kafka_purge(sender->client, RD_KAFKA_PURGE_F_QUEUE);
            take_back(sender);
        }
        close_client(sender);
        free(sender);
    }
}

static bool begin(struct sender *sender, struct error *error)
{
    if (sender->is_begun) {
        return true;
    }
    if (sender->is_transactional) {
        rd_kafka_error_t *failed = rd_kafka_begin_transaction(sender->client);
        if (failed != NULL) {
            rd_kafka_resp_err_t code = rd_kafka_error_code(failed);
            rd_kafka_error_destroy(failed);
            return explain(sender, "no transaction can be begun", code, error);
        }
    }
    sender->is_begun = true;
    sender->begun_ms = clock_monotonic_ms();
    return true;
}

bool sender_send(struct sender *sender, const struct sender_record *record, struct error *error)
{
    if (!begin(sender, error)) {
        return false;
    }
    rd_kafka_headers_t *headers = kafka_headers(&record->headers);
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(
            sender->client, RD_KAFKA_V_TOPIC(record->topic),
            RD_KAFKA_V_PARTITION(record->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(record->key.data, record->key.size),
            // librdkafka takes a value that is not const, and copies it.
            RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.size),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        (void)rd_kafka_poll(sender->client, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? POLL_MS : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
             sender->failure == RD_KAFKA_RESP_ERR_NO_ERROR);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        sender->records++;
        sender->bytes += (int64_t)(record->key.size + record->value.size);
    } else if (headers != NULL) {
        rd_kafka_headers_destroy(headers);
    }
    if (sender->failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = sender->failure;
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || explain(sender, record->topic, code, error);
}

bool sender_commit(struct sender *sender, struct error *error)
{
    if (!sender->is_begun) {
        return true;
    }
    // The reports say which record failed, and why; a commit would only say that one did.
    while (rd_kafka_outq_len(sender->client) > 0) {
        (void)rd_kafka_flush(sender->client, POLL_MS);
    }
    if (sender->failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return explain(sender, "a record was not delivered", sender->failure, error);
    }
    if (sender->is_transactional) {
        rd_kafka_error_t *failed = repeat(sender, rd_kafka_commit_transaction);
        if (failed != NULL) {
            rd_kafka_resp_err_t code = rd_kafka_error_code(failed);
            rd_kafka_error_destroy(failed);
            return explain(sender, "a transaction cannot be committed", code, error);
        }
    }
    sender->is_begun = false;
    sender->records = 0;
    sender->bytes = 0;
    return true;
}

bool sender_is_due(const struct sender *sender)
{
    return sender->is_begun && (sender->records >= RECORDS_DUE || sender->bytes >= BYTES_DUE ||
                                clock_monotonic_ms() - sender->begun_ms >= AGE_DUE_MS);
}

bool sender_is_transactional(const struct sender *sender)
{
    return sender->is_transactional;
}

rd_kafka_t *sender_client(struct sender *sender)
{
    return sender->client;
}
