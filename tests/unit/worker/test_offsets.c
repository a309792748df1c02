/* offsets against a naive model, and the cases that have a name. test_delivery_model.c has their
 * interleavings with what can go wrong around them. */
#include "tests/support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/seed.h"
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

enum { ATTEMPTS_LIMIT = 3 };

static void deliver(struct offsets *offsets, int64_t first, int64_t end)
{
    for (int64_t offset = first; offset < end; offset++) {
        assert_true(offsets_deliver(offsets, offset));
    }
}

/* A commit that succeeds; its map in *map_out. */
static void commit(struct offsets *offsets, bool is_last, struct offset_map *map_out)
{
    struct offsets_commit commit;
    struct error error = {0};
    uint32_t epoch = offsets_epoch(offsets);
    assert_true(offsets_snapshot(offsets, epoch, is_last, &commit));
    struct bytes metadata = {commit.metadata, commit.metadata_size};
    assert_true(offset_map_decode(metadata, commit.position, map_out, &error));
    assert_true(offsets_confirm(offsets, epoch));
    assert_false(offsets_needs_commit(offsets));
}

static enum offsets_turn begin(struct offsets *offsets, int64_t offset)
{
    return offsets_begin(offsets, offsets_epoch(offsets), offset, ATTEMPTS_LIMIT);
}

static void test_a_commit_describes_what_is_included_and_confirmation_makes_it_done(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    offsets_assign(offsets, 1);
    deliver(offsets, 10, 16);
    assert_true(offsets_include(offsets, 1, 10));
    assert_true(offsets_include(offsets, 1, 13));
    assert_false(offsets_include(offsets, 1, 13));
    assert_false(offsets_finish(offsets, 1, 13));
    assert_true(offsets_needs_commit(offsets));
    commit(offsets, false, &map);
    assert_int_equal(map.position, 11);
    assert_int_equal(map.span, 3);
    assert_false(offset_map_is_done(&map, 1));
    assert_true(offset_map_is_done(&map, 2));
    assert_int_equal(offsets_position(offsets), 11);
    assert_int_equal(offsets_unfinished(offsets), 4);
    offsets_close(offsets);
}

static void test_what_is_undone_is_unfinished_and_may_be_included_again(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offsets_commit commit_out;
    struct offset_map map;
    offsets_assign(offsets, 1);
    deliver(offsets, 10, 12);
    assert_true(offsets_include(offsets, 1, 10));
    assert_true(offsets_snapshot(offsets, 1, false, &commit_out));
    assert_int_equal(commit_out.position, 11);
    assert_true(offsets_undo(offsets, 1));
    assert_int_equal(offsets_position(offsets), 10);
    assert_true(offsets_needs_commit(offsets));
    assert_false(offsets_confirm(offsets, 1)); // nothing is under way
    assert_true(offsets_include(offsets, 1, 10));
    assert_true(offsets_include(offsets, 1, 11));
    commit(offsets, false, &map);
    assert_int_equal(map.position, 12);
    assert_int_equal(offsets_unfinished(offsets), 0);
    offsets_close(offsets);
}

static void test_an_ended_assignment_accepts_nothing(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offsets_commit commit_out;
    offsets_assign(offsets, 1);
    deliver(offsets, 10, 13);
    assert_true(offsets_include(offsets, 1, 10));
    assert_true(offsets_snapshot(offsets, 1, false, &commit_out));
    assert_false(offsets_confirm(offsets, 2));
    assert_false(offsets_undo(offsets, 2));
    offsets_end(offsets);
    assert_false(offsets_is_current(offsets, 1));
    assert_false(offsets_confirm(offsets, 1));
    assert_false(offsets_undo(offsets, 1));
    assert_false(offsets_finish(offsets, 1, 11));
    assert_int_equal(begin(offsets, 11), OFFSETS_STALE);
    offsets_assign(offsets, 2);
    deliver(offsets, 10, 13);
    assert_false(offsets_include(offsets, 1, 10));
    assert_false(offsets_snapshot(offsets, 1, false, &commit_out));
    assert_int_equal(offsets_unfinished(offsets), 3);
    offsets_close(offsets);
}

