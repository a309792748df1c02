/* config: sources in their order; every mistake is told with its place and what is right. */
#include "worker/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

#define PATH "test_config.yaml"

static struct config *config;
static struct error error;

static int teardown(void **state)
{
    (void)state;
    config_close(config);
    config = NULL;
    (void)remove(PATH);
    return 0;
}

/* Opens what `yaml` (NULL: no file) and one `set` (NULL: none) give. */
static bool open_with(const char *yaml, const char *set)
{
    config_close(config);
    config = NULL;
    error = (struct error){0};
    if (yaml != NULL) {
        FILE *file = fopen(PATH, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(yaml, 1, strlen(yaml), file), strlen(yaml));
        assert_int_equal(fclose(file), 0);
    }
    return config_open(yaml == NULL ? NULL : PATH, &set, set == NULL ? 0 : 1, &config, &error);
}

static void test_has_the_documented_defaults(void **state)
{
    (void)state;
    assert_true(open_with(NULL, NULL));
    assert_string_equal(config->topics.requests.items[0], "llm.requests.v1");
    assert_string_equal(config->topics.dead_letters, "llm.requests.v1.dlq");
    assert_int_equal(config->output_format, FORMAT_JSON);
    assert_int_equal(config->delivery_guarantee, GUARANTEE_AUTO);
    assert_int_equal(config->drain_timeout_ms, 20000);
    assert_int_equal(config->intake_bytes_max, 256 << 20);
    assert_int_equal(config->engine.device, CONFIG_DEVICE_AUTO);
    assert_int_equal(config->engine.max_num_seqs, 256);
    assert_true(config->engine.enable_prefix_caching);
    assert_string_equal(config->http_host, "127.0.0.1");
    assert_int_equal(config->http_port, 9464);
    assert_true(config->http_port_is_default);
    assert_int_equal(config->models_count, 0);
    assert_string_equal(config_kafka(config, "bootstrap.servers"), "localhost:9092");
    assert_string_equal(config_kafka(config, "group.id"), "millrace");
    assert_null(config_kafka(config, "linger.ms"));
}

static void test_worker_id_is_unique_unless_it_is_set(void **state)
{
    (void)state;
    char first[256];
    assert_true(open_with(NULL, NULL));
    snprintf(first, sizeof first, "%s", config->worker_id);
    assert_true(open_with(NULL, NULL));
    assert_string_not_equal(config->worker_id, first);
    assert_true(open_with(NULL, "worker.id=w1"));
    assert_string_equal(config->worker_id, "w1");
}

static void test_reads_a_file_with_nested_and_dotted_keys(void **state)
{
    (void)state;
    if (!open_with("# a comment\n"
                   "kafka: {bootstrap.servers: 'b1:9092,b2:9092', group.id: nightly}\n"
                   "kafka.linger.ms: 7\n"
                   "topics: {requests: in, responses: out}\n"
                   "output.format: avro\n"
                   "delivery: {guarantee: at_least_once}\n"
                   "engine:\n"
                   "  max_num_seqs: 8\n"
                   "  enable_prefix_caching: false\n"
                   "  kv_cache_bytes: 2GiB\n"
                   "http:\n"
                   "  port: 0\n"
                   "models:\n"
                   "  - {name: scribe, path: deploy/demo/scribe, aliases: [gpt-4o-mini, a]}\n"
                   "  - name: weak\n"
                   "    path: /models/weak\n"
                   "    adapter: adapters/weak\n"
                   "    kv_share: 0.25\n",
                   NULL)) {
        fail_msg("%s", error.message);
    }
    assert_string_equal(config_kafka(config, "bootstrap.servers"), "b1:9092,b2:9092");
    assert_string_equal(config_kafka(config, "group.id"), "nightly");
    assert_string_equal(config_kafka(config, "linger.ms"), "7");
    assert_int_equal(config->kafka_count, 3);
    assert_string_equal(config->topics.requests.items[0], "in");
    assert_string_equal(config->topics.responses, "out");
    assert_string_equal(config->topics.replay, "llm.replay.v1");
    assert_int_equal(config->output_format, FORMAT_AVRO);
    assert_int_equal(config->delivery_guarantee, GUARANTEE_AT_LEAST_ONCE);
    assert_int_equal(config->engine.max_num_seqs, 8);
    assert_false(config->engine.enable_prefix_caching);
    assert_int_equal(config->engine.kv_cache_bytes, 2LL << 30);
    assert_int_equal(config->http_port, 0);
    assert_false(config->http_port_is_default);
    assert_int_equal(config->models_count, 2);
    assert_string_equal(config->models[0].name, "scribe");
    assert_string_equal(config->models[0].path, "deploy/demo/scribe");
    assert_int_equal(config->models[0].aliases_count, 2);
    assert_string_equal(config->models[0].aliases[1], "a");
    assert_string_equal(config->models[0].adapter, "");
    assert_string_equal(config->models[1].path, "/models/weak");
    assert_string_equal(config->models[1].adapter, "adapters/weak");
    assert_true(config->models[1].kv_share == 0.25);
}

