/* avro_plan: the same records as libavro's own reader and resolver, on random values; and hostile
 * values, on which libavro's reader cannot be let loose. */
#include "schemas/records/avro_plan.h"

#include <avro.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/records/avro_write.h"
#include "schemas/records/embedded.h"
#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

enum { DATA_BYTES_MAX = 1 << 20, ROUNDS = 400 };

static unsigned state_of_random;

static unsigned next(unsigned limit)
{
    state_of_random = state_of_random * 1664525U + 1013904223U;
    return (state_of_random >> 8) % limit;
}

static void seed(void)
{
    const char *text = getenv("TEST_SEED");
    state_of_random = text == NULL ? 1111 : (unsigned)strtoul(text, NULL, 10);
    printf("TEST_SEED=%u\n", state_of_random);
}

static int64_t random_long(void)
{
    uint64_t bits = (uint64_t)next(1 << 24) << 40 | (uint64_t)next(1 << 24) << 20 | next(1 << 24);
    return (int64_t)(bits << next(2)) >> next(60);
}

static void fill(avro_value_t *value);

static void fill_items(avro_value_t *value, bool is_map)
{
    for (unsigned i = next(4); i > 0; i--) {
        avro_value_t item;
        char key[16];
        snprintf(key, sizeof key, "key-%u", i);
        assert_int_equal(is_map ? avro_value_add(value, key, &item, NULL, NULL)
                                : avro_value_append(value, &item, NULL),
                         0);
        fill(&item);
    }
}

static void fill_fields(avro_value_t *value)
{
    size_t count;
    avro_value_get_size(value, &count);
    for (size_t i = 0; i < count; i++) {
        avro_value_t field;
        avro_value_get_by_index(value, i, &field, NULL);
        fill(&field);
    }
}

static void fill_union(avro_value_t *value)
{
    avro_value_t branch;
    avro_value_set_branch(
        value, (int)next((unsigned)avro_schema_union_size(avro_value_get_schema(value))), &branch);
    fill(&branch);
}

/* Gives the value random contents, whatever its schema. */
static void fill(avro_value_t *value)
{
    static const char text[] = "caf\xC3\xA9 \xF0\x9F\x98\x80 and plain text";
    static const size_t ends[] = {0, 1, 3, 5, 6, 10, 14, sizeof text - 1};
    char bytes[] = "\x00\x01\xFF{}";
    switch (avro_value_get_type(value)) {
    case AVRO_STRING: {
        char copy[sizeof text] = "";
        memcpy(copy, text, ends[next(8)]);
        avro_value_set_string(value, copy);
        return;
    }
    case AVRO_BYTES:
        avro_value_set_bytes(value, bytes, next(sizeof bytes));
        return;
    case AVRO_INT32:
        avro_value_set_int(value, (int32_t)random_long());
        return;
    case AVRO_INT64:
        avro_value_set_long(value, random_long());
        return;
    case AVRO_FLOAT:
        avro_value_set_float(value, (float)random_long());
        return;
    case AVRO_DOUBLE:
        avro_value_set_double(value, (double)random_long() / 1024);
        return;
    case AVRO_BOOLEAN:
        avro_value_set_boolean(value, (int)next(2));
        return;
    case AVRO_NULL:
        avro_value_set_null(value);
        return;
    case AVRO_ENUM:
        avro_value_set_enum(value, (int)next((unsigned)avro_schema_enum_number_of_symbols(
                                       avro_value_get_schema(value))));
        return;
    case AVRO_ARRAY:
        fill_items(value, false);
        return;
    case AVRO_MAP:
        fill_items(value, true);
        return;
    case AVRO_RECORD:
        fill_fields(value);
        return;
    case AVRO_UNION:
        fill_union(value);
        return;
    case AVRO_FIXED: {
        char fixed[64] = "fixed";
        avro_value_set_fixed(value, fixed,
                             (size_t)avro_schema_fixed_size(avro_value_get_schema(value)));
        return;
    }
    case AVRO_LINK:
        break;
    }
    fail_msg("no such type");
}

static avro_schema_t parse(const char *json)
{
    avro_schema_t schema;
    if (avro_schema_from_json_length(json, strlen(json), &schema) != 0) {
        fail_msg("%s", avro_strerror());
    }
    return schema;
}