/* 10 and 14 are undone, 11 to 13 and 15 are done. */
static void restore_two(struct offsets *offsets, uint32_t suspects)
{
    struct offset_map map;
    offset_map_init(&map, 10, suspects);
    for (uint32_t i = 1; i < 6; i++) {
        if (i != 4) {
            offset_map_set_done(&map, i);
        }
    }
    map.span = 6;
    offsets_restore(offsets, 3, &map);
}

static void test_what_a_map_has_as_done_is_not_delivered_again(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    restore_two(offsets, 0);
    for (int64_t offset = 10; offset < 17; offset++) {
        bool is_new = offset == 10 || offset == 14 || offset == 16;
        assert_int_equal(offsets_deliver(offsets, offset), is_new);
    }
    assert_int_equal(offsets_unfinished(offsets), 3);
    offsets_close(offsets);
}

static void test_a_commit_keeps_what_the_map_knew_beyond_the_deliveries(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    restore_two(offsets, 0);
    assert_true(offsets_deliver(offsets, 10));
    assert_true(offsets_include(offsets, 3, 10));
    commit(offsets, false, &map);
    assert_int_equal(map.position, 14);
    assert_int_equal(map.span, 2);
    assert_true(offset_map_is_done(&map, 1));
    offsets_close(offsets);
}

static void test_what_is_gone_from_the_log_counts_as_done(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    restore_two(offsets, 64);
    assert_true(offsets_has_room(offsets, 5000));
    assert_true(offsets_deliver(offsets, 5000));
    assert_int_equal(offsets_position(offsets), 5000);
    restore_two(offsets, 64);
    offsets_advance(offsets, 15);
    assert_int_equal(offsets_position(offsets), 16);
    assert_true(offsets_needs_commit(offsets));
    offsets_close(offsets);
}

static void test_a_record_below_the_committed_offset_is_of_another_log(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    offsets_assign(offsets, 1);
    assert_false(offsets_precedes(offsets, 0));
    restore_two(offsets, 0);
    assert_true(offsets_precedes(offsets, 9));
    assert_false(offsets_precedes(offsets, 10));
    offsets_close(offsets);
}

static void test_a_gap_far_beyond_the_window_costs_nothing(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    deliver(offsets, 5, 7);
    assert_true(offsets_finish(offsets, 0, 6));
    offsets_advance(offsets, INT64_C(1) << 60);
    assert_false(offsets_finish(offsets, 0, 5 + 64)); // has the bit of 5
    assert_int_equal(offsets_position(offsets), 5);
    commit(offsets, false, &map);
    assert_int_equal(map.position, 5);
    assert_true(offsets_finish(offsets, 0, 5));
    assert_int_equal(offsets_position(offsets), INT64_C(1) << 60);
    offsets_close(offsets);
}

static void test_nothing_runs_before_a_commit_says_so(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    offsets_assign(offsets, 1);
    assert_false(offsets_needs_commit(offsets));
    deliver(offsets, 10, 12);
    assert_int_equal(begin(offsets, 10), OFFSETS_COMMIT);
    assert_true(offsets_needs_commit(offsets));
    commit(offsets, false, &map);
    assert_int_equal(map.suspects, 16);
    assert_int_equal(begin(offsets, 10), OFFSETS_RUN);
    assert_int_equal(begin(offsets, 11), OFFSETS_RUN);
    deliver(offsets, 12, 30);
    assert_int_equal(begin(offsets, 25), OFFSETS_RUN);
    assert_int_equal(begin(offsets, 26), OFFSETS_COMMIT);
    commit(offsets, false, &map);
    assert_int_equal(map.suspects, 40);
    assert_int_equal(begin(offsets, 26), OFFSETS_RUN);
    commit(offsets, true, &map);
    assert_int_equal(map.suspects, 0);
    assert_int_equal(begin(offsets, 11), OFFSETS_COMMIT);
    offsets_close(offsets);
}

