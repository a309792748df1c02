/* look_ahead and prefix_order: groups with a common prefix, and what they may not pass. */
#include "pipeline/engine/look_ahead.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { STATES = 120, PROMPT_MAX = 40, BLOCK_TOKENS = 4, UNIX_MS = 1000000000 };

struct crowd {
    int32_t prompts[STATES][PROMPT_MAX];
    struct sequence sequences[STATES];
    struct sequence_state states[STATES];
};

static void set_prompt(struct crowd *crowd, int index, const char *text)
{
    struct sequence *sequence = &crowd->sequences[index];
    sequence->prompt = crowd->prompts[index];
    sequence->prompt_count = (int)strlen(text);
    for (int i = 0; i < sequence->prompt_count; i++) {
        crowd->prompts[index][i] = text[i];
    }
}

static void add(struct crowd *crowd, struct look_ahead *look_ahead, int index, double submitted_ms,
                const char *text)
{
    set_prompt(crowd, index, text);
    crowd->sequences[index].timing.submitted_ms = submitted_ms;
    sequence_state_init(&crowd->states[index], &crowd->sequences[index], (uint64_t)index, UNIX_MS);
    look_ahead_add(look_ahead, &crowd->states[index]);
}

static void assert_order(struct crowd *crowd, struct look_ahead *look_ahead, const char *order)
{
    for (const char *at = order; *at != '\0'; at++) {
        struct sequence_state *next = look_ahead_next(look_ahead);
        assert_ptr_equal(next, &crowd->states[*at - '0']);
        look_ahead_admit(look_ahead, next);
    }
    assert_null(look_ahead_next(look_ahead));
}

static void open_look_ahead(struct look_ahead *look_ahead, bool is_enabled)
{
    assert_true(look_ahead_open(look_ahead, STATES, BLOCK_TOKENS, is_enabled));
}

static void test_groups_with_a_common_prefix_run_together(void **state)
{
    (void)state;
    for (int is_enabled = 0; is_enabled < 2; is_enabled++) {
        static struct crowd crowd;
        struct look_ahead look_ahead;
        open_look_ahead(&look_ahead, is_enabled == 1);
        // Everyone shares a block. Beyond it 0, 3 and 6 are one conversation, 2, 4 and 7 another.
        static const char *const prompts[STATES] = {
            "sameAAAA1",  "same1111",         "sameBBBBbbbb",    "sameAAAAaaaa",
            "sameBBBBcc", "sameCCCCcccccccc", "sameAAAAaaaaccc", "sameBBBB"};
        for (int i = 0; i < 8; i++) {
            add(&crowd, &look_ahead, i, i, prompts[i]);
        }
        if (is_enabled == 1) {
            // 1 is alone: what it shares with all others is no reason to prefer any of them, so the
            // order of arrival goes on.
            assert_order(&crowd, &look_ahead, "03612475");
        } else {
            assert_order(&crowd, &look_ahead, "01234567");
        }
        look_ahead_close(&look_ahead);
    }
}

static void test_a_follower_passes_only_what_it_is_little_behind(void **state)
{
    (void)state;
    static struct crowd crowd;
    struct look_ahead look_ahead;
    open_look_ahead(&look_ahead, true);
    add(&crowd, &look_ahead, 0, 0, "AAAAAAAA");
    add(&crowd, &look_ahead, 1, 1, "BBBB");
    add(&crowd, &look_ahead, 2, 1 + LOOK_AHEAD_MS, "AAAAAAAA");
    add(&crowd, &look_ahead, 3, 2 + LOOK_AHEAD_MS, "AAAAAAAA");
    assert_order(&crowd, &look_ahead, "0213");
    look_ahead_close(&look_ahead);
}

