/* fault_calls: the rule in force, and a wrapper for each call. Those of the group are in
 * scripted_group.c. */
#include "tests/support/fault_calls.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/job.h"
#include "schemas/base/check.h"
#include "tests/support/fault_memory.h"
#include "tests/support/ledger.h"
#include "worker/delivery.h"

// The names that ld gives to wrappers are reserved.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

enum { VARIABLES_MAX = 16, ERRORS_MAX = 16, CALLS_MAX = 64, METADATA_TIMEOUT_MS = 5000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const struct fault *faults;
    size_t count;
    int skipped[FAULTS_MAX];
    int hits[FAULTS_MAX];
    struct {
        const char *call;
        int count;
    } calls[CALLS_MAX];
} armed;

/* librdkafka has no public way to say what an error asks for, so it is kept beside. */
static struct {
    const rd_kafka_error_t *error;
    enum fault_kind kind;
} errors[ERRORS_MAX];

static void lock(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
}

static void unlock(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

void fault_arm(const struct fault *faults, size_t count)
{
    CHECK(count <= FAULTS_MAX);
    lock();
    memset(&armed, 0, sizeof armed);
    armed.faults = faults;
    armed.count = count;
    unlock();
}

int fault_hits(size_t number)
{
    lock();
    int count = armed.hits[number];
    unlock();
    return count;
}

/* The place of the call in the table. */
static size_t place_of(const char *call)
{
    size_t i = 0;
    while (armed.calls[i].call != NULL && strcmp(armed.calls[i].call, call) != 0) {
        i++;
        CHECK(i < CALLS_MAX);
    }
    armed.calls[i].call = call;
    return i;
}

int fault_calls(const char *call)
{
    lock();
    int count = armed.calls[place_of(call)].count;
    unlock();
    return count;
}

/* Whether the call meets the fault of that number. */
static bool meets(size_t number, const char *call)
{
    const struct fault *fault = &armed.faults[number];
    int times = fault->times > 0 ? fault->times : 1;
    if (strcmp(fault->call, call) != 0 || armed.hits[number] == times) {
        return false;
    }
    if (armed.skipped[number] < fault->skip) {
        armed.skipped[number]++;
        return false;
    }
    armed.hits[number]++;
    return true;
}

const struct fault *fault_meet(const char *call)
{
    if (fault_is_exempt()) {
        return NULL;
    }
    const struct fault *met = NULL;
    lock();
    armed.calls[place_of(call)].count++;
    for (size_t i = 0; i < armed.count && met == NULL; i++) {
        met = meets(i, call) ? &armed.faults[i] : NULL;
    }
    unlock();
    return met;
}

rd_kafka_error_t *fault_error(const struct fault *fault)
{
    rd_kafka_error_t *error = rd_kafka_error_new(fault->code, "injected fault");
    lock();
    size_t i = 0;
    while (i < ERRORS_MAX && errors[i].error != NULL) {
        i++;
    }
    CHECK(i < ERRORS_MAX);
    errors[i].error = error;
    errors[i].kind = fault->kind;
    unlock();
    return error;
}

/* Whether the error was made here, and asks for that. */
static bool is_of_kind(const rd_kafka_error_t *error, enum fault_kind kind)
{
    bool is_found = false;
    lock();
    for (size_t i = 0; i < ERRORS_MAX; i++) {
        is_found = is_found || (errors[i].error == error && errors[i].kind == kind);
    }
    unlock();
    return is_found;
}

/* A wrapper that makes the call unless it meets a fault before; then its value is `faulty`. */
#define WRAP(type, name, parameters, arguments, faulty)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        const struct fault *fault = fault_meet(#name);                                             \
        return fault != NULL ? (faulty) : __real_##name arguments;                                 \
    }

WRAP(rd_kafka_conf_res_t, rd_kafka_conf_set,
     (rd_kafka_conf_t * conf, const char *name, const char *value, char *reason, size_t size),
     (conf, name, value, reason, size), RD_KAFKA_CONF_INVALID)
WRAP(rd_kafka_resp_err_t, rd_kafka_poll_set_consumer, (rd_kafka_t * client), (client), fault->code)
WRAP(rd_kafka_topic_t *, rd_kafka_topic_new,
     (rd_kafka_t * client, const char *name, rd_kafka_topic_conf_t *conf), (client, name, conf),
     NULL)
WRAP(rd_kafka_resp_err_t, rd_kafka_metadata,
     (rd_kafka_t * client, int all, rd_kafka_topic_t *topic,
      const struct rd_kafka_metadata **metadata_out, int timeout_ms),
     (client, all, topic, metadata_out, timeout_ms), fault->code)