static void test_suspects_begin_when_their_attempt_is_committed_and_others_wait(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    restore_two(offsets, 64);
    offsets_limit_suspects(offsets, 17);
    for (int64_t offset = 10; offset < 18; offset++) {
        (void)offsets_deliver(offsets, offset);
    }
    assert_true(offsets_is_careful(offsets));
    assert_int_equal(begin(offsets, 10), OFFSETS_COMMIT);
    assert_int_equal(begin(offsets, 16), OFFSETS_COMMIT);
    assert_int_equal(begin(offsets, 17), OFFSETS_WAIT); // was not in the log when the owner ended
    commit(offsets, false, &map);
    assert_int_equal(map.suspects, 7);
    assert_int_equal(map.attempts_count, 2);
    assert_int_equal(begin(offsets, 10), OFFSETS_RUN);
    assert_int_equal(begin(offsets, 14), OFFSETS_COMMIT);
    assert_int_equal(offsets_attempts(offsets, 10), 1);
    for (int64_t offset = 10; offset < 17; offset++) {
        (void)offsets_include(offsets, 3, offset);
    }
    assert_int_equal(begin(offsets, 17), OFFSETS_WAIT);
    commit(offsets, false, &map);
    assert_false(offsets_is_careful(offsets));
    assert_int_equal(map.attempts_count, 0);
    assert_int_equal(map.suspects, 16);
    assert_int_equal(begin(offsets, 17), OFFSETS_RUN);
    offsets_close(offsets);
}

static void test_a_record_that_ends_its_owner_each_time_is_given_up(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    offset_map_init(&map, 10, 64);
    for (int attempt = 1; attempt <= ATTEMPTS_LIMIT; attempt++) {
        offsets_restore(offsets, (uint32_t)attempt, &map);
        deliver(offsets, 10, 12);
        assert_int_equal(begin(offsets, 10), OFFSETS_COMMIT);
        commit(offsets, false, &map);
        bool is_last = attempt == ATTEMPTS_LIMIT;
        assert_int_equal(begin(offsets, 10), is_last ? OFFSETS_RUN_ALONE : OFFSETS_RUN);
        assert_int_equal(begin(offsets, 11), is_last ? OFFSETS_WAIT : OFFSETS_COMMIT);
        assert_int_equal(offsets_attempts(offsets, 10), attempt);
    }
    offsets_restore(offsets, 9, &map);
    deliver(offsets, 10, 12);
    assert_int_equal(begin(offsets, 10), OFFSETS_EXHAUSTED);
    assert_true(offsets_include(offsets, 9, 10));
    commit(offsets, false, &map);
    assert_int_equal(map.attempts_count, 0);
    offsets_close(offsets);
}

