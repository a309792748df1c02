/* delivery: value, headers, key and partition of a response, a comparison or a dead letter. */
#include "worker/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "pipeline/comparison.h"
#include "pipeline/job.h"
#include "schemas/base/check.h"
#include "schemas/records/headers.h"
#include "worker/failure.h"
#include "worker/log.h"
#include "worker/partitioner.h"

enum {
    // The struct, the header array with what may be copied of the request's, their own texts.
    ARENA_BYTES_MAX = 256 << 10,
    VALUE_BYTES_MAX = 256 << 20, // above what any broker takes
    ORIGIN_BYTES_MAX = 300,
};

static int64_t unix_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum wire_format wire_format_of(enum config_format format)
{
    switch (format) {
    case FORMAT_JSON:
        return WIRE_JSON;
    case FORMAT_AVRO:
        return WIRE_AVRO;
    case FORMAT_CONFLUENT:
        return WIRE_CONFLUENT;
    }
    CHECK(false);
}

static void warn_of_dropped_headers(const struct job *job, size_t dropped)
{
    if (dropped > 0) {
        log_event(LOG_WARN, "headers_dropped", "partition=%d offset=%" PRId64 " count=%zu",
                  (int)job->source.partition, job->source.offset, dropped);
    }
}

/* `partitions_count`: of the output topic. */
static int32_t choose_partition(const struct delivery_setting *setting, const struct job *job,
                                int32_t partitions_count)
{
    const struct config_names *topics = config_inputs(setting->config);
    int32_t source_count = 0;
    for (size_t i = 0; i < topics->count; i++) {
        if (bytes_equal(job->source.topic, bytes_of(topics->items[i]))) {
            source_count = setting->inputs_counts[i];
            break;
        }
    }
    return partitioner_of_result(job->source.partition, source_count, job->key, partitions_count);
}

/* A response or a comparison. */
static bool encode_result(const struct delivery_setting *setting, struct delivery *delivery,
                          struct error *error)
{
    struct job *job = delivery->job;
    bool is_comparison = job->outcome == OUTCOME_COMPARISON;
    enum wire_format format = wire_format_of(setting->config->output_format);
    char origin[ORIGIN_BYTES_MAX];
    (void)snprintf(origin, sizeof origin, "/millrace/%s", setting->group);
    struct result_event event = {
        .source = &job->source,
        .run_id = is_comparison ? job->comparison.run_id : job->response.run_id,
        .kind = is_comparison ? RECORD_COMPARISON : RECORD_RESPONSE,
        .format = format,
        .origin = bytes_of(origin),
        .time_ms = unix_ms(),
        .request = &job->headers,
    };
    size_t dropped = 0;
    if (!headers_of_result(&event, delivery->arena, &delivery->headers, &dropped, error)) {
        return false;
    }
    warn_of_dropped_headers(job, dropped);
    buffer_clear(&delivery->buffer);
    bool is_encoded = is_comparison
                          ? record_encode_comparison(setting->codec, &job->comparison, format,
                                                     setting->schema_id, &delivery->buffer, error)
                          : record_encode_response(setting->codec, &job->response, format,
                                                   setting->schema_id, &delivery->buffer, error);
    delivery->value = buffer_bytes(&delivery->buffer);
    delivery->topic = setting->results;
    delivery->partition = choose_partition(setting, job, setting->results_count);
    return is_encoded;
}

static const char *text_or(const char *text, const char *otherwise)
{
    return text == NULL ? otherwise : text;
}

static bool encode_dead_letter(const struct delivery_setting *setting, struct delivery *delivery,
                               struct error *error)
{
    struct job *job = delivery->job;
    bool is_undecodable = job->error.kind == ERROR_UNDECODABLE;
    struct dead_letter letter = {
        .source = job->source,
        .run_id = job->request.run_id,
        .group = bytes_of(setting->group),
        .worker_id = bytes_of(setting->config->worker_id),
        .stage = bytes_of(is_undecodable ? "decode" : "answer"),
        .error_kind =
            bytes_of(text_or(job->error.code, is_undecodable ? "undecodable" : "internal")),
        .error_message = bytes_of(job->error.message),
    };
    size_t dropped = 0;
    if (!headers_of_dead_letter(&letter, &job->headers, delivery->arena, &delivery->headers,
                                &dropped, error)) {
        return false;
    }
    warn_of_dropped_headers(job, dropped);
    delivery->value = job->value;
    delivery->topic = setting->config->topics.dead_letters;
    delivery->partition = choose_partition(setting, job, setting->dead_letters_count);
    return true;
}

static bool encode(const struct delivery_setting *setting, struct delivery *delivery,
                   struct error *error)
{
    delivery->state = DELIVERY_ENCODED;
    if (delivery->job->outcome == OUTCOME_DEAD_LETTER) {
        return encode_dead_letter(setting, delivery, error);
    }
    CHECK(delivery->job->outcome == OUTCOME_RESPONSE ||
          delivery->job->outcome == OUTCOME_COMPARISON);
    return encode_result(setting, delivery, error);
}

struct delivery *delivery_open(const struct delivery_setting *setting, struct job *job,
                               struct error *error)
{
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct delivery *delivery = arena == NULL ? NULL : arena_alloc(arena, sizeof *delivery);
    if (delivery == NULL) {
        arena_close(arena);
        (void)error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a delivery");
        return NULL;
    }
    delivery->arena = arena;
    delivery->job = job;
    delivery->key = job->key;
    buffer_init(&delivery->buffer, VALUE_BYTES_MAX);
    if (encode(setting, delivery, error) ||
        (error->kind == ERROR_TOO_LARGE && delivery_shrink(setting, delivery, error))) {
        return delivery;
    }
    delivery_close(delivery);
    return NULL;
}

/* A dead letter that the topic does not take whole still says that the record was there, and why.
 */
static bool omit_value(const struct delivery_setting *setting, struct delivery *delivery,
                       struct error *error)
{
    struct job *job = delivery->job;
    (void)error_prefix(&job->error, "the value of %zu bytes does not fit topic %s and is left out",
                       job->value.size, setting->config->topics.dead_letters);
    if (!encode(setting, delivery, error)) {
        return false;
    }
    delivery->value = (struct bytes){0};
    return true;
}

bool delivery_shrink(const struct delivery_setting *setting, struct delivery *delivery,
                     struct error *error)
{
    struct job *job = delivery->job;
    if (delivery->shrinks_count++ > 0) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "topic %s takes not even an error for partition %d offset %" PRId64,
                         delivery->topic, (int)job->source.partition, job->source.offset);
    }
    if (job->outcome == OUTCOME_DEAD_LETTER) {
        return omit_value(setting, delivery, error);
    }
    struct error too_large = {0};
    (void)error_set(&too_large, ERROR_TOO_LARGE, "result_too_large", NULL,
                    "the result of %zu bytes is larger than topic %s takes", delivery->value.size,
                    setting->results);
    if (job->outcome == OUTCOME_COMPARISON) {
        comparison_shrink(job, &too_large);
    } else {
        failure_answer(job, &too_large);
    }
    return encode(setting, delivery, error);
}

void delivery_close(struct delivery *delivery)
{
    if (delivery != NULL) {
        buffer_close(&delivery->buffer);
        arena_close(delivery->arena);
    }
}
