/* cursor: Avro's primitives, at their limits and past the end. */
#include "schemas/records/cursor.h"

#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

static void numbers_of_the_specification_are_read(void **state)
{
    (void)state;
    static const struct {
        struct bytes bytes;
        int64_t value;
    } cases[] = {
        {BYTES("\0"), 0},
        {BYTES("\x01"), -1},
        {BYTES("\x02"), 1},
        {BYTES("\x7F"), -64},
        {BYTES("\x80\x01"), 64},
        {BYTES("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), INT64_MAX},
        {BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cursor cursor = cursor_of(cases[i].bytes);
        int64_t value;
        assert_true(cursor_long(&cursor, &value));
        assert_int_equal(value, cases[i].value);
        assert_int_equal(cursor_left(&cursor), 0);
    }
}

static void numbers_that_are_cut_or_too_long_are_refused(void **state)
{
    (void)state;
    static const struct bytes cases[] = {
        BYTES(""),
        BYTES("\x80"),
        BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"),
        BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x81\0"),
        BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cursor cursor = cursor_of(cases[i]);
        int64_t value;
        assert_false(cursor_long(&cursor, &value));
        assert_non_null(cursor.problem);
    }
}

static void lengths_are_held_against_what_is_left(void **state)
{
    (void)state;
    struct bytes value;
    struct cursor cursor = cursor_of((struct bytes)BYTES("\x06"
                                                         "abcd"));
    assert_true(cursor_bytes(&cursor, &value));
    assert_int_equal(value.size, 3);
    assert_int_equal(cursor_left(&cursor), 1);
    static const struct bytes cases[] = {
        BYTES("\x08"
              "abc"),
        BYTES("\x01"),
        BYTES("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
              "abc"),
        BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
              "abc"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cursor = cursor_of(cases[i]);
        assert_false(cursor_bytes(&cursor, &value));
    }
}

static void floats_doubles_and_booleans_are_little_endian_and_strict(void **state)
{
    (void)state;
    double number;
    bool flag;
    struct cursor cursor =
        cursor_of((struct bytes)BYTES("\0\0\xC0\x3F\0\0\0\0\0\0\xF8\xBF\x01\x02"));
    assert_true(cursor_float(&cursor, &number));
    assert_true(number == 1.5);
    assert_true(cursor_double(&cursor, &number));
    assert_true(number == -1.5);
    assert_true(cursor_boolean(&cursor, &flag));
    assert_true(flag);
    assert_false(cursor_boolean(&cursor, &flag));
    cursor = cursor_of((struct bytes)BYTES("\0\0\0"));
    assert_false(cursor_float(&cursor, &number));
    assert_false(cursor_double(&cursor, &number));
}

static void blocks_may_carry_their_size_and_cannot_claim_too_much(void **state)
{
    (void)state;
    size_t count;
    struct cursor cursor = cursor_of((struct bytes)BYTES("\x03\x04zz\0"));
    assert_true(cursor_block(&cursor, &count)); // -2 items in 2 bytes
    assert_int_equal(count, 2);
    assert_int_equal(cursor_left(&cursor), 3);
    static const struct bytes cases[] = {
        BYTES("\x03\x08zz"),                                     // 4 bytes of 2
        BYTES("\x03\x01zz"),                                     // -1 bytes
        BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x02zz"), // -2^63 items
        BYTES("\x80\x80\x80\x80\x80\x40zz"),                     // 2^40 items
        BYTES("\x03"),                                           // no size
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cursor = cursor_of(cases[i]);
        assert_false(cursor_block(&cursor, &count));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_the_specification_are_read),
        cmocka_unit_test(numbers_that_are_cut_or_too_long_are_refused),
        cmocka_unit_test(lengths_are_held_against_what_is_left),
        cmocka_unit_test(floats_doubles_and_booleans_are_little_endian_and_strict),
        cmocka_unit_test(blocks_may_carry_their_size_and_cannot_claim_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
