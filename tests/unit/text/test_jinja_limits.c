/* Hostile templates end in a clear error, and soon. */
#include "pipeline/text/jinja_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/render.h"

/* `before` + `count` times `repeated` + `after`, for the test to free. */
static char *repeated(const char *before, const char *part, size_t count, const char *after)
{
    size_t size = strlen(before) + strlen(part) * count + strlen(after) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    char *at = text + snprintf(text, size, "%s", before);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, part, strlen(part));
        at += strlen(part);
    }
    memcpy(at, after, strlen(after) + 1);
    return text;
}

static void expect_repeated(const char *before, const char *part, size_t count, const char *after,
                            const char *expected)
{
    char *source = repeated(before, part, count, after);
    expect_render(source, "{\"n\": 1}", expected);
    free(source);
}

static void deep_nesting_in_the_source_is_refused(void **state)
{
    (void)state;
    expect_repeated("{{ ", "(", 10000, "", "error: more than 200 brackets are open");
    expect_repeated("{{ ", "[", 10000, "", "error: more than 200 brackets are open");
    expect_repeated("{{ ", "not ", 10000, "n }}", "error: nests deeper than 200 levels");
    expect_repeated("{{ ", "-", 10000, "n }}", "error: nests deeper than 200 levels");
    expect_repeated("", "{% if n %}", 10000, "", "error: nests deeper than 200 levels");
    expect_repeated("", "{% for x in n %}", 10000, "", "error: nests deeper than 200 levels");
    expect_repeated("{{ n ", "if n else n ", 10000, "}}", "error: nests deeper than 200 levels");
}

static void long_chains_do_not_exhaust_the_stack(void **state)
{
    (void)state;
    expect_repeated("{{ n ", "+ n ", 400, "}}", "401");
    expect_repeated("{{ n ", "+ n ", 100000, "}}", "error: nests deeper than 600 levels");
    expect_repeated("{{ n", ".a", 100000, "}}", "error: nests deeper than 600 levels");
    expect_repeated("{{ n", "|string", 100000, "}}", "error: nests deeper than 600 levels");
    expect_repeated("{{ n ", "and n ", 100000, "}}", "error: nests deeper than 600 levels");
    expect_repeated("{% if n == 0 %}", "{% elif n == 0 %}", 10000, "{% else %}x{% endif %}", "x");
    expect_repeated("{% filter upper", "|upper", 100000, "%}{% endfilter %}",
                    "error: nests deeper than 600 levels");
}

static void endless_work_ends(void **state)
{
    (void)state;
    expect_render("{% for i in range(10**9) %}{% endfor %}", "{}", "error: Range too big");
    expect_render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                  "{}", "error: of a render");
    expect_render("{% for i in range(9999) %}{% for j in n %}{% endfor %}{% endfor %}",
                  "{\"n\": \"a long text that is walked again and again, ten thousand times, until "
                  "the steps of the render are used up, each character being one of them, and each "
                  "of them costs a step for the walk and some for the empty body of the loop\"}",
                  "error: of a render");
    expect_render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{}",
                  "error: nests deeper than 600 levels");
    expect_render("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "{}",
                  "error: nests deeper than 600 levels");
}

static void work_on_long_text_costs_steps(void **state)
{
    (void)state;
    const char *loop = "{% set s = 'a' * 1000000 %}{% set p = 'a' * 500000 ~ 'b' %}"
                       "{% for i in range(90000) %}";
    static const char *const uses[] = {
        "{{ s.find(p) }}",
        "{{ p in s }}",
        "{{ s.split(p)|length }}",
        "{{ s.count(p) }}",
        "{{ s.rfind(sub=p) }}",
        "{{ s.replace(p, '')|length }}",
        "{{ s.strip(p) }}",
        "{{ s[999999] }}",
        "{{ s[0:1] }}",
        "{{ s|length }}",
        "{{ s.isalpha() }}",
        "{{ s|wordcount }}",
        "{{ s.upper()[0] }}",
        "{{ (s == s)|int }}{{ s is upper }}",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        expect_repeated(loop, uses[i], 1, "{% endfor %}", "error: of a render");
    }
}

