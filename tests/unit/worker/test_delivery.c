/* delivery: what goes on the wire for an outcome. */
#include "tests/support/cmocka.h"

#include <jansson.h>
#include <string.h>

#include "pipeline/job.h"
#include "worker/delivery.h"
#include "worker/partitioner.h"

static char requests[] = "requests";
static char more[] = "more";
static char responses[] = "responses";
static char dead_letters[] = "dlq";
static char worker_id[] = "worker-1";
static struct config config = {.worker_id = worker_id};
static struct delivery_setting setting = {
    .config = &config, .group = "group", .results_count = 6, .dead_letters_count = 1};

static struct job *open_job(enum job_outcome outcome)
{
    struct job *job = job_open(1 << 20);
    assert_non_null(job);
    job->source = (struct source){bytes_of("requests"), 4, 17};
    job->key = bytes_of("key");
    job->value = bytes_of("\xff value");
    job->attempt = 1;
    job->request.custom_id = bytes_of("doc-1");
    job->outcome = outcome;
    job->response = (struct inference_response){
        .custom_id = job->request.custom_id,
        .run_id = bytes_of("run-1"),
        .source = job->source,
        .status_code = 200,
        .body = bytes_of("{\"object\":\"chat.completion\"}"),
        .attempt = 1,
    };
    return job;
}

static struct delivery *open_delivery(struct job *job)
{
    struct error error = {0};
    struct delivery *delivery = delivery_open(&setting, job, &error);
    if (delivery == NULL) {
        fail_msg("%s", error.message);
    }
    return delivery;
}

static bool has_header(const struct delivery *delivery, const char *name, const char *value)
{
    for (size_t i = 0; i < delivery->headers.count; i++) {
        const struct header *header = &delivery->headers.items[i];
        if (bytes_equal_text(header->name, name)) {
            return bytes_equal_text(header->value, value);
        }
    }
    return false;
}

static void test_a_response_keeps_key_partition_and_run(void **state)
{
    (void)state;
    setting.inputs_counts[0] = 6;
    struct job *job = open_job(OUTCOME_RESPONSE);
    struct delivery *delivery = open_delivery(job);
    assert_string_equal(delivery->topic, "responses");
    assert_int_equal(delivery->partition, 4);
    assert_true(bytes_equal_text(delivery->key, "key"));
    assert_true(has_header(delivery, "ce_id", "requests/4/17"));
    assert_true(has_header(delivery, "ce_source", "/millrace/group"));
    assert_true(has_header(delivery, "millrace-run-id", "run-1"));
    json_t *line = json_loadb(delivery->value.data, delivery->value.size, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(line, "custom_id")), "doc-1");
    json_decref(line);
    delivery_close(delivery);
    job_close(job);
}

static void test_each_request_topic_has_its_own_number_of_partitions(void **state)
{
    (void)state;
    setting.inputs_counts[0] = 6; // as many as responses has
    setting.inputs_counts[1] = 5;
    struct job *job = open_job(OUTCOME_RESPONSE);
    job->source.topic = bytes_of("more");
    struct delivery *delivery = open_delivery(job);
    int32_t by_key = partitioner_of_key(job->key, setting.results_count);
    assert_int_not_equal(by_key, job->source.partition);
    assert_int_equal(delivery->partition, by_key);
    assert_true(has_header(delivery, "ce_id", "more/4/17"));
    delivery_close(delivery);
    setting.inputs_counts[1] = 6;
    delivery = open_delivery(job);
    assert_int_equal(delivery->partition, job->source.partition);
    delivery_close(delivery);
    job_close(job);
}

static void test_the_format_is_the_configurations(void **state)
{
    (void)state;
    struct job *job = open_job(OUTCOME_RESPONSE);
    config.output_format = FORMAT_AVRO;
    struct delivery *delivery = open_delivery(job);
    assert_memory_equal(delivery->value.data, "\xc3\x01", 2);
    delivery_close(delivery);
    config.output_format = FORMAT_CONFLUENT;
    setting.schema_id = 258;
    delivery = open_delivery(job);
    assert_memory_equal(delivery->value.data, "\x00\x00\x00\x01\x02", 5);
    delivery_close(delivery);
    config.output_format = FORMAT_JSON;
    job_close(job);
}

static void test_a_dead_letter_is_byte_identical_and_says_why(void **state)
{
    (void)state;
    struct job *job = open_job(OUTCOME_DEAD_LETTER);
    (void)error_set(&job->error, ERROR_UNDECODABLE, NULL, NULL, "the value is no record");
    struct delivery *delivery = open_delivery(job);
    assert_string_equal(delivery->topic, "dlq");
    assert_int_equal(delivery->partition, 0);
    assert_true(bytes_equal(delivery->value, job->value));
    assert_true(has_header(delivery, "__connect.errors.topic", "requests"));
    assert_true(has_header(delivery, "__connect.errors.offset", "17"));
    assert_true(
        has_header(delivery, "__connect.errors.exception.message", "the value is no record"));
    delivery_close(delivery);
    job_close(job);
}

static void test_a_result_that_is_too_large_becomes_an_error_once(void **state)
{
    (void)state;
    struct job *job = open_job(OUTCOME_RESPONSE);
    struct delivery *delivery = open_delivery(job);
    struct error error = {0};
    delivery->state = DELIVERY_TOO_LARGE;
    assert_true(delivery_shrink(&setting, delivery, &error));
    assert_int_equal(delivery->state, DELIVERY_ENCODED);
    json_t *line = json_loadb(delivery->value.data, delivery->value.size, 0, NULL);
    assert_true(json_is_null(json_object_get(line, "response")));
    json_t *failure = json_object_get(line, "error");
    assert_string_equal(json_string_value(json_object_get(failure, "code")), "result_too_large");
    json_decref(line);
    assert_false(delivery_shrink(&setting, delivery, &error));
    assert_int_equal(error.kind, ERROR_FATAL);
    delivery_close(delivery);
    job_close(job);
}

static void test_a_dead_letter_that_is_too_large_goes_without_its_value(void **state)
{
    (void)state;
    struct job *job = open_job(OUTCOME_DEAD_LETTER);
    (void)error_set(&job->error, ERROR_UNDECODABLE, NULL, NULL, "the value is no record");
    struct delivery *delivery = open_delivery(job);
    struct error error = {0};
    assert_true(delivery_shrink(&setting, delivery, &error));
    assert_null(delivery->value.data);
    assert_true(has_header(delivery, "__connect.errors.exception.message",
                           "the value of 7 bytes does not fit topic dlq and is left out: the "
                           "value is no record"));
    delivery_close(delivery);
    job_close(job);
}

static int open_codec(void **state)
{
    (void)state;
    struct error error = {0};
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    setting.codec = record_codec_open(&options, &error);
    config.topics.requests = (struct config_names){.items = {requests, more}, .count = 2};
    setting.results = responses;
    config.topics.dead_letters = dead_letters;
    return setting.codec == NULL;
}

static int close_codec(void **state)
{
    (void)state;
    record_codec_close(setting.codec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_response_keeps_key_partition_and_run),
        cmocka_unit_test(test_each_request_topic_has_its_own_number_of_partitions),
        cmocka_unit_test(test_the_format_is_the_configurations),
        cmocka_unit_test(test_a_dead_letter_is_byte_identical_and_says_why),
        cmocka_unit_test(test_a_result_that_is_too_large_becomes_an_error_once),
        cmocka_unit_test(test_a_dead_letter_that_is_too_large_goes_without_its_value),
    };
    return cmocka_run_group_tests(tests, open_codec, close_codec);
}