static void test_an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    assert_true(open_with("", NULL));
    assert_true(open_with("# nothing\n---\n", NULL));
    assert_true(open_with("engine:\nhttp: {}\n", NULL));
    assert_int_equal(config->http_port, 9464);
}

static void test_environment_overrides_the_file_and_set_overrides_both(void **state)
{
    (void)state;
    const char *yaml = "output.format: avro\nhttp.port: 1\nkafka.group.id: file\n";
    setenv("MILLRACE_OUTPUT_FORMAT", "confluent", 1);
    setenv("MILLRACE_HTTP_PORT", "2", 1);
    setenv("MILLRACE_KAFKA_GROUP_ID", "environment", 1);
    setenv("MILLRACE_KAFKA_PORT", "tcp://10.0.0.1:9092", 1);
    setenv("MILLRACE_MODELS", "[{name: m, path: p}]", 1);
    setenv("MILLRACE_PORT_9464_TCP", "tcp://10.0.0.1:9464", 1);
    bool ok = open_with(yaml, "http.port=3");
    unsetenv("MILLRACE_OUTPUT_FORMAT");
    unsetenv("MILLRACE_HTTP_PORT");
    unsetenv("MILLRACE_KAFKA_GROUP_ID");
    unsetenv("MILLRACE_KAFKA_PORT");
    unsetenv("MILLRACE_MODELS");
    unsetenv("MILLRACE_PORT_9464_TCP");
    if (!ok) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(config->output_format, FORMAT_CONFLUENT);
    assert_int_equal(config->http_port, 3);
    assert_string_equal(config_kafka(config, "group.id"), "environment");
    assert_null(config_kafka(config, "port"));
    assert_int_equal(config->models_count, 1);
}

static void test_sets_take_models_and_properties(void **state)
{
    (void)state;
    assert_true(open_with("models: [{name: a, path: b}, {name: c, path: d}]\n",
                          "models=[{name: x, path: y}]"));
    assert_int_equal(config->models_count, 1);
    assert_string_equal(config->models[0].name, "x");
    assert_true(open_with(NULL, "kafka.sasl.password=p: #=x"));
    assert_string_equal(config_kafka(config, "sasl.password"), "p: #=x");
}

static void assert_requests(const char *expected)
{
    struct buffer names;
    buffer_init(&names, 1 << 16);
    config_write_names(&config->topics.requests, &names);
    assert_string_equal(names.data, expected);
    buffer_close(&names);
}

