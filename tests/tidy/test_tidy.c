/* The tidy rules: each is shown to fire on a small bad sample, then all run over the whole tree. */
#include "tests/tidy/rules.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/cmocka.h"
#include "tests/tidy/docs.h"
#include "tests/tidy/modules.h"

enum { FILE_MAX_BYTES = 1 << 20, DEPTH_MAX = 8, DOCUMENTS_MAX = 64 };

#define TEN(text) text text text text text text text text text text

/* A file and a word of the finding that it must give; NULL: it must give none. */
static const struct sample {
    const char *path;
    const char *text;
    const char *finding;
} samples[] = {
    {"kernels/a.c", "/* A. */\n#include \"schemas/base/error.h\"\n", NULL},
    {"kernels/a.c", "/* A. */\n#include \"pipeline/generator.h\"\n", "layering"},
    {"schemas/base/a.c", "/* A. */\n#include \"schemas/records/avro.h\"\n", "layering"},
    {"schemas/records/a.c", "/* A. */\n#include \"schemas/base/error.h\"\n", NULL},
    {"pipeline/model/a.c", "/* A. */\n#include \"pipeline/engine/engine.h\"\n", "layering"},
    {"pipeline/engine/a.c", "/* A. */\n#include \"pipeline/model/model.h\"\n", NULL},
    {"pipeline/openai/a.c", "/* A. */\n#include \"pipeline/model/model.h\"\n", "layering"},
    {"pipeline/compare/a.c", "/* A. */\n#include \"pipeline/engine/engine.h\"\n", "layering"},
    {"pipeline/route/a.c", "/* A. */\n#include \"pipeline/model/model.h\"\n", "layering"},
    {"pipeline/a.c", "/* A. */\n#include \"pipeline/engine/engine.h\"\n", NULL},
    {"pipeline/a.c", "/* A. */\n#include \"worker/log.h\"\n", "layering"},
    {"worker/a.c", "/* A. */\n#include \"kernels/backend.h\"\n", "layering"},
    {"worker/a.c", "/* A. */\n#include \"log.h\"\n", "not written from the root"},
    {"worker/a.c", "/* A. */\n#include <avro.h>\n", "containment"},
    {"worker/a.c", "/* A. */\n#include <jansson.h>\n#include <uv.h>\n", NULL},
    {"kernels/a.c", "/* A. */\n#include <jansson.h>\n", "containment"},
    {"pipeline/a.c", "/* A. */\n#include <librdkafka/rdkafka.h>\n", "containment"},
    {"pipeline/openai/a.c", "/* A. */\n#include <pcre2.h>\n", "containment"},
    {"tests/a.c", "/* A. */\n#include <librdkafka/rdkafka.h>\n", NULL},
    {"worker/a.c", "/* " TEN("0123456789") " */\n", "line has 106 characters"},
    {"worker/a.c", "/* " TEN("é") TEN("é") TEN("é") TEN("é") TEN("é") TEN("é") " */\n", NULL},
    {"worker/a.c", "/* A. */\nint f(void)\n{\n" TEN("\n\n\n\n\n\n\n") "}\n", "function has 71"},
    {"worker/a.c", "/* A. */\nint f(void)\n{\n" TEN("\n\n\n\n\n\n\n") "// {\n", NULL},
    {"worker/a.c", "/* A. */\n" TEN(TEN("\n\n\n\n\n\n")), "file has 601 lines"},
    {"worker/a.c", "/* A. */\nint f(void)\n{\n    strcpy(a, b);\n}\n", "strcpy is banned"},
    {"worker/a.c", "/* A. */\n// strcpy(a, b)\nconst char *a = \"strcpy(\\\"\";\n", NULL},
    {"worker/a.c", "/* A. */\nint f(void)\n{\n    my_strcpy(a, b);\n}\n", NULL},
    {"pipeline/a.c", "/* A. */\nint f(void)\n{\n    printf(\"a\");\n}\n", "printf is banned"},
    {"worker/a.c", "/* A. */\nint f(void)\n{\n    printf(\"a\");\n}\n", NULL},
    {"pipeline/a.c", "/* A. */\nint a_step(void)\n{\n    a = malloc(1);\n}\n", "malloc in a_step"},
    {"pipeline/a.c", "/* A. */\nint a_open(void)\n{\n    a = malloc(1);\n}\n", NULL},
    {"pipeline/a.c", "/* A. */\nint reopen(void)\n{\n    free(a);\n}\n", "free in reopen"},
    {"schemas/base/arena.c", "/* A. */\nint a_step(void)\n{\n    a = malloc(1);\n}\n", NULL},
    {"worker/a.c",
     "/* A. "
     "TO"
     "DO: more */\n",
     "leftover"},
    {"tests/run",
     "#!/bin/sh\n# FIX"
     "ME\n",
     "leftover"},
    {"deploy/a",
     "#!/bin/sh\ncd /ho"
     "me/someone\n",
     "path of one machine"},
    {"worker/a.c", "#include <stdio.h>\n", "first line must be a comment"},
    {"tests/e2e/a.py", "import os\n", "first line must be a comment"},
    {"tests/e2e/a.py", "\"\"\"What it is.\"\"\"\nimport os\n", NULL},
    {"pipeline/a.c", "/* A. */\nstatic int json_parse(int a)\n{\n}\n", "json_parse would replace"},
    {"pipeline/a.c", "/* A. */\nstatic json_t *parse(int a)\n{\n    json_decref(a);\n}\n", NULL},
    {"worker/a.h", "/* A. */\n#pragma once\n", "include guard WORKER_A_H"},
    {"worker/a.h", "/* A. */\n#ifndef WORKER_A_H\n#define WORKER_A_H\n#endif\n", NULL},
};

