/* results_file: a whole file in order, or none at all. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/results_file.h"

static char folder[] = "/tmp/millrace-results-XXXXXX";

static struct results_file *open_results(const char *path, const char *identity)
{
    struct error error = {0};
    struct results_file *results = NULL;
    if (!results_file_open(path, bytes_of(identity), &results, &error)) {
        fail_msg("%s", error.message);
    }
    return results;
}

static void add_outcome(struct results_file *results, const struct outcome *outcome,
                        const char *line)
{
    struct error error = {0};
    assert_true(results_file_add(results, outcome, bytes_of(line), &error));
}

static void add(struct results_file *results, const char *topic, int32_t partition, int64_t offset,
                const char *line)
{
    struct outcome outcome = {.origin = {bytes_of(topic), partition, offset},
                              .id = id_set_hash(bytes_of(line))};
    add_outcome(results, &outcome, line);
}

static struct results_sum finish(struct results_file *results)
{
    struct error error = {0};
    struct results_sum sum;
    if (!results_file_finish(results, &sum, &error)) {
        fail_msg("%s", error.message);
    }
    return sum;
}

static void read_back(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void write_in_order(const char *path, bool is_reversed)
{
    struct results_file *results = open_results(path, "run");
    if (is_reversed) {
        add(results, "b", 0, 0, "five");
        add(results, "a", 1, 0, "four");
        add(results, "a", 0, 12, "three");
        add(results, "a", 0, 2, "two");
        add(results, "a", 0, 1, "one");
    } else {
        add(results, "a", 0, 1, "one");
        add(results, "a", 0, 2, "two");
        add(results, "b", 0, 0, "five");
        add(results, "a", 1, 0, "four");
        add(results, "a", 0, 12, "three");
    }
    struct results_sum sum = finish(results);
    assert_int_equal(sum.superseded + sum.duplicates + sum.duplicate_ids, 0);
    results_file_close(results, false);
}

static void test_lines_are_in_the_order_of_their_sources(void **state)
{
    (void)state;
    char path[128];
    char text[256];
    (void)snprintf(path, sizeof path, "%s/out.jsonl", folder);
    for (int i = 0; i < 2; i++) {
        write_in_order(path, i == 1);
        read_back(path, text, sizeof text);
        assert_string_equal(text, "one\ntwo\nthree\nfour\nfive\n");
    }
    assert_int_equal(unlink(path), 0);
}

static void test_nothing_is_left_of_a_file_that_is_not_finished(void **state)
{
    (void)state;
    char path[128];
    char partial[160];
    (void)snprintf(path, sizeof path, "%s/out.jsonl", folder);
    (void)snprintf(partial, sizeof partial, "%s.partial", path);
    struct results_file *results = open_results(path, "run");
    add(results, "a", 0, 1, "one");
    results_file_close(results, false);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(partial, F_OK), -1);
}

struct recovered {
    int count;
    struct outcome last;
    char line[32];
};

static bool take(void *context, const struct outcome *outcome, struct bytes line,
                 struct error *error)
{
    (void)error;
    struct recovered *recovered = context;
    assert_true(line.size < sizeof recovered->line);
    recovered->count++;
    recovered->last = *outcome;
    memset(recovered->line, 0, sizeof recovered->line);
    memcpy(recovered->line, line.data, line.size);
    return true;
}

static int recover(struct results_file *results, struct recovered *recovered)
{
    struct error error = {0};
    *recovered = (struct recovered){0};
    assert_true(results_file_recover(results, take, recovered, &error));
    return recovered->count;
}

/* The topic's name was borrowed. */
static void assert_same_outcome(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->origin.partition, b->origin.partition);
    assert_int_equal(a->origin.offset, b->origin.offset);
    assert_int_equal(a->replays, b->replays);
    assert_int_equal(a->is_dead_letter, b->is_dead_letter);
    assert_memory_equal(&a->id, &b->id, sizeof a->id);
    assert_int_equal(a->read_partition, b->read_partition);
    assert_int_equal(a->read_offset, b->read_offset);
    assert_int_equal(a->at_ms, b->at_ms);
}

