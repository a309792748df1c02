/* transaction: when one is due, what goes into it, and what becomes of it. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/job.h"
#include "schemas/base/check.h"
#include "tests/support/seed.h"
#include "worker/partition.h"
#include "worker/transaction.h"

enum { RECORDS = 64, EPOCH = 7 };

struct scene {
    struct transaction *transaction;
    struct partition *partition;
    struct job jobs[RECORDS];
    struct delivery deliveries[RECORDS];
    size_t dropped_count;
    struct delivery *dropped[RECORDS];
};

static void drop(void *context, struct delivery *delivery)
{
    struct scene *scene = context;
    scene->dropped[scene->dropped_count++] = delivery;
}

static int open_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct transaction_limits limits = {.records_max = 10, .bytes_max = 1000, .interval_ms = 100};
    struct error error = {0};
    CHECK(transaction_open(&limits, &scene->transaction, &error));
    scene->partition = partition_open("requests", 3, EPOCH);
    for (int i = 0; i < RECORDS; i++) {
        CHECK(offsets_deliver(scene->partition->offsets, i));
        scene->jobs[i].source.offset = i;
        scene->jobs[i].epoch = EPOCH;
        scene->jobs[i].end = scene->partition;
        scene->deliveries[i].job = &scene->jobs[i];
        scene->deliveries[i].value = (struct bytes){"0123456789", 10};
    }
    *state = scene;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *scene = *state;
    transaction_clear(scene->transaction, drop, scene);
    transaction_close(scene->transaction);
    partition_release(scene->partition);
    free(scene);
    return 0;
}

static void add(struct scene *scene, int first, int count, uint64_t now_ms)
{
    for (int i = first; i < first + count; i++) {
        transaction_add(scene->transaction, &scene->deliveries[i], now_ms);
    }
}

static struct offsets_commit snapshot(const struct scene *scene)
{
    struct offsets_commit commit;
    CHECK(offsets_snapshot(scene->partition->offsets, EPOCH, false, &commit));
    return commit;
}

static void ignore(void *context, struct delivery *delivery)
{
    (void)context;
    (void)delivery;
}

static void test_is_due_by_count_bytes_or_time(void **state)
{
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    assert_false(transaction_is_due(transaction, 5000));
    add(scene, 0, 9, 5000);
    assert_false(transaction_is_due(transaction, 5099));
    assert_true(transaction_is_due(transaction, 5100));
    add(scene, 9, 1, 5001);
    assert_true(transaction_is_due(transaction, 5001));
    transaction_clear(transaction, drop, scene);
    scene->deliveries[0].value.size = 1000;
    add(scene, 0, 1, 6000);
    assert_true(transaction_is_due(transaction, 6000));
}

static void test_takes_the_oldest_within_count_and_bytes(void **state)
{
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    add(scene, 0, 25, 0);
    scene->deliveries[2].value.size = 10;
    transaction_fill(transaction, drop, scene);
    assert_int_equal(transaction->count, 10);
    assert_ptr_equal(transaction->deliveries[0], &scene->deliveries[0]);
    assert_ptr_equal(transaction->deliveries[9], &scene->deliveries[9]);
    assert_int_equal(transaction->waiting_count, 15);
    assert_int_equal(transaction->waiting_bytes, 150);
    // Exactly those count as done in the commit that goes with them.
    assert_int_equal(snapshot(scene).position, 10);
}

static void test_one_that_is_larger_than_a_transaction_goes_alone(void **state)
{
    struct scene *scene = *state;
    scene->deliveries[1].value.size = 5000;
    add(scene, 0, 3, 0);
    transaction_fill(scene->transaction, drop, scene);
    assert_int_equal(scene->transaction->count, 1);
    scene->transaction->count = 0;
    transaction_fill(scene->transaction, drop, scene);
    assert_int_equal(scene->transaction->count, 1);
    assert_ptr_equal(scene->transaction->deliveries[0], &scene->deliveries[1]);
    scene->transaction->count = 0;
}

static void test_what_was_aborted_goes_into_the_next_one_in_order(void **state)
{
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    add(scene, 0, 5, 0);
    transaction_fill(transaction, drop, scene);
    struct offsets_commit first = snapshot(scene);
    add(scene, 5, 2, 50);
    assert_true(offsets_undo(scene->partition->offsets, EPOCH));
    transaction_return(transaction, 60);
    transaction_end(transaction);
    assert_int_equal(transaction->waiting_count, 7);
    assert_int_equal(transaction->waiting_bytes, 70);
    assert_int_equal(offsets_position(scene->partition->offsets), 0);
    transaction_fill(transaction, drop, scene);
    assert_int_equal(transaction->count, 2); // half as many
    assert_ptr_equal(transaction->deliveries[0], &scene->deliveries[0]);
    assert_ptr_equal(transaction->deliveries[1], &scene->deliveries[1]);
    assert_ptr_equal(transaction->first, &scene->deliveries[2]);
    assert_ptr_equal(transaction->last, &scene->deliveries[6]);
    assert_int_equal(first.position, 5);
    assert_int_equal(snapshot(scene).position, 2);
    assert_int_equal(scene->dropped_count, 0);
}

static void test_aborts_make_it_smaller_and_commits_larger(void **state)
{
    static const size_t sizes[] = {5, 2, 1, 1};
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    add(scene, 0, 30, 0);
    transaction_fill(transaction, drop, scene);
    assert_int_equal(transaction->count, 10);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_true(offsets_undo(scene->partition->offsets, EPOCH));
        transaction_return(transaction, 0);
        transaction_fill(transaction, drop, scene);
        assert_int_equal(transaction->count, sizes[i]);
    }
    for (size_t expected = 2; expected < 10; expected *= 2) {
        transaction_complete(transaction, ignore, NULL);
        transaction_fill(transaction, drop, scene);
        assert_int_equal(transaction->count, expected);
    }
    transaction_complete(transaction, ignore, NULL);
    transaction_fill(transaction, drop, scene);
    assert_int_equal(transaction->count, 10);
    assert_int_equal(scene->dropped_count, 0);
}

static void test_nothing_of_an_ended_assignment_goes_in(void **state)
{
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    add(scene, 0, 3, 0);
    transaction_fill(transaction, drop, scene);
    (void)snapshot(scene);
    add(scene, 3, 2, 0);
    offsets_end(scene->partition->offsets); // lost while the transaction is under way
    assert_false(offsets_undo(scene->partition->offsets, EPOCH));
    transaction_return(transaction, 0);
    transaction_end(transaction);
    transaction_fill(transaction, drop, scene);
    assert_int_equal(transaction->count, 0);
    assert_int_equal(scene->dropped_count, 5);
}

static void test_nothing_follows_the_last_commit_of_an_assignment(void **state)
{
    struct scene *scene = *state;
    scene->partition->is_settled = true;
    add(scene, 0, 2, 0);
    transaction_fill(scene->transaction, drop, scene);
    assert_int_equal(scene->transaction->count, 0);
    assert_int_equal(scene->dropped_count, 2);
}

static void test_a_record_of_another_epoch_is_dropped(void **state)
{
    struct scene *scene = *state;
    scene->jobs[1].epoch = EPOCH - 1;
    add(scene, 0, 3, 0);
    transaction_fill(scene->transaction, drop, scene);
    assert_int_equal(scene->transaction->count, 2);
    assert_int_equal(scene->dropped_count, 1);
    assert_ptr_equal(scene->dropped[0], &scene->deliveries[1]);
}

static rd_kafka_topic_partition_list_t *list_of(int32_t number, int64_t offset, const char *text)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    rd_kafka_topic_partition_t *element =
        rd_kafka_topic_partition_list_add(list, "requests", number);
    element->offset = offset;
    element->metadata = strdup(text);
    element->metadata_size = strlen(text);
    return list;
}

static bool was_committed(const struct scene *scene, int32_t number, int64_t offset,
                          const char *text)
{
    rd_kafka_topic_partition_list_t *committed = list_of(number, offset, text);
    bool result = transaction_was_committed(scene->transaction, committed);
    rd_kafka_topic_partition_list_destroy(committed);
    return result;
}

static void test_the_groups_offsets_tell_whether_it_was_committed(void **state)
{
    struct scene *scene = *state;
    add(scene, 0, 3, 0);
    transaction_fill(scene->transaction, drop, scene);
    scene->transaction->offsets = list_of(3, 12, "map");
    assert_true(was_committed(scene, 3, 12, "map"));
    assert_false(was_committed(scene, 3, 11, "map")); // as before: aborted
    assert_false(was_committed(scene, 3, 12, "may")); // likewise, with a stuck lowest offset
    assert_false(was_committed(scene, 3, 12, ""));
    assert_false(was_committed(scene, 2, 12, "map"));
    // Another partition went on under another worker, which hides nothing.
    rd_kafka_topic_partition_list_add(scene->transaction->offsets, "requests", 4)->offset = 20;
    assert_true(was_committed(scene, 3, 12, "map"));
}

static void test_without_results_all_offsets_must_be_there(void **state)
{
    struct scene *scene = *state;
    scene->transaction->offsets = list_of(3, 12, "map");
    assert_true(was_committed(scene, 3, 12, "map"));
    rd_kafka_topic_partition_list_add(scene->transaction->offsets, "requests", 4)->offset = 20;
    assert_false(was_committed(scene, 3, 12, "map"));
}

/* Random outcomes, with aborts and commits: each ends once, and what the partition says is done is
 * what was committed. */
