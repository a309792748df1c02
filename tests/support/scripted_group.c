/* scripted_group: one change at a time, which the next poll brings. */
#include "tests/support/scripted_group.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "tests/support/fault_calls.h"
#include "tests/support/fault_memory.h"
#include "tests/support/ledger.h"

// The names that ld gives to wrappers are reserved.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

enum change { CHANGE_NONE, CHANGE_ASSIGN, CHANGE_REVOKE };

typedef void rebalance_function(rd_kafka_t *client, rd_kafka_resp_err_t code,
                                rd_kafka_topic_partition_list_t *list, void *context);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const char *topic;
    rebalance_function *callback;
    rd_kafka_t *client; // the member; NULL: none
    enum change change; // not answered yet
    bool is_told;
    bool is_lost;
    bool is_in[SCRIPTED_PARTITIONS]; // the change
    bool is_assigned[SCRIPTED_PARTITIONS];
    rd_kafka_queue_t *close_queue; // once the worker leaves
    bool is_closing;
    int wake_fd; // of the worker's loop
} group;

static void lock(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
}

static void unlock(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

void scripted_group_reset(const char *topic)
{
    lock();
    memset(&group, 0, sizeof group);
    group.topic = topic;
    unlock();
}

bool scripted_group_has_member(void)
{
    lock();
    bool has_member = group.client != NULL;
    unlock();
    return has_member;
}

static void change(enum change what, int32_t partition, bool is_lost)
{
    lock();
    if (group.client != NULL && group.close_queue == NULL && group.change == CHANGE_NONE) {
        group.change = what;
        group.is_told = false;
        group.is_lost = is_lost;
        memset(group.is_in, 0, sizeof group.is_in);
        group.is_in[partition] = true;
        (void)!write(group.wake_fd, "1", 1);
    }
    unlock();
}

void scripted_group_assign(int32_t partition)
{
    change(CHANGE_ASSIGN, partition, false);
}

void scripted_group_revoke(int32_t partition, bool is_lost)
{
    change(CHANGE_REVOKE, partition, is_lost);
}

bool scripted_group_is_answered(void)
{
    lock();
    bool is_answered = group.change == CHANGE_NONE;
    unlock();
    return is_answered;
}

/* The change that the worker does not know yet, as a list; NULL: there is none. */
static rd_kafka_topic_partition_list_t *take_change(rd_kafka_resp_err_t *code_out)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    lock();
    if (group.change != CHANGE_NONE && !group.is_told) {
        list = rd_kafka_topic_partition_list_new(SCRIPTED_PARTITIONS);
        for (int i = 0; i < SCRIPTED_PARTITIONS; i++) {
            if (group.is_in[i]) {
                rd_kafka_topic_partition_list_add(list, group.topic, i);
            }
        }
        *code_out = group.change == CHANGE_ASSIGN ? RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
                                                  : RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
        group.is_told = true;
    }
    unlock();
    return list;
}

void __real_rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *conf, rebalance_function *callback);
void __wrap_rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *conf, rebalance_function *callback);

void __wrap_rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *conf, rebalance_function *callback)
{
    (void)conf;
    group.callback = callback;
}

void __real_rd_kafka_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *bytes,
                                           size_t size);
void __wrap_rd_kafka_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *bytes,
                                           size_t size);

void __wrap_rd_kafka_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *bytes,
                                           size_t size)
{
    lock();
    group.wake_fd = fd >= 0 ? fd : group.wake_fd;
    unlock();
    __real_rd_kafka_queue_io_event_enable(queue, fd, bytes, size);
}

rd_kafka_resp_err_t __wrap_rd_kafka_subscribe(rd_kafka_t *client,
                                              const rd_kafka_topic_partition_list_t *topics);

rd_kafka_resp_err_t __wrap_rd_kafka_subscribe(rd_kafka_t *client,
                                              const rd_kafka_topic_partition_list_t *topics)
{
    const struct fault *fault = fault_meet("rd_kafka_subscribe");
    if (fault != NULL) {
        return fault->code;
    }
    CHECK(topics->cnt > 0);
    lock();
    group.client = client;
    unlock();
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What a poll brings in place of a record. */
static rd_kafka_message_t injected = {.payload = "injected fault"};

rd_kafka_message_t *__real_rd_kafka_consumer_poll(rd_kafka_t *client, int timeout_ms);
rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *client, int timeout_ms);
void __real_rd_kafka_message_destroy(rd_kafka_message_t *message);
void __wrap_rd_kafka_message_destroy(rd_kafka_message_t *message);

rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *client, int timeout_ms)
{
    if (fault_is_exempt()) {
        return __real_rd_kafka_consumer_poll(client, timeout_ms);
    }
    const struct fault *fault = fault_meet("rd_kafka_consumer_poll");
    if (fault != NULL) {
        injected.err = fault->code;
        return fault->code == RD_KAFKA_RESP_ERR_NO_ERROR ? NULL : &injected;
    }
    rd_kafka_resp_err_t code;
    rd_kafka_topic_partition_list_t *list = take_change(&code);
    if (list != NULL) {
        group.callback(client, code, list, rd_kafka_opaque(client));
        rd_kafka_topic_partition_list_destroy(list);
    }
    return __real_rd_kafka_consumer_poll(client, timeout_ms);
}

void __wrap_rd_kafka_message_destroy(rd_kafka_message_t *message)
{
    if (message != &injected) {
        __real_rd_kafka_message_destroy(message);
    }
}

/* The worker's answer to the change. */
static void answer(const rd_kafka_topic_partition_list_t *list, bool is_assigned)
{
    lock();
    for (int i = 0; i < list->cnt; i++) {
        group.is_assigned[list->elems[i].partition] = is_assigned;
    }
    CHECK(group.change != CHANGE_NONE && group.is_told);
    group.change = CHANGE_NONE;
    unlock();
}

