/* waiting and sequence_state: the order in which sequences run. */
#include "pipeline/engine/waiting.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { STATES = 200, UNIX_MS = 1000000000 };

static struct sequence_state state_of(struct sequence *sequence, uint64_t arrival)
{
    struct sequence_state state;
    sequence_state_init(&state, sequence, arrival, UNIX_MS);
    return state;
}

static struct sequence sequence_of(double submitted_ms, int priority, int64_t deadline_ms)
{
    return (struct sequence){.timing = {.submitted_ms = submitted_ms},
                             .params = {.priority = priority, .deadline_ms = deadline_ms}};
}

static void assert_before(struct sequence first, struct sequence second)
{
    struct sequence_state a = state_of(&first, 9);
    struct sequence_state b = state_of(&second, 3);
    assert_true(sequence_state_precedes(&a, &b));
    assert_false(sequence_state_precedes(&b, &a));
}

static void test_lower_priority_then_earlier_deadline_then_arrival(void **state)
{
    (void)state;
    assert_before(sequence_of(5000, 0, 0), sequence_of(1000, 1, 0));
    assert_before(sequence_of(5000, -1, 0), sequence_of(1000, 0, UNIX_MS + 1));
    assert_before(sequence_of(1000, 0, UNIX_MS + 500), sequence_of(1000, 0, UNIX_MS + 900));
    assert_before(sequence_of(1000, 0, UNIX_MS + 500), sequence_of(1000, 0, 0));
    assert_before(sequence_of(1000, 0, 0), sequence_of(1001, 0, 0));
    struct sequence same = sequence_of(1000, 0, 0);
    struct sequence_state early = state_of(&same, 1);
    struct sequence_state late = state_of(&same, 2);
    assert_true(sequence_state_precedes(&early, &late));
}

static void test_long_outputs_come_first_among_those_submitted_together(void **state)
{
    (void)state;
    struct sequence longer = sequence_of(1500, 0, 0);
    struct sequence shorter = sequence_of(1000, 0, 0);
    longer.params.max_tokens = 1000;
    shorter.params.max_tokens = 10;
    assert_before(longer, shorter);
    longer.timing.submitted_ms = 2500;
    assert_before(shorter, longer);
    // Neither passes a deadline, and what is longer than any model allows is worth no more.
    longer.params.max_tokens = INT32_MAX;
    assert_before(sequence_of(1000, 0, UNIX_MS + PATIENCE_MS / 2), longer);
    shorter.timing.submitted_ms = 1000;
    longer.timing.submitted_ms = 1000 + LONG_TOKENS;
    assert_before(shorter, longer);
}

static void test_nothing_overtakes_after_its_time(void **state)
{
    (void)state;
    double bound_ms = (double)PATIENCE_MS + PRIORITY_MS; // one step of priority apart
    assert_before(sequence_of(0, 1, 0), sequence_of(bound_ms + 1, 0, 1));
    assert_before(sequence_of(0, 1, 0), sequence_of(bound_ms + 1, 0, INT64_MIN));
    assert_before(sequence_of(0, 0, INT64_MAX), sequence_of(PATIENCE_MS + 1, 0, 1));
    // The extremes of priority do not overflow.
    assert_before(sequence_of(0, INT32_MIN, 0), sequence_of(0, INT32_MAX, 0));
}

static void check_first_is_best(const struct waiting *waiting, struct sequence_state *states,
                                const bool *is_inside)
{
    const struct sequence_state *best = NULL;
    for (int i = 0; i < STATES; i++) {
        if (is_inside[i] && (best == NULL || sequence_state_precedes(&states[i], best))) {
            best = &states[i];
        }
    }
    assert_ptr_equal(waiting_first(waiting), best);
}

static void test_the_first_is_always_the_best_of_those_inside(void **state)
{
    (void)state;
    struct random random = {random_seed(1)};
    struct waiting waiting;
    struct sequence sequences[STATES];
    struct sequence_state states[STATES];
    bool is_inside[STATES] = {false};
    assert_true(waiting_open(&waiting, STATES));
    for (int i = 0; i < STATES; i++) {
        sequences[i] =
            sequence_of(random_between(&random, 0, 20), random_between(&random, 0, 2), 0);
        states[i] = state_of(&sequences[i], (uint64_t)i);
    }
    for (int step = 0; step < 5000; step++) {
        int i = random_between(&random, 0, STATES - 1);
        if (is_inside[i]) {
            waiting_remove(&waiting, &states[i]);
        } else {
            waiting_add(&waiting, &states[i]);
        }
        is_inside[i] = !is_inside[i];
        check_first_is_best(&waiting, states, is_inside);
    }
    waiting_close(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_priority_then_earlier_deadline_then_arrival),
        cmocka_unit_test(test_long_outputs_come_first_among_those_submitted_together),
        cmocka_unit_test(test_nothing_overtakes_after_its_time),
        cmocka_unit_test(test_the_first_is_always_the_best_of_those_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
