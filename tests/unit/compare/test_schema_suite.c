/* The official test suite of JSON Schema 2020-12, its optional part but for formats included, and
 * 700 schemas from real projects. */
#include "pipeline/compare/schema.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/compare/answer_json.h"
#include "tests/support/cmocka.h"

#define SUITE DATA_DIR "/json-schema/JSON-Schema-Test-Suite"

enum { PATH_SIZE = 1024, REMOTES_MAX = 64, LINE_BYTES_MAX = 1 << 22, FILE_BYTES_MAX = 1 << 20 };

struct counts {
    size_t passed;
    size_t failed;
    size_t known; // failures for the reasons below
};

/* Groups that fail, and why they may. */
static const struct known {
    const char *file;
    const char *group; // NULL: the whole file
    const char *reason;
} known_failures[] = {
    {"vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary",
     "a $schema other than the two drafts is named and read as 2020-12"},
    {"cross-draft.json", NULL, "refers to a resource of draft 2019-09"},
    {"format-assertion.json", NULL, "format annotates, whatever a vocabulary says"},
};

struct remote {
    char uri[PATH_SIZE];
    json_t *schema;
};

static struct remote remotes[REMOTES_MAX];
static size_t remotes_count;

static json_t *load(const char *path)
{
    static char text[FILE_BYTES_MAX];
    struct error error = {0};
    json_t *json = NULL;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    if (!answer_json_parse((struct bytes){text, size}, &json, &error)) {
        fail_msg("%s: %s", path, error.message);
    }
    return json;
}

/* Loads all files of a folder and of those in it, under the URI that they have for the suite. */
static void load_remotes(const char *folder, const char *uri)
{
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        char path[PATH_SIZE];
        char place[PATH_SIZE];
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)snprintf(place, sizeof place, "%s/%s", uri, entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (strchr(entry->d_name, '.') == NULL) {
            DIR *inner = opendir(path);
            if (inner != NULL) {
                (void)closedir(inner);
                load_remotes(path, place);
                continue;
            }
        }
        assert_true(remotes_count < REMOTES_MAX);
        struct remote *remote = &remotes[remotes_count++];
        (void)snprintf(remote->uri, sizeof remote->uri, "%s", place);
        remote->schema = load(path);
    }
    (void)closedir(entries);
}

/* A remote under its URI, for the "$defs" of a compound document. */
static json_t *bundled(const struct remote *remote)
{
    const char *id = json_string_value(json_object_get(remote->schema, "$id"));
    if (id != NULL && strcmp(id, remote->uri) == 0) {
        return json_deep_copy(remote->schema);
    }
    if (id == NULL) {
        json_t *copy = json_deep_copy(remote->schema);
        (void)json_object_set_new(copy, "$id", json_string(remote->uri));
        return copy;
    }
    return json_pack("{s:s, s:s, s:{s:o}}", "$id", remote->uri, "$ref", id, "$defs", "it",
                     json_deep_copy(remote->schema));
}

/* The schema with all remotes in it, as 2020-12 says how documents are bundled: nothing is ever
 * fetched, so what it refers to must be within it. */
static json_t *bundle(const json_t *schema)
{
    char *text = json_dumps(schema, JSON_ENCODE_ANY);
    bool is_self_contained = strstr(text, "http") == NULL && strstr(text, "tree") == NULL;
    free(text);
    json_t *whole = json_deep_copy(schema);
    if (is_self_contained || !json_is_object(schema)) {
        return whole;
    }
    if (json_object_get(whole, "$defs") == NULL) {
        (void)json_object_set_new(whole, "$defs", json_object());
    }
    for (size_t i = 0; i < remotes_count; i++) {
        json_t *defs = json_object_get(whole, "$defs");
        (void)json_object_set_new(defs, remotes[i].uri, bundled(&remotes[i]));
    }
    return whole;
}

static bool is_known(const char *file, const char *group)
{
    for (size_t i = 0; i < sizeof known_failures / sizeof known_failures[0]; i++) {
        const struct known *known = &known_failures[i];
        if (strcmp(known->file, file) == 0 &&
            (known->group == NULL || strcmp(known->group, group) == 0)) {
            return true;
        }
    }
    return false;
}

/* Values that only `format` forbids are allowed here, where it annotates. */
static bool is_format_alone(const json_t *test)
{
    const char *cause = json_string_value(json_object_get(test, "python_error"));
    const char *aim = json_string_value(json_object_get(test, "description"));
    return (cause != NULL && strstr(cause, "Failed validating 'format'") != NULL) ||
           (aim != NULL && strstr(aim, "focus on format keyword") != NULL);
}