WRAP(rd_kafka_resp_err_t, rd_kafka_pause_partitions,
     (rd_kafka_t * client, rd_kafka_topic_partition_list_t *list), (client, list), fault->code)
WRAP(rd_kafka_resp_err_t, rd_kafka_resume_partitions,
     (rd_kafka_t * client, rd_kafka_topic_partition_list_t *list), (client, list), fault->code)
WRAP(rd_kafka_error_t *, rd_kafka_consumer_group_metadata_write,
     (const rd_kafka_consumer_group_metadata_t *metadata, void **bytes, size_t *size),
     (metadata, bytes, size), fault_error(fault))
WRAP(rd_kafka_event_t *, rd_kafka_queue_poll, (rd_kafka_queue_t * queue, int timeout_ms),
     (queue, timeout_ms), NULL)
WRAP(int, rd_kafka_queue_poll_callback, (rd_kafka_queue_t * queue, int timeout_ms),
     (queue, timeout_ms), 0)
WRAP(rd_kafka_resp_err_t, rd_kafka_event_error, (rd_kafka_event_t * event), (event), fault->code)
WRAP(const rd_kafka_ListConsumerGroupOffsets_result_t *,
     rd_kafka_event_ListConsumerGroupOffsets_result, (rd_kafka_event_t * event), (event), NULL)
WRAP(rd_kafka_queue_t *, rd_kafka_queue_get_consumer, (rd_kafka_t * client), (client), NULL)
WRAP(rd_kafka_resp_err_t, rd_kafka_get_watermark_offsets,
     (rd_kafka_t * client, const char *topic, int32_t partition, int64_t *low, int64_t *high),
     (client, topic, partition, low, high), fault->code)
WRAP(rd_kafka_resp_err_t, rd_kafka_flush, (rd_kafka_t * client, int timeout_ms),
     (client, timeout_ms), fault->code)
WRAP(rd_kafka_resp_err_t, rd_kafka_purge, (rd_kafka_t * client, int flags), (client, flags),
     fault->code)
WRAP(rd_kafka_error_t *, rd_kafka_begin_transaction, (rd_kafka_t * client), (client),
     fault_error(fault))
WRAP(rd_kafka_resp_err_t, rd_kafka_message_headers,
     (const rd_kafka_message_t *message, rd_kafka_headers_t **headers_out), (message, headers_out),
     fault->code)

rd_kafka_t *__real_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size);
rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size);