static struct findings findings; // of one check at a time; too large for a stack

static void test_each_rule_fires_on_its_sample_and_on_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        const struct sample *sample = &samples[i];
        struct source source;
        assert_true(source_open(&source, sample->path, sample->text));
        findings = (struct findings){0};
        rules_check(&source, &findings);
        source_close(&source);
        if (findings.count != (sample->finding != NULL) ||
            (sample->finding != NULL && strstr(findings.text, sample->finding) == NULL)) {
            fail_msg("sample %zu (%s): expected '%s', found '%s'", i, sample->path,
                     sample->finding ? sample->finding : "", findings.text);
        }
    }
}

/* Opens `count` (path, text) pairs, checks them as a tree and returns what was found. */
static const char *check_tree_of(const char *const files[][2], size_t count)
{
    struct source sources[4];
    assert_true(count <= 4);
    for (size_t i = 0; i < count; i++) {
        assert_true(source_open(&sources[i], files[i][0], files[i][1]));
    }
    findings = (struct findings){0};
    modules_check(sources, count, &findings);
    for (size_t i = 0; i < count; i++) {
        source_close(&sources[i]);
    }
    return findings.text;
}

static void test_a_module_without_a_test_is_found(void **state)
{
    (void)state;
    const char *const untested[][2] = {{"worker/a.c", "#include \"worker/a.h\"\n"},
                                       {"worker/a.h", ""}};
    assert_non_null(strstr(check_tree_of(untested, 2), "no test includes worker/a.h"));
    const char *const tested[][2] = {{"worker/a.c", "#include \"worker/a.h\"\n"},
                                     {"worker/a.h", ""},
                                     {"tests/unit/test_a.c", "#include \"worker/a.h\"\n"}};
    assert_string_equal(check_tree_of(tested, 3), "");
    const char *const part[][2] = {
        {"worker/part.c", "#include \"worker/part.h\"\n"},
        {"worker/a.c", "#include \"worker/a.h\"\n#include \"worker/part.h\"\n"},
        {"worker/a.h", ""},
        {"tests/unit/test_a.c", "#include \"worker/a.h\"\n"}};
    assert_string_equal(check_tree_of(part, 4), "");
    const char *const elsewhere[][2] = {
        {"worker/part.c", ""},
        {"pipeline/a.c", "#include \"pipeline/a.h\"\n#include \"worker/part.h\"\n"},
        {"tests/unit/test_a.c", "#include \"pipeline/a.h\"\n"}};
    assert_non_null(strstr(check_tree_of(elsewhere, 3), "no test includes worker/part.h"));
}

static void test_a_file_that_does_not_include_its_own_header_first_is_found(void **state)
{
    (void)state;
    const char *const files[][2] = {{"tests/a.c", "#include <stdio.h>\n#include \"tests/a.h\"\n"},
                                    {"tests/a.h", ""}};
    assert_non_null(strstr(check_tree_of(files, 2), "first include must be \"tests/a.h\""));
}

static void test_a_document_that_points_nowhere_is_found(void **state)
{
    (void)state;
    static const struct sample rows[] = {
        {"tests/README.md", "[run](run), [up](../ARCHITECTURE.md#x), [far](https://a.b/c)", NULL},
        {"tests/README.md", "see [this](gone.md)", "link to gone.md"},
        {"tests/README.md", "`tidy/docs.c`, `tests/tidy/docs`, `tidy/`, `/v1/a`, `n/a`", NULL},
        {"README.md", "`tokenizer.json` `build/a/b.c` `*.h` `a b.c` `main.c` `.c` gone.c", NULL},
        {"README.md", "`gone.c`", "no file gone.c"},
        {"README.md", "`tests/gone`", "no file tests/gone"},
        {"README.md", "`millrace work --config a`, `millrace --help`, `millrace COMMAND`", NULL},
        {"README.md", "`millrace dance`", "no command dance"},
        {"README.md", "```\nbuild/millrace dance\n`gone.c`\n```", "no command dance"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[] = "worker/main.c";
        const struct source main_c = {.path = path};
        const struct docs docs = {SOURCE_DIR, "{\"work\", \"answers\", command_work},", &main_c, 1};
        struct source document;
        assert_true(source_open(&document, rows[i].path, rows[i].text));
        findings = (struct findings){0};
        docs_check(&document, &docs, &findings);
        source_close(&document);
        if (findings.count != (rows[i].finding != NULL) ||
            (rows[i].finding != NULL && strstr(findings.text, rows[i].finding) == NULL)) {
            fail_msg("row %zu: expected '%s', found '%s'", i,
                     rows[i].finding ? rows[i].finding : "", findings.text);
        }
    }
}

static struct source tree[MODULES_SOURCES_MAX];
static size_t tree_count;
static struct source documents[DOCUMENTS_MAX];
static size_t documents_count;

/* Sources by their ending, and scripts without one by their first two bytes. */
static bool is_source(const char *name, const char *text)
{
    static const char *const endings[] = {".c", ".h", ".cu", ".cuh", ".py"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcmp(dot, endings[i]) == 0) {
            return true;
        }
    }
    return strncmp(text, "#!", 2) == 0;
}