static void test_takes_one_request_topic_or_several(void **state)
{
    (void)state;
    assert_true(open_with("topics: {requests: a.b_c-1}\n", NULL));
    assert_requests("a.b_c-1");
    assert_true(open_with("topics: {requests: [a, b]}\n", NULL));
    assert_int_equal(config->topics.requests.count, 2);
    assert_requests("a,b");
    assert_true(open_with("topics:\n  requests:\n    - a\n    - b\n", "topics.requests=c , d,e"));
    assert_requests("c,d,e"); // nothing of the file's is left
    setenv("MILLRACE_TOPICS_REQUESTS", "f,g", 1);
    bool ok = open_with(NULL, NULL);
    unsetenv("MILLRACE_TOPICS_REQUESTS");
    assert_true(ok);
    assert_requests("f,g");
}

static void test_the_number_of_request_topics_is_bounded(void **state)
{
    (void)state;
    struct buffer set;
    buffer_init(&set, 1 << 10);
    for (int i = 0; i <= CONFIG_NAMES_MAX; i++) {
        buffer_printf(&set, "%st%d", i == 0 ? "topics.requests=" : ",", i);
        assert_int_equal(open_with(NULL, set.data), i < CONFIG_NAMES_MAX);
    }
    buffer_close(&set);
    assert_non_null(strstr(error.message, "at most 64"));
}

struct mistake {
    const char *yaml, *set;
    const char *parts[2]; // of the message
};