static size_t write_value(avro_value_t *value, char *data)
{
    avro_writer_t writer = avro_writer_memory(data, DATA_BYTES_MAX);
    assert_int_equal(avro_value_write(writer, value), 0);
    size_t size = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    return size;
}

/* libavro: a value that `writer` wrote, resolved to `reader` and written again. */
static size_t libavro_rewrite(avro_schema_t writer, avro_schema_t reader, struct bytes data,
                              char *out)
{
    avro_value_iface_t *reader_class = avro_generic_class_from_schema(reader);
    avro_value_iface_t *resolver = avro_resolved_writer_new(writer, reader);
    if (resolver == NULL) {
        fail_msg("%s", avro_strerror());
    }
    avro_value_t value;
    avro_value_t resolved;
    assert_int_equal(avro_generic_value_new(reader_class, &value), 0);
    assert_int_equal(avro_resolved_writer_new_value(resolver, &resolved), 0);
    avro_resolved_writer_set_dest(&resolved, &value);
    avro_reader_t input = avro_reader_memory(data.data, (int64_t)data.size);
    if (avro_value_read(input, &resolved) != 0) {
        fail_msg("%s", avro_strerror());
    }
    size_t size = write_value(&value, out);
    avro_reader_free(input);
    avro_value_decref(&resolved);
    avro_value_decref(&value);
    avro_value_iface_decref(resolver);
    avro_value_iface_decref(reader_class);
    return size;
}

static void our_rewrite(const struct avro_plan *plan, const struct layout *layout,
                        struct bytes data, struct buffer *out)
{
    union {
        struct inference_request request;
        struct inference_response response;
        struct comparison comparison;
        struct control control;
    } record;
    struct error error;
    struct arena *arena = arena_open(1 << 20);
    memset(&record, 0, sizeof record);
    if (!avro_plan_read(plan, data, arena, &record, &error)) {
        fail_msg("%s", error.message);
    }
    buffer_clear(out);
    avro_write_record(out, layout, &record);
    arena_close(arena);
}

/* Random values of `writer_json`, through both and compared. */
static void compare(const char *writer_json, const char *reader_json, const struct layout *layout)
{
    avro_schema_t writer = parse(writer_json);
    avro_schema_t reader = parse(reader_json);
    avro_value_iface_t *writer_class = avro_generic_class_from_schema(writer);
    struct error error;
    struct avro_plan *plan = avro_plan_open(bytes_of(writer_json), layout, &error);
    assert_non_null(plan);
    char *data = malloc(DATA_BYTES_MAX);
    char *theirs = malloc(DATA_BYTES_MAX);
    struct buffer ours;
    buffer_init(&ours, DATA_BYTES_MAX);
    for (int round = 0; round < ROUNDS; round++) {
        avro_value_t value;
        assert_int_equal(avro_generic_value_new(writer_class, &value), 0);
        fill(&value);
        struct bytes written = {data, write_value(&value, data)};
        size_t size = libavro_rewrite(writer, reader, written, theirs);
        our_rewrite(plan, layout, written, &ours);
        assert_int_equal(ours.size, size);
        assert_memory_equal(ours.data, theirs, size);
        avro_value_decref(&value);
    }
    buffer_close(&ours);
    free(theirs);
    free(data);
    avro_plan_close(plan);
    avro_value_iface_decref(writer_class);
    avro_schema_decref(reader);
    avro_schema_decref(writer);
}

static void our_schemas_are_read_as_libavro_reads_them(void **state)
{
    (void)state;
    seed();
    compare(schema_inference_request, schema_inference_request, &layout_request);
    compare(schema_inference_response, schema_inference_response, &layout_response);
    compare(schema_comparison, schema_comparison, &layout_comparison);
    compare(schema_control, schema_control, &layout_control);
}

/* libavro knows no defaults, so the writer has all fields; in another order, with others among
 * them, some of a narrower type, one that is not nullable where ours is. */
