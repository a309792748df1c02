/* arena: limits, alignment, copies. */
#include "schemas/base/arena.h"

#include "tests/support/cmocka.h"

static void test_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 20);
    for (size_t size = 0; size < 300; size++) {
        unsigned char *memory = arena_alloc(arena, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(memory[i], 0);
            memory[i] = 0xff;
        }
    }
    arena_close(arena);
}

static void test_limit_is_hard(void **state)
{
    (void)state;
    struct arena *arena = arena_open(10000);
    assert_null(arena_alloc(arena, 10001));
    size_t blocks = 0;
    while (arena_alloc(arena, 100) != NULL) {
        blocks++;
    }
    assert_in_range(blocks, 80, 100);
    assert_true(arena_bytes(arena) <= 10000);
    arena_close(arena);
}

static void test_array_size_does_not_overflow(void **state)
{
    (void)state;
    struct arena *arena = arena_open(10000);
    assert_null(arena_alloc_array(arena, SIZE_MAX / 2, 4));
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_non_null(arena_alloc_array(arena, 10, 4));
    arena_close(arena);
}

static void test_copy_ends_with_nul(void **state)
{
    (void)state;
    struct arena *arena = arena_open(10000);
    struct bytes copy = arena_copy(arena, (struct bytes){"abcdef", 3});
    assert_int_equal(copy.size, 3);
    assert_string_equal(copy.data, "abc");
    assert_null(arena_copy(arena, (struct bytes){NULL, 0}).data);
    assert_non_null(arena_copy(arena, bytes_of("")).data);
    arena_close(arena);
}

static void test_close_accepts_null(void **state)
{
    (void)state;
    arena_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_and_aligned),
        cmocka_unit_test(test_limit_is_hard),
        cmocka_unit_test(test_array_size_does_not_overflow),
        cmocka_unit_test(test_copy_ends_with_nul),
        cmocka_unit_test(test_close_accepts_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