/* A producer that knows its topics: else librdkafka looks for them no more than once a second. */
rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *reason,
                                size_t size)
{
    if (fault_meet("rd_kafka_new") != NULL) {
        (void)snprintf(reason, size, "injected fault");
        return NULL;
    }
    rd_kafka_t *client = __real_rd_kafka_new(type, conf, reason, size);
    const struct rd_kafka_metadata *metadata;
    if (client != NULL && type == RD_KAFKA_PRODUCER && !fault_is_exempt() &&
        __real_rd_kafka_metadata(client, 1, NULL, &metadata, METADATA_TIMEOUT_MS) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
    return client;
}

/* Errors that were made here, told from librdkafka's own. */
#define WRAP_KIND(name, kind)                                                                      \
    int __real_##name(const rd_kafka_error_t *error);                                              \
    int __wrap_##name(const rd_kafka_error_t *error);                                              \
    int __wrap_##name(const rd_kafka_error_t *error)                                               \
    {                                                                                              \
        return is_of_kind(error, kind) || __real_##name(error) != 0;                               \
    }

WRAP_KIND(rd_kafka_error_is_retriable, FAULT_RETRIABLE)
WRAP_KIND(rd_kafka_error_is_fatal, FAULT_FATAL)
WRAP_KIND(rd_kafka_error_txn_requires_abort, FAULT_ABORTABLE)

void __real_rd_kafka_error_destroy(rd_kafka_error_t *error);
void __wrap_rd_kafka_error_destroy(rd_kafka_error_t *error);

void __wrap_rd_kafka_error_destroy(rd_kafka_error_t *error)
{
    lock();
    for (size_t i = 0; i < ERRORS_MAX; i++) {
        if (errors[i].error == error) {
            errors[i].error = NULL;
        }
    }
    unlock();
    __real_rd_kafka_error_destroy(error);
}

char *__real_rd_kafka_clusterid(rd_kafka_t *client, int timeout_ms);
char *__wrap_rd_kafka_clusterid(rd_kafka_t *client, int timeout_ms);

/* The mock cluster's own id would mean that there are no transactions to be had. */
char *__wrap_rd_kafka_clusterid(rd_kafka_t *client, int timeout_ms)
{
    if (fault_meet("rd_kafka_clusterid") != NULL) {
        return NULL;
    }
    return ledger_is_exactly_once() ? fault_memory_copy("a cluster")
                                    : __real_rd_kafka_clusterid(client, timeout_ms);
}

const rd_kafka_error_t *__real_rd_kafka_group_result_error(const rd_kafka_group_result_t *result);
const rd_kafka_error_t *__wrap_rd_kafka_group_result_error(const rd_kafka_group_result_t *result);

/* The error is the result's, so nobody destroys it. */
const rd_kafka_error_t *__wrap_rd_kafka_group_result_error(const rd_kafka_group_result_t *result)
{
    static rd_kafka_error_t *injected;
    const struct fault *fault = fault_meet("rd_kafka_group_result_error");
    if (fault == NULL) {
        return __real_rd_kafka_group_result_error(result);
    }
    if (injected != NULL) {
        __real_rd_kafka_error_destroy(injected);
    }
    injected = rd_kafka_error_new(fault->code, "injected fault");
    return injected;
}

/* What a group has committed is in the ledger. */
const rd_kafka_topic_partition_list_t *
__real_rd_kafka_group_result_partitions(const rd_kafka_group_result_t *result);
const rd_kafka_topic_partition_list_t *
__wrap_rd_kafka_group_result_partitions(const rd_kafka_group_result_t *result);

const rd_kafka_topic_partition_list_t *
__wrap_rd_kafka_group_result_partitions(const rd_kafka_group_result_t *result)
{
    if (fault_meet("rd_kafka_group_result_partitions") != NULL) {
        return NULL;
    }
    const rd_kafka_topic_partition_list_t *list = __real_rd_kafka_group_result_partitions(result);
    if (list != NULL) {
        ledger_fill(list);
    }
    return list;
}

/* Reports of produced records: "a delivery report" is no function, but can fail like one. */
static void (*report)(rd_kafka_t *client, const rd_kafka_message_t *message, void *context);

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
    const struct delivery *delivery = message->_private;
    rd_kafka_message_t copy = *message;
    const struct fault *fault =
        copy.err == RD_KAFKA_RESP_ERR_NO_ERROR ? fault_meet("a delivery report") : NULL;
    if (copy.err == RD_KAFKA_RESP_ERR_NO_ERROR && !ledger_is_exactly_once()) {
        ledger_publish(delivery);
    }
    if (fault != NULL) {
        copy.err = fault->code;
    }
    report(client, &copy, context);
}

typedef void report_function(rd_kafka_t *client, const rd_kafka_message_t *message, void *context);
void __real_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, report_function *function);
void __wrap_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, report_function *function);

void __wrap_rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, report_function *function)
{
    report = function;
    __real_rd_kafka_conf_set_dr_msg_cb(conf, on_report);
}

/* The arguments of rd_kafka_producev, up to its end, as those of rd_kafka_produceva. */
static size_t collect(va_list arguments, rd_kafka_vu_t *variables)
{
    size_t count = 0;
    for (int type = va_arg(arguments, int); type != RD_KAFKA_VTYPE_END;
         type = va_arg(arguments, int)) {
        CHECK(count < VARIABLES_MAX);
        rd_kafka_vu_t *variable = &variables[count++];
        variable->vtype = (rd_kafka_vtype_t)type;
        if (type == RD_KAFKA_VTYPE_TOPIC) {
            variable->u.cstr = va_arg(arguments, const char *);
        } else if (type == RD_KAFKA_VTYPE_PARTITION) {
            variable->u.i32 = va_arg(arguments, int32_t);
        } else if (type == RD_KAFKA_VTYPE_MSGFLAGS) {
            variable->u.i = va_arg(arguments, int);
        } else if (type == RD_KAFKA_VTYPE_VALUE || type == RD_KAFKA_VTYPE_KEY) {
            variable->u.mem.ptr = va_arg(arguments, void *);
            variable->u.mem.size = va_arg(arguments, size_t);
        } else if (type == RD_KAFKA_VTYPE_HEADERS) {
            variable->u.headers = va_arg(arguments, rd_kafka_headers_t *);
        } else if (type == RD_KAFKA_VTYPE_HEADER) {
            variable->u.header.name = va_arg(arguments, const char *);
            variable->u.header.val = va_arg(arguments, const void *);
            variable->u.header.size = va_arg(arguments, ssize_t);
        } else {
            CHECK(type == RD_KAFKA_VTYPE_OPAQUE);
            variable->u.ptr = va_arg(arguments, void *);
        }
    }
    return count;
}

