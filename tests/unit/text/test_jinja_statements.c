/* Statements of the template language: loops, scopes, macros, blocks, white space. */
#include "pipeline/text/jinja_exec.h"
#include "pipeline/text/jinja_parser.h"
#include "pipeline/text/jinja_run.h"

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

static void loops_know_their_place_and_unpack(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 "
         "}}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem "
         "}}{{ loop.depth }}{{ loop.depth0 }}{{ loop.cycle('a','b') }}{{ loop.changed(x) }};{% "
         "endfor %}",
         "1032TrueFalse3110aTrue;2121FalseFalse33210bTrue;3210FalseTrue3110aTrue;"},
        {"{% for x in [] %}a{% else %}none{% endfor %}", "none"},
        {"{% for x in u %}a{% else %}none{% endfor %}", "none"},
        {"{% for x in z %}a{% else %}none{% endfor %}", "error: 'NoneType' object is not iterable"},
        {"{% for x in 5 %}a{% endfor %}", "error: 'int' object is not iterable"},
        {"{% for k, v in d.items() %}{{k}}={{v}};{% endfor %}",
         "b=1;a=[1, {'x': None}];items=5;k y=<v>;"},
        {"{% for k, v in d|items %}{{k}}={{v}};{% endfor %}",
         "b=1;a=[1, {'x': None}];items=5;k y=<v>;"},
        {"{% for k in d %}{{k}};{% endfor %}", "b;a;items;k y;"},
        {"{% for c in s %}{{c}}.{% endfor %}", "H.e.l.l.o.,. .W.ö.r.l.d. .🦙.!."},
        {"{% for a, b in [(1,2),(3,4)] %}{{a}}{{b}}{% endfor %}", "1234"},
        {"{% for a, b in [(1,2,3)] %}{{a}}{{b}}{% endfor %}",
         "error: too many values to unpack (expected 2)"},
        {"{% for a, b in [(1,)] %}{{a}}{{b}}{% endfor %}",
         "error: not enough values to unpack (expected 2, got 1)"},
        {"{% for a, (b, c) in [(1,(2,3))] %}{{a}}{{b}}{{c}}{% endfor %}", "123"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void loops_skip_and_stop(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% for x in l if x > 1 %}{{x}}{{loop.index}}{{loop.length}}{% else %}no{% endfor %}",
         "312222"},
        {"{% for x in l if x > 9 %}{{x}}{% else %}no{% endfor %}", "no"},
        {"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{x}}{% endfor %}", "32"},
        {"{% for x in l %}{% break %}{% else %}none{% endfor %}", "none"},
        {"{% for x in l %}{% continue %}{% else %}none{% endfor %}", "none"},
        {"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{x}}{% else %}none{% endfor %}",
         "32"},
        {"{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{x}}{% endfor %}", "3"},
        {"{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{x}}{{y}} {% "
         "endfor %}{{loop.index}}{% endfor %}",
         "33 113 223 3"},
        {"{% break %}", "error: break and continue belong inside a loop"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void assignments_stay_in_their_scope(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
         "1311121"},
        {"{% set ns = namespace(c=0) %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ "
         "ns.c }}",
         "6"},
        {"{% set ns = namespace(f=false) %}{% for i in l if not ns.f %}{{ i }}{% set ns.f = true "
         "%}{% endfor %}",
         "3"},
        {"{% set ns = namespace(f=false) %}{% for i in l if not ns.f %}{{ i }}{{loop.index}}{% set "
         "ns.f = true %}{% endfor %}",
         "31"},
        {"{% set x = 5 %}{% set x.y = 3 %}",
         "error: cannot assign attribute on non-namespace object"},
        {"{% set d.y = 3 %}", "error: cannot assign attribute on non-namespace object"},
        {"{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"},
        {"{% set a, b = [1, 2, 3] %}{{ a }}{{ b }}",
         "error: too many values to unpack (expected 2)"},
        {"{% set x %}hello {{ n }}{% endset %}{{ x }}{{ x|length }}", "hello 57"},
        {"{% set x | upper | trim %} hello {{ n }} {% endset %}{{ x }}", "HELLO 5"},
        {"{% if e %}a{% elif el %}b{% elif t %}c{% else %}d{% endif %}", "c"},
        {"{% if e %}a{% elif el %}b{% else %}d{% endif %}", "d"},
        {"{% if t %}{% set y = 1 %}{% endif %}{{ y }}", "1"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void macros_bind_arguments_and_callers(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% macro m(a, b=2, c=a) %}[{{a}},{{b}},{{c}}]{% endmacro %}{{ m(1) }}{{ m(1,3) }}{{ "
         "m(a=5,c=1) }}{{ m() }}",
         "[1,2,1][1,3,1][5,2,1][,2,]"},
        {"{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,3,x=4) }}",
         "1(2, 3){'x': 4}"},
        {"{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,2) }}",
         "error: macro 'm' takes not more than 1 argument(s)"},
        {"{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,b=2) }}",
         "error: macro takes no keyword argument 'b'"},
        {"{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,a=2) }}",
         "error: macro got multiple values for argument 'a'"},
        {"{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x-1) }}{% endif %}{% endmacro %}{{ m(5) }}",
         "54321"},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{{ n }}{% endcall %}",
         "body5"},
        {"{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}body{{ a }}{{ b }}{% "
         "endcall %}",
         "body12"},
        {"{% macro m() %}x{% endmacro %}{% call m() %}body{% endcall %}",
         "error: macro takes no keyword argument 'caller'"},
        {"{% macro m() %}{% if caller %}y{% else %}n{% endif %}{% endmacro %}{{ m() }}", "n"},
        {"{% macro outer() %}{% call inner() %}[{{ caller() }}]{% endcall %}{% endmacro %}{% macro "
         "inner() %}<{{ caller() }}>{% endmacro %}{% call outer() %}X{% endcall %}",
         "error: No caller defined"},
        {"{% macro m() %}{{ later }}{% endmacro %}{% set later = 7 %}{{ m() }}", "7"},
        {"{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x "
         "}}",
         "121"},
        {"{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "312"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void blocks_filter_and_bind(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% filter upper %}abc {{ s }}{% endfilter %}", "ABC HELLO, WÖRLD 🦙!"},
        {"{% filter replace(\"a\",\"b\")|upper %}abc{% endfilter %}", "BBC"},
        {"{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "12"},
        {"{% with %}{% set q = 1 %}{{ q }}{% endwith %}", "1"},
        {"{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}", "21"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void white_space_around_tags_goes_as_in_jinja(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{# comment #}a{#- x -#} b {#+ y +#} c", "ab  c"},
        {"{% raw %}{{ x }}{% y %}{% endraw %}z", "{{ x }}{% y %}z"},
        {"  {%- raw -%}  {{ x }}  {%- endraw -%}  z", "{{ x }}z"},
        {"a\n  {% if t %}\n  b\n  {% endif %}\nc", "a\n  b\nc"},
        {"a\n  {%- if t %}\n  b\n  {%- endif %}\nc", "a  bc"},
        {"a\n  {%+ if t %}\n  b\n  {%+ endif +%}\nc", "a\n    b\n  \nc"},
        {"a  {{ n }}  b\n  {{ n }}\n  {{- n -}}\n  x", "a  5  b\n  55x"},
        {"  {# c #}\nx  {# c #}  y", "x    y"},
        {"{% if t -%}\n   x\n{%- endif %}\n\ny\n", "x\ny"},
        {"{{ \"a}}b\" }}{{ {\"a\":{\"b\":1}} }}{{ {\"a\":1}}}", "a}}b{'a': {'b': 1}}{'a': 1}"},
        {"{{ '%}' }}{% set x = '}}' %}{{ x }}", "%}}}"},
        {"trailing newline", "trailing newline"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void recursive_loops_call_themselves(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{% for x in [[1,[2]],[3]] recursive %}{% if x is iterable and x is not string %}({{ "
         "loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}",
         "(12(23))(32)"},
        {"{% for x in l %}{{ loop(x) }}{% endfor %}",
         "error: the loop must have the 'recursive' marker to be called recursively"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void malformed_templates_are_refused(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{{ n", "error: a tag has no end"},
        {"{% if %}", "error: unexpected 'end of tag'"},
        {"{% endif %}", "error: expected a statement, found 'endif'"},
        {"{% if t %}", "error: expected endif, found 'end of template'"},
        {"{{ }}", "error: unexpected 'end of tag'"},
        {"{{ (1 }}", "error: a closing bracket has no opening one"},
        {"{{ 1) }}", "error: a closing bracket has no opening one"},
        {"{{ \"abc }}", "error: a string has no end"},
        {"{% unknown %}", "error: expected a statement, found 'unknown'"},
        {"{{ a b }}", "error: expected '}}', found 'b'"},
        {"{{ 1 +  }}", "error: unexpected 'end of tag'"},
        {"{% set %}", "error: expected a name, found 'end of tag'"},
        {"{% set x = %}", "error: unexpected 'end of tag'"},
        {"{% for x %}{% endfor %}", "error: expected in, found 'end of tag'"},
        {"{% for x in l %}{% endif %}", "error: expected a statement, found 'endif'"},
        {"{% macro %}{% endmacro %}", "error: expected a name, found 'end of tag'"},
        {"{{ f(a=1, 2) }}", "error: a positional argument follows a named one"},
        {"{{ [1, 2 }}", "error: a closing bracket has no opening one"},
        {"{{ {1 2} }}", "error: expected :, found '2'"},
        {"{# open", "error: a comment has no end"},
        {"{% raw %}x", "error: a raw block has no end"},
        {"{{ x.1.5 }}", "error: 'x' is undefined"},
        {"{{ l.0.x }}", ""},
        {"{{ x.'a' }}", "error: expected a name, found 'a'"},
        {"{{ 1 is }}", "error: expected a name, found 'end of tag'"},
        {"{{ x | }}", "error: expected a name, found 'end of tag'"},
        {"{% include \"x\" %}", "error: expected a statement, found 'include'"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

static void chat_templates_render(void **state)
{
    (void)state;
    static const struct render_case cases[] = {
        {"{{ range(3)|map(\"string\")|join }}{{ [1]|map(\"string\") | length }}",
         "error: object of type 'generator' has no len()"},
        {"{% set g = l|map(\"string\") %}{{ g|list }}{{ g|list }}", "['3', '1', '2'][]"},
        {"{% set g = l|select %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% "
         "endfor %}",
         "312"},
        {"{% set g = l|map(\"string\") %}{% if g %}t{% endif %}{{ g|first }}{{ g|first }}", "t31"},
        {"{% set t2 = [] %}{% for i in l %}{% set t2 = t2 + [i] %}{% endfor %}{{ t2 }}", "[]"},
        {"{% for m in ms %}{{ '<|' + m['role'] + '|>' }}{{ m.content or '' }}{{ m['content'] | "
         "default('') }}{% if not loop.last %}\n{% endif %}{% endfor %}",
         "<|user|>hihi<|assistant|>None<|user|>byebye"},
        {"{{ ms[0]['role'] }}{{ ms[-1].content }}{{ ms[1:][0].role }}{% set sys = ms[0] if "
         "ms[0].role == 'system' else none %}{{ sys }}",
         "userbyeassistantNone"},
        {"{{ '%s' % ms[0].role }}{{ \"a\" ~ ms[0] }}",
         "usera{'role': 'user', 'content': 'hi', 'n': 1}"},
        {"{{ bos_token }}{{ bos_token is defined }}{{ tools is none }}{{ documents is none }}{{ "
         "add_generation_prompt }}",
         "FalseTrueTrueFalse"},
        {"{% set loop_messages = ms %}{% for message in loop_messages %}{% if (message['role'] == "
         "'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('x') }}{% endif %}{% endfor %}ok",
         "ok"},
        {"{%- for message in ms -%}\n    {%- if loop.first and message.role != 'system' -%}\n      "
         "  {{ 'SYS' }}\n    {%- endif %}\n    {{ message.role }}\n{%- endfor -%}",
         "SYS    user    assistant    user"},
        {"{{ l\n   |\n   join }}", "312"},
        {"line1\\r", "line1\\r"},
        {"{{ s|length }}{{ \"é\"|length }}{{ \"e\\u0301\"|length }}", "1512"},
        {"{{ (ms|first).role }}{{ (ms|map(attribute='role')|list)[0] }}{{ "
         "ms|map(attribute='role')|list|length }}",
         "useruser3"},
        {"{% set content = ms[0].content if ms[0].content is string else "
         "ms[0].content|map(attribute='text')|join('') %}{{ content }}",
         "hi"},
        {"{% set x = 1 if false %}{{ x is defined }}{{ x }}", "False"},
        {"{% if u %}a{% endif %}{% if not u %}b{% endif %}{% if u is not defined %}c{% endif %}",
         "bc"},
        {"{% if u.foo is defined %}a{% endif %}", "error: 'u' is undefined"},
        {"{% if d.foo is defined %}a{% else %}b{% endif %}{% if d.foo.bar is defined %}c{% endif "
         "%}",
         "error: 'dict object' has no attribute 'foo'"},
        {"{% call raise_exception(\"x\") %}{% endcall %}",
         "error: raise_exception() got an unexpected keyword argument 'caller'"},
        {"{{ range(*[1,3])|list }}{{ dict(**{\"a\":1}) }}{{ \"x\".replace(*[\"x\",\"y\"]) }}",
         "[1, 2]{'a': 1}y"},
        {"{% set items = [] %}{% for i in range(2) %}{% set _ = items.append(i) %}{% endfor %}{{ "
         "items }}",
         "error: access to attribute 'append' of 'list' object is unsafe."},
        {"{% do l.append(1) %}\n", "error: expected a statement, found 'do'"},
    };
    expect_renders(cases, sizeof cases / sizeof *cases, VARIABLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_know_their_place_and_unpack),
        cmocka_unit_test(loops_skip_and_stop),
        cmocka_unit_test(assignments_stay_in_their_scope),
        cmocka_unit_test(macros_bind_arguments_and_callers),
        cmocka_unit_test(blocks_filter_and_bind),
        cmocka_unit_test(white_space_around_tags_goes_as_in_jinja),
        cmocka_unit_test(recursive_loops_call_themselves),
        cmocka_unit_test(malformed_templates_are_refused),
        cmocka_unit_test(chat_templates_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
