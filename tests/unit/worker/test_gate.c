/* gate: who waits for what; and whole lives of a process that some records end, in which the others
 * must never be taken for these. */
#include "tests/support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "tests/support/seed.h"
#include "worker/attempts.h"
#include "worker/gate.h"

enum { PARTITIONS = 3, RECORDS = 40, ATTEMPTS_LIMIT = 3, NO_TURN = -1 };

enum stage { STAGE_UNREAD, STAGE_WAITS, STAGE_RUNS, STAGE_ANSWERED, STAGE_ENDED };

struct record {
    struct job job;
    enum stage stage;
    int turn; // the last that the gate gave
};

struct scene {
    struct gate gate;
    struct partition *partitions[PARTITIONS]; // linked, in this order
    struct record records[PARTITIONS][RECORDS];
    struct offsets_commit commits[PARTITIONS]; // what the group has; position -1: nothing
    int running;
    bool has_alone; // among the running
};

static struct record *record_of(struct scene *scene, const struct job *job)
{
    return &scene->records[job->source.partition][job->source.offset];
}

static void end_record(struct scene *scene, struct record *record)
{
    record->stage = STAGE_ENDED;
    gate_leave(&scene->gate, &record->job);
}

static void on_turn(void *context, struct job *job, enum offsets_turn turn)
{
    struct scene *scene = context;
    struct record *record = record_of(scene, job);
    assert_int_equal(record->stage, STAGE_WAITS);
    record->turn = turn;
    record->stage = STAGE_ANSWERED;
    if (turn == OFFSETS_STALE) {
        end_record(scene, record);
    } else if (turn != OFFSETS_EXHAUSTED) {
        record->stage = STAGE_RUNS;
        assert_false(scene->has_alone);
        scene->has_alone = turn == OFFSETS_RUN_ALONE;
        assert_true(!scene->has_alone || scene->running == 0);
        scene->running++;
    }
}

/* A process begins: each partition is assigned at what the group has. */
static void assign(struct scene *scene)
{
    struct gate_end end = {on_turn, scene};
    gate_init(&scene->gate, ATTEMPTS_LIMIT, &end);
    scene->running = 0;
    scene->has_alone = false;
    for (int p = 0; p < PARTITIONS; p++) {
        struct partition *partition = partition_open("requests", p, 1);
        CHECK(partition != NULL);
        scene->partitions[p] = partition;
        const struct offsets_commit *commit = &scene->commits[p];
        if (commit->position >= 0) {
            struct offset_map map;
            struct error error = {0};
            struct bytes text = {commit->metadata, commit->metadata_size};
            CHECK(offset_map_decode(text, commit->position, &map, &error));
            offsets_restore(partition->offsets, 1, &map);
            offsets_limit_suspects(partition->offsets, RECORDS);
        }
    }
    for (int p = 0; p < PARTITIONS - 1; p++) {
        scene->partitions[p]->next = scene->partitions[p + 1];
    }
}

/* It ends without a word. */
static void forget(struct scene *scene)
{
    for (int p = 0; p < PARTITIONS; p++) {
        scene->partitions[p]->waiting_first = NULL;
        partition_release(scene->partitions[p]);
        for (int r = 0; r < RECORDS; r++) {
            struct record *record = &scene->records[p][r];
            record->stage = record->stage == STAGE_ENDED ? STAGE_ENDED : STAGE_UNREAD;
        }
    }
}

static int open_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    for (int p = 0; p < PARTITIONS; p++) {
        scene->commits[p].position = -1;
        for (int r = 0; r < RECORDS; r++) {
            scene->records[p][r].job.source.partition = p;
            scene->records[p][r].job.source.offset = r;
            scene->records[p][r].turn = NO_TURN;
        }
    }
    assign(scene);
    *state = scene;
    return 0;
}

static int close_scene(void **state)
{
    forget(*state);
    free(*state);
    return 0;
}

/* False when the record is done already. */
static bool read_record(struct scene *scene, int p, int r)
{
    struct partition *partition = scene->partitions[p];
    struct record *record = &scene->records[p][r];
    if (offsets_is_done(partition->offsets, r)) {
        (void)offsets_deliver(partition->offsets, r);
        return false;
    }
    assert_int_equal(record->stage, STAGE_UNREAD);
    record->stage = STAGE_WAITS;
    record->turn = NO_TURN;
    record->job.epoch = 1;
    record->job.end = partition;
    gate_add(&scene->gate, &record->job);
    return true;
}