typedef rd_kafka_error_t *assign_function(rd_kafka_t *client,
                                          const rd_kafka_topic_partition_list_t *list);
assign_function __real_rd_kafka_incremental_assign, __wrap_rd_kafka_incremental_assign;
assign_function __real_rd_kafka_incremental_unassign, __wrap_rd_kafka_incremental_unassign;

rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *client,
                                                     const rd_kafka_topic_partition_list_t *list)
{
    const struct fault *fault = fault_meet("rd_kafka_incremental_assign");
    answer(list, fault == NULL);
    return fault != NULL ? fault_error(fault) : __real_rd_kafka_incremental_assign(client, list);
}

rd_kafka_error_t *__wrap_rd_kafka_incremental_unassign(rd_kafka_t *client,
                                                       const rd_kafka_topic_partition_list_t *list)
{
    const struct fault *fault = fault_meet("rd_kafka_incremental_unassign");
    answer(list, false);
    return fault != NULL ? fault_error(fault) : __real_rd_kafka_incremental_unassign(client, list);
}

int __wrap_rd_kafka_assignment_lost(rd_kafka_t *client);

int __wrap_rd_kafka_assignment_lost(rd_kafka_t *client)
{
    (void)client;
    return group.is_lost;
}

char *__wrap_rd_kafka_memberid(const rd_kafka_t *client);

char *__wrap_rd_kafka_memberid(const rd_kafka_t *client)
{
    (void)client;
    return fault_meet("rd_kafka_memberid") != NULL ? NULL : fault_memory_copy("member-1");
}

rd_kafka_consumer_group_metadata_t *__wrap_rd_kafka_consumer_group_metadata(rd_kafka_t *client);

rd_kafka_consumer_group_metadata_t *__wrap_rd_kafka_consumer_group_metadata(rd_kafka_t *client)
{
    (void)client;
    return fault_meet("rd_kafka_consumer_group_metadata") != NULL
               ? NULL
               : rd_kafka_consumer_group_metadata_new_with_genid("test", 1, "member-1", NULL);
}

rd_kafka_error_t *__real_rd_kafka_consumer_close_queue(rd_kafka_t *client, rd_kafka_queue_t *queue);
rd_kafka_error_t *__wrap_rd_kafka_consumer_close_queue(rd_kafka_t *client, rd_kafka_queue_t *queue);
int __real_rd_kafka_consumer_closed(rd_kafka_t *client);
int __wrap_rd_kafka_consumer_closed(rd_kafka_t *client);

/* Takes everything back first. */
rd_kafka_error_t *__wrap_rd_kafka_consumer_close_queue(rd_kafka_t *client, rd_kafka_queue_t *queue)
{
    (void)client;
    lock();
    group.close_queue = queue;
    unlock();
    const struct fault *fault = fault_meet("rd_kafka_consumer_close_queue");
    return fault != NULL ? fault_error(fault) : NULL;
}

/* Brings the last revoke; true when it is answered, or there is none. */
static bool is_left(void)
{
    lock();
    bool is_any = false;
    for (int i = 0; i < SCRIPTED_PARTITIONS && group.change == CHANGE_NONE; i++) {
        group.is_in[i] = group.is_assigned[i];
        is_any = is_any || group.is_in[i];
    }
    if (is_any) {
        group.change = CHANGE_REVOKE;
        group.is_told = false;
        group.is_lost = false;
    }
    bool is_left = group.change == CHANGE_NONE;
    unlock();
    return is_left;
}

int __wrap_rd_kafka_consumer_closed(rd_kafka_t *client)
{
    if (fault_meet("rd_kafka_consumer_closed") != NULL || !is_left()) {
        return 0;
    }
    if (!group.is_closing) {
        group.is_closing = true;
        CHECK(__real_rd_kafka_consumer_close_queue(client, group.close_queue) == NULL);
    }
    return __real_rd_kafka_consumer_closed(client);
}

/* Before 2.3 librdkafka must not be destroyed between joining and the first assignment: there is
 * no joining here. */
int __wrap_rd_kafka_version(void);

int __wrap_rd_kafka_version(void)
{
    return 0x02030000;
}

/* At least once. */
typedef void commit_function(rd_kafka_t *client, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t *list, void *context);
rd_kafka_resp_err_t __real_rd_kafka_commit_queue(rd_kafka_t *client,
                                                 const rd_kafka_topic_partition_list_t *list,
                                                 rd_kafka_queue_t *queue, commit_function *callback,
                                                 void *context);
rd_kafka_resp_err_t __wrap_rd_kafka_commit_queue(rd_kafka_t *client,
                                                 const rd_kafka_topic_partition_list_t *list,
                                                 rd_kafka_queue_t *queue, commit_function *callback,
                                                 void *context);

/* "a commit report" is no function, but can fail like one. One commit at a time. */
static commit_function *report_commit;

static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *list, void *context)
{
    const struct fault *fault = fault_meet("a commit report");
    report_commit(client, fault != NULL ? fault->code : code, list, context);
}

rd_kafka_resp_err_t __wrap_rd_kafka_commit_queue(rd_kafka_t *client,
                                                 const rd_kafka_topic_partition_list_t *list,
                                                 rd_kafka_queue_t *queue, commit_function *callback,
                                                 void *context)
{
    const struct fault *fault = fault_meet("rd_kafka_commit_queue");
    if (fault == NULL || fault->is_late) {
        ledger_offsets(list);
    }
    report_commit = callback;
    return fault != NULL ? fault->code
                         : __real_rd_kafka_commit_queue(client, list, queue, on_commit, context);
}

// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
