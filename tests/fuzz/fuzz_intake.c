/* A whole record from its topic to its outcome's: copied with its headers, decoded, and encoded
 * again as a response or a dead letter. Input: one byte, the number of headers; each as (name size,
 * value size or FF for none, name, value); then the record's value. */
#include "worker/intake.h"

#include <string.h>

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "worker/delivery.h"
#include "worker/failure.h"

enum { NO_VALUE = 0xFF };

// The names that ld gives to wrappers are reserved.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

/* librdkafka takes a message for the beginning of a larger struct of its own, which nobody else can
 * make: these three answer for it. */
static rd_kafka_headers_t *current_headers;

rd_kafka_resp_err_t __wrap_rd_kafka_message_headers(const rd_kafka_message_t *message,
                                                    rd_kafka_headers_t **headers_out);
int64_t __wrap_rd_kafka_message_timestamp(const rd_kafka_message_t *message,
                                          rd_kafka_timestamp_type_t *type_out);
const char *__wrap_rd_kafka_topic_name(const rd_kafka_topic_t *topic);

rd_kafka_resp_err_t __wrap_rd_kafka_message_headers(const rd_kafka_message_t *message,
                                                    rd_kafka_headers_t **headers_out)
{
    (void)message;
    *headers_out = current_headers;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int64_t __wrap_rd_kafka_message_timestamp(const rd_kafka_message_t *message,
                                          rd_kafka_timestamp_type_t *type_out)
{
    (void)message;
    (void)type_out;
    return 1769904000123;
}

const char *__wrap_rd_kafka_topic_name(const rd_kafka_topic_t *topic)
{
    (void)topic;
    return "requests";
}

// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

static struct bytes take(const uint8_t **at, const uint8_t *end, size_t wanted)
{
    size_t left = (size_t)(end - *at);
    struct bytes bytes = {(const char *)*at, wanted < left ? wanted : left};
    *at += bytes.size;
    return bytes;
}

/* Reads the headers of the input; what is left is the value. */
static rd_kafka_headers_t *read_headers(const uint8_t **at, const uint8_t *end)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(0);
    int count = end > *at ? *(*at)++ : 0;
    for (int i = 0; i < count && end - *at >= 2; i++) {
        size_t name_size = *(*at)++;
        size_t value_size = *(*at)++;
        struct bytes name = take(at, end, name_size);
        struct bytes value =
            value_size == NO_VALUE ? (struct bytes){NULL, 0} : take(at, end, value_size);
        CHECK(rd_kafka_header_add(headers, name.data, (ssize_t)name.size, value.data,
                                  (ssize_t)value.size) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    return headers;
}

struct scene {
    uv_loop_t loop;
    struct config *config;
    struct session *session;
    struct intake intake;
    struct delivery_setting setting;
};

static struct scene *scene_once(void)
{
    static struct scene scene;
    if (scene.config == NULL) {
        struct error error = {0};
        struct record_codec_options options = {.body_bytes_max = 1 << 20, .borrows_values = true};
        struct session_end end = {0};
        CHECK(config_open(NULL, NULL, 0, &scene.config, &error));
        CHECK(uv_loop_init(&scene.loop) == 0);
        CHECK(session_open(&scene.loop, scene.config, &end, &scene.session, &error));
        struct record_codec *codec = record_codec_open(&options, &error);
        CHECK(codec != NULL);
        scene.intake = (struct intake){scene.config, scene.session, codec, NULL};
        scene.setting = (struct delivery_setting){.config = scene.config,
                                                  .codec = codec,
                                                  .group = "group",
                                                  .results = scene.config->topics.responses,
                                                  .results_count = 3,
                                                  .dead_letters_count = 1};
    }
    return &scene;
}

static void answer(struct scene *scene, struct job *job)
{
    if (job->outcome == OUTCOME_NONE) { // it is a request: any answer will do
        struct error error = {0};
        (void)error_set(&error, ERROR_NOT_FOUND, "model_not_found", "model", "there is no model");
        failure_answer(job, &error);
    }
    struct error error = {0};
    struct delivery *delivery = delivery_open(&scene->setting, job, &error);
    CHECK(delivery != NULL);
    CHECK(delivery->topic != NULL && delivery->headers.count > 0);
    if (job->outcome == OUTCOME_DEAD_LETTER) { // byte-identical
        CHECK(bytes_equal(delivery->value, job->value));
    }
    delivery_close(delivery);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scene *scene = scene_once();
    const uint8_t *at = data;
    current_headers = read_headers(&at, data + size);
    rd_kafka_message_t message = {.partition = 1, .offset = 1234567, .key = "key", .key_len = 3};
    message.payload = (void *)(uintptr_t)at;
    message.len = (size_t)(data + size - at);
    struct job *job;
    CHECK(intake_take(&scene->intake, &message, intake_bytes(&message), &job) == INTAKE_TAKEN);
    rd_kafka_headers_destroy(current_headers); // the job refers to nothing of the message
    answer(scene, job);
    session_release(scene->session, job);
    return 0;
}
