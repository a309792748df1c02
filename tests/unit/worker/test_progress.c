/* progress: what is shown, when, and on which kind of stderr. */
#include "worker/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { LONG_AGO_MS = 10000 };

static char shown[1000];

/* What progress_show writes for `progress` with these arguments. */
static const char *show(struct progress *progress, int64_t done, int64_t total, double fraction)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    (void)fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    progress_show(progress, done, total, fraction);
    (void)fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    rewind(file);
    shown[fread(shown, 1, sizeof shown - 1, file)] = '\0';
    (void)fclose(file);
    return shown;
}

/* A progress that started, and last showed something, ten seconds ago. */
static struct progress running(bool is_terminal)
{
    struct progress progress;
    progress_start(&progress, "records", false);
    progress.is_terminal = is_terminal;
    progress.started_ms -= LONG_AGO_MS;
    progress.shown_ms -= LONG_AGO_MS;
    return progress;
}

/* The bar, which comes after what clears the terminal's line. */
static const char *after_erase(void)
{
    static const char erase[] = "\r\033[K[";
    assert_ptr_equal(strstr(shown, erase), shown);
    return shown + sizeof erase - 1;
}

static void test_what_is_quick_shows_nothing(void **state)
{
    (void)state;
    struct progress progress;
    progress_start(&progress, "records", false);
    progress.shown_ms -= LONG_AGO_MS;
    assert_string_equal(show(&progress, 1, 2, -1), "");
}

static void test_a_file_gets_plain_lines_some_seconds_apart(void **state)
{
    (void)state;
    struct progress progress = running(false);
    show(&progress, 50, 200, -1);
    assert_ptr_equal(strstr(shown, "50 of 200 records, "), shown);
    assert_non_null(strstr(shown, "/s, 0:00:30 left\n"));
    assert_null(strchr(shown, '\r'));
    assert_string_equal(show(&progress, 60, 200, -1), "");
    progress.shown_ms -= LONG_AGO_MS;
    assert_ptr_equal(strstr(show(&progress, 60, 200, -1), "60 of 200"), shown);
}

static void test_a_terminal_gets_a_bar_over_the_last_one(void **state)
{
    (void)state;
    struct progress progress = running(true);
    show(&progress, 50, 200, -1);
    const char *bar = after_erase();
    assert_int_equal(strspn(bar, "#"), 7); // a quarter of 30
    assert_non_null(strstr(shown, " 25 % 50 of 200 records"));
    assert_null(strchr(shown, '\n'));
    assert_true(progress.has_bar);
}

static void test_a_fraction_beyond_its_range_stays_inside_the_bar(void **state)
{
    (void)state;
    struct progress progress = running(true);
    show(&progress, 300, 200, 1.5);
    const char *bar = after_erase();
    assert_int_equal(strspn(bar, "#"), 30);
    assert_null(strstr(shown, "left"));
}

static void test_an_unknown_total_shows_a_rate_alone(void **state)
{
    (void)state;
    struct progress progress = running(false);
    show(&progress, 50, 0, -1);
    assert_ptr_equal(strstr(shown, "50 records, "), shown);
    assert_null(strstr(shown, "left"));
}

static void test_quiet_shows_nothing(void **state)
{
    (void)state;
    struct progress progress = running(true);
    progress.is_quiet = true;
    assert_string_equal(show(&progress, 50, 200, -1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_quick_shows_nothing),
        cmocka_unit_test(test_a_file_gets_plain_lines_some_seconds_apart),
        cmocka_unit_test(test_a_terminal_gets_a_bar_over_the_last_one),
        cmocka_unit_test(test_a_fraction_beyond_its_range_stays_inside_the_bar),
        cmocka_unit_test(test_an_unknown_total_shows_a_rate_alone),
        cmocka_unit_test(test_quiet_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
