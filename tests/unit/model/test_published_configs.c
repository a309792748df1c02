/* config.json as publishers wrote it: of models that run here, with what must be read, and of
 * models that are something else, with what must be said. Weights are not looked at. */
#include "pipeline/model/model_config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/tiny_model.h"

static void check_refused(const char *name, const char *expected, const struct error *error)
{
    assert_int_equal(error->kind, ERROR_CONFIG);
    if (strstr(error->message, expected) == NULL) {
        fail_msg("%s: \"%s\" does not hold \"%s\"", name, error->message, expected);
    }
}

static void check_read(const char *name, const json_t *expect, const struct model_config *config)
{
    const struct {
        const char *member;
        int value;
    } numbers[] = {
        {"head_dim", config->head_dim},
        {"window", config->window},
        {"experts", config->experts.routing.experts},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        const json_t *value = json_object_get(expect, numbers[i].member);
        if (value != NULL && json_integer_value(value) != numbers[i].value) {
            fail_msg("%s: %s is %d", name, numbers[i].member, numbers[i].value);
        }
    }
    const json_t *kind = json_object_get(expect, "quantization");
    if (kind != NULL) {
        assert_string_equal(quantization_name(config->quantization.kind), json_string_value(kind));
    }
    assert_true(config->stop_tokens_count > 0);
}

static void check_case(const char *folder, const json_t *published)
{
    struct model_config config;
    struct error error = {0};
    const char *name = json_string_value(json_object_get(published, "name"));
    const char *refused = json_string_value(json_object_get(published, "refused"));
    char *text = json_dumps(json_object_get(published, "config"), 0);
    assert_non_null(text);
    tiny_model_put(folder, "config.json", text, strlen(text));
    free(text);
    bool is_ok = model_config_load(folder, &config, &error);
    if (is_ok != (refused == NULL)) {
        fail_msg("%s: %s", name, is_ok ? "must be refused" : error.message);
    }
    if (is_ok) {
        check_read(name, json_object_get(published, "expect"), &config);
    } else if (refused != NULL) {
        check_refused(name, refused, &error);
    }
}

static void test_published_configurations_are_read_or_refused_by_name(void **state)
{
    (void)state;
    char folder[TINY_MODEL_PATH];
    json_error_t problem;
    json_t *cases = json_load_file(SOURCE_DIR "/tests/golden/model/configs.json", 0, &problem);
    assert_true(json_array_size(cases) > 0);
    (void)snprintf(folder, sizeof(folder), "/tmp/published_XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_case(folder, json_array_get(cases, i));
    }
    tiny_model_remove(folder);
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_configurations_are_read_or_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
