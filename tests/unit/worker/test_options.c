/* options: what a command line gives, and the exit codes. */
#include "worker/options.h"

#include <stdio.h>
#include <string.h>

#include "schemas/base/error.h"
#include "tests/support/cmocka.h"
#include "worker/config.h"

static bool flag;
static const char *text;
static int64_t number;

static const struct option_row rows[] = {
    {"flag", NULL, OPTION_FLAG, &flag, .help = "a flag"},
    {"text", "T", OPTION_TEXT, &text, .help = "a text"},
    {"number", "N", OPTION_NUMBER, &number, .min = -5, .max = 5, .help = "a number"},
};

static struct options options;

/* Reads "test" and the words, up to NULL. Returns -1 when the command would go on. */
static int read_line(const char *const *words)
{
    static char copies[16][64];
    static char *argv[17]; // options.given points into it
    int argc = 1;
    argv[0] = copies[0];
    snprintf(copies[0], sizeof copies[0], "test");
    for (; words[argc - 1] != NULL; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", words[argc - 1]);
        argv[argc] = copies[argc];
    }
    argv[argc] = NULL;
    options = (struct options){.name = "test",
                               .arguments = "IN OUT",
                               .about = "Tests.\n",
                               .rows = rows,
                               .rows_count = sizeof rows / sizeof rows[0],
                               .arguments_min = 1,
                               .arguments_max = 2};
    flag = false;
    text = NULL;
    number = 0;
    int exit_code;
    return options_read(&options, argc, argv, &exit_code) ? -1 : exit_code;
}

#define LINE(...) read_line((const char *const[]){__VA_ARGS__, NULL})

static void test_reads_options_anywhere_among_arguments(void **state)
{
    (void)state;
    assert_int_equal(LINE("in", "--flag", "--text", "x", "--number=-5", "out", "--json"), -1);
    assert_true(flag);
    assert_string_equal(text, "x");
    assert_int_equal(number, -5);
    assert_true(options.wants_json);
    assert_int_equal(options.given_count, 2);
    assert_string_equal(options.given[0], "in");
    assert_string_equal(options.given[1], "out");
}

static void test_leaves_what_is_not_given(void **state)
{
    (void)state;
    assert_int_equal(LINE("--", "--flag"), -1);
    assert_false(flag);
    assert_null(text);
    assert_false(options.wants_json);
    assert_null(options.config_path);
    assert_string_equal(options.given[0], "--flag");
}

static void test_sets_are_kept_in_order(void **state)
{
    (void)state;
    assert_int_equal(LINE("in", "--config", "c.yaml", "--set", "a=1", "--set=b=2"), -1);
    assert_string_equal(options.config_path, "c.yaml");
    assert_int_equal(options.sets_count, 2);
    assert_string_equal(options.sets[0], "a=1");
    assert_string_equal(options.sets[1], "b=2");
}

static void test_mistakes_end_with_exit_code_2(void **state)
{
    (void)state;
    assert_int_equal(LINE("in", "--bogus"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "-x"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "--text"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "--flag=yes"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "--number", "6"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "--number", "5x"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("in", "--number", "99999999999999999999"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("--flag"), EXIT_CODE_USAGE);
    assert_int_equal(LINE("a", "b", "c"), EXIT_CODE_USAGE);
}

static void test_help_ends_with_exit_code_0(void **state)
{
    (void)state;
    assert_int_equal(LINE("--help"), EXIT_CODE_OK);
    assert_int_equal(LINE("in", "--help", "--bogus"), EXIT_CODE_OK);
}

static void test_opens_the_configuration(void **state)
{
    (void)state;
    assert_int_equal(LINE("in", "--set", "http.port=7"), -1);
    struct config *config = options_config(&options);
    assert_non_null(config);
    assert_int_equal(config->http_port, 7);
    config_close(config);
    assert_int_equal(LINE("in", "--set", "http.port=x"), -1);
    assert_null(options_config(&options));
}

static void test_exit_codes_tell_mistakes_from_failures(void **state)
{
    (void)state;
    assert_int_equal(options_exit_code(&(struct error){.kind = ERROR_CONFIG}), EXIT_CODE_USAGE);
    assert_int_equal(options_exit_code(&(struct error){.kind = ERROR_UNDECODABLE}),
                     EXIT_CODE_USAGE);
    assert_int_equal(options_exit_code(&(struct error){.kind = ERROR_FATAL}), EXIT_CODE_FAILED);
    assert_int_equal(options_exit_code(&(struct error){.kind = ERROR_NONE}), EXIT_CODE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_options_anywhere_among_arguments),
        cmocka_unit_test(test_leaves_what_is_not_given),
        cmocka_unit_test(test_sets_are_kept_in_order),
        cmocka_unit_test(test_mistakes_end_with_exit_code_2),
        cmocka_unit_test(test_help_ends_with_exit_code_0),
        cmocka_unit_test(test_opens_the_configuration),
        cmocka_unit_test(test_exit_codes_tell_mistakes_from_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