static const struct mistake mistakes[] = {
    {"output.fromat: json\n", NULL, {PATH ":1:1:", "output.fromat, the nearest is output.format"}},
    {"http:\n  prot: 1\n", NULL, {PATH ":2:3:", "http.prot, the nearest is http.port"}},
    {"http:\n  port: many\n", NULL, {PATH ":2:9:", "'many', must be an integer from 0 to 65535"}},
    {"http.port: 65536\n", NULL, {":1:12:", "0 to 65535"}},
    {"http.port: 99999999999999999999\n", NULL, {":1:12:", "0 to 65535"}},
    {"http.port: ''\n", NULL, {":1:12:", "http.port is ''"}},
    {"http.port: 1GiB\n", NULL, {":1:12:", "an integer"}},
    {"intake.bytes.max: 5TB\n", NULL, {":1:19:", "KiB, MiB or GiB"}},
    {"intake.bytes.max: 9007199254740993GiB\n", NULL, {":1:19:", "KiB, MiB or GiB"}},
    {"output.format: xml\n", NULL, {"'xml'", "one of json|avro|confluent"}},
    {"engine.device: tpu\n", NULL, {"'tpu'", "one of auto|cpu"}},
    {"engine.enable_prefix_caching: 1\n", NULL, {"'1'", "true or false"}},
    {"topics.requests: ''\n", NULL, {"topics.requests", "1 to 249 bytes"}},
    {"topics.requests: []\n", NULL, {":1:18:", "1 to 249 bytes"}},
    {"topics.requests: [a, [b]]\n", NULL, {":1:22:", "a list, must be a value"}},
    {"topics.requests: [a, b, a]\n", NULL, {"'a,b,a'", "different"}},
    {"topics.requests: [a, '']\n", NULL, {"'a,'", "1 to 249 bytes"}},
    {"topics.requests: ^a.*\n", NULL, {"'^a.*'", "name of a topic"}},
    {"topics: {requests: [a, b], responses: b}\n", NULL, {"requests and responses are b", ""}},
    {NULL, "topics.requests=a,,b", {"--set", "'a,,b'"}},
    {NULL, "topics.requests=a b", {"--set", "'a b'"}},
    {"engine: 5\n", NULL, {":1:1:", "engine is a section"}},
    {"engine: [5]\n", NULL, {"engine is a list", "only topics.requests and models"}},
    {"http.port: {a: 1}\n", NULL, {"http.port.a", "nearest"}},
    {"http.port: 1\nhttp.port: 2\n", NULL, {":2:1:", "http.port is there twice"}},
    {"[1]\n", NULL, {":1:1:", "must be a mapping"}},
    {"just text\n", NULL, {":1:1:", "must be a mapping"}},
    {"log.level: info: c\n", NULL, {":1:", "not YAML"}},
    {"models: [{name: a\n", NULL, {PATH ":", "not YAML"}},
    {"log.level: \"\xFF\"\n", NULL, {PATH ":", "not YAML"}},
    {"log.level: &a info\n", NULL, {":1:12:", "anchors"}},
    {"log.level: *a\n", NULL, {":1:", "anchors"}},
    {"log.level: info\n---\nlog.level: warn\n", NULL, {":3:1:", "second document"}},
    {"log.level: \"in\\0fo\"\n", NULL, {":1:", "NUL"}},
    {"? [a]\n: b\n", NULL, {":1:", "a key must be text"}},
    {"kafka: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}\n",
     NULL,
     {":1:", "deeper than 16 levels"}},
    {"kafka.enable.auto.commit: true\n", NULL, {"Millrace's own", "committed with their results"}},
    {"kafka: {enable.auto.offset.store: x}\n", NULL, {"Millrace's own", "offset"}},
    {"kafka: {isolation.level: x}\n", NULL, {"Millrace's own", "aborted"}},
    {"kafka: {enable.idempotence: x}\n", NULL, {"Millrace's own", "twice"}},
    {"kafka: {partition.assignment.strategy: x}\n", NULL, {"Millrace's own", "rebalancing"}},
    {"kafka: 5\n", NULL, {"kafka is a section", ""}},
    {"models: 5\n", NULL, {":1:1:", "models is a value, must be a list"}},
    {"models: [5]\n", NULL, {":1:10:", "must be a mapping"}},
    {"models: [{name: a}]\n", NULL, {":1:10:", "no path"}},
    {"models: [{path: a}]\n", NULL, {":1:10:", "no name"}},
    {"models: [{name: a, path: b, kv_shore: 1}]\n", NULL, {"kv_shore", "nearest is kv_share"}},
    {"models: [{name: a, path: b, kv_share: 2}]\n", NULL, {"'2'", "0 to 1"}},
    {"models: [{name: a, path: b, aliases: c}]\n", NULL, {"aliases is a value", "list"}},
    {"models: [{name: a, path: b, aliases: [[c]]}]\n", NULL, {"aliases", "at most 32"}},
    {"models: [{name: a, name: b}]\n", NULL, {":1:20:", "twice"}},
    {"models: [{name: a, path: b, aliases: [a]}]\n", NULL, {"models:", "a is used twice"}},
    {"models: [{name: a, path: b}, {name: c, path: d, aliases: [e, a]}]\n",
     NULL,
     {"models:", "a is used twice"}},
    {"models: [{name: a, path: b, kv_share: 0.6}, {name: c, path: d, kv_share: 0.6}]\n",
     NULL,
     {"1.2", "at most 1"}},
    {"topics: {requests: a, responses: a}\n", NULL, {"topics:", "must differ"}},
    {"topics: {requests: a, dead_letters: a}\n", NULL, {"topics:", "must differ"}},
    {"topics: {responses: a, dead_letters: a}\n", NULL, {"topics:", "must differ"}},
    {"record.bytes.max: 512MiB\n", NULL, {"record.bytes.max", "at most intake.bytes.max"}},
    {NULL, "http.port", {"--set", "not key=value"}},
    {NULL, "=5", {"--set", "not key=value"}},
    {NULL, "http.prt=5", {"--set", "nearest is http.port"}},
    {NULL, "http.port=x", {"--set", "0 to 65535"}},
    {NULL, "models=x", {"--set models:1:1", "must be a list"}},
};

static void test_tells_every_mistake_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const struct mistake *row = &mistakes[i];
        const char *text = row->yaml == NULL ? row->set : row->yaml;
        if (open_with(row->yaml, row->set)) {
            fail_msg("%s was taken", text);
        }
        if (error.kind != ERROR_CONFIG || strstr(error.message, row->parts[0]) == NULL ||
            strstr(error.message, row->parts[1]) == NULL) {
            fail_msg("%s gave: %s", text, error.message);
        }
    }
}