static void check_one(const struct schema *schema, json_t *test, const char *data_name,
                      const char *place, struct counts *counts)
{
    bool is_valid = false;
    char reason[200];
    struct error error = {0};
    bool expected = json_is_true(json_object_get(test, "valid"));
    bool is_done = schema != NULL && schema_check(schema, json_object_get(test, data_name),
                                                  &is_valid, reason, sizeof reason, &error);
    bool is_reasoned = is_valid || reason[0] != '\0';
    if (is_done && is_valid == expected && is_reasoned) {
        counts->passed++;
        return;
    }
    if (is_done && is_valid && is_format_alone(test)) {
        counts->known++;
        return;
    }
    counts->failed++;
    printf("%s: %s: expected %d, %s %s\n", place,
           json_string_value(json_object_get(test, "description")), expected,
           is_done ? reason : "error", error.message);
}

static void run_group(const char *file, json_t *group, struct counts *counts)
{
    const char *name = json_string_value(json_object_get(group, "description"));
    char place[PATH_SIZE];
    struct schema *schema = NULL;
    struct error error = {0};
    struct counts of_group = {0};
    size_t index = 0;
    json_t *test = NULL;
    json_t *document = bundle(json_object_get(group, "schema"));
    (void)snprintf(place, sizeof place, "%s: %s", file, name);
    if (!schema_open(document, &schema, &error)) {
        printf("%s: %s\n", place, error.message);
    }
    json_array_foreach (json_object_get(group, "tests"), index, test) {
        check_one(schema, test, "data", place, &of_group);
    }
    counts->passed += of_group.passed;
    counts->known += is_known(file, name) ? of_group.failed : 0;
    counts->failed += is_known(file, name) ? 0 : of_group.failed;
    schema_close(schema);
    json_decref(document);
}

static void run_folder(const char *folder, struct counts *counts)
{
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        char path[PATH_SIZE];
        size_t index = 0;
        json_t *group = NULL;
        if (strstr(entry->d_name, ".json") == NULL) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        json_t *groups = load(path);
        json_array_foreach (groups, index, group) {
            run_group(entry->d_name, group, counts);
        }
        json_decref(groups);
    }
    (void)closedir(entries);
}

static void skip_without_data(void)
{
    DIR *folder = opendir(SUITE);
    if (folder == NULL) {
        printf("no JSON-Schema-Test-Suite in " DATA_DIR "\n");
        skip();
    } else {
        (void)closedir(folder);
    }
}

static void test_passes_the_official_suite(void **state)
{
    (void)state;
    struct counts counts = {0};
    skip_without_data();
    load_remotes(SUITE "/remotes/draft2020-12", "http://localhost:1234/draft2020-12");
    load_remotes(SOURCE_DIR "/tests/golden/compare/draft2020-12",
                 "https://json-schema.org/draft/2020-12");
    run_folder(SUITE "/tests/draft2020-12", &counts);
    run_folder(SUITE "/tests/draft2020-12/optional", &counts);
    for (size_t i = 0; i < remotes_count; i++) {
        json_decref(remotes[i].schema);
    }
    printf("suite: %zu passed, %zu failed, %zu known to fail\n", counts.passed, counts.failed,
           counts.known);
    assert_int_equal(counts.failed, 0);
    assert_true(counts.passed > 1400);
}

static void run_line(json_t *line, struct counts *counts)
{
    const char *name = json_string_value(json_object_get(line, "name"));
    struct schema *schema = NULL;
    struct error error = {0};
    size_t index = 0;
    json_t *test = NULL;
    if (!schema_open(json_object_get(line, "schema"), &schema, &error)) {
        printf("%s: %s\n", name, error.message);
    }
    json_array_foreach (json_object_get(line, "tests"), index, test) {
        check_one(schema, test, "data", name, counts);
    }
    schema_close(schema);
}

static void test_agrees_on_schemas_of_real_projects(void **state)
{
    (void)state;
    struct counts counts = {0};
    skip_without_data();
    FILE *file = fopen(DATA_DIR "/json-schema/maskbench.jsonl", "rb");
    assert_non_null(file);
    static char text[LINE_BYTES_MAX];
    while (fgets(text, sizeof text, file) != NULL) {
        json_t *line = NULL;
        assert_true(answer_json_parse(bytes_of(text), &line, NULL));
        run_line(line, &counts);
        json_decref(line);
    }
    (void)fclose(file);
    printf("real projects: %zu passed, %zu failed, %zu only by format\n", counts.passed,
           counts.failed, counts.known);
    assert_int_equal(counts.failed, 0);
    assert_true(counts.passed > 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_the_official_suite),
        cmocka_unit_test(test_agrees_on_schemas_of_real_projects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
