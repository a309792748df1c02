/* What can follow `is`. */
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

static void tests_tell_kinds_apart(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"x is nosuch", "error: No test named 'nosuch' found."},
        {"n is defined", "True"},
        {"u is defined", "False"},
        {"u is undefined", "True"},
        {"z is none", "True"},
        {"z is not none", "False"},
        {"t is boolean", "True"},
        {"t is true", "True"},
        {"1 is true", "False"},
        {"false is false", "True"},
        {"n is integer", "True"},
        {"t is integer", "False"},
        {"f is float", "True"},
        {"n is float", "False"},
        {"t is number", "True"},
        {"s is string", "True"},
        {"l is string", "False"},
        {"d is mapping", "True"},
        {"l is mapping", "False"},
        {"l is sequence", "True"},
        {"d is sequence", "True"},
        {"s is sequence", "True"},
        {"n is sequence", "False"},
        {"s is iterable", "True"},
        {"n is iterable", "False"},
        {"d is iterable", "True"},
        {"u is iterable", "True"},
        {"z is iterable", "False"},
        {"range(3) is sequence", "True"},
        {"range(3) is iterable", "True"},
        {"d.items() is sequence", "False"},
        {"d.items() is iterable", "True"},
        {"(l|map(\"string\")) is iterable", "True"},
        {"(l|map(\"string\")) is sequence", "False"},
        {"n is odd", "True"},
        {"n is even", "False"},
        {"n is divisibleby 5", "True"},
        {"n is divisibleby(2)", "False"},
        {"n is eq 5", "True"},
        {"n is equalto(5)", "True"},
        {"n is ne 5", "False"},
        {"n is gt 3", "True"},
        {"n is lt 3", "False"},
        {"n is ge 5", "True"},
        {"n is le 5", "True"},
        {"n is in [5]", "True"},
        {"n is in(l)", "False"},
        {"n is not in l", "True"},
        {"z is sameas none", "True"},
        {"n is sameas 5", "True"},
        {"l is sameas l", "True"},
        {"s is upper", "False"},
        {"\"AB\" is upper", "True"},
        {"\"ab\" is lower", "True"},
        {"\"upper\" is filter", "True"},
        {"\"defined\" is test", "True"},
        {"range is callable", "True"},
        {"s is callable", "False"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tests_tell_kinds_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
