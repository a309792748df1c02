/* source: ids are recognizable and differ by topic. */
#include "schemas/records/source.h"

#include "tests/support/cmocka.h"

static void source_ids_are_the_coordinates(void **state)
{
    (void)state;
    char a[SOURCE_ID_SIZE];
    char b[SOURCE_ID_SIZE];
    source_id(&(struct source){bytes_of("t"), 7, 255}, a);
    source_id(&(struct source){bytes_of("u"), 7, 255}, b);
    assert_string_equal(a + 16, "0000000700000000000000ff");
    assert_string_equal(b + 16, a + 16);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_ids_are_the_coordinates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
