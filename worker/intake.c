/* intake: copies the message into the job's arena, decodes it, and judges what failed. */
#include "worker/intake.h"

#include <string.h>

#include "schemas/base/check.h"
#include "schemas/base/shortage.h"
#include "worker/failure.h"

enum { HEADERS_MAX = 256 };

static void become_dead_letter(struct job *job, const struct error *error)
{
    job->error = *error;
    job->outcome = OUTCOME_DEAD_LETTER;
}

static size_t count_headers(const rd_kafka_headers_t *headers)
{
    size_t count = rd_kafka_header_cnt(headers);
    return count < HEADERS_MAX ? count : HEADERS_MAX;
}

size_t intake_bytes(const rd_kafka_message_t *message)
{
    size_t total = message->len + message->key_len;
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return total;
    }
    size_t count = count_headers(headers);
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t size;
        CHECK(rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
              RD_KAFKA_RESP_ERR_NO_ERROR);
        total += sizeof(struct header) + strlen(name) + size;
    }
    return total;
}

static bool copy_headers(struct job *job, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return true;
    }
    size_t count = count_headers(headers);
    struct header *items = arena_alloc_array(job->arena, count, sizeof *items);
    job->headers.items = items;
    for (size_t i = 0; i < count && items != NULL; i++) {
        const char *name;
        const void *value;
        size_t size;
        CHECK(rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
              RD_KAFKA_RESP_ERR_NO_ERROR);
        struct header *header = &items[i];
        header->name = arena_copy(job->arena, bytes_of(name));
        header->value = arena_copy(job->arena, (struct bytes){value, size});
        if (header->name.data == NULL || (value != NULL && header->value.data == NULL)) {
            return false;
        }
        job->headers.count++;
    }
    return items != NULL;
}

static bool copy_record(struct job *job, const rd_kafka_message_t *message)
{
    struct bytes key = {message->key, message->key_len};
    struct bytes value = {message->payload, message->len};
    job->source.topic = arena_copy(job->arena, bytes_of(rd_kafka_topic_name(message->rkt)));
    job->source.partition = message->partition;
    job->source.offset = message->offset;
    job->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
    job->key = arena_copy(job->arena, key);
    job->value = arena_copy(job->arena, value);
    return job->source.topic.data != NULL && (key.data == NULL || job->key.data != NULL) &&
           (value.data == NULL || job->value.data != NULL) && copy_headers(job, message);
}

static void decode(const struct intake *intake, struct job *job)
{
    struct error error = {0};
    size_t bytes_max = (size_t)intake->config->record_bytes_max;
    if (job->value.size > bytes_max) {
        (void)error_set(&error, ERROR_UNDECODABLE, "record_too_large", NULL,
                        "the record has %zu bytes, at most %zu are allowed (record.bytes.max)",
                        job->value.size, bytes_max);
        become_dead_letter(job, &error);
        return;
    }
    bool compares = intake->config->mode == MODE_COMPARE;
    switch (record_decode_request(intake->codec, job->value, job->arena, &job->request, &error)) {
    case DECODED:
        if (compares && job->request.incumbent == NULL) {
            (void)error_set(&error, ERROR_UNDECODABLE, "incumbent_missing", "incumbent",
                            "the request brings no answer of the incumbent to compare with");
            become_dead_letter(job, &error);
        }
        return;
    case DECODED_INVALID:
        if (compares) { // nobody waits for an answer
            error.kind = ERROR_UNDECODABLE;
            become_dead_letter(job, &error);
        } else {
            failure_answer(job, &error);
        }
        return;
    case NEEDS_SCHEMA: // nobody to ask, or the registry does not know the id
    case UNDECODABLE:
        become_dead_letter(job, &error);
        return;
    }
}

/* Whether the record's schema is still on its way. */
static bool awaits_schema(const struct intake *intake, struct bytes value)
{
    uint32_t id;
    return intake->registry != NULL && record_schema_id(value, &id) &&
           registry_resolve(intake->registry, id) == REGISTRY_PENDING;
}

/* What is too large is not decoded, so it needs no more room than the largest that is. */
static size_t decoded_bytes(const struct intake *intake, size_t bytes)
{
    size_t bytes_max = (size_t)intake->config->record_bytes_max;
    return bytes < bytes_max ? bytes : bytes_max;
}

size_t intake_credit(const struct intake *intake, size_t bytes)
{
    return session_credit(decoded_bytes(intake, bytes));
}

enum intake_result intake_take(const struct intake *intake, const rd_kafka_message_t *message,
                               size_t bytes, struct job **job_out)
{
    struct bytes value = {message->payload, message->len};
    if (!session_has_room(intake->session, decoded_bytes(intake, bytes))) {
        return INTAKE_FULL;
    }
    if (awaits_schema(intake, value)) {
        return INTAKE_LATER;
    }
    struct job *job = session_job(intake->session, bytes);
    if (job == NULL) {
        return INTAKE_FULL; // out of memory: what is inside gives some back
    }
    (void)shortage_take();
    bool is_copied = copy_record(job, message);
    if (is_copied) {
        decode(intake, job);
    }
    if (!is_copied || shortage_take()) { // what it looks like without memory, it may not be
        session_release(intake->session, job);
        return INTAKE_FULL;
    }
    *job_out = job;
    return INTAKE_TAKEN;
}