static void memory_and_output_are_bounded(void **state)
{
    (void)state;
    expect_render("{{ 'a' * 10**10 }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ 'a' * 10**18 }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ [1] * 10**18 }}", "{}", "error: of a render");
    expect_render("{{ 'a' * 9223372036854775807 }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ 'aa' * 9223372036854775807 }}", "{}", "error: bytes of memory of a render");
    expect_render("{% set ns = namespace(s='ab') %}{% for i in range(99) %}"
                  "{% set ns.s = ns.s + ns.s %}{% endfor %}",
                  "{}", "error: bytes of memory of a render");
    expect_render("{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}", "{}",
                  "error: longer than the 1048576 bytes of a prompt");
    expect_render("{{ ['a' * 999999, 'b' * 999999]|join }}", "{}",
                  "error: longer than the 1048576 bytes of a prompt");
    expect_render("{{ ('a' * 9999).replace('', 'b' * 9999) }}", "{}",
                  "error: longer than the 1048576 bytes of a prompt");
    expect_render("{{ 'a'|center(10**9) }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ 'a'|indent(10**9) }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ [[1]]|tojson(indent=10**9) }}", "{}", "error: bytes of memory of a render");
    expect_render("{{ '%999999999d' % 1 }}", "{}", "error: needs a width of at most");
    expect_render("{{ [1]|batch(10**12, 0)|list }}", "{}", "error: of a render");
    expect_render("{{ [1]|slice(10**12)|list }}", "{}", "error: of a render");
}

static void values_that_contain_themselves_are_no_trap(void **state)
{
    (void)state;
    const char *build = "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}"
                        "{% set ns.x = [ns.x] %}{% endfor %}";
    static const char *const uses[] = {"{{ ns.x }}", "{{ ns.x|tojson }}", "{{ ns.x == [ns.x] }}",
                                       "{{ ns.x < [ns.x] }}"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        expect_repeated(build, uses[i], 1, "", "error: nests deeper than 600 levels");
    }
    expect_render("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "{}",
                  "error: nests deeper than 600 levels");
}

static void arithmetic_does_not_overflow(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"9223372036854775807 + 1", "error: an integer exceeds 64 bits"},
        {"-9223372036854775807 - 2", "error: an integer exceeds 64 bits"},
        {"9223372036854775807 * 2", "error: an integer exceeds 64 bits"},
        {"(-9223372036854775807 - 1) // -1", "error: an integer exceeds 64 bits"},
        {"(-9223372036854775807 - 1) % -1", "error: an integer exceeds 64 bits"},
        {"-(-9223372036854775807 - 1)", "error: an integer exceeds 64 bits"},
        {"(-9223372036854775807 - 1)|abs", "error: an integer exceeds 64 bits"},
        {"2 ** 63", "error: an integer exceeds 64 bits"},
        {"10 ** 1000000000", "error: an integer exceeds 64 bits"},
        {"1 ** 1000000000", "1"},
        {"'abc'[-9223372036854775807 - 1:9223372036854775807]", "abc"},
        {"'abc'[::-9223372036854775807 - 1]", "c"},
        {"[1,2,3][::9223372036854775807]", "[1]"},
        {"range(-9223372036854775807, 9223372036854775807)", "error: Range too big"},
        {"range(0, 9223372036854775807, 9223372036854775806)|list", "[0, 9223372036854775806]"},
        {"range(-9223372036854775807 - 1, 9223372036854775807, 9223372036854775807)|length", "3"},
        {"1e300|int", "0"},
        {"'1e300'|int", "0"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, "{}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_nesting_in_the_source_is_refused),
        cmocka_unit_test(long_chains_do_not_exhaust_the_stack),
        cmocka_unit_test(endless_work_ends),
        cmocka_unit_test(work_on_long_text_costs_steps),
        cmocka_unit_test(memory_and_output_are_bounded),
        cmocka_unit_test(values_that_contain_themselves_are_no_trap),
        cmocka_unit_test(arithmetic_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
