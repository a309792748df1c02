/* Expressions of the template language: operators, members, slices, literals. */
#include "pipeline/text/jinja_eval.h"
#include "pipeline/text/jinja_member.h"
#include "pipeline/text/jinja_operators.h"

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

static void values_print_as_python_prints_them(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"s", "Hello, Wörld 🦙!"},
        {"n", "5"},
        {"f", "2.5"},
        {"neg", "-3"},
        {"t", "True"},
        {"z", "None"},
        {"l", "[3, 1, 2]"},
        {"d", "{'b': 1, 'a': [1, {'x': None}], 'items': 5, 'k y': '<v>'}"},
        {"ms", "[{'role': 'user', 'content': 'hi', 'n': 1}, {'role': 'assistant', 'content': None, "
               "'n': 2}, {'role': 'user', 'content': 'bye', 'n': 1}]"},
        {"q", "it's \"q\" \\ \n\001​"},
        {"[q]", "['it\\'s \"q\" \\\\ \\n\\x01\\u200b']"},
        {"[s]", "['Hello, Wörld 🦙!']"},
        {"u", ""},
        {"u.x", "error: 'u' is undefined"},
        {"u[0]", "error: 'u' is undefined"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void undefined_values_are_false_and_empty_and_nothing_else(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"[u]", "[Undefined]"},
        {"1 + u", "error: 'u' is undefined"},
        {"u == u", "True"},
        {"u == z", "False"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void numbers_follow_python(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"1/2", "0.5"},
        {"7//2", "3"},
        {"-7//2", "-4"},
        {"7%3", "1"},
        {"-7%3", "2"},
        {"7.5%2", "1.5"},
        {"-7.5//2", "-4.0"},
        {"2**10", "1024"},
        {"2**-1", "0.5"},
        {"2**0.5", "1.4142135623730951"},
        {"2.0**3", "8.0"},
        {"1e16", "1e+16"},
        {"1e15", "1000000000000000.0"},
        {"123456789012345678", "123456789012345678"},
        {"1.0", "1.0"},
        {"0.1+0.2", "0.30000000000000004"},
        {"1e-5", "1e-05"},
        {"1e-4", "0.0001"},
        {"1e22", "1e+22"},
        {"1.5e300*1e10", "inf"},
        {"100000000000000000000.0", "1e+20"},
        {"5/0", "error: division by zero"},
        {"5%0", "error: integer division or modulo by zero"},
        {"5//0", "error: integer division or modulo by zero"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void operators_take_what_python_takes(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"a\"*3", "aaa"},
        {"3*\"a\"", "aaa"},
        {"\"a\"*-1", ""},
        {"[1]*3", "[1, 1, 1]"},
        {"(1,2)+(3,)", "(1, 2, 3)"},
        {"[1]+[2]", "[1, 2]"},
        {"[1]+(2,)", "error: can only concatenate list (not \"tuple\") to list"},
        {"\"a\"+1", "error: can only concatenate str (not \"int\") to str"},
        {"1+\"a\"", "error: unsupported operand type(s) for +: 'int' and 'str'"},
        {"\"a\"-\"b\"", "error: unsupported operand type(s) for -: 'str' and 'str'"},
        {"t+1", "2"},
        {"t*2", "2"},
        {"-t", "-1"},
        {"+t", "1"},
        {"not t", "False"},
        {"not e", "True"},
        {"not el", "True"},
        {"-s", "error: bad operand type for unary -: 'str'"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void comparisons_chain_and_need_things_that_compare(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"1 < 2 < 3", "True"},
        {"1 < 2 > 5", "False"},
        {"1 == 1.0", "True"},
        {"t == 1", "True"},
        {"\"a\" < \"b\"", "True"},
        {"\"a\" < 1", "error: '<' not supported between instances of 'str' and 'int'"},
        {"[1,2] < [1,3]", "True"},
        {"[1,2] == [1,2]", "True"},
        {"(1,2) == [1,2]", "False"},
        {"{\"a\":1} == {\"a\":1}", "True"},
        {"{\"a\":1,\"b\":2} == {\"b\":2,\"a\":1}", "True"},
        {"1 in l", "True"},
        {"\"x\" in s", "False"},
        {"1 in s", "error: 'in <string>' requires string as left operand, not int"},
        {"\"b\" in d", "True"},
        {"\"b\" not in d", "False"},
        {"1 in u", "False"},
        {"1 in 5", "error: argument of type 'int' is not iterable"},
        {"z in [none]", "True"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void inline_if_needs_no_else(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"a\" ~ 1 ~ none ~ true ~ 1.5 ~ [1,\"x\"]", "a1NoneTrue1.5[1, 'x']"},
        {"1 if t else 2", "1"},
        {"1 if e", ""},
        {"(1 if e) is defined", "False"},
        {"1 if e else 2 if t else 3", "2"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void items_and_slices_count_code_points_and_from_the_end(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l[0]", "3"},
        {"l[-1]", "2"},
        {"l[5]", ""},
        {"l[5] is defined", "False"},
        {"l[-4] is defined", "False"},
        {"l[1:]", "[1, 2]"},
        {"l[:-1]", "[3, 1]"},
        {"l[::-1]", "[2, 1, 3]"},
        {"l[::2]", "[3, 2]"},
        {"l[5:]", "[]"},
        {"l[2:0:-1]", "[2, 1]"},
        {"l[-2:]", "[1, 2]"},
        {"s[0]", "H"},
        {"s[-2]", "🦙"},
        {"s[7:12]", "Wörld"},
        {"s[::-1]", "!🦙 dlröW ,olleH"},
        {"s[1:8:3]", "eoW"},
        {"s[100]", ""},
        {"s[:100]", "Hello, Wörld 🦙!"},
        {"s[-100:3]", "Hel"},
        {"s[\"x\"]", ""},
        {"s.x", ""},
        {"s[:0]", ""},
        {"l[::0]", "error: slice step cannot be zero"},
        {"l[\"a\"]", ""},
        {"l.first", ""},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void attributes_find_methods_first_and_items_keys_first(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"d.b", "1"},
        {"d[\"b\"]", "1"},
        {"d[\"items\"]", "5"},
        {"d.items()",
         "dict_items([('b', 1), ('a', [1, {'x': None}]), ('items', 5), ('k y', '<v>')])"},
        {"d.keys()", "dict_keys(['b', 'a', 'items', 'k y'])"},
        {"d.values()", "dict_values([1, [1, {'x': None}], 5, '<v>'])"},
        {"d.get(\"b\")", "1"},
        {"d.get(\"zz\")", "None"},
        {"d.get(\"zz\", 5)", "5"},
        {"d[\"k y\"]", "<v>"},
        {"d.zz", ""},
        {"d[\"zz\"]", ""},
        {"d.zz.y", "error: 'dict object' has no attribute 'zz'"},
        {"d.a[1].x", "None"},
        {"d.a.1.x", "None"},
        {"d.a.0", "1"},
        {"l.0", "3"},
        {"z.x", ""},
        {"z[\"x\"]", ""},
        {"n.x", ""},
        {"t.x", ""},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void printf_formats_follow_python(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"%s-%d\" % (\"a\",3)", "a-3"},
        {"\"%s\" % l", "[3, 1, 2]"},
        {"\"%s %s\" % (1,)", "error: not enough arguments for format string"},
        {"\"%s\" % (1,2)", "error: not all arguments converted during string formatting"},
        {"\"%5.2f|%-5d|%05d|%+d|%x|%X|%o|%e|%g|%%|%c\" % "
         "(3.14159,3,42,7,255,255,8,12345.678,0.0001,\"x\")",
         " 3.14|3    |00042|+7|ff|FF|10|1.234568e+04|0.0001|%|x"},
        {"\"%(a)s\" % {\"a\":1}", "1"},
        {"\"%r\" % \"x\"", "'x'"},
        {"\"%.2s\" % \"abc\"", "ab"},
        {"\"%d\" % \"x\"", "error: %d format: a real number is required, not str"},
        {"\"%s\" % u", ""},
        {"\"%10s|\" % \"ab\"", "        ab|"},
        {"\"%-10s|\" % \"ab\"", "ab        |"},
        {"\"%#x\" % 255", "0xff"},
        {"\"%05.1f\" % -2.5", "-02.5"},
        {"\"%i\" % 2.7", "2"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void operators_bind_as_in_jinja(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"n is defined and z is none", "True"},
        {"not n is defined", "False"},
        {"n is not defined or t", "True"},
        {"d.b is defined and d.b == 1", "True"},
        {"n is 5", "error: expected a name, found '5'"},
        {"n + 1 is odd", "6"},
        {"-n|abs", "5"},
        {"(-n)|abs", "5"},
        {"-2**2", "4"},
        {"2**3**2", "64"},
        {"2+3*4-1", "13"},
        {"10-4-3", "3"},
        {"2*3%4", "2"},
        {"1 ~ 2 + 3", "error: can only concatenate str (not \"int\") to str"},
        {"1 + 2 ~ 3", "error: unsupported operand type(s) for +: 'int' and 'str'"},
        {"not 1 == 2", "True"},
        {"not not t", "True"},
        {"1 and 0 or 5", "5"},
        {"\"\" or \"x\"", "x"},
        {"[] and 1", "[]"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void literals_are_read_as_in_jinja(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"a\" \"b\" 'c'", "abc"},
        {"'\\n\\t\\\\\\'\\\"\\x41\\u00e9\\U0001F999\\101\\q'", "\n\t\\'\"Aé🦙A\\q"},
        {"{\"a\": 1, \"b\": [1,2], 3: none}", "{'a': 1, 'b': [1, 2], 3: None}"},
        {"{\"a\":1,\"a\":2}", "{'a': 2}"},
        {"{[1]:2}", "error: unhashable type: 'list'"},
        {"{(1,2):3}", "{(1, 2): 3}"},
        {"(1,)", "(1,)"},
        {"()", "()"},
        {"(1,2,)", "(1, 2)"},
        {"[1,2,]", "[1, 2]"},
        {"{\"a\":1,}", "{'a': 1}"},
        {"1,2", "(1, 2)"},
        {"\"x\"if t else\"y\"", "x"},
        {"1_000", "1000"},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"0o17", "15"},
        {"1.5e3", "1500.0"},
        {"1e5", "100000.0"},
        {"1.e", ""},
        {".5", "error: unexpected '.'"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void functions_and_private_names_keep_to_the_sandbox(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l[0].x", ""},
        {"namespace(a=1,b=\"x\")", "<Namespace {'a': 1, 'b': 'x'}>"},
        {"namespace(a=1).a", "1"},
        {"namespace(a=1).b", ""},
        {"namespace({\"a\":1}).a", "1"},
        {"dict(a=1,b=2)", "{'a': 1, 'b': 2}"},
        {"dict({\"x\":1}, y=2)", "{'x': 1, 'y': 2}"},
        {"dict([(\"a\",1)])", "{'a': 1}"},
        {"strftime_now(\"%Y-%m-%d %H:%M:%S %B %b %d %A\")",
         "2024-07-26 12:00:00 July Jul 26 Friday"},
        {"strftime_now(\"%d %b %Y\")", "26 Jul 2024"},
        {"raise_exception(\"boom\")", "error: boom"},
        {"s.__class__", ""},
        {"s._x", ""},
        {"d._x", ""},
        {"d.__class__", ""},
        {"s[\"__class__\"]", ""},
        {"u|map(\"nosuch\")|list", "[]"},
        {"z|select(\"nosuch\")|list", "[]"},
        {"ms|groupby(\"n,role\")|length", "error: 'dict object' has no attribute 'n,role'"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void templates_of_real_models_write_these(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l|map(\"nosuch\")|list", "error: No filter named 'nosuch'."},
        {"l|select(\"nosuch\")|list", "error: No test named 'nosuch'."},
        {"s|upper|lower|trim|length", "15"},
        {"s.upper().lower().strip()|length", "15"},
        {"(s|upper).lower()", "hello, wörld 🦙!"},
        {"[1,2,3][1]", "2"},
        {"\"abc\"[1]", "b"},
        {"{\"a\":1}[\"a\"]", "1"},
        {"{\"a\":1}.a", "1"},
        {"(1,2)[0]", "1"},
        {"[[1,2],[3,4]]|map(\"first\")|list", "[1, 3]"},
        {"[[1,2],[3,4]]|map(attribute=1)|list", "[2, 4]"},
        {"[[1,2],[3,4]]|map(attribute=\"1\")|list", "[2, 4]"},
        {"[{\"a\":{\"b\":1}}]|map(attribute=\"a.b\")|list", "[1]"},
        {"[3,1]|sort|first", "1"},
        {"l|sort|join(\",\")|length", "5"},
        {"\"a\"|e|length", "1"},
        {"not (1 in l)", "False"},
        {"1 not in l", "False"},
        {"1 in l and 2 in l", "True"},
        {"\"a\" in [\"a\"] if t else 5", "True"},
        {"s if s is string else s|tojson", "Hello, Wörld 🦙!"},
        {"d|length > 0 and l", "[3, 1, 2]"},
        {"'{\"a\": 1}'|length", "8"},
        {"l == [3,1,2]", "True"},
        {"l != [3,1,2]", "False"},
        {"z == none", "True"},
        {"z != none", "False"},
        {"\"1\" == 1", "False"},
        {"t == \"True\"", "False"},
        {"0 == false", "True"},
        {"[1,[2,[3]]] == [1,[2,[3]]]", "True"},
        {"f // 1", "2.0"},
        {"5.0 // 2", "2.0"},
        {"5 / 2.5", "2.0"},
        {"1 <= 1.0", "True"},
        {"[] < [1]", "True"},
        {"(1,\"a\") < (1,\"b\")", "True"},
        {"none < 1", "error: '<' not supported between instances of 'NoneType' and 'int'"},
        {"1e308 * 10", "inf"},
        {"9223372036854775807", "9223372036854775807"},
        {"[1, 2.0, true, none, \"x\", (1,), {}]", "[1, 2.0, True, None, 'x', (1,), {}]"},
        {"{\"k\": \"it's\"}", "{'k': \"it's\"}"},
        {"\"tab\\there\"|list", "['t', 'a', 'b', '\\t', 'h', 'e', 'r', 'e']"},
        {"\"x\" * 0", ""},
        {"s.split(\"o\")", "['Hell', ', Wörld 🦙!']"},
        {"s.split(\"o\")[0]", "Hell"},
        {"s.split(\"o\")[-1].strip()", ", Wörld 🦙!"},
        {"\"a=b=c\".split(\"=\", maxsplit=1)", "['a', 'b=c']"},
        {"\"</think>x</think>y\".split(\"</think>\")[-1].lstrip(\"\\n\")", "y"},
        {"\"abc\"|first", "a"},
        {"\"abc\"|list|last", "c"},
        {"\"ß\".upper()", "SS"},
        {"\"ǆ\".title()", "ǅ"},
        {"\"İ\".lower()", "i̇"},
        {"\"Σας\".lower()", "σας"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_python_prints_them),
        cmocka_unit_test(undefined_values_are_false_and_empty_and_nothing_else),
        cmocka_unit_test(numbers_follow_python),
        cmocka_unit_test(operators_take_what_python_takes),
        cmocka_unit_test(comparisons_chain_and_need_things_that_compare),
        cmocka_unit_test(inline_if_needs_no_else),
        cmocka_unit_test(items_and_slices_count_code_points_and_from_the_end),
        cmocka_unit_test(attributes_find_methods_first_and_items_keys_first),
        cmocka_unit_test(printf_formats_follow_python),
        cmocka_unit_test(operators_bind_as_in_jinja),
        cmocka_unit_test(literals_are_read_as_in_jinja),
        cmocka_unit_test(functions_and_private_names_keep_to_the_sandbox),
        cmocka_unit_test(templates_of_real_models_write_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
