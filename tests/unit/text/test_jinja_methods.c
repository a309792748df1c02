/* Methods of strings, lists and dicts. */
#include "pipeline/text/jinja_native.h"

#include "tests/support/cmocka.h"
#include "tests/support/render.h"

/* What the cases see; their expected texts and errors are those of Jinja2 3.1.6. */
#define VARIABLES                                                                                  \
    "{"                                                                                            \
    "\"s\": \"Hello, Wörld 🦙!\","                                                              \
    "\"n\": 5,"                                                                                    \
    "\"f\": 2.5,"                                                                                  \
    "\"neg\": -3,"                                                                                 \
    "\"t\": true,"                                                                                 \
    "\"z\": null,"                                                                                 \
    "\"l\": [3, 1, 2],"                                                                            \
    "\"ls\": [\"b\", \"A\", \"c\"],"                                                               \
    "\"d\": {\"b\": 1, \"a\": [1, {\"x\": null}], \"items\": 5, \"k y\": \"<v>\"},"                \
    "\"e\": \"\","                                                                                 \
    "\"el\": [],"                                                                                  \
    "\"ed\": {},"                                                                                  \
    "\"ms\": [{\"role\": \"user\", \"content\": \"hi\", \"n\": 1}, {\"role\": \"assistant\", "     \
    "\"content\": null, \"n\": 2}, {\"role\": \"user\", \"content\": \"bye\", \"n\": 1}],"         \
    "\"txt\": \"  a b\\tc\\n d  \","                                                               \
    "\"q\": \"it's \\\"q\\\" \\\\ \\n\\u0001​\""                                                 \
    "}"

static void strings_change_case_and_come_apart(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"s.upper()", "HELLO, WÖRLD 🦙!"},
        {"s.lower()", "hello, wörld 🦙!"},
        {"s.title()", "Hello, Wörld 🦙!"},
        {"s.capitalize()", "Hello, wörld 🦙!"},
        {"s.swapcase()", "hELLO, wÖRLD 🦙!"},
        {"\"hello WORLD it's\".title()", "Hello World It'S"},
        {"txt.strip()", "a b\tc\n d"},
        {"txt.lstrip()", "a b\tc\n d  "},
        {"txt.rstrip()", "  a b\tc\n d"},
        {"\"xxaxx\".strip(\"x\")", "a"},
        {"\"xyaxy\".strip(\"yx\")", "a"},
        {"\"xyaxy\".lstrip(\"yx\")", "axy"},
        {"txt.split()", "['a', 'b', 'c', 'd']"},
        {"\"a,b,,c\".split(\",\")", "['a', 'b', '', 'c']"},
        {"\"a,b,,c\".split(\",\", 1)", "['a', 'b,,c']"},
        {"\"a,b,,c\".rsplit(\",\", 1)", "['a,b,', 'c']"},
        {"\"a b  c \".split(none, 1)", "['a', 'b  c ']"},
        {"\"a b  c \".rsplit(none, 1)", "['a b', 'c']"},
        {"\"a b  c \".rsplit()", "['a', 'b', 'c']"},
        {"\"\".split()", "[]"},
        {"\"\".split(\",\")", "['']"},
        {"\"a\".split(\"\")", "error: empty separator"},
        {"\"a\\nb\\r\\nc\\n\".splitlines()", "['a', 'b', 'c']"},
        {"\"a\\nb\\r\\nc\\n\".splitlines(true)", "['a\\n', 'b\\r\\n', 'c\\n']"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void strings_are_searched_and_measured(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"abc\".replace(\"b\",\"X\")", "aXc"},
        {"\"aaa\".replace(\"a\",\"b\",2)", "bba"},
        {"\"abc\".replace(\"\",\"-\")", "-a-b-c-"},
        {"\"abc\".replace(\"\",\"-\",2)", "-a-bc"},
        {"\"abc\".startswith(\"a\")", "True"},
        {"\"abc\".startswith((\"x\",\"a\"))", "True"},
        {"\"abc\".endswith(\"bc\")", "True"},
        {"\"abc\".startswith(1)", "error: first arg must be str or a tuple of str, not int"},
        {"\"abc\".find(\"c\")", "2"},
        {"\"abc\".find(\"z\")", "-1"},
        {"\"äbc\".find(\"c\")", "2"},
        {"\"abcabc\".rfind(\"b\")", "4"},
        {"\"abc\".index(\"z\")", "error: substring not found"},
        {"\"abcabc\".count(\"b\")", "2"},
        {"\"aaa\".count(\"aa\")", "1"},
        {"\"abc\".count(\"\")", "4"},
        {"\"a-b-c\".partition(\"-\")", "('a', '-', 'b-c')"},
        {"\"a-b-c\".rpartition(\"-\")", "('a-b', '-', 'c')"},
        {"\"abc\".partition(\"-\")", "('abc', '', '')"},
        {"\"abc\".rpartition(\"-\")", "('', '', 'abc')"},
        {"\",\".join([\"a\",\"b\"])", "a,b"},
        {"\",\".join([1])", "error: sequence item 0: expected str instance, int found"},
        {"\",\".join(\"abc\")", "a,b,c"},
        {"\"abc\".isdigit()", "False"},
        {"\"123\".isdigit()", "True"},
        {"\"abc\".isalpha()", "True"},
        {"\"a1\".isalnum()", "True"},
        {"\" \".isspace()", "True"},
        {"\"AB\".isupper()", "True"},
        {"\"ab\".islower()", "True"},
        {"\"aB\".islower()", "False"},
        {"\"\".islower()", "False"},
        {"\"12\".isupper()", "False"},
        {"\"abc\".center(10)", "   abc    "},
        {"\"abc\".center(9)", "   abc   "},
        {"\"abcd\".center(9,\"*\")", "***abcd**"},
        {"\"abc\".ljust(6) ~ \"|\"", "abc   |"},
        {"\"abc\".rjust(6)", "   abc"},
        {"\"42\".zfill(5)", "00042"},
        {"\"-42\".zfill(5)", "-0042"},
        {"\"abc\".removeprefix(\"a\")", "bc"},
        {"\"abc\".removesuffix(\"c\")", "ab"},
        {"\"{} {}\".format(1,2)", "1 2"},
        {"\"{a}\".format(a=1)", "1"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void lists_cannot_be_changed(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l.append(1)", "error: access to attribute 'append' of 'list' object is unsafe."},
        {"l.pop()", "error: access to attribute 'pop' of 'list' object is unsafe."},
        {"d.update({})", "error: access to attribute 'update' of 'dict' object is unsafe."},
        {"l.index(1)", "1"},
        {"l.count(1)", "1"},
        {"l.index(9)", "error: the value is not in the list"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_change_case_and_come_apart),
        cmocka_unit_test(strings_are_searched_and_measured),
        cmocka_unit_test(lists_cannot_be_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
