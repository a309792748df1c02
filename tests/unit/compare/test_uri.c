/* References: the examples of RFC 3986, sections 5.4.1 and 5.4.2. */
#include "pipeline/compare/uri.h"

#include "tests/support/cmocka.h"

static void test_resolves_the_examples_of_the_rfc(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {";x", "http://a/b/c/;x"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 256);
        uri_resolve(bytes_of("http://a/b/c/d;p?q"), bytes_of(cases[i][0]), &out);
        assert_string_equal(buffer_bytes(&out).data, cases[i][1]);
        buffer_close(&out);
    }
}

static void test_decodes_percent_escapes_and_keeps_broken_ones(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 64);
    uri_decode(bytes_of("a%25b%2fc%zz%4"), &out);
    assert_string_equal(buffer_bytes(&out).data, "a%b/c%zz%4");
    buffer_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolves_the_examples_of_the_rfc),
        cmocka_unit_test(test_decodes_percent_escapes_and_keeps_broken_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