static void another_writers_schema_is_resolved_as_libavro_resolves_it(void **state)
{
    (void)state;
    seed();
    compare("{\"type\":\"record\",\"name\":\"Control\",\"namespace\":\"millrace.v1\",\"fields\":["
            "{\"name\":\"version\",\"type\":\"int\"},"
            "{\"name\":\"extra\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
            "\"name\":\"Extra\","
            "\"fields\":[{\"name\":\"a\",\"type\":[\"string\",\"null\",\"double\"]},{\"name\":"
            "\"b\",\"type\":"
            "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},{\"name\":\"c\",\"type\":{\"type\":"
            "\"map\",\"values\":"
            "\"float\"}},{\"name\":\"d\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":["
            "\"X\",\"Y\"]}}]}}},"
            "{\"name\":\"reason\",\"type\":[\"null\",\"string\"]},"
            "{\"name\":\"decided_at_ms\",\"type\":[\"null\",\"long\"]},"
            "{\"name\":\"thresholds\",\"type\":{\"type\":\"map\",\"values\":\"long\"}},"
            "{\"name\":\"percent\",\"type\":\"int\"},"
            "{\"name\":\"flag\",\"type\":\"boolean\"},"
            "{\"name\":\"phase\",\"type\":\"string\"},"
            "{\"name\":\"salt\",\"type\":\"string\"},"
            "{\"name\":\"decided_by\",\"type\":[\"null\",\"string\"]},"
            "{\"name\":\"route\",\"type\":\"string\"}]}",
            schema_control, &layout_control);
}

static struct avro_plan *control_plan(const char *field_type)
{
    struct buffer schema;
    struct error error;
    buffer_init(&schema, 1 << 16);
    buffer_printf(
        &schema,
        "{\"type\":\"record\",\"name\":\"Control\",\"fields\":[{\"name\":\"extra\",\"type\":%s},"
        "{\"name\":\"route\",\"type\":\"string\"},{\"name\":\"phase\",\"type\":\"string\"},"
        "{\"name\":\"thresholds\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"double\"]}},"
        "{\"name\":\"version\",\"type\":\"long\"}]}",
        field_type);
    struct avro_plan *plan = avro_plan_open(buffer_bytes(&schema), &layout_control, &error);
    assert_non_null(plan);
    buffer_close(&schema);
    return plan;
}

static void hostile_values_are_refused_with_little_memory(void **state)
{
    (void)state;
    static const struct {
        const char *type; // of the field that is skipped
        struct bytes data;
        const char *problem;
    } cases[] = {
        {"\"string\"", BYTES("\x80\x80\x80\x80\x80\x40"), "greater than what is left"},
        {"\"string\"", BYTES("\x01"), "a length is negative"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1000000}", BYTES("abc"), "ends inside"},
        {"{\"type\":\"array\",\"items\":\"null\"}", BYTES("\x80\x80\x80\x80\x80\x40"),
         "more than 262144 items"},
        {"{\"type\":\"array\",\"items\":\"null\"}", BYTES("\x01\0\x01\0"), "ends inside"},
        {"[\"null\",\"long\"]", BYTES("\x04"), "a union's branch is out of range"},
        {"[\"null\",\"long\"]", BYTES("\x01"), "a union's branch is out of range"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", BYTES("\x02"),
         "an enum's index"},
        {"\"int\"", BYTES("\x80\x80\x80\x80\x20"), "more than 32 bits"},
        {"\"boolean\"", BYTES("\x02"), "neither 0 nor 1"},
        {"\"null\"",
         BYTES("\x02"
               "a\x02"
               "b\x80\x80\x80\x80\x80\x40"),
         "more than 262144 items"},
        {"\"null\"",
         BYTES("\x02"
               "a\x02"
               "b\x82\x04zz"),
         "more than 256 items"},
        {"\"null\"",
         BYTES("\x02"
               "a\x02"
               "b\x02\x02k\0\0\0"),
         "the field cannot take"}, // null for a double
        {"\"null\"",
         BYTES("\x02"
               "a\x02"
               "b\x04\x02k\x02\0\0\0\0\0\0\0\0\x02k\x02\0\0\0\0\0\0\0\0\0\0"),
         "a key twice"},
        {"\"null\"",
         BYTES("\x02\xFF\x02"
               "b\0\0"),
         "not UTF-8"},
        {"\"null\"",
         BYTES("\x02"
               "a\x02"
               "b\0\0\0"),
         "bytes follow"},
        {"\"null\"", BYTES(""), "ends inside"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct avro_plan *plan = control_plan(cases[i].type);
        struct arena *arena = arena_open(1 << 20);
        struct control out = {.version = 0};
        struct error error;
        assert_false(avro_plan_read(plan, cases[i].data, arena, &out, &error));
        assert_int_equal(error.kind, ERROR_UNDECODABLE);
        if (strstr(error.message, cases[i].problem) == NULL) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, error.message, cases[i].problem);
        }
        assert_true(arena_bytes(arena) < 16384);
        arena_close(arena);
        avro_plan_close(plan);
    }
}

