/* Chat templates: the golden renders of 67 real templates, and opening a model folder. */
#include "pipeline/text/chat_template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#define TEMPLATES DATA_DIR "/chat-templates/"

/* The time at which the golden renders were made: 2024-07-26 12:00:00 UTC. */
static const int64_t golden_time_s = 1721995200;

enum { PROMPT_BYTES_MAX = 1 << 20, GOLDEN_TEMPLATES_MAX = 200 };

static struct chat_template *load_template(const char *name)
{
    char path[1024];
    struct buffer source;
    struct chat_template *chat_template = NULL;
    struct error error = {0};
    buffer_init(&source, PROMPT_BYTES_MAX);
    snprintf(path, sizeof path, TEMPLATES "%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char block[4096];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) {
        buffer_append(&source, block, got);
    }
    fclose(file);
    if (!chat_template_parse(buffer_bytes(&source), &chat_template, &error)) {
        fail_msg("%s: %s", name, error.message);
    }
    chat_template_fix_time(chat_template, golden_time_s);
    buffer_close(&source);
    return chat_template;
}

/* The variables of a case: those of all cases and its own. */
static json_t *case_variables(const json_t *cases, const char *name)
{
    json_t *variables = json_copy(json_object_get(json_object_get(cases, "cases"), name));
    assert_non_null(variables);
    const json_t *common = json_object_get(cases, "common");
    json_object_set(variables, "bos_token", json_object_get(common, "bos_token"));
    json_object_set(variables, "eos_token", json_object_get(common, "eos_token"));
    return variables;
}

/* Whether one line of the golden file renders as it says. Prints what differs. */
static bool renders_as_golden(const json_t *line, const json_t *cases)
{
    const char *name = json_string_value(json_object_get(line, "template"));
    const char *case_name = json_string_value(json_object_get(line, "case"));
    const json_t *expected = json_object_get(line, "expected");
    struct chat_template *chat_template = load_template(name);
    json_t *variables = case_variables(cases, case_name);
    struct error error = {0};
    struct buffer out;
    buffer_init(&out, PROMPT_BYTES_MAX);
    bool rendered = chat_template_render(chat_template, variables, &out, &error);
    bool is_right = expected == NULL ? !rendered
                                     : rendered && bytes_equal_text(buffer_bytes(&out),
                                                                    json_string_value(expected));
    if (!is_right) {
        print_message("%s, %s: %s\n  wanted: %s\n", name, case_name,
                      rendered ? buffer_bytes(&out).data : error.message,
                      expected == NULL ? json_string_value(json_object_get(line, "error"))
                                       : json_string_value(expected));
    }
    buffer_close(&out);
    json_decref(variables);
    chat_template_close(chat_template);
    return is_right;
}

static void every_golden_render_is_reproduced_byte_for_byte(void **state)
{
    (void)state;
    json_t *cases = json_load_file(TEMPLATES "golden-renders-cases.json", 0, NULL);
    FILE *file = fopen(TEMPLATES "golden-renders.jsonl", "rb");
    if (cases == NULL || file == NULL) {
        print_message("no golden renders under " TEMPLATES "\n");
        skip();
    }
    size_t templates = 0;
    size_t templates_right = 0;
    size_t count = 0;
    size_t right = 0;
    bool is_template_right = true;
    char previous[256] = "";
    for (json_t *line; (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL;) {
        const char *name = json_string_value(json_object_get(line, "template"));
        if (strcmp(name, previous) != 0) { // the lines of a template stand together
            templates_right += templates > 0 && is_template_right;
            templates++;
            is_template_right = true;
            snprintf(previous, sizeof previous, "%s", name);
        }
        bool is_right = renders_as_golden(line, cases);
        is_template_right = is_template_right && is_right;
        right += is_right;
        count++;
        json_decref(line);
    }
    templates_right += templates > 0 && is_template_right;
    fclose(file);
    json_decref(cases);
    print_message("%zu of %zu templates, %zu of %zu renders\n", templates_right, templates, right,
                  count);
    assert_int_equal(count, 670);
    assert_int_equal(right, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_render_is_reproduced_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
