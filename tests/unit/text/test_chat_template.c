/* Chat templates: the golden renders of 67 real templates, and opening a model folder. */
#include "pipeline/text/chat_template.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#define TEMPLATES DATA_DIR "/chat-templates/"

/* The time at which the golden renders were made: 2024-07-26 12:00:00 UTC. */
static const int64_t golden_time_s = 1721995200;

enum { PROMPT_BYTES_MAX = 1 << 20, GOLDEN_RENDERS = 670 };

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
    assert_int_equal(count, GOLDEN_RENDERS);
    assert_int_equal(right, count);
}

/* A model folder of its own for each test. */
static int make_folder(void **state)
{
    static char folder[64];
    snprintf(folder, sizeof folder, "/tmp/test_chat_template.XXXXXX");
    *state = mkdtemp(folder);
    return *state == NULL;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"tokenizer_config.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", (const char *)*state, names[i]);
        unlink(path);
    }
    return rmdir(*state);
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void expect_folder_renders(const char *folder, const char *variables, const char *expected)
{
    struct chat_template *chat_template = NULL;
    struct error error = {0};
    struct buffer out;
    buffer_init(&out, PROMPT_BYTES_MAX);
    json_t *values = json_loads(variables, 0, NULL);
    if (!chat_template_open(folder, &chat_template, &error) ||
        !chat_template_render(chat_template, values, &out, &error)) {
        fail_msg("%s", error.message);
    }
    assert_string_equal(buffer_bytes(&out).data, expected);
    json_decref(values);
    buffer_close(&out);
    chat_template_close(chat_template);
}

static void expect_folder_refused(const char *folder, enum error_kind kind, const char *message)
{
    struct chat_template *chat_template = NULL;
    struct error error = {0};
    assert_false(chat_template_open(folder, &chat_template, &error));
    assert_null(chat_template);
    assert_int_equal(error.kind, kind);
    assert_non_null(strstr(error.message, message));
}

static void special_tokens_become_variables(void **state)
{
    put_file(
        *state, "tokenizer_config.json",
        "{\"chat_template\": \"{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}"
        "{{ additional_special_tokens }}{{ tools is none }}{{ add_generation_prompt }}\","
        "\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\", \"lstrip\": false},"
        "\"pad_token\": null, \"additional_special_tokens\": [\"<a>\", {\"content\": \"<b>\"}]}");
    expect_folder_renders(*state, "{}", "<s></s>False['<a>', '<b>']TrueFalse");
    expect_folder_renders(*state, "{\"bos_token\": \"X\"}", "X</s>False['<a>', '<b>']TrueFalse");
}

static void a_request_with_tools_takes_the_tool_use_template(void **state)
{
    put_file(*state, "tokenizer_config.json",
             "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"tools\"},"
             "{\"name\": \"rag\", \"template\": \"{{ broken\"},"
             "{\"name\": \"default\", \"template\": \"plain\"}]}");
    expect_folder_renders(*state, "{\"tools\": [{}]}", "tools");
    expect_folder_renders(*state, "{\"tools\": null}", "plain");
    expect_folder_renders(*state, "{}", "plain");
}

static void a_file_of_its_own_comes_before_the_configuration(void **state)
{
    put_file(*state, "chat_template.jinja", "file {{ bos_token }}\n");
    expect_folder_renders(*state, "{}", "file ");
    put_file(*state, "tokenizer_config.json",
             "{\"chat_template\": \"config\", \"bos_token\": \"<s>\"}");
    expect_folder_renders(*state, "{}", "file <s>");
}