static void values_that_nest_without_end_are_refused(void **state)
{
    (void)state;
    struct avro_plan *plan = control_plan("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{"
                                          "\"name\":\"r\",\"type\":[\"null\",\"R\"]}]}");
    struct avro_plan *endless = control_plan(
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}");
    struct arena *arena = arena_open(1 << 20);
    struct control out = {.version = 0};
    struct error error;
    char data[1000];
    memset(data, 2, sizeof data);
    assert_false(avro_plan_read(plan, (struct bytes){data, sizeof data}, arena, &out, &error));
    assert_non_null(strstr(error.message, "64 levels"));
    assert_false(avro_plan_read(endless, (struct bytes){data, sizeof data}, arena, &out, &error));
    assert_non_null(strstr(error.message, "64 levels"));
    arena_close(arena);
    avro_plan_close(endless);
    avro_plan_close(plan);
}

/* Records within records within records, each twice: 2^60 nulls in no bytes at all. */
static void a_schema_that_doubles_sixty_times_costs_bounded_time(void **state)
{
    (void)state;
    struct buffer type;
    buffer_init(&type, 1 << 16);
    for (int i = 0; i < 60; i++) {
        buffer_printf(
            &type,
            "{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":\"a\",\"type\":", i);
    }
    buffer_append_text(&type, "\"null\"");
    for (int i = 59; i >= 0; i--) {
        buffer_append_text(&type, "},{\"name\":\"b\",\"type\":");
        if (i == 59) {
            buffer_append_text(&type, "\"null\"");
        } else {
            buffer_printf(&type, "\"R%d\"", i + 1);
        }
        buffer_append_text(&type, "}]}");
    }
    struct avro_plan *plan = control_plan(type.data);
    struct arena *arena = arena_open(1 << 20);
    struct control out = {.version = 0};
    struct error error;
    assert_false(avro_plan_read(plan, (struct bytes)BYTES("\x02"), arena, &out, &error));
    assert_non_null(strstr(error.message, "262144 items and fields"));
    arena_close(arena);
    avro_plan_close(plan);
    buffer_close(&type);
}

static void schemas_that_cannot_be_read_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *reason;
    } cases[] = {
        {"", "not an Avro schema"},
        {"{\"type\":\"record\",\"name\":\"X\",\"fields\":[]}",
         "describes X where Control is expected"},
        {"[\"null\"]", "must describe a record"},
        {"{\"type\":\"record\",\"name\":\"Control\",\"fields\":[]}", "has no field route"},
        {"{\"type\":\"record\",\"name\":\"Control\",\"fields\":[{\"name\":\"route\",\"type\":"
         "\"string\"},{\"name\":"
         "\"phase\",\"type\":\"string\"},{\"name\":\"version\",\"type\":\"float\"}]}",
         "field version has type float"},
        {"{\"type\":\"record\",\"name\":\"Control\",\"fields\":[{\"name\":\"route\",\"type\":"
         "\"null\"},{\"name\":"
         "\"phase\",\"type\":\"string\"},{\"name\":\"version\",\"type\":\"int\"}]}",
         "field route has type null"},
        {"{\"type\":\"record\",\"name\":\"Control\",\"fields\":[{\"name\":\"route\",\"type\":{"
         "\"type\":\"fixed\","
         "\"name\":\"F\",\"size\":4}},{\"name\":\"phase\",\"type\":\"string\"},{\"name\":"
         "\"version\",\"type\":"
         "\"int\"}]}",
         "field route has type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error;
        assert_null(avro_plan_open(bytes_of(cases[i].schema), &layout_control, &error));
        if (strstr(error.message, cases[i].reason) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", error.message, cases[i].reason);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_schemas_are_read_as_libavro_reads_them),
        cmocka_unit_test(another_writers_schema_is_resolved_as_libavro_resolves_it),
        cmocka_unit_test(hostile_values_are_refused_with_little_memory),
        cmocka_unit_test(values_that_nest_without_end_are_refused),
        cmocka_unit_test(a_schema_that_doubles_sixty_times_costs_bounded_time),
        cmocka_unit_test(schemas_that_cannot_be_read_are_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