static void test_a_later_process_goes_on_with_what_is_whole(void **state)
{
    (void)state;
    char path[128];
    char partial[160];
    char text[256];
    (void)snprintf(path, sizeof path, "%s/out.jsonl", folder);
    (void)snprintf(partial, sizeof partial, "%s.partial", path);
    struct results_file *results = open_results(path, "run");
    add(results, "a", 0, 2, "two");
    struct outcome first = {.origin = {bytes_of("a"), 0, 1},
                            .replays = 2,
                            .is_dead_letter = true,
                            .id = {3, 4},
                            .read_partition = 5,
                            .read_offset = 6,
                            .at_ms = 7};
    add_outcome(results, &first, "one");
    results_file_close(results, true);
    FILE *file = fopen(partial, "ab");
    assert_non_null(file);
    assert_true(fputs("MRJ1 torn", file) >= 0);
    assert_int_equal(fclose(file), 0);

    struct recovered recovered;
    results = open_results(path, "run");
    assert_int_equal(recover(results, &recovered), 2);
    assert_string_equal(recovered.line, "one");
    assert_same_outcome(&recovered.last, &first);
    add(results, "a", 0, 3, "three");
    results_file_close(results, true);

    results = open_results(path, "run");
    assert_int_equal(recover(results, &recovered), 3);
    (void)finish(results);
    results_file_close(results, true);
    read_back(path, text, sizeof text);
    assert_string_equal(text, "one\ntwo\nthree\n");

    results = open_results(path, "another run");
    assert_int_equal(recover(results, &recovered), 0);
    results_file_close(results, false);
    assert_int_equal(unlink(path), 0);
}

static void test_the_last_outcome_of_what_was_sent_back_counts(void **state)
{
    (void)state;
    char path[128];
    char text[256];
    (void)snprintf(path, sizeof path, "%s/out.jsonl", folder);
    struct results_file *results = open_results(path, "run");
    struct outcome outcome = {.origin = {bytes_of("a"), 0, 1}, .id = {1, 1}};
    outcome.replays = 1;
    outcome.is_dead_letter = true;
    add_outcome(results, &outcome, "sent back once");
    outcome.replays = 2;
    outcome.is_dead_letter = false;
    add_outcome(results, &outcome, "answered");
    outcome.replays = 0;
    outcome.is_dead_letter = true;
    add_outcome(results, &outcome, "at first");
    add(results, "a", 0, 2, "other");
    outcome.origin.offset = 3;
    outcome.is_dead_letter = false;
    add_outcome(results, &outcome, "the first's custom_id");
    struct results_sum sum = finish(results);
    results_file_close(results, false);
    read_back(path, text, sizeof text);
    assert_string_equal(text, "answered\nother\nthe first's custom_id\n");
    assert_int_equal(sum.superseded, 2);
    assert_int_equal(sum.duplicates, 0);
    assert_int_equal(sum.duplicate_ids, 1);
    assert_int_equal(unlink(path), 0);
}

static void test_sums_need_no_file(void **state)
{
    (void)state;
    struct results_file *results = open_results(NULL, "");
    struct recovered recovered;
    assert_int_equal(recover(results, &recovered), 0);
    add(results, "a", 0, 1, "one");
    add(results, "a", 0, 1, "one, again");
    assert_int_equal(finish(results).duplicates, 1);
    results_file_close(results, false);
}

static void test_what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct error error = {0};
    struct results_file *results = NULL;
    assert_false(results_file_open("/nowhere/out.jsonl", bytes_of(""), &results, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "/nowhere/out.jsonl"));
    assert_int_equal(rmdir(folder), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_in_the_order_of_their_sources),
        cmocka_unit_test(test_nothing_is_left_of_a_file_that_is_not_finished),
        cmocka_unit_test(test_a_later_process_goes_on_with_what_is_whole),
        cmocka_unit_test(test_the_last_outcome_of_what_was_sent_back_counts),
        cmocka_unit_test(test_sums_need_no_file),
        cmocka_unit_test(test_what_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
