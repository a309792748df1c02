/* command: the commands that need no broker and no model, by their exit codes. */
#include "worker/command.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "worker/options.h"

static void test_settings_prints_pages_and_takes_no_arguments(void **state)
{
    (void)state;
    char name[] = "settings";
    char metrics[] = "--metrics";
    char json[] = "--json";
    char wrong[] = "more";
    char set[] = "--set=http.port=x";
    assert_int_equal(command_settings(1, (char *[]){name, NULL}), EXIT_CODE_OK);
    assert_int_equal(command_settings(2, (char *[]){name, metrics, NULL}), EXIT_CODE_OK);
    assert_int_equal(command_settings(2, (char *[]){name, json, NULL}), EXIT_CODE_OK);
    assert_int_equal(command_settings(2, (char *[]){name, wrong, NULL}), EXIT_CODE_USAGE);
    assert_int_equal(command_settings(2, (char *[]){name, set, NULL}), EXIT_CODE_USAGE);
}

static void test_settings_fails_when_it_cannot_write(void **state)
{
    (void)state;
    char name[] = "settings";
    assert_non_null(freopen("/dev/full", "w", stdout));
    assert_int_equal(command_settings(1, (char *[]){name, NULL}), EXIT_CODE_FAILED);
    assert_non_null(freopen("/dev/null", "w", stdout));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_prints_pages_and_takes_no_arguments),
        cmocka_unit_test(test_settings_fails_when_it_cannot_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
