/* line_reader: lines up to the limit, over block borders, with and without a last line end. */
#include "worker/line_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static char path[] = "/tmp/millrace-lines-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static struct line_reader *open_text(const char *text, size_t size, size_t limit)
{
    struct error error = {0};
    struct line_reader *reader = NULL;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_true(line_reader_open(path, limit, &reader, &error));
    return reader;
}

static void test_reads_lines_without_their_ends(void **state)
{
    (void)state;
    const char text[] = "one\r\n\ntwo\0x\nlast";
    const struct bytes wanted[] = {{"one", 3}, {"", 0}, {"two\0x", 5}, {"last", 4}};
    struct line_reader *reader = open_text(text, sizeof text - 1, 100);
    struct bytes line;
    struct error error = {0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(line_reader_next(reader, &line, &error), LINE_READ);
        assert_true(bytes_equal(line, wanted[i]));
        assert_int_equal(line_reader_number(reader), i + 1);
    }
    assert_int_equal(line_reader_next(reader, &line, &error), LINE_END);
    assert_int_equal(line_reader_bytes(reader), line_reader_size(reader));
    line_reader_close(reader);
}

static void test_long_lines_cross_blocks_and_the_limit_costs_one_line(void **state)
{
    (void)state;
    enum { LONG = 200000 };
    static char text[2 * LONG + 10];
    memset(text, 'a', LONG);
    text[LONG] = '\n';
    memset(text + LONG + 1, 'b', LONG + 1);
    memcpy(text + 2 * LONG + 2, "\nend\n", 5);
    struct line_reader *reader = open_text(text, 2 * LONG + 7, LONG);
    struct bytes line;
    struct error error = {0};
    assert_int_equal(line_reader_next(reader, &line, &error), LINE_READ);
    assert_int_equal(line.size, LONG);
    assert_int_equal(line_reader_next(reader, &line, &error), LINE_TOO_LONG);
    assert_non_null(strstr(error.message, "line 2 has over 200000 bytes"));
    assert_int_equal(line_reader_next(reader, &line, &error), LINE_READ);
    assert_true(bytes_equal_text(line, "end"));
    assert_int_equal(line_reader_next(reader, &line, &error), LINE_END);
    line_reader_close(reader);
}

static void test_names_what_cannot_be_opened(void **state)
{
    (void)state;
    struct error error = {0};
    struct line_reader *reader = NULL;
    assert_false(line_reader_open("/nonexistent/file", 10, &reader, &error));
    assert_non_null(strstr(error.message, "/nonexistent/file"));
    assert_false(line_reader_open("/tmp", 10, &reader, &error));
    assert_non_null(strstr(error.message, "folder"));
    line_reader_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_lines_without_their_ends),
        cmocka_unit_test(test_long_lines_cross_blocks_and_the_limit_costs_one_line),
        cmocka_unit_test(test_names_what_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
