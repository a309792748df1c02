/* offsets against a naive model, and the cases that have a name. */
#include "tests/support/cmocka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/offsets.h"

static void test_nothing_is_committed_before_a_delivery(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    assert_int_equal(offsets_position(offsets), -1);
    assert_true(offsets_has_room(offsets, 123456789));
    offsets_close(offsets);
}

static void test_commits_the_lowest_unfinished(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    offsets_assign(offsets, 7);
    for (int64_t offset = 10; offset < 14; offset++) {
        assert_true(offsets_deliver(offsets, offset));
    }
    assert_true(offsets_finish(offsets, 7, 12));
    assert_int_equal(offsets_position(offsets), 10);
    assert_true(offsets_finish(offsets, 7, 10));
    assert_int_equal(offsets_position(offsets), 11);
    assert_true(offsets_finish(offsets, 7, 11));
    assert_int_equal(offsets_position(offsets), 13);
    assert_true(offsets_finish(offsets, 7, 13));
    assert_int_equal(offsets_position(offsets), 14);
    assert_int_equal(offsets_unfinished(offsets), 0);
    offsets_close(offsets);
}

static void test_gaps_count_as_done(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    assert_true(offsets_deliver(offsets, 5));
    assert_true(offsets_deliver(offsets, 9));
    assert_false(offsets_finish(offsets, 0, 7));
    assert_true(offsets_finish(offsets, 0, 5));
    assert_int_equal(offsets_position(offsets), 9);
    offsets_advance(offsets, 12);
    assert_int_equal(offsets_position(offsets), 9);
    assert_true(offsets_finish(offsets, 0, 9));
    assert_int_equal(offsets_position(offsets), 12);
    offsets_advance(offsets, 15);
    assert_int_equal(offsets_position(offsets), 15);
    assert_false(offsets_deliver(offsets, 14));
    offsets_close(offsets);
}

static void test_a_gap_longer_than_the_window_is_passed_when_nothing_is_unfinished(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    assert_true(offsets_deliver(offsets, 0));
    assert_true(offsets_has_room(offsets, 63));
    assert_false(offsets_has_room(offsets, 64));
    assert_true(offsets_finish(offsets, 0, 0));
    assert_true(offsets_has_room(offsets, 1000000));
    assert_true(offsets_deliver(offsets, 1000000));
    assert_int_equal(offsets_position(offsets), 1000000);
    offsets_close(offsets);
}

static void test_another_epoch_finishes_nothing(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    offsets_assign(offsets, 1);
    assert_true(offsets_deliver(offsets, 3));
    offsets_assign(offsets, 2);
    assert_int_equal(offsets_position(offsets), -1);
    assert_true(offsets_deliver(offsets, 3));
    assert_false(offsets_finish(offsets, 1, 3));
    assert_int_equal(offsets_position(offsets), 3);
    assert_true(offsets_finish(offsets, 2, 3));
    assert_false(offsets_finish(offsets, 2, 3));
    assert_int_equal(offsets_position(offsets), 4);
    offsets_close(offsets);
}

/* The naive model: one byte per offset. */
enum { MODEL_OFFSETS = 4096, WINDOW = 128 };

struct model {
    bool is_unfinished[MODEL_OFFSETS + 64];
    int64_t next;
    size_t unfinished;
    bool has_delivered;
};

static int64_t model_position(const struct model *model)
{
    for (int64_t offset = 0; offset < model->next; offset++) {
        if (model->is_unfinished[offset]) {
            return offset;
        }
    }
    return model->has_delivered ? model->next : -1;
}

static void step(struct offsets *offsets, struct model *model)
{
    int choice = rand() % 10;
    if (choice < 5) {
        int64_t offset = model->next + (rand() % 4 == 0 ? rand() % 40 : 0);
        int64_t lowest = model_position(model);
        bool has_room = model->unfinished == 0 || offset < lowest + WINDOW;
        assert_int_equal(offsets_has_room(offsets, offset), has_room);
        if (has_room && offset < MODEL_OFFSETS) {
            assert_true(offsets_deliver(offsets, offset));
            model->is_unfinished[offset] = true;
            model->unfinished++;
            model->next = offset + 1;
            model->has_delivered = true;
        }
    } else if (choice < 9) {
        int64_t base = model->has_delivered ? model_position(model) : 0;
        int64_t offset = base + rand() % WINDOW;
        bool is_unfinished = offset < MODEL_OFFSETS && model->is_unfinished[offset];
        assert_int_equal(offsets_finish(offsets, 1, offset), is_unfinished);
        if (is_unfinished) {
            model->is_unfinished[offset] = false;
            model->unfinished--;
        }
    } else if (model->next < MODEL_OFFSETS) {
        int64_t position = model->next + rand() % 3;
        model->has_delivered = true;
        model->next = position > model->next ? position : model->next;
        offsets_advance(offsets, position);
    }
}

static void test_random_interleavings_agree_with_the_model(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    unsigned seed = given == NULL ? 20261u : (unsigned)strtoul(given, NULL, 10);
    print_message("seed %u (TEST_SEED)\n", seed);
    srand(seed);
    for (int round = 0; round < 60; round++) {
        struct offsets *offsets = offsets_open(WINDOW);
        struct model model = {.next = 0};
        offsets_assign(offsets, 1);
        for (int i = 0; i < 3000; i++) {
            step(offsets, &model);
            assert_int_equal(offsets_unfinished(offsets), model.unfinished);
            assert_int_equal(offsets_position(offsets), model_position(&model));
        }
        offsets_close(offsets);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_committed_before_a_delivery),
        cmocka_unit_test(test_commits_the_lowest_unfinished),
        cmocka_unit_test(test_gaps_count_as_done),
        cmocka_unit_test(test_a_gap_longer_than_the_window_is_passed_when_nothing_is_unfinished),
        cmocka_unit_test(test_another_epoch_finishes_nothing),
        cmocka_unit_test(test_random_interleavings_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
