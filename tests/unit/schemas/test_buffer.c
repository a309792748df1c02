/* buffer: the maximum is mandatory and failure is sticky. */
#include "schemas/base/buffer.h"

#include "tests/support/cmocka.h"

static void test_appends_in_order(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    assert_string_equal(buffer_bytes(&buffer).data, "");
    buffer_append_text(&buffer, "one ");
    buffer_append_char(&buffer, '2');
    buffer_printf(&buffer, " %s %d", "three", 4);
    buffer_append(&buffer, NULL, 0);
    assert_false(buffer_failed(&buffer));
    assert_string_equal(buffer.data, "one 2 three 4");
    buffer_truncate(&buffer, 3);
    assert_string_equal(buffer.data, "one");
    buffer_close(&buffer);
}

static void test_failure_at_the_maximum_is_sticky(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 8);
    buffer_append_text(&buffer, "12345678");
    assert_false(buffer_failed(&buffer));
    buffer_append_char(&buffer, '9');
    assert_true(buffer_failed(&buffer));
    buffer_append_text(&buffer, "");
    buffer_printf(&buffer, "%d", 1);
    assert_true(buffer_failed(&buffer));
    assert_string_equal(buffer.data, "12345678");
    buffer_clear(&buffer);
    buffer_append_text(&buffer, "again");
    assert_false(buffer_failed(&buffer));
    assert_int_equal(buffer.size, 5);
    buffer_close(&buffer);
}

static void test_extending_gives_zeroed_room_within_the_maximum(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 8);
    buffer_append_text(&buffer, "ab");
    char *room = buffer_extend(&buffer, 6);
    assert_non_null(room);
    assert_int_equal(buffer.size, 8);
    assert_memory_equal(room, "\0\0\0\0\0\0", 7);
    memcpy(room, "cd", 2);
    buffer_truncate(&buffer, 4);
    assert_string_equal(buffer.data, "abcd");
    assert_null(buffer_extend(&buffer, 5));
    assert_true(buffer_failed(&buffer));
    assert_string_equal(buffer.data, "abcd");
    buffer_close(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_in_order),
        cmocka_unit_test(test_failure_at_the_maximum_is_sticky),
        cmocka_unit_test(test_extending_gives_zeroed_room_within_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
