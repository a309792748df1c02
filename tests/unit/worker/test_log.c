/* log: what a line looks like, and that no value can forge one. */
#include "worker/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static char captured[64 * LOG_LINE_BYTES_MAX];

/* stderr goes to a file between the two. */
static FILE *file;
static int stderr_copy;

static void capture_start(void)
{
    file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    stderr_copy = dup(STDERR_FILENO);
    assert_true(stderr_copy >= 0);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
}

static void capture_stop(void)
{
    assert_true(dup2(stderr_copy, STDERR_FILENO) >= 0);
    close(stderr_copy);
    rewind(file);
    captured[fread(captured, 1, sizeof captured - 1, file)] = '\0';
    fclose(file);
}

/* Of a line, what follows the time. */
#define AFTER_TIME (captured + sizeof "2026-01-31T12:00:00.123Z " - 1)

static void test_writes_time_level_event_and_pairs(void **state)
{
    (void)state;
    capture_start();
    log_event(LOG_WARN, "topic_missing", "topic=%s partitions=%d offset=%lld size=%zu rate=%.2f",
              "llm.responses.v1", -3, 1LL << 40, (size_t)7, 1.005);
    capture_stop();
    int fields[7];
    char end;
    assert_int_equal(sscanf(captured, "%4d-%2d-%2dT%2d:%2d:%2d.%3d%c", &fields[0], &fields[1],
                            &fields[2], &fields[3], &fields[4], &fields[5], &fields[6], &end),
                     8);
    assert_int_equal(end, 'Z');
    assert_string_equal(AFTER_TIME, "level=warn event=topic_missing topic=llm.responses.v1 "
                                    "partitions=-3 offset=1099511627776 size=7 rate=1.00\n");
}

static void test_an_event_needs_no_pairs(void **state)
{
    (void)state;
    capture_start();
    log_event(LOG_INFO, "started", "%s", "");
    log_event(LOG_INFO, "ended", "");
    capture_stop();
    assert_non_null(strstr(captured, "event=started \"\"\n"));
    assert_non_null(strstr(captured, "event=ended\n"));
}

static void test_quotes_values_that_could_forge_a_field(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"plain-1.2/3:4", "plain-1.2/3:4"},
        {"", "\"\""},
        {NULL, "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"x\"", "\"say \\\"x\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nlevel=error", "\"line\\nlevel=error\""},
        {"\x1b[31m\x7f\r", "\"\\x1b[31m\\x7f\\x0d\""},
        {"\xC3\xA9", "\xC3\xA9"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char wanted[128];
        capture_start();
        log_event(LOG_ERROR, "value", "v=%s end=%c", rows[i].value, 'x');
        capture_stop();
        snprintf(wanted, sizeof wanted, "level=error event=value v=%s end=x\n", rows[i].written);
        assert_string_equal(AFTER_TIME, wanted);
    }
}

static void test_quotes_in_the_format_are_kept(void **state)
{
    (void)state;
    capture_start();
    log_event(LOG_ERROR, "kafka", "text=\"%s\" part=%.*s", "a \"b\" c", 2, "xyz");
    capture_stop();
    assert_string_equal(AFTER_TIME, "level=error event=kafka text=\"a \\\"b\\\" c\" part=xy\n");
}

static void test_cuts_a_line_that_is_too_long(void **state)
{
    (void)state;
    char value[2 * LOG_LINE_BYTES_MAX];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    value[10] = ' ';
    capture_start();
    log_event(LOG_ERROR, "long", "v=%s after=%d", value, 1);
    capture_stop();
    assert_true(strlen(captured) <= LOG_LINE_BYTES_MAX);
    assert_non_null(strstr(captured, "...\n"));
    assert_string_equal(strchr(captured, '\n'), "\n");
}

static void test_drops_lines_below_the_level(void **state)
{
    (void)state;
    enum log_level level;
    assert_true(log_level_of("error", &level));
    assert_false(log_level_of("loud", &level));
    capture_start();
    log_event(LOG_DEBUG, "quiet", "");
    log_set_level(level);
    log_event(LOG_WARN, "quiet", "");
    log_set_level(LOG_DEBUG);
    log_event(LOG_DEBUG, "heard", "");
    log_set_level(LOG_INFO);
    capture_stop();
    assert_null(strstr(captured, "quiet"));
    assert_non_null(strstr(captured, "heard"));
}

static int lines_of(const char *event)
{
    int count = 0;
    for (const char *at = strstr(captured, event); at != NULL; at = strstr(at + 1, event)) {
        count++;
    }
    return count;
}

static void test_cuts_an_event_that_comes_too_often_but_no_error(void **state)
{
    (void)state;
    capture_start();
    for (int i = 0; i < LOG_BURST + 30; i++) {
        log_event(LOG_WARN, "flood", "i=%d", i);
        log_event(LOG_ERROR, "fault", "i=%d", i);
    }
    log_event(LOG_ERROR, "flood", "");
    log_event(LOG_WARN, "other", "");
    capture_stop();
    assert_int_equal(lines_of("level=warn event=flood"), LOG_BURST);
    assert_int_equal(lines_of("level=error event=fault"), LOG_BURST + 30);
    assert_non_null(strstr(captured, "level=error event=flood suppressed=30\n"));
    assert_non_null(strstr(captured, "event=other\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_time_level_event_and_pairs),
        cmocka_unit_test(test_an_event_needs_no_pairs),
        cmocka_unit_test(test_quotes_values_that_could_forge_a_field),
        cmocka_unit_test(test_quotes_in_the_format_are_kept),
        cmocka_unit_test(test_cuts_a_line_that_is_too_long),
        cmocka_unit_test(test_drops_lines_below_the_level),
        cmocka_unit_test(test_cuts_an_event_that_comes_too_often_but_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
