/* backoff: waits grow and are spread; headers are read as untrusted. */
#include "worker/backoff.h"

#include <string.h>

#include "tests/support/cmocka.h"

static void test_waits_double_up_to_a_minute_within_their_spread(void **state)
{
    (void)state;
    double whole_ms = 500;
    for (int failures = 1; failures < 40; failures++) {
        assert_true(backoff_ms(failures, 0) == whole_ms / 2);
        assert_true(backoff_ms(failures, 1023) < whole_ms);
        assert_true(backoff_ms(failures, 1023) > whole_ms * 0.99);
        whole_ms = whole_ms * 2 < 60000 ? whole_ms * 2 : 60000;
    }
    assert_true(backoff_ms(0, 0) == 250); // nothing counted yet
}

static void test_durations_are_read_as_openai_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double ms;
    } cases[] = {
        {"1", 1000},      {"0", 0},        {"1.5", 1500},      {"20ms", 20},    {"1s", 1000},
        {"6m0s", 360000}, {"8.64s", 8640}, {"1h2m3s", 3723e3}, {"90m", 5400e3}, {"", -1},
        {"-1", -1},       {"nan", -1},     {"inf", -1},        {"1x", -1},      {"s", -1},
        {" 1", -1},       {"1s2", -1},     {"1e300", -1},      {"1s ", -1},     {"m1", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double ms = backoff_duration_ms(cases[i].text);
        if (ms != cases[i].ms) {
            fail_msg("'%s' is %g ms, must be %g", cases[i].text, ms, cases[i].ms);
        }
    }
}

static double asked(const struct http_limits *limits)
{
    return backoff_asked_ms(limits, 1700000000000);
}

static void test_an_endpoint_asks_by_either_form_of_retry_after(void **state)
{
    (void)state;
    assert_true(asked(&(struct http_limits){.retry_after = ""}) == 0);
    assert_true(asked(&(struct http_limits){.retry_after = "7"}) == 7000);
    // 30 seconds after Unix time 1700000000.
    assert_true(asked(&(struct http_limits){.retry_after = "Tue, 14 Nov 2023 22:13:50 GMT"}) ==
                30000);
    assert_true(asked(&(struct http_limits){.retry_after = "Mon, 13 Nov 2023 22:13:50 GMT"}) == 0);
    assert_true(asked(&(struct http_limits){.retry_after = "soon"}) == 0);
    assert_true(asked(&(struct http_limits){.retry_after = "2", .retry_after_ms = "1500"}) == 1500);
    assert_true(asked(&(struct http_limits){.retry_after = "999999999"}) == BACKOFF_ASKED_MAX_MS);
}

static void test_an_exhausted_rate_limit_asks_until_its_reset(void **state)
{
    (void)state;
    assert_true(asked(&(struct http_limits){.remaining_requests = "0", .reset_requests = "2s"}) ==
                2000);
    assert_true(asked(&(struct http_limits){.remaining_requests = "5", .reset_requests = "2s"}) ==
                0);
    assert_true(asked(&(struct http_limits){.retry_after = "1",
                                            .remaining_tokens = "0",
                                            .reset_tokens = "6m0s"}) == 360000);
    assert_true(asked(&(struct http_limits){.remaining_tokens = "0", .reset_tokens = "?"}) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_double_up_to_a_minute_within_their_spread),
        cmocka_unit_test(test_durations_are_read_as_openai_writes_them),
        cmocka_unit_test(test_an_endpoint_asks_by_either_form_of_retry_after),
        cmocka_unit_test(test_an_exhausted_rate_limit_asks_until_its_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
