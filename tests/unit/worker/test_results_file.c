/* results_file: a whole file in order, or none at all. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/results_file.h"

static char folder[] = "/tmp/millrace-results-XXXXXX";

static void add(struct results_file *results, const char *topic, int32_t partition, int64_t offset,
                const char *line)
{
    struct error error = {0};
    struct source source = {bytes_of(topic), partition, offset};
    assert_true(results_file_add(results, &source, bytes_of(line), &error));
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
    struct error error = {0};
    struct results_file *results = NULL;
    assert_true(results_file_open(path, &results, &error));
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
    assert_true(results_file_finish(results, &error));
    results_file_close(results);
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
    (void)snprintf(path, sizeof path, "%s/out.jsonl", folder);
    struct error error = {0};
    struct results_file *results = NULL;
    assert_true(results_file_open(path, &results, &error));
    add(results, "a", 0, 1, "one");
    results_file_close(results);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(folder), 0);
}

static void test_a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct error error = {0};
    struct results_file *results = NULL;
    assert_false(results_file_open("/nowhere/out.jsonl", &results, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "/nowhere/out.jsonl"));
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
        cmocka_unit_test(test_a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
