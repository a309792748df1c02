/* CHECK: silent when its condition holds, names file and condition and aborts when it does not. */
#include "schemas/base/check.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static void test_a_condition_that_holds_does_nothing(void **state)
{
    (void)state;
    CHECK(1 + 1 == 2);
}

static void test_a_broken_condition_aborts_and_names_itself(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        CHECK(ends[0] == -1);
        _exit(0);
    }
    (void)close(ends[1]);
    char text[512] = "";
    size_t used = 0;
    for (ssize_t got = 1; got > 0 && used < sizeof text - 1; used += (size_t)got) {
        got = read(ends[0], text + used, sizeof text - 1 - used);
        assert_true(got >= 0);
    }
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "test_check.c"));
    assert_non_null(strstr(text, "ends[0] == -1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_condition_that_holds_does_nothing),
        cmocka_unit_test(test_a_broken_condition_aborts_and_names_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