static void test_a_follower_passes_no_deadline_and_no_priority(void **state)
{
    (void)state;
    static struct crowd crowd;
    struct look_ahead look_ahead;
    open_look_ahead(&look_ahead, true);
    add(&crowd, &look_ahead, 0, 0, "AAAAAAAA");
    look_ahead_admit(&look_ahead, look_ahead_next(&look_ahead));
    add(&crowd, &look_ahead, 0, 0, "AAAAAAAA");
    add(&crowd, &look_ahead, 2, 9, "AAAAAAAA");
    look_ahead_admit(&look_ahead, look_ahead_next(&look_ahead));
    assert_ptr_equal(look_ahead_next(&look_ahead), &crowd.states[2]);
    // Due within the patience that all have, though later than what follows would be done.
    crowd.sequences[1].params.deadline_ms = UNIX_MS + PATIENCE_MS - 10;
    add(&crowd, &look_ahead, 1, 0, "BBBB");
    crowd.sequences[3].params.priority = -1;
    add(&crowd, &look_ahead, 3, 20, "CCCC");
    assert_order(&crowd, &look_ahead, "312");
    look_ahead_close(&look_ahead);
}

static void test_a_follower_that_leaves_is_forgotten(void **state)
{
    (void)state;
    static struct crowd crowd;
    struct look_ahead look_ahead;
    open_look_ahead(&look_ahead, true);
    add(&crowd, &look_ahead, 0, 0, "AAAAAAAA");
    add(&crowd, &look_ahead, 1, 1, "BBBB");
    add(&crowd, &look_ahead, 2, 2, "AAAAAAAA");
    look_ahead_admit(&look_ahead, look_ahead_next(&look_ahead));
    assert_ptr_equal(look_ahead_next(&look_ahead), &crowd.states[2]);
    look_ahead_remove(&look_ahead, &crowd.states[2]);
    memset(&crowd.states[2], 0xff, sizeof crowd.states[2]);
    assert_order(&crowd, &look_ahead, "1");
    look_ahead_close(&look_ahead);
}

static void test_a_deferred_one_is_next_in_the_next_step_and_others_go_on(void **state)
{
    (void)state;
    static struct crowd crowd;
    struct look_ahead look_ahead;
    open_look_ahead(&look_ahead, true);
    add(&crowd, &look_ahead, 0, 0, "AAAAAAAA");
    add(&crowd, &look_ahead, 1, 1, "BBBBBBBB");
    add(&crowd, &look_ahead, 2, 2, "CCCC");
    add(&crowd, &look_ahead, 3, 3, "AAAAAAAA");
    add(&crowd, &look_ahead, 4, 4, "BBBBBBBB");
    look_ahead_begin(&look_ahead);
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(look_ahead_next(&look_ahead), &crowd.states[i]);
        look_ahead_admit(&look_ahead, &crowd.states[i]);
        assert_ptr_equal(look_ahead_next(&look_ahead), &crowd.states[i + 3]);
        look_ahead_defer(&look_ahead, &crowd.states[i + 3]);
    }
    assert_ptr_equal(look_ahead_next(&look_ahead), &crowd.states[2]);
    look_ahead_defer(&look_ahead, &crowd.states[2]);
    assert_null(look_ahead_next(&look_ahead));
    look_ahead_begin(&look_ahead);
    struct sequence_state *next = look_ahead_next(&look_ahead);
    assert_true(next == &crowd.states[3] || next == &crowd.states[4]);
    look_ahead_admit(&look_ahead, next);
    struct sequence_state *other = look_ahead_next(&look_ahead);
    assert_ptr_equal(other, next == &crowd.states[3] ? &crowd.states[4] : &crowd.states[3]);
    look_ahead_admit(&look_ahead, other);
    assert_order(&crowd, &look_ahead, "2");
    look_ahead_close(&look_ahead);
}

/* More groups than there are followers: whoever is next, all run, each once. */
static void test_many_groups_all_run_whatever_is_deferred(void **state)
{
    (void)state;
    struct random random = {random_seed(2)};
    static struct crowd crowd;
    for (int round = 0; round < 200; round++) {
        struct look_ahead look_ahead;
        open_look_ahead(&look_ahead, true);
        for (int i = 0; i < STATES; i++) {
            char text[PROMPT_MAX] = {0};
            memset(text, 'A' + random_between(&random, 0, 20),
                   (size_t)random_between(&random, 1, 30));
            add(&crowd, &look_ahead, i, random_between(&random, 0, 2 * LOOK_AHEAD_MS), text);
        }
        int admitted_count = 0;
        for (int step = 0; admitted_count < STATES; step++) {
            assert_true(step < 10 * STATES);
            look_ahead_begin(&look_ahead);
            struct sequence_state *next;
            while ((next = look_ahead_next(&look_ahead)) != NULL) {
                const struct sequence_state *first = waiting_first(&look_ahead.waiting);
                assert_true(next->rank_ms - first->rank_ms <= LOOK_AHEAD_MS);
                if (random_chance(&random, 50)) {
                    look_ahead_defer(&look_ahead, next);
                } else {
                    look_ahead_admit(&look_ahead, next);
                    admitted_count++;
                }
            }
        }
        assert_int_equal(look_ahead_count(&look_ahead), 0);
        look_ahead_close(&look_ahead);
    }
}

