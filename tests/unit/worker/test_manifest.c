/* manifest: what is written can be read, and what is broken is refused. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/manifest.h"

static struct manifest *filled(void)
{
    struct manifest *manifest = manifest_open();
    assert_non_null(manifest);
    (void)snprintf(manifest->run_id, sizeof manifest->run_id, "nightly \"1\"");
    (void)snprintf(manifest->topic, sizeof manifest->topic, "llm.requests.v1");
    (void)snprintf(manifest->digest, sizeof manifest->digest, "%032d", 7);
    manifest->records = 100000;
    manifest->duplicates = 3;
    manifest->is_complete = true;
    manifest->started_ms = 1767225600000;
    manifest->requests.count = 2;
    manifest->requests.items[1] = INT64_C(1) << 50;
    manifest->responses.count = 1;
    manifest->responses.items[0] = 12;
    return manifest;
}

static void test_a_file_gives_back_what_was_saved(void **state)
{
    (void)state;
    char path[] = "/tmp/millrace-manifest-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0 && close(descriptor) == 0);
    struct manifest *saved = filled();
    struct manifest *loaded = manifest_open();
    struct error error = {0};
    assert_true(manifest_save(saved, path, &error));
    assert_true(manifest_load(path, loaded, &error));
    assert_memory_equal(saved, loaded, sizeof *saved);
    manifest_close(saved);
    manifest_close(loaded);
    assert_int_equal(unlink(path), 0);
}

static void test_a_manifest_of_the_first_version_is_enough(void **state)
{
    (void)state;
    struct error error = {0};
    struct manifest *manifest = filled();
    json_t *value = json_pack("{s:s, s:i, s:s}", "run_id", "r", "records", 3, "ids_digest", "00");
    assert_true(manifest_parse(value, manifest, &error));
    assert_string_equal(manifest->run_id, "r");
    assert_string_equal(manifest->topic, "");
    assert_int_equal(manifest->records, 3);
    assert_int_equal(manifest->duplicates + manifest->started_ms, 0);
    assert_int_equal(manifest->requests.count + manifest->responses.count, 0);
    assert_true(manifest->is_complete);
    json_decref(value);
    manifest_close(manifest);
}

static void test_what_is_broken_is_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "null",
        "[]",
        "{}",
        "{\"run_id\":\"r\",\"ids_digest\":\"\"}",
        "{\"run_id\":\"\",\"records\":1,\"ids_digest\":\"\"}",
        "{\"run_id\":\"r\",\"records\":-1,\"ids_digest\":\"\"}",
        "{\"run_id\":\"r\",\"records\":1.5,\"ids_digest\":\"\"}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":7}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":\"000000000000000000000000000000000\"}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":\"\",\"topic\":1}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":\"\",\"from\":{\"requests\":1}}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":\"\",\"from\":{\"responses\":[-1]}}",
        "{\"run_id\":\"r\",\"records\":1,\"ids_digest\":\"\",\"from\":{\"dead_letters\":[\"1\"]}}",
        "{\"run_id\":\"a\\u0000b\",\"records\":1,\"ids_digest\":\"\"}",
    };
    struct manifest *manifest = manifest_open();
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct error error = {0};
        json_t *value = json_loads(broken[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        if (manifest_parse(value, manifest, &error)) {
            fail_msg("%s was taken", broken[i]);
        }
        assert_int_equal(error.kind, ERROR_INVALID);
        json_decref(value);
    }
    manifest_close(manifest);
}

static void test_more_offsets_than_partitions_may_be_are_refused(void **state)
{
    (void)state;
    struct manifest *manifest = filled();
    struct error error = {0};
    json_t *value = manifest_json(manifest);
    json_t *offsets = json_object_get(json_object_get(value, "from"), "requests");
    while (json_array_size(offsets) <= TOPIC_PARTITIONS_MAX) {
        assert_int_equal(json_array_append_new(offsets, json_integer(0)), 0);
    }
    assert_false(manifest_parse(value, manifest, &error));
    json_decref(value);
    manifest_close(manifest);
}

static void test_a_file_that_cannot_be_is_named(void **state)
{
    (void)state;
    struct manifest *manifest = filled();
    struct error error = {0};
    assert_false(manifest_save(manifest, "/nowhere/manifest.json", &error));
    assert_non_null(strstr(error.message, "/nowhere/manifest.json"));
    error = (struct error){0};
    assert_false(manifest_load("/nowhere/manifest.json", manifest, &error));
    assert_non_null(strstr(error.message, "/nowhere/manifest.json"));
    assert_int_equal(error.kind, ERROR_CONFIG);
    manifest_close(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_gives_back_what_was_saved),
        cmocka_unit_test(test_a_manifest_of_the_first_version_is_enough),
        cmocka_unit_test(test_what_is_broken_is_refused),
        cmocka_unit_test(test_more_offsets_than_partitions_may_be_are_refused),
        cmocka_unit_test(test_a_file_that_cannot_be_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