static void test_an_owner_in_good_order_leaves_suspects_but_no_attempts(void **state)
{
    (void)state;
    struct offsets *offsets = offsets_open(64);
    struct offset_map map;
    restore_two(offsets, 30);
    assert_true(offsets_deliver(offsets, 10));
    assert_int_equal(begin(offsets, 10), OFFSETS_COMMIT);
    commit(offsets, false, &map);
    assert_int_equal(map.attempts_count, 1);
    commit(offsets, true, &map);
    assert_int_equal(map.attempts_count, 0);
    assert_int_equal(map.suspects, 30);
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

/* A log with gaps, and what is done of it, one byte per offset. */
struct life {
    bool exists[MODEL_OFFSETS];
    bool is_done[MODEL_OFFSETS]; // committed
    bool is_included[MODEL_OFFSETS];
    int64_t read; // the next offset to be delivered
    uint32_t epoch;
    struct offsets_commit commit; // the last one that the broker has
};

static void read_some(struct offsets *offsets, struct life *life)
{
    for (size_t count = (size_t)rand() % 20; count > 0 && life->read < MODEL_OFFSETS; count--) {
        int64_t offset = life->read;
        if (life->exists[offset]) {
            if (!offsets_has_room(offsets, offset)) {
                return;
            }
            assert_int_equal(offsets_deliver(offsets, offset), !life->is_done[offset]);
        }
        life->read++;
    }
    if (rand() % 4 == 0) {
        offsets_advance(offsets, life->read);
    }
}

static void commit_some(struct offsets *offsets, struct life *life)
{
    int share = rand() % 8;
    memset(life->is_included, 0, sizeof life->is_included);
    for (int64_t offset = 0; offset < life->read; offset++) {
        bool is_open = life->exists[offset] && !life->is_done[offset];
        bool is_chosen = rand() % 8 < share;
        life->is_included[offset] = is_chosen && is_open;
        if (is_chosen) {
            assert_int_equal(offsets_include(offsets, life->epoch, offset), is_open);
        }
    }
    struct offsets_commit commit;
    if (!offsets_snapshot(offsets, life->epoch, false, &commit)) {
        return;
    }
    read_some(offsets, life); // while the commit is under way
    if (rand() % 3 == 0) {
        assert_true(offsets_undo(offsets, life->epoch));
        return;
    }
    life->commit = commit;
    for (int64_t offset = 0; offset < MODEL_OFFSETS; offset++) {
        life->is_done[offset] |= life->is_included[offset];
    }
    if (rand() % 8 != 0) { // or it crashes before it hears of it
        assert_true(offsets_confirm(offsets, life->epoch));
    } else {
        life->read = -1;
    }
}

/* What the next owner reads is what is done, and nothing else. */
static void start_again(struct offsets *offsets, struct life *life)
{
    struct offset_map map;
    struct error error = {0};
    struct bytes metadata = {life->commit.metadata, life->commit.metadata_size};
    assert_true(offset_map_decode(metadata, life->commit.position, &map, &error));
    for (int64_t offset = 0; offset < MODEL_OFFSETS; offset++) {
        int64_t index = offset - map.position;
        bool is_done = index < 0 || (index < map.span && offset_map_is_done(&map, (uint32_t)index));
        if (life->exists[offset]) {
            assert_int_equal(is_done, life->is_done[offset]);
        }
    }
    offsets_restore(offsets, ++life->epoch, &map);
    life->read = map.position;
}

static void test_random_lives_of_a_partition_commit_each_record_once(void **state)
{
    (void)state;
    static struct life life;
    for (int round = 0; round < 20; round++) {
        struct offsets *offsets = offsets_open(WINDOW);
        assert_non_null(offsets);
        memset(&life, 0, sizeof life);
        int gaps = rand() % 10;
        for (int64_t offset = 0; offset < MODEL_OFFSETS; offset++) {
            life.exists[offset] = rand() % 10 >= gaps;
        }
        life.commit.metadata_size = 0;
        start_again(offsets, &life);
        for (int i = 0; i < 500; i++) {
            read_some(offsets, &life);
            commit_some(offsets, &life);
            if (life.read < 0 || rand() % 30 == 0) {
                start_again(offsets, &life);
            }
        }
        offsets_close(offsets);
    }
}

int main(void)
{
    seed_random();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_committed_before_a_delivery),
        cmocka_unit_test(test_commits_the_lowest_unfinished),
        cmocka_unit_test(test_gaps_count_as_done),
        cmocka_unit_test(test_a_gap_longer_than_the_window_is_passed_when_nothing_is_unfinished),
        cmocka_unit_test(test_another_epoch_finishes_nothing),
        cmocka_unit_test(test_a_commit_describes_what_is_included_and_confirmation_makes_it_done),
        cmocka_unit_test(test_what_is_undone_is_unfinished_and_may_be_included_again),
        cmocka_unit_test(test_an_ended_assignment_accepts_nothing),
        cmocka_unit_test(test_what_a_map_has_as_done_is_not_delivered_again),
        cmocka_unit_test(test_a_commit_keeps_what_the_map_knew_beyond_the_deliveries),
        cmocka_unit_test(test_what_is_gone_from_the_log_counts_as_done),
        cmocka_unit_test(test_a_record_below_the_committed_offset_is_of_another_log),
        cmocka_unit_test(test_a_gap_far_beyond_the_window_costs_nothing),
        cmocka_unit_test(test_nothing_runs_before_a_commit_says_so),
        cmocka_unit_test(test_suspects_begin_when_their_attempt_is_committed_and_others_wait),
        cmocka_unit_test(test_a_record_that_ends_its_owner_each_time_is_given_up),
        cmocka_unit_test(test_an_owner_in_good_order_leaves_suspects_but_no_attempts),
        cmocka_unit_test(test_random_interleavings_agree_with_the_model),
        cmocka_unit_test(test_random_lives_of_a_partition_commit_each_record_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