static void read_records(struct scene *scene, int p, int first, int end)
{
    for (int r = first; r < end; r++) {
        assert_true(read_record(scene, p, r));
    }
}

static void step(struct scene *scene)
{
    gate_step(&scene->gate, scene->partitions[0]);
}

static void answer(struct scene *scene, int p, int r)
{
    struct record *record = &scene->records[p][r];
    assert_int_equal(record->stage, STAGE_RUNS);
    record->stage = STAGE_ANSWERED;
    scene->running--;
    scene->has_alone = false;
}

/* Commits what is answered of a partition, and what its offsets say. */
static void commit(struct scene *scene, int p, bool is_last)
{
    struct offsets *offsets = scene->partitions[p]->offsets;
    for (int r = 0; r < RECORDS; r++) {
        if (scene->records[p][r].stage == STAGE_ANSWERED) {
            assert_true(offsets_include(offsets, 1, r));
        }
    }
    struct offsets_commit taken;
    if (!offsets_snapshot(offsets, 1, is_last, &taken)) {
        return; // nothing is known of the partition yet
    }
    scene->commits[p] = taken;
    assert_true(offsets_confirm(offsets, 1));
    for (int r = 0; r < RECORDS; r++) {
        if (scene->records[p][r].stage == STAGE_ANSWERED) {
            end_record(scene, &scene->records[p][r]);
        }
    }
}

static int turn_of(const struct scene *scene, int p, int r)
{
    return scene->records[p][r].turn;
}

/* The group knows the partition from an owner that ended: all is suspect, and `r` was begun `count`
 * times. */
static void leave_suspects(struct scene *scene, int p, int r, uint8_t count)
{
    struct offset_map map;
    offset_map_init(&map, 0, RECORDS);
    if (count > 0) {
        map.attempts[map.attempts_count++] = (struct offset_attempts){r, count};
    }
    scene->commits[p].position = 0;
    scene->commits[p].metadata_size = offset_map_encode(&map, scene->commits[p].metadata);
}

static void restart(struct scene *scene)
{
    forget(scene);
    assign(scene);
}

static void test_nothing_runs_before_a_commit_and_then_all_in_order(void **state)
{
    struct scene *scene = *state;
    read_records(scene, 0, 0, 5);
    assert_int_equal(scene->gate.waiting, 5);
    step(scene);
    assert_int_equal(scene->gate.waiting, 5);
    assert_true(offsets_needs_commit(scene->partitions[0]->offsets));
    commit(scene, 0, false);
    step(scene);
    assert_int_equal(scene->gate.waiting, 0);
    assert_int_equal(scene->gate.inside, 5);
    assert_int_equal(turn_of(scene, 0, 4), OFFSETS_RUN);
    read_records(scene, 0, 5, 6);
    assert_int_equal(turn_of(scene, 0, 5), OFFSETS_RUN); // at once
}

static void test_a_partition_that_waits_keeps_no_other_waiting(void **state)
{
    struct scene *scene = *state;
    read_records(scene, 1, 0, 1);
    commit(scene, 1, false);
    read_records(scene, 0, 0, 3);
    read_records(scene, 1, 1, 3);
    assert_int_equal(turn_of(scene, 0, 0), NO_TURN);
    step(scene);
    assert_int_equal(turn_of(scene, 1, 0), OFFSETS_RUN);
    assert_int_equal(turn_of(scene, 1, 2), OFFSETS_RUN);
}

static void test_one_commit_lets_a_group_of_suspects_go(void **state)
{
    struct scene *scene = *state;
    leave_suspects(scene, 0, 0, 0);
    restart(scene);
    read_records(scene, 0, 0, RECORDS);
    step(scene);
    commit(scene, 0, false);
    step(scene);
    assert_int_equal(scene->running, ATTEMPTS_FIRST_GROUP);
    assert_int_equal(turn_of(scene, 0, ATTEMPTS_FIRST_GROUP - 1), OFFSETS_RUN);
    assert_int_equal(turn_of(scene, 0, ATTEMPTS_FIRST_GROUP), NO_TURN);
    answer(scene, 0, 7);
    step(scene);
    assert_int_equal(turn_of(scene, 0, ATTEMPTS_FIRST_GROUP), NO_TURN);
    commit(scene, 0, false); // 7 makes room
    step(scene);             // which the next takes
    commit(scene, 0, false);
    step(scene);
    assert_int_equal(turn_of(scene, 0, ATTEMPTS_FIRST_GROUP), OFFSETS_RUN);
}