static const struct delivery *delivery_of(const rd_kafka_vu_t *variables, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (variables[i].vtype == RD_KAFKA_VTYPE_OPAQUE) {
            return variables[i].u.ptr;
        }
    }
    return NULL;
}

rd_kafka_resp_err_t __wrap_rd_kafka_producev(rd_kafka_t *client, ...);

rd_kafka_resp_err_t __wrap_rd_kafka_producev(rd_kafka_t *client, ...)
{
    rd_kafka_vu_t variables[VARIABLES_MAX];
    va_list arguments;
    va_start(arguments, client);
    size_t count = collect(arguments, variables);
    va_end(arguments);
    const struct fault *fault = fault_meet("rd_kafka_producev");
    if (fault != NULL) {
        return fault->code;
    }
    rd_kafka_error_t *error = rd_kafka_produceva(client, variables, count);
    if (error != NULL) {
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        __real_rd_kafka_error_destroy(error);
        return code;
    }
    const struct delivery *delivery = delivery_of(variables, count);
    if (delivery != NULL && ledger_is_exactly_once()) {
        ledger_publish(delivery);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The calls of a transaction. `answered`: the call worked, and its answer was said to come later;
 * librdkafka then answers the same call when it is made again. */
static const char *_Atomic answered;

typedef rd_kafka_error_t *transaction_function(rd_kafka_t *client, int timeout_ms);
transaction_function __real_rd_kafka_init_transactions, __wrap_rd_kafka_init_transactions;
transaction_function __real_rd_kafka_commit_transaction, __wrap_rd_kafka_commit_transaction;
transaction_function __real_rd_kafka_abort_transaction, __wrap_rd_kafka_abort_transaction;

/* Makes the call unless a fault comes before; what worked, ends the ledger's transaction. */
static rd_kafka_error_t *end(const char *name, transaction_function *function, rd_kafka_t *client,
                             int timeout_ms, bool is_committed)
{
    const struct fault *fault = fault_meet(name);
    const char *before = answered;
    answered = NULL;
    if (fault != NULL && !fault->is_late) {
        return fault_error(fault);
    }
    if (fault == NULL && before != NULL && strcmp(before, name) == 0) {
        return NULL;
    }
    rd_kafka_error_t *error = function(client, timeout_ms);
    if (error == NULL) {
        ledger_end(is_committed);
    }
    if (fault == NULL || error != NULL) {
        return error;
    }
    answered = fault->kind == FAULT_RETRIABLE ? name : NULL;
    return fault_error(fault);
}

rd_kafka_error_t *__wrap_rd_kafka_init_transactions(rd_kafka_t *client, int timeout_ms)
{
    return end("rd_kafka_init_transactions", __real_rd_kafka_init_transactions, client, timeout_ms,
               false);
}

rd_kafka_error_t *__wrap_rd_kafka_commit_transaction(rd_kafka_t *client, int timeout_ms)
{
    return end("rd_kafka_commit_transaction", __real_rd_kafka_commit_transaction, client,
               timeout_ms, true);
}

rd_kafka_error_t *__wrap_rd_kafka_abort_transaction(rd_kafka_t *client, int timeout_ms)
{
    return end("rd_kafka_abort_transaction", __real_rd_kafka_abort_transaction, client, timeout_ms,
               false);
}

typedef rd_kafka_error_t *offsets_function(rd_kafka_t *client,
                                           const rd_kafka_topic_partition_list_t *list,
                                           const rd_kafka_consumer_group_metadata_t *group,
                                           int timeout_ms);
offsets_function __real_rd_kafka_send_offsets_to_transaction;
offsets_function __wrap_rd_kafka_send_offsets_to_transaction;

rd_kafka_error_t *__wrap_rd_kafka_send_offsets_to_transaction(
    rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list,
    const rd_kafka_consumer_group_metadata_t *group, int timeout_ms)
{
    const struct fault *fault = fault_meet("rd_kafka_send_offsets_to_transaction");
    if (fault != NULL && !fault->is_late) {
        return fault_error(fault);
    }
    rd_kafka_error_t *error =
        __real_rd_kafka_send_offsets_to_transaction(client, list, group, timeout_ms);
    if (error == NULL) {
        ledger_offsets(list);
    }
    return fault == NULL || error != NULL ? error : fault_error(fault);
}

// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