static void test_a_missing_file_is_one_line(void **state)
{
    (void)state;
    assert_false(config_open("no/such.yaml", NULL, 0, &config, &error));
    assert_string_equal(error.message, "no/such.yaml: No such file or directory");
}

/* `count` times `text` between two ends. */
static char *repeat(const char *start, const char *text, size_t count, const char *end)
{
    char *out = malloc(strlen(start) + count * strlen(text) + strlen(end) + 1);
    assert_non_null(out);
    char *at = stpcpy(out, start);
    for (size_t i = 0; i < count; i++) {
        at = stpcpy(at, text);
    }
    stpcpy(at, end);
    return out;
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *start, *text, *end;
        size_t count;
        const char *part;
    } rows[] = {
        {"#", "x", "\n", 1 << 20, "larger than"},
        {"models: [", "{name: a, path: b},", "]\n", 17, "more than 16"},
        {"models: [{name: a, path: b, aliases: [", "c,", "]}]\n", 33, "at most 32"},
        {"models: ", "[", "\n", 100000, "must be a mapping"},
        {"log.level: ", "x", "\n", 100000, "one of"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *yaml = repeat(rows[i].start, rows[i].text, rows[i].count, rows[i].end);
        assert_false(open_with(yaml, NULL));
        if (strstr(error.message, rows[i].part) == NULL) {
            fail_msg("row %zu gave: %s", i, error.message);
        }
        free(yaml);
    }
}

static void test_writes_the_values_in_effect_as_json(void **state)
{
    (void)state;
    assert_true(open_with("output.format: confluent\nlog.level: warn\n", "worker.id=a\"b"));
    struct buffer page;
    buffer_init(&page, 1 << 20);
    config_write_json(config, &page);
    json_t *root = json_loadb(page.data, page.size, 0, NULL);
    assert_non_null(root);
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"output.format", "\"confluent\""}, {"log.level", "\"warn\""},
        {"worker.id", "\"a\\\"b\""},        {"http.port", "9464"},
        {"intake.bytes.max", "268435456"},  {"engine.enable_prefix_caching", "true"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char part[128];
        snprintf(part, sizeof part, "{\"name\":\"%s\",\"value\":%s,", rows[i].name, rows[i].value);
        assert_non_null(strstr(page.data, part));
    }
    json_decref(root);
    buffer_close(&page);
}

static void test_the_file_in_deploy_is_valid(void **state)
{
    (void)state;
    if (!config_open(SOURCE_DIR "/deploy/worker.yaml", NULL, 0, &config, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(config->models_count, 1);
}

static void test_the_page_in_deploy_is_what_the_table_gives(void **state)
{
    (void)state;
    struct buffer page;
    buffer_init(&page, 1 << 20);
    config_write_reference(&page);
    assert_false(buffer_failed(&page));
    char text[1 << 16];
    FILE *file = fopen(SOURCE_DIR "/deploy/SETTINGS.md", "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    if (strcmp(text, page.data) != 0) {
        fail_msg("deploy/SETTINGS.md is stale: run millrace settings > deploy/SETTINGS.md");
    }
    buffer_close(&page);
}

#define TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_has_the_documented_defaults),
        TEST(test_worker_id_is_unique_unless_it_is_set),
        TEST(test_reads_a_file_with_nested_and_dotted_keys),
        TEST(test_an_empty_file_gives_the_defaults),
        TEST(test_environment_overrides_the_file_and_set_overrides_both),
        TEST(test_sets_take_models_and_properties),
        TEST(test_takes_one_request_topic_or_several),
        TEST(test_the_number_of_request_topics_is_bounded),
        TEST(test_tells_every_mistake_with_its_place),
        TEST(test_a_missing_file_is_one_line),
        TEST(test_sizes_are_bounded),
        TEST(test_writes_the_values_in_effect_as_json),
        TEST(test_the_file_in_deploy_is_valid),
        TEST(test_the_page_in_deploy_is_what_the_table_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