static void test_an_exhausted_record_does_not_run(void **state)
{
    struct scene *scene = *state;
    leave_suspects(scene, 0, 1, ATTEMPTS_LIMIT);
    restart(scene);
    read_records(scene, 0, 0, 3);
    step(scene);
    assert_int_equal(turn_of(scene, 0, 0), NO_TURN);
    assert_int_equal(turn_of(scene, 0, 1), OFFSETS_EXHAUSTED);
    assert_int_equal(offsets_attempts(scene->partitions[0]->offsets, 1), ATTEMPTS_LIMIT);
    commit(scene, 0, false);
    step(scene);
    assert_int_equal(turn_of(scene, 0, 0), OFFSETS_RUN);
    assert_int_equal(turn_of(scene, 0, 2), OFFSETS_RUN);
}

/* An attempt that waits for another to end must not be counted yet: that one may end the process.
 */
static void test_last_attempts_have_the_process_to_themselves_one_by_one(void **state)
{
    struct scene *scene = *state;
    leave_suspects(scene, 0, 0, ATTEMPTS_LIMIT - 1);
    leave_suspects(scene, 1, 0, ATTEMPTS_LIMIT - 1);
    restart(scene);
    read_records(scene, 2, 0, 1);
    commit(scene, 2, false);
    step(scene);
    assert_int_equal(turn_of(scene, 2, 0), OFFSETS_RUN);
    read_records(scene, 0, 0, 1);
    read_records(scene, 1, 0, 1);
    read_records(scene, 2, 1, 2);
    step(scene);
    assert_int_equal(turn_of(scene, 2, 1), NO_TURN);
    assert_int_equal(offsets_attempts(scene->partitions[0]->offsets, 0), ATTEMPTS_LIMIT - 1);
    answer(scene, 2, 0);
    commit(scene, 2, false);
    step(scene);
    assert_int_equal(offsets_attempts(scene->partitions[0]->offsets, 0), ATTEMPTS_LIMIT);
    commit(scene, 0, false);
    commit(scene, 1, false);
    step(scene);
    assert_int_equal(turn_of(scene, 0, 0), OFFSETS_RUN_ALONE);
    answer(scene, 0, 0);
    step(scene);
    // Answered, but not committed: it would be given up if another ended the process now.
    assert_int_equal(turn_of(scene, 2, 1), NO_TURN);
    assert_int_equal(offsets_attempts(scene->partitions[1]->offsets, 0), ATTEMPTS_LIMIT - 1);
    commit(scene, 0, false);
    step(scene);
    assert_int_equal(offsets_attempts(scene->partitions[1]->offsets, 0), ATTEMPTS_LIMIT);
    commit(scene, 1, false);
    step(scene);
    assert_int_equal(turn_of(scene, 1, 0), OFFSETS_RUN_ALONE);
    answer(scene, 1, 0);
    commit(scene, 1, false);
    step(scene);
    assert_int_equal(turn_of(scene, 2, 1), OFFSETS_RUN);
}

static void test_a_partition_that_goes_takes_what_waits_with_it(void **state)
{
    struct scene *scene = *state;
    leave_suspects(scene, 0, 0, ATTEMPTS_LIMIT - 1);
    restart(scene);
    read_records(scene, 0, 0, 3);
    read_records(scene, 1, 0, 1);
    commit(scene, 1, false);
    step(scene);
    assert_int_equal(turn_of(scene, 1, 0), NO_TURN); // the first of 0 wants to be alone
    gate_drop(&scene->gate, scene->partitions[0]);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(turn_of(scene, 0, r), OFFSETS_STALE);
    }
    step(scene);
    assert_int_equal(turn_of(scene, 1, 0), OFFSETS_RUN);
}