static void random_crowd(struct crowd *crowd, struct random *random)
{
    for (int i = 0; i < STATES; i++) {
        struct sequence *sequence = &crowd->sequences[i];
        sequence->prompt = crowd->prompts[i];
        sequence->prompt_count = random_between(random, 1, PROMPT_MAX);
        for (int t = 0; t < sequence->prompt_count; t++) {
            crowd->prompts[i][t] = random_between(random, 0, random_chance(random, 90) ? 1 : 9);
        }
        sequence_state_init(&crowd->states[i], sequence, (uint64_t)i, UNIX_MS);
    }
}

/* Of all inside, no one shares more with a state than its neighbours do. */
static void check_neighbours(struct crowd *crowd, const bool *is_inside, int index)
{
    const struct sequence_state *state = &crowd->states[index];
    int best = 0;
    int neighbour = 0;
    for (int i = 0; i < STATES; i++) {
        if (is_inside[i] && i != index) {
            int shared = prefix_order_shared(&crowd->sequences[i], state->sequence);
            best = shared > best ? shared : best;
            bool is_neighbour = state->prefix.previous == &crowd->states[i] ||
                                state->prefix.next == &crowd->states[i];
            neighbour = is_neighbour && shared > neighbour ? shared : neighbour;
        }
    }
    assert_int_equal(neighbour, best);
}

static void test_neighbours_share_most_whatever_comes_and_goes(void **state)
{
    (void)state;
    struct random random = {random_seed(1)};
    static struct crowd crowd;
    struct prefix_order order = {0};
    bool is_inside[STATES] = {false};
    random_crowd(&crowd, &random);
    for (int step = 0; step < 4000; step++) {
        int i = random_between(&random, 0, STATES - 1);
        if (is_inside[i]) {
            check_neighbours(&crowd, is_inside, i);
            prefix_order_remove(&order, &crowd.states[i]);
        } else {
            prefix_order_add(&order, &crowd.states[i]);
        }
        is_inside[i] = !is_inside[i];
    }
}

static void test_shared_counts_tokens_from_the_start(void **state)
{
    (void)state;
    enum { TOKENS = 300 };
    int32_t first[TOKENS] = {0};
    int32_t second[TOKENS] = {0};
    struct sequence a = {.prompt = first, .prompt_count = TOKENS};
    struct sequence b = {.prompt = second, .prompt_count = TOKENS};
    assert_int_equal(prefix_order_shared(&a, &b), TOKENS);
    for (int i = 0; i < TOKENS; i++) {
        second[i] = 1;
        assert_int_equal(prefix_order_shared(&a, &b), i);
        second[i] = 0;
        b.prompt_count = i;
        assert_int_equal(prefix_order_shared(&a, &b), i);
        b.prompt_count = TOKENS;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_with_a_common_prefix_run_together),
        cmocka_unit_test(test_a_follower_passes_only_what_it_is_little_behind),
        cmocka_unit_test(test_a_follower_passes_no_deadline_and_no_priority),
        cmocka_unit_test(test_a_follower_that_leaves_is_forgotten),
        cmocka_unit_test(test_a_deferred_one_is_next_in_the_next_step_and_others_go_on),
        cmocka_unit_test(test_many_groups_all_run_whatever_is_deferred),
        cmocka_unit_test(test_neighbours_share_most_whatever_comes_and_goes),
        cmocka_unit_test(test_shared_counts_tokens_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
