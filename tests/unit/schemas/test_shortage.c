/* shortage: noted where memory is out, and not where a limit is met. */
#include "schemas/base/shortage.h"

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

static void test_is_forgotten_when_it_is_taken(void **state)
{
    (void)state;
    assert_false(shortage_take());
    shortage_note();
    assert_true(shortage_take());
    assert_false(shortage_take());
}

static void test_a_limit_is_no_shortage(void **state)
{
    (void)state;
    struct arena *arena = arena_open(5000);
    assert_null(arena_alloc(arena, 10000));
    arena_close(arena);
    struct buffer buffer;
    buffer_init(&buffer, 10);
    buffer_append_text(&buffer, "more than ten bytes");
    assert_true(buffer_failed(&buffer));
    buffer_close(&buffer);
    assert_false(shortage_take());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_forgotten_when_it_is_taken),
        cmocka_unit_test(test_a_limit_is_no_shortage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