static void test_a_record_of_another_epoch_is_stale(void **state)
{
    struct scene *scene = *state;
    read_records(scene, 0, 0, 2);
    offsets_assign(scene->partitions[0]->offsets, 2);
    step(scene);
    assert_int_equal(turn_of(scene, 0, 0), OFFSETS_STALE);
    assert_int_equal(turn_of(scene, 0, 1), OFFSETS_STALE);
}

/* Random lives. */
struct world {
    struct scene *scene;
    bool is_poison[PARTITIONS][RECORDS];
    int next[PARTITIONS]; // to be read
    int deaths;
};

static void restart_world(struct world *world)
{
    restart(world->scene);
    for (int p = 0; p < PARTITIONS; p++) {
        int64_t position = world->scene->commits[p].position;
        world->next[p] = position < 0 ? 0 : (int)position;
    }
}

/* A random one of those that run has its answer, or ends the process. */
static void answer_random(struct world *world)
{
    int p = (int)random_below(PARTITIONS);
    int first = (int)random_below(RECORDS);
    for (int i = 0; i < RECORDS; i++) {
        int r = (first + i) % RECORDS;
        if (world->scene->records[p][r].stage != STAGE_RUNS) {
            continue;
        }
        if (world->is_poison[p][r]) {
            world->deaths++;
            restart_world(world);
        } else {
            answer(world->scene, p, r);
        }
        return;
    }
}

/* In good order: what waits is dropped, and so is what runs. */
static void drain(struct world *world)
{
    struct scene *scene = world->scene;
    for (int p = 0; p < PARTITIONS; p++) {
        gate_drop(&scene->gate, scene->partitions[p]);
        commit(scene, p, true);
        for (int r = 0; r < RECORDS; r++) {
            struct record *record = &scene->records[p][r];
            record->stage = record->turn == OFFSETS_STALE ? STAGE_UNREAD : record->stage;
        }
    }
    restart_world(world);
}

static void move_randomly(struct world *world)
{
    int p = (int)random_below(PARTITIONS);
    switch (random_below(20)) {
    case 0:
        drain(world);
        break;
    case 1:
    case 2:
    case 3:
        commit(world->scene, p, false);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        answer_random(world);
        break;
    case 8:
    case 9:
        step(world->scene);
        break;
    default:
        if (world->next[p] < RECORDS) {
            (void)read_record(world->scene, p, world->next[p]++);
        }
    }
}

static bool is_all_committed(const struct scene *scene)
{
    for (int p = 0; p < PARTITIONS; p++) {
        if (scene->commits[p].position < RECORDS) {
            return false;
        }
    }
    return true;
}

static void test_random_lives_give_up_what_ends_them_and_nothing_else(void **state)
{
    enum { LIVES = 300, MOVES_MAX = 200000, POISONS_MAX = 4 };
    (void)state;
    seed_random();
    for (int life = 0; life < LIVES; life++) {
        struct world world = {0};
        CHECK(open_scene((void **)&world.scene) == 0);
        int poisons = 0;
        for (size_t i = random_below(POISONS_MAX + 1); i > 0; i--) {
            bool *is_poison = &world.is_poison[random_below(PARTITIONS)][random_below(RECORDS)];
            poisons += *is_poison ? 0 : 1;
            *is_poison = true;
        }
        int moves = 0;
        while (!is_all_committed(world.scene) && moves++ < MOVES_MAX) {
            move_randomly(&world);
        }
        assert_true(is_all_committed(world.scene));
        assert_true(world.deaths <= poisons * (ATTEMPTS_LIMIT + 1));
        for (int p = 0; p < PARTITIONS; p++) {
            for (int r = 0; r < RECORDS; r++) {
                bool is_given_up = turn_of(world.scene, p, r) == OFFSETS_EXHAUSTED;
                assert_int_equal(is_given_up, world.is_poison[p][r]);
            }
        }
        CHECK(close_scene((void **)&world.scene) == 0);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_runs_before_a_commit_and_then_all_in_order),
        TEST(test_a_partition_that_waits_keeps_no_other_waiting),
        TEST(test_one_commit_lets_a_group_of_suspects_go),
        TEST(test_an_exhausted_record_does_not_run),
        TEST(test_last_attempts_have_the_process_to_themselves_one_by_one),
        TEST(test_a_partition_that_goes_takes_what_waits_with_it),
        TEST(test_a_record_of_another_epoch_is_stale),
        cmocka_unit_test(test_random_lives_give_up_what_ends_them_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
