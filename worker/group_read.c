/* group_read: librdkafka's ListConsumerGroupOffsets, which reports on a queue of its own. */
#include "worker/group_read.h"

#include <stdlib.h>

#include "schemas/base/check.h"
#include "worker/log.h"

enum { REQUEST_TIMEOUT_MS = 5000, RETRY_MS = 200 };

struct group_read {
    rd_kafka_t *client; // borrowed
    rd_kafka_queue_t *queue;
    rd_kafka_ListConsumerGroupOffsets_t *request;
    rd_kafka_topic_partition_list_t *asked;
    rd_kafka_topic_partition_list_t *result; // NULL until it is there
    bool is_asking;
    uint64_t retry_at_ms;
    rd_kafka_resp_err_t last_code; // logged once
};

static void ask(struct group_read *read)
{
    char reason[200];
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(read->client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    CHECK(rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT_MS, reason,
                                                    sizeof reason) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_error_t *error = rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
    CHECK(error == NULL);
    rd_kafka_ListConsumerGroupOffsets(read->client, &read->request, 1, options, read->queue);
    rd_kafka_AdminOptions_destroy(options);
    read->is_asking = true;
}

struct group_read *group_read_open(rd_kafka_t *client, const char *group,
                                   const rd_kafka_topic_partition_list_t *list, int wake_fd)
{
    struct group_read *read = calloc(1, sizeof *read);
    if (read == NULL) {
        return NULL;
    }
    read->client = client;
    read->queue = rd_kafka_queue_new(client);
    rd_kafka_queue_io_event_enable(read->queue, wake_fd, "1", 1);
    read->asked = rd_kafka_topic_partition_list_copy(list);
    read->request = rd_kafka_ListConsumerGroupOffsets_new(group, list);
    ask(read);
    return read;
}

void group_read_close(struct group_read *read)
{
    if (read == NULL) {
        return;
    }
    rd_kafka_queue_io_event_enable(read->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(read->queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(read->request);
    rd_kafka_topic_partition_list_destroy(read->asked);
    if (read->result != NULL) {
        rd_kafka_topic_partition_list_destroy(read->result);
    }
    free(read);
}

/* Whether the answer tells of every partition that was asked for. */
static rd_kafka_resp_err_t check_answer(const struct group_read *read,
                                        const rd_kafka_topic_partition_list_t *answer)
{
    for (int i = 0; i < read->asked->cnt; i++) {
        const rd_kafka_topic_partition_t *asked = &read->asked->elems[i];
        const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(
            (rd_kafka_topic_partition_list_t *)(uintptr_t)answer, asked->topic, asked->partition);
        if (found == NULL) {
            return RD_KAFKA_RESP_ERR__PARTIAL;
        }
        if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return found->err;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t take_answer(struct group_read *read, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const rd_kafka_ListConsumerGroupOffsets_result_t *result =
        rd_kafka_event_ListConsumerGroupOffsets_result(event);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || result == NULL) {
        return code == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR__FAIL : code;
    }
    size_t count;
    const rd_kafka_group_result_t **groups =
        rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);
    if (count != 1) {
        return RD_KAFKA_RESP_ERR__PARTIAL;
    }
    const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[0]);
    if (error != NULL) {
        return rd_kafka_error_code(error);
    }
    const rd_kafka_topic_partition_list_t *answer = rd_kafka_group_result_partitions(groups[0]);
    code = answer == NULL ? RD_KAFKA_RESP_ERR__PARTIAL : check_answer(read, answer);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        read->result = rd_kafka_topic_partition_list_copy(answer);
    }
    return code;
}

const rd_kafka_topic_partition_list_t *group_read_step(struct group_read *read, uint64_t now_ms)
{
    rd_kafka_event_t *event = read->result == NULL ? rd_kafka_queue_poll(read->queue, 0) : NULL;
    if (event != NULL) {
        rd_kafka_resp_err_t code = take_answer(read, event);
        rd_kafka_event_destroy(event);
        read->is_asking = false;
        read->retry_at_ms = now_ms + RETRY_MS;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != read->last_code) {
            log_event(LOG_INFO, "committed_offsets_awaited", "code=%s", rd_kafka_err2name(code));
        }
        read->last_code = code;
    }
    if (read->result == NULL && !read->is_asking && now_ms >= read->retry_at_ms) {
        ask(read);
    }
    return read->result;
}