static void read_file(const char *path, const char *name)
{
    static char text[FILE_MAX_BYTES];
    char full[600];
    (void)snprintf(full, sizeof full, "%s/%s", SOURCE_DIR, path);
    FILE *file = fopen(full, "rb");
    if (file == NULL) {
        fail_msg("cannot read %s", path);
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *dot = strrchr(name, '.');
    if (dot != NULL && strcmp(dot, ".md") == 0) {
        assert_true(documents_count < DOCUMENTS_MAX);
        assert_true(source_open(&documents[documents_count++], path, text));
    } else if (is_source(name, text)) {
        assert_true(tree_count < MODULES_SOURCES_MAX);
        assert_true(source_open(&tree[tree_count++], path, text));
    }
}

static void read_folder(const char *path, unsigned depth)
{
    char full[600];
    (void)snprintf(full, sizeof full, "%s/%s", SOURCE_DIR, path);
    DIR *folder = opendir(full);
    if (folder == NULL) {
        fail_msg("cannot read the folder %s", path);
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char child[512];
        int length = snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        assert_in_range(length, 1, sizeof child - 1);
        (void)snprintf(full, sizeof full, "%s/%s", SOURCE_DIR, child);
        struct stat status;
        if (entry->d_name[0] == '.' || lstat(full, &status) != 0) {
            continue;
        }
        if (S_ISDIR(status.st_mode) && depth < DEPTH_MAX) {
            read_folder(child, depth + 1);
        } else if (S_ISREG(status.st_mode)) {
            read_file(child, entry->d_name);
        }
    }
    (void)closedir(folder);
}

static void report(const char *what)
{
    if (findings.count > 0) {
        (void)fputs(findings.text, stderr); // cmocka cuts long messages
        fail_msg("%zu findings %s", findings.count, what);
    }
}

static void test_every_file_keeps_the_rules(void **state)
{
    (void)state;
    findings = (struct findings){0};
    for (size_t i = 0; i < tree_count; i++) {
        rules_check(&tree[i], &findings);
    }
    report("in single files");
}

static void test_every_module_has_a_test_and_includes_its_own_header_first(void **state)
{
    (void)state;
    findings = (struct findings){0};
    modules_check(tree, tree_count, &findings);
    report("in the tree");
}

static void test_every_document_points_to_what_is_there(void **state)
{
    (void)state;
    struct docs docs = {.root = SOURCE_DIR, .sources = tree, .sources_count = tree_count};
    for (size_t i = 0; i < tree_count; i++) {
        if (strcmp(tree[i].path, "worker/main.c") == 0) {
            docs.commands = tree[i].text;
        }
    }
    assert_non_null(docs.commands);
    findings = (struct findings){0};
    for (size_t i = 0; i < documents_count; i++) {
        docs_check(&documents[i], &docs, &findings);
    }
    report("in documents");
}

static int read_tree(void **state)
{
    (void)state;
    static const char *const folders[] = {"schemas", "kernels", "pipeline", "worker",
                                          "tests",   "bench",   "deploy"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        read_folder(folders[i], 0);
    }
    read_folder(".", DEPTH_MAX); // its files alone: the documents at the root
    print_message("%zu files, %zu documents\n", tree_count, documents_count);
    return tree_count > 10 ? 0 : -1; // a wrong SOURCE_DIR must not look like a clean tree
}

static int close_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < tree_count; i++) {
        source_close(&tree[i]);
    }
    for (size_t i = 0; i < documents_count; i++) {
        source_close(&documents[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule_fires_on_its_sample_and_on_no_other),
        cmocka_unit_test(test_a_module_without_a_test_is_found),
        cmocka_unit_test(test_a_file_that_does_not_include_its_own_header_first_is_found),
        cmocka_unit_test(test_a_document_that_points_nowhere_is_found),
        cmocka_unit_test(test_every_file_keeps_the_rules),
        cmocka_unit_test(test_every_document_points_to_what_is_there),
        cmocka_unit_test(test_every_module_has_a_test_and_includes_its_own_header_first),
    };
    return cmocka_run_group_tests(tests, read_tree, close_tree);
}
