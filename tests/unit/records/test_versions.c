/* Old data against today's schemas: everything in versions/ is read, and no schema changed in a way
 * that a reader of another version cannot bear. */
#include "schemas/records/avro_plan.h"

#include <jansson.h>
#include <stdio.h>

#include "schemas/base/records.h"
#include "schemas/records/canonical.h"
#include "schemas/records/line_read.h"
#include "schemas/records/line_write.h"
#include "tests/support/cmocka.h"
#include "tests/unit/records/files.h"

#define VERSIONS SOURCE_DIR "/tests/unit/records/versions"

enum { VERSION_NEWEST = 1, FRAMING_BYTES = 5 };

static const struct {
    const char *name;
    const struct layout *layout;
} kinds[] = {
    {"inference_request", &layout_request},
    {"inference_response", &layout_response},
    {"comparison", &layout_comparison},
    {"control", &layout_control},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

union any {
    struct inference_request request;
    struct inference_response response;
    struct comparison comparison;
    struct control control;
};

static void read_version(int version, const char *name, const char *suffix, struct buffer *out)
{
    char path[4096];
    snprintf(path, sizeof path, VERSIONS "/%d/%s.%s", version, name, suffix);
    file_read(path, out);
}

static void read_current(const char *name, struct buffer *out)
{
    char path[4096];
    snprintf(path, sizeof path, SOURCE_DIR "/schemas/%s.avsc", name);
    file_read(path, out);
}

static void check_value(int version, size_t kind)
{
    struct buffer schema;
    struct buffer value;
    struct buffer json;
    struct buffer got;
    struct buffer wanted;
    struct error error = {.message = ""};
    union any record;
    read_version(version, kinds[kind].name, "avsc", &schema);
    read_version(version, kinds[kind].name, "confluent", &value);
    read_version(version, kinds[kind].name, "json", &json);
    buffer_init(&got, 1 << 20);
    buffer_init(&wanted, 1 << 20);
    struct arena *arena = arena_open(1 << 20);
    struct avro_plan *plan = avro_plan_open(buffer_bytes(&schema), kinds[kind].layout, &error);
    assert_string_equal(error.message, "");
    memset(&record, 0, sizeof record);
    struct bytes data = {value.data + FRAMING_BYTES, value.size - FRAMING_BYTES};
    assert_true(avro_plan_read(plan, data, arena, &record, &error));
    line_write_record(&got, kinds[kind].layout, &record);
    memset(&record, 0, sizeof record);
    assert_true(line_read_record(buffer_bytes(&json), kinds[kind].layout, arena, &record, &error));
    line_write_record(&wanted, kinds[kind].layout, &record);
    assert_string_equal(got.data, wanted.data);
    avro_plan_close(plan);
    arena_close(arena);
    buffer_close(&schema);
    buffer_close(&value);
    buffer_close(&json);
    buffer_close(&got);
    buffer_close(&wanted);
}

static void values_of_every_version_are_read(void **state)
{
    (void)state;
    for (int version = 1; version <= VERSION_NEWEST; version++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            check_value(version, kind);
        }
    }
}

static const json_t *find_field(const json_t *fields, const char *name)
{
    size_t i;
    const json_t *field;
    json_array_foreach (fields, i, field) {
        if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0) {
            return field;
        }
    }
    return NULL;
}

static bool has_default(const json_t *field)
{
    return json_object_get(field, "default") != NULL;
}

/* The record, and by the fields' types those within it. A type is the same in kind or it is
 * refused. */
static void check_compatible(const json_t *old, const json_t *new)
{
    size_t i;
    const json_t *field;
    if (json_typeof(old) != json_typeof(new)) {
        fail_msg("a type became another type");
    }
    if (json_is_array(old)) {
        assert_true(json_array_size(new) >= json_array_size(old));
        json_array_foreach (old, i, field) {
            check_compatible(field, json_array_get(new, i));
        }
    } else if (!json_is_object(old)) {
        assert_true(json_equal(old, new));
    } else if (json_object_get(old, "fields") == NULL) {
        assert_true(json_equal(old, new));
    } else {
        const json_t *before = json_object_get(old, "fields");
        const json_t *after = json_object_get(new, "fields");
        json_array_foreach (after, i, field) {
            const char *name = json_string_value(json_object_get(field, "name"));
            if (find_field(before, name) == NULL && !has_default(field)) {
                fail_msg("the new field %s has no default", name);
            }
        }
        json_array_foreach (before, i, field) {
            const char *name = json_string_value(json_object_get(field, "name"));
            const json_t *kept = find_field(after, name);
            if (kept == NULL) {
                fail_msg("the field %s is gone", name);
            }
            check_compatible(json_object_get(field, "type"), json_object_get(kept, "type"));
        }
    }
}

static void no_version_changed_in_a_way_that_breaks_another(void **state)
{
    (void)state;
    for (int version = 1; version <= VERSION_NEWEST; version++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            struct buffer old;
            struct buffer new;
            read_version(version, kinds[kind].name, "avsc", &old);
            read_current(kinds[kind].name, &new);
            json_t *before = json_loadb(old.data, old.size, 0, NULL);
            json_t *after = json_loadb(new.data, new.size, 0, NULL);
            check_compatible(before, after);
            json_decref(before);
            json_decref(after);
            buffer_close(&old);
            buffer_close(&new);
        }
    }
}

static void the_newest_version_is_todays(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct buffer texts[2];
        struct buffer forms[2];
        struct error error;
        read_version(VERSION_NEWEST, kinds[kind].name, "avsc", &texts[0]);
        read_current(kinds[kind].name, &texts[1]);
        for (int i = 0; i < 2; i++) {
            buffer_init(&forms[i], 1 << 20);
            assert_true(canonical_form(buffer_bytes(&texts[i]), &forms[i], &error));
        }
        if (!bytes_equal(buffer_bytes(&forms[0]), buffer_bytes(&forms[1]))) {
            fail_msg("%s.avsc changed: see versions/README.md", kinds[kind].name);
        }
        for (int i = 0; i < 2; i++) {
            buffer_close(&texts[i]);
            buffer_close(&forms[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_version_are_read),
        cmocka_unit_test(no_version_changed_in_a_way_that_breaks_another),
        cmocka_unit_test(the_newest_version_is_todays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