static void a_folder_without_a_usable_template_is_refused(void **state)
{
    expect_folder_refused(*state, ERROR_NOT_FOUND, "has neither chat_template.jinja nor");
    put_file(*state, "tokenizer_config.json", "{\"bos_token\": \"<s>\"}");
    expect_folder_refused(*state, ERROR_NOT_FOUND, "has neither chat_template.jinja nor");
    put_file(*state, "tokenizer_config.json", "{\"chat_template\": \"a\\n{{ b\"}");
    expect_folder_refused(*state, ERROR_CONFIG, "line 2: a tag has no end");
    put_file(*state, "tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\"}]}");
    expect_folder_refused(*state, ERROR_CONFIG, "must have a name and a template");
    put_file(*state, "tokenizer_config.json", "{\"chat_template\": []}");
    expect_folder_refused(*state, ERROR_CONFIG, "no template with the name default");
    put_file(*state, "tokenizer_config.json", "{\"chat_template\": 5}");
    expect_folder_refused(*state, ERROR_CONFIG, "must be a text or a list");
    put_file(*state, "tokenizer_config.json", "[");
    expect_folder_refused(*state, ERROR_CONFIG, "is not a JSON object (line 1)");
}

/* A template for the tests below; it never fails. */
static struct chat_template *parse_template(const char *source)
{
    struct chat_template *chat_template = NULL;
    struct error error = {0};
    assert_true(chat_template_parse(bytes_of(source), &chat_template, &error));
    return chat_template;
}

static void a_failure_leaves_the_output_as_it_was(void **state)
{
    (void)state;
    struct chat_template *chat_template = parse_template("abc{{ raise_exception('no ' ~ n) }}");
    struct error error = {0};
    struct buffer out;
    buffer_init(&out, PROMPT_BYTES_MAX);
    buffer_append_text(&out, "before");
    json_t *variables = json_pack("{s:i}", "n", 5);
    assert_false(chat_template_render(chat_template, variables, &out, &error));
    assert_string_equal(buffer_bytes(&out).data, "before");
    assert_int_equal(error.kind, ERROR_INVALID);
    assert_string_equal(error.param, "messages");
    assert_string_equal(error.message, "no 5");
    json_decref(variables);
    buffer_close(&out);
    chat_template_close(chat_template);
}

static void a_prompt_longer_than_its_buffer_is_too_large(void **state)
{
    (void)state;
    struct chat_template *chat_template = parse_template("{% for i in range(9) %}abc{% endfor %}");
    json_t *variables = json_object();
    for (size_t size_max = 26; size_max <= 27; size_max++) {
        struct error error = {0};
        struct buffer out;
        buffer_init(&out, size_max);
        bool fits = size_max == 27;
        assert_int_equal(chat_template_render(chat_template, variables, &out, &error), fits);
        assert_int_equal(error.kind, fits ? ERROR_NONE : ERROR_TOO_LARGE);
        buffer_close(&out);
    }
    json_decref(variables);
    chat_template_close(chat_template);
}

enum { THREADS = 4, RENDERS_PER_THREAD = 200 };

static void *render_often(void *argument)
{
    const struct chat_template *chat_template = argument;
    json_t *variables = json_pack("{s:[s,s,s]}", "l", "x", "y", "z");
    size_t right = 0;
    for (int i = 0; i < RENDERS_PER_THREAD; i++) {
        struct error error = {0};
        struct buffer out;
        buffer_init(&out, PROMPT_BYTES_MAX);
        right += chat_template_render(chat_template, variables, &out, &error) &&
                 bytes_equal_text(buffer_bytes(&out), "[X]1[Y]2[Z]3");
        buffer_close(&out);
    }
    json_decref(variables);
    return right == RENDERS_PER_THREAD ? argument : NULL;
}

static void threads_share_a_template(void **state)
{
    (void)state;
    struct chat_template *chat_template =
        parse_template("{% macro m(a, b='[') %}{{ b ~ a|upper }}]{% endmacro %}"
                       "{% for x in l %}{{ m(x) }}{{ loop.index }}{% endfor %}");
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, chat_template), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
    chat_template_close(chat_template);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(special_tokens_become_variables, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_request_with_tools_takes_the_tool_use_template,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_file_of_its_own_comes_before_the_configuration,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_folder_without_a_usable_template_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test(a_failure_leaves_the_output_as_it_was),
        cmocka_unit_test(a_prompt_longer_than_its_buffer_is_too_large),
        cmocka_unit_test(threads_share_a_template),
        cmocka_unit_test(every_golden_render_is_reproduced_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