static void test_every_outcome_ends_once_whatever_happens(void **state)
{
    struct scene *scene = *state;
    struct transaction *transaction = scene->transaction;
    seed_random();
    bool is_done[RECORDS] = {false};
    int added = 0;
    int done = 0;
    while (done < RECORDS) {
        int more = (int)random_below(8);
        for (; more > 0 && added < RECORDS; more--, added++) {
            add(scene, added, 1, 0);
        }
        transaction_fill(transaction, drop, scene);
        (void)snapshot(scene);
        if (random_below(3) == 0) {
            assert_true(offsets_undo(scene->partition->offsets, EPOCH));
            transaction_return(transaction, 0);
        } else {
            assert_true(offsets_confirm(scene->partition->offsets, EPOCH));
            for (size_t i = 0; i < transaction->count; i++) {
                int64_t offset = transaction->deliveries[i]->job->source.offset;
                assert_false(is_done[offset]);
                is_done[offset] = true;
                done++;
            }
            transaction_complete(transaction, ignore, NULL);
        }
        transaction_end(transaction);
        assert_int_equal(offsets_unfinished(scene->partition->offsets), RECORDS - done);
    }
    assert_int_equal(offsets_position(scene->partition->offsets), RECORDS);
    assert_int_equal(scene->dropped_count, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_is_due_by_count_bytes_or_time),
        TEST(test_takes_the_oldest_within_count_and_bytes),
        TEST(test_one_that_is_larger_than_a_transaction_goes_alone),
        TEST(test_what_was_aborted_goes_into_the_next_one_in_order),
        TEST(test_aborts_make_it_smaller_and_commits_larger),
        TEST(test_nothing_of_an_ended_assignment_goes_in),
        TEST(test_nothing_follows_the_last_commit_of_an_assignment),
        TEST(test_a_record_of_another_epoch_is_dropped),
        TEST(test_the_groups_offsets_tell_whether_it_was_committed),
        TEST(test_without_results_all_offsets_must_be_there),
        TEST(test_every_outcome_ends_once_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
