/* Filters. */
#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_sort.h"
#include "pipeline/text/jinja_tojson.h"

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

static void sequences_are_measured_and_sorted(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l|length", "3"},
        {"s|length", "15"},
        {"d|length", "4"},
        {"n|length", "error: object of type 'int' has no len()"},
        {"u|length", "0"},
        {"z|length", "error: object of type 'NoneType' has no len()"},
        {"l|first", "3"},
        {"l|last", "2"},
        {"el|first", ""},
        {"el|last", ""},
        {"s|first", "H"},
        {"s|last", "!"},
        {"d|first", "b"},
        {"l|sort", "[1, 2, 3]"},
        {"ls|sort", "['A', 'b', 'c']"},
        {"ls|sort(case_sensitive=true)", "['A', 'b', 'c']"},
        {"l|sort(reverse=true)", "[3, 2, 1]"},
        {"ls|sort(true)", "['c', 'b', 'A']"},
        {"ms|sort(attribute=\"n\")|map(attribute=\"content\")|list", "['hi', 'bye', None]"},
        {"ms|sort(attribute=\"n,role\")|map(attribute=\"content\")|list", "['hi', 'bye', None]"},
        {"[1,\"a\"]|sort", "error: '<' not supported between instances of 'str' and 'int'"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void sequences_are_joined_mapped_and_picked_from(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"l|join", "312"},
        {"l|join(\",\")", "3,1,2"},
        {"l|join(d=\", \")", "3, 1, 2"},
        {"ms|join(\",\", attribute=\"role\")", "user,assistant,user"},
        {"ms|map(attribute=\"role\")|join(\"|\")", "user|assistant|user"},
        {"ms|map(attribute=\"zz\", default=\"D\")|list", "['D', 'D', 'D']"},
        {"ms|map(attribute=\"zz\")|list", "[Undefined, Undefined, Undefined]"},
        {"ls|map(\"upper\")|list", "['B', 'A', 'C']"},
        {"ls|map(\"replace\",\"b\",\"X\")|list", "['X', 'A', 'c']"},
        {"l|map(\"string\")|join", "312"},
        {"l|select(\"odd\")|list", "[3, 1]"},
        {"l|reject(\"odd\")|list", "[2]"},
        {"l|select|list", "[3, 1, 2]"},
        {"[0,1,none,\"\"]|select|list", "[1]"},
        {"[0,1,none,\"\"]|reject|list", "[0, None, '']"},
        {"l|select(\"gt\",1)|list", "[3, 2]"},
        {"l|select(\">\",1)|list", "[3, 2]"},
        {"l|select(\"in\",[1,2])|list", "[1, 2]"},
        {"ms|selectattr(\"role\",\"equalto\",\"user\")|list",
         "[{'role': 'user', 'content': 'hi', 'n': 1}, {'role': 'user', 'content': 'bye', 'n': 1}]"},
        {"ms|selectattr(\"content\")|list",
         "[{'role': 'user', 'content': 'hi', 'n': 1}, {'role': 'user', 'content': 'bye', 'n': 1}]"},
        {"ms|rejectattr(\"content\")|list", "[{'role': 'assistant', 'content': None, 'n': 2}]"},
        {"ms|selectattr(\"content\",\"none\")|list|length", "1"},
        {"ms|selectattr(\"zz\",\"defined\")|list", "[]"},
        {"ms|rejectattr(\"role\",\"eq\",\"user\")|map(attribute=\"n\")|first", "2"},
        {"ms|groupby(\"role\")",
         "[('assistant', [{'role': 'assistant', 'content': None, 'n': 2}]), ('user', [{'role': "
         "'user', 'content': 'hi', 'n': 1}, {'role': 'user', 'content': 'bye', 'n': 1}])]"},
        {"ms|groupby(\"role\")|map(\"first\")|list", "['assistant', 'user']"},
        {"l|unique|list", "[3, 1, 2]"},
        {"[\"a\",\"A\",\"b\"]|unique|list", "['a', 'b']"},
        {"[\"a\",\"A\",\"b\"]|unique(true)|list", "['a', 'A', 'b']"},
        {"l|reverse|list", "[2, 1, 3]"},
        {"s|reverse", "!🦙 dlröW ,olleH"},
        {"l|min", "1"},
        {"l|max", "3"},
        {"el|max", ""},
        {"ls|min", "A"},
        {"ls|max(case_sensitive=true)", "c"},
        {"l|sum", "6"},
        {"ms|sum(attribute=\"n\")", "4"},
        {"l|sum(start=10)", "16"},
        {"ms|sum(\"n\", 5)", "9"},
        {"l|batch(2)|list", "[[3, 1], [2]]"},
        {"l|batch(2,\"x\")|list", "[[3, 1], [2, 'x']]"},
        {"l|slice(2)|list", "[[3, 1], [2]]"},
        {"l|list", "[3, 1, 2]"},
        {"s|list",
         "['H', 'e', 'l', 'l', 'o', ',', ' ', 'W', 'ö', 'r', 'l', 'd', ' ', '🦙', '!']"},
        {"d|list", "['b', 'a', 'items', 'k y']"},
        {"n|list", "error: 'int' object is not iterable"},
        {"z|list", "error: 'NoneType' object is not iterable"},
        {"u|list", "[]"},
        {"d|items|list", "[('b', 1), ('a', [1, {'x': None}]), ('items', 5), ('k y', '<v>')]"},
        {"u|items|list", "[]"},
        {"z|items|list", "error: Can only get item pairs from a mapping."},
        {"d|dictsort", "[('a', [1, {'x': None}]), ('b', 1), ('items', 5), ('k y', '<v>')]"},
        {"d|dictsort(reverse=true)",
         "[('k y', '<v>'), ('items', 5), ('b', 1), ('a', [1, {'x': None}])]"},
        {"{\"B\":1,\"a\":3}|dictsort", "[('a', 3), ('B', 1)]"},
        {"{\"B\":1,\"a\":3}|dictsort(true)", "[('B', 1), ('a', 3)]"},
        {"{\"b\":1,\"a\":0}|dictsort(by=\"value\")", "[('a', 0), ('b', 1)]"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void tojson_writes_what_json_dumps_writes(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"d|tojson", "{\"b\": 1, \"a\": [1, {\"x\": null}], \"items\": 5, \"k y\": \"<v>\"}"},
        {"d|tojson(indent=2)", "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    {\n      \"x\": null\n    "
                               "}\n  ],\n  \"items\": 5,\n  \"k y\": \"<v>\"\n}"},
        {"d|tojson(indent=0)",
         "{\n\"b\": 1,\n\"a\": [\n1,\n{\n\"x\": null\n}\n],\n\"items\": 5,\n\"k y\": \"<v>\"\n}"},
        {"d|tojson(separators=(\",\",\":\"))",
         "{\"b\":1,\"a\":[1,{\"x\":null}],\"items\":5,\"k y\":\"<v>\"}"},
        {"d|tojson(sort_keys=true)",
         "{\"a\": [1, {\"x\": null}], \"b\": 1, \"items\": 5, \"k y\": \"<v>\"}"},
        {"d|tojson(ensure_ascii=true)",
         "{\"b\": 1, \"a\": [1, {\"x\": null}], \"items\": 5, \"k y\": \"<v>\"}"},
        {"q|tojson", "\"it's \\\"q\\\" \\\\ \\n\\u0001​\""},
        {"s|tojson(true)", "\"Hello, W\\u00f6rld \\ud83e\\udd99!\""},
        {"s|tojson", "\"Hello, Wörld 🦙!\""},
        {"el|tojson(indent=2)", "[]"},
        {"{}|tojson(indent=2)", "{}"},
        {"[[],{}]|tojson(indent=4)", "[\n    [],\n    {}\n]"},
        {"f|tojson", "2.5"},
        {"1e100|tojson", "1e+100"},
        {"z|tojson", "null"},
        {"t|tojson", "true"},
        {"{1:2,none:3,true:4,1.5:6}|tojson", "{\"1\": 4, \"null\": 3, \"1.5\": 6}"},
        {"(1,2)|tojson", "[1, 2]"},
        {"u|tojson", "error: Object of type Undefined is not JSON serializable"},
        {"[u]|tojson", "error: Object of type Undefined is not JSON serializable"},
        {"range(3)|tojson", "error: Object of type range is not JSON serializable"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void ranges_are_bounded(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"range(3)", "range(0, 3)"},
        {"range(1,5)|list", "[1, 2, 3, 4]"},
        {"range(5,1,-2)|list", "[5, 3]"},
        {"range(0,10,3)", "range(0, 10, 3)"},
        {"range(3)[1]", "1"},
        {"range(3)[-1]", "2"},
        {"range(3)|length", "3"},
        {"range(10**9)", "error: Range too big. The sandbox blocks ranges larger than 100000."},
        {"range(0)", "range(0, 0)"},
        {"5 in range(10)", "True"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void text_is_changed_as_in_python(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"s|upper", "HELLO, WÖRLD 🦙!"},
        {"s|lower", "hello, wörld 🦙!"},
        {"s|title", "Hello, Wörld 🦙!"},
        {"s|capitalize", "Hello, wörld 🦙!"},
        {"\"foo-bar (baz) [qux]\"|title", "Foo-Bar (Baz) [Qux]"},
        {"n|upper", "5"},
        {"z|lower", "none"},
        {"l|string", "[3, 1, 2]"},
        {"z|string", "None"},
        {"s|trim", "Hello, Wörld 🦙!"},
        {"txt|trim", "a b\tc\n d"},
        {"\"xax\"|trim(\"x\")", "a"},
        {"n|trim", "5"},
        {"\"a\\nb\\n\\nc\"|indent", "a\n    b\n\n    c"},
        {"\"a\\nb\\n\\nc\"|indent(2,true)", "  a\n  b\n\n  c"},
        {"\"a\\nb\\n\\nc\"|indent(2,blank=true)", "a\n  b\n  \n  c"},
        {"\"a\\nb\\n\\nc\"|indent(\"> \")", "a\n> b\n\n> c"},
        {"\"a\\nb\\n\"|indent(2)", "a\n  b\n"},
        {"\"\"|indent", ""},
        {"n|indent", "error: indent needs str, not int"},
        {"u|indent", "error: 'u' is undefined"},
        {"\"abc\"|replace(\"b\",\"x\")", "axc"},
        {"n|replace(5,6)", "6"},
        {"\"aaa\"|replace(\"a\",\"b\",1)", "baa"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void markup_escapes_what_joins_it(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"\"<a & 'b'>\"|escape", "&lt;a &amp; &#39;b&#39;&gt;"},
        {"\"<a>\"|e|e", "&lt;a&gt;"},
        {"\"<a>\"|safe|e", "<a>"},
        {"\"<a>\"|forceescape", "&lt;a&gt;"},
        {"\"<a>\"|safe + \"<b>\"", "<a>&lt;b&gt;"},
        {"\"<b>\" + \"<a>\"|safe", "&lt;b&gt;<a>"},
        {"(\"<a>\"|safe) ~ \"<b>\"", "<a><b>"},
        {"(\"<a>\"|safe).upper() + \"<\"", "<A>&lt;"},
        {"(\"<a>\"|safe)[0] + \"<\"", "<&lt;"},
        {"(\"<a>\"|safe)|trim + \"<\"", "<a>&lt;"},
        {"(\"<a>\"|safe)|replace(\"a\",\"<\") + \"<\"", "<<><"},
        {"(\"<%s>\"|safe) % \"<\"", "<&lt;>"},
        {"(\"<%s>\"|safe)|format(\"<\")", "<&lt;>"},
        {"[\"<\"|safe, \"<\"]|join(\"<\")", "<<<"},
        {"(\"<\"|safe).join([\"<\", \"<\"|safe])", "&lt;<<"},
        {"(\"a\"|safe).replace(\"a\",\"<\")", "&lt;"},
        {"[(\"a\"|safe)]", "[Markup('a')]"},
        {"(\"a b\"|safe).split()", "[Markup('a'), Markup('b')]"},
        {"\"a\"|safe == \"a\"", "True"},
        {"(\"a\"|safe) is string", "True"},
        {"(\"a\"|safe) is escaped", "True"},
        {"(\"a\"|safe)|tojson", "\"a\""},
        {"(\"a\"|safe) * 2 + \"<\"", "aa&lt;"},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void values_are_converted_with_a_default(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"u|default(\"x\")", "x"},
        {"z|default(\"x\")", "None"},
        {"z|default(\"x\", true)", "x"},
        {"e|d(\"y\")", ""},
        {"e|d(\"y\", boolean=true)", "y"},
        {"u|d", ""},
        {"\"5\"|int", "5"},
        {"\"x\"|int", "0"},
        {"\"x\"|int(9)", "9"},
        {"\"3.9\"|int", "3"},
        {"3.9|int", "3"},
        {"-3.9|int", "-3"},
        {"z|int", "0"},
        {"t|int", "1"},
        {"\"0x1f\"|int(base=16)", "31"},
        {"\"ff\"|int(base=16)", "255"},
        {"\"1_000\"|int", "1000"},
        {"\" 12 \"|int", "12"},
        {"\"12abc\"|int", "0"},
        {"\"5.5\"|float", "5.5"},
        {"\"x\"|float", "0.0"},
        {"\"x\"|float(1.5)", "1.5"},
        {"\"1e3\"|float", "1000.0"},
        {"\"inf\"|float", "inf"},
        {"\"nan\"|float", "nan"},
        {"n|float", "5.0"},
        {"z|float", "0.0"},
        {"-5|abs", "5"},
        {"-5.5|abs", "5.5"},
        {"s|abs", "error: 'str'"},
        {"2.5|round", "2.0"},
        {"3.5|round", "4.0"},
        {"2.675|round(2)", "2.67"},
        {"2.1|round(method=\"ceil\")", "3.0"},
        {"2.9|round(0,\"floor\")", "2.0"},
        {"42|round", "42"},
        {"1234.5|round(-2)", "1200.0"},
        {"\"abc\"|center(9)", "   abc   "},
        {"\"a long text here that goes on\"|truncate(10)", "a long..."},
        {"\"a long text here that goes on\"|truncate(10,true)", "a long ..."},
        {"\"a long text here that goes on\"|truncate(10,true,\"\")", "a long tex"},
        {"\"a long text\"|truncate(10)", "a long text"},
        {"\"abcdefghijklmnop\"|truncate(10,leeway=0)", "abcdefg..."},
        {"\"one two  three\"|wordcount", "3"},
        {"\"a b/c&d=é\"|urlencode", "a%20b/c%26d%3D%C3%A9"},
        {"\"%s, %s\"|format(\"a\",1)", "a, 1"},
        {"d|attr(\"b\")", ""},
        {"l|count", "3"},
        {"l|nosuch", "error: No filter named 'nosuch' found."},
    };
    expect_values(cases, sizeof cases / sizeof *cases, VARIABLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_are_measured_and_sorted),
        cmocka_unit_test(sequences_are_joined_mapped_and_picked_from),
        cmocka_unit_test(tojson_writes_what_json_dumps_writes),
        cmocka_unit_test(ranges_are_bounded),
        cmocka_unit_test(text_is_changed_as_in_python),
        cmocka_unit_test(markup_escapes_what_joins_it),
        cmocka_unit_test(values_are_converted_with_a_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
