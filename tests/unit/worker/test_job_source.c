/* job_source over batch files and folders written by the test. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/job_source.h"

static char folder[] = "/tmp/millrace-source-XXXXXX";
static struct record_codec *codec;

static const char *write_file(char *path, size_t size, const char *name, const char *text)
{
    (void)snprintf(path, size, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return path;
}

struct walk {
    int requests;
    int invalid;
    char ids[256];    // "a b c"
    char bodies[512]; // one a line
    struct error last;
    enum job_source_result end;
};

static struct walk walk_source(const struct job_source_options *options)
{
    struct walk walk = {0};
    struct job_source *source = NULL;
    assert_true(job_source_open(options, codec, &source, &walk.last));
    do {
        struct arena *arena = arena_open(1 << 20);
        struct inference_request request;
        walk.end = job_source_next(source, arena, &request, &walk.last);
        if (walk.end == JOB_SOURCE_REQUEST) {
            walk.requests++;
            (void)snprintf(walk.ids + strlen(walk.ids), sizeof walk.ids - strlen(walk.ids), "%.*s ",
                           (int)request.custom_id.size, request.custom_id.data);
            (void)snprintf(walk.bodies + strlen(walk.bodies),
                           sizeof walk.bodies - strlen(walk.bodies), "%.*s\n",
                           (int)request.body.size, request.body.data);
        }
        walk.invalid += walk.end == JOB_SOURCE_INVALID ? 1 : 0;
        arena_close(arena);
    } while (walk.end == JOB_SOURCE_REQUEST || walk.end == JOB_SOURCE_INVALID);
    job_source_close(source);
    return walk;
}

static void test_bad_lines_are_named_and_cost_no_other(void **state)
{
    (void)state;
    char path[128];
    const char *files[] = {
        write_file(path, sizeof path, "batch.jsonl",
                   "{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"x\":1}}\n"
                   "\n"
                   "not json\n"
                   "{\"custom_id\":\"b\",\"url\":\"/v1/chat/completions\",\"body\":{\"x\":2}}\n"
                   "{\"custom_id\":\"\",\"url\":\"/v1/chat/completions\",\"body\":{}}")};
    struct job_source_options options = {
        .files = files, .files_count = 1, .record_bytes_max = 4096};
    struct walk walk = walk_source(&options);
    assert_int_equal(walk.end, JOB_SOURCE_END);
    assert_int_equal(walk.requests, 2);
    assert_int_equal(walk.invalid, 2);
    assert_string_equal(walk.ids, "a b ");
    assert_non_null(strstr(walk.last.message, "batch.jsonl line 5"));
    assert_int_equal(unlink(path), 0);
}

static void test_a_line_over_the_limit_is_invalid(void **state)
{
    (void)state;
    char path[128];
    const char *files[] = {write_file(
        path, sizeof path, "long.jsonl",
        "{\"custom_id\":\"a\",\"body\":{\"x\":\"0123456789012345678901234567890123456789\"}}\n"
        "{\"custom_id\":\"b\",\"body\":{}}\n")};
    struct job_source_options options = {.files = files, .files_count = 1, .record_bytes_max = 40};
    struct walk walk = walk_source(&options);
    assert_int_equal(walk.requests, 1);
    assert_int_equal(walk.invalid, 1);
    assert_string_equal(walk.ids, "b ");
    assert_non_null(strstr(walk.last.message, "long.jsonl: line 1 has over 40 bytes"));
    assert_int_equal(unlink(path), 0);
}

static void test_a_missing_file_ends_the_input(void **state)
{
    (void)state;
    const char *files[] = {"/nowhere/batch.jsonl"};
    struct job_source_options options = {
        .files = files, .files_count = 1, .record_bytes_max = 4096};
    struct walk walk = walk_source(&options);
    assert_int_equal(walk.end, JOB_SOURCE_FAILED);
    assert_non_null(strstr(walk.last.message, "/nowhere/batch.jsonl"));
}

static void test_documents_are_put_into_the_prompt(void **state)
{
    (void)state;
    char prompt[128];
    char first[128];
    char second[128];
    char broken[128];
    char documents[128];
    (void)snprintf(documents, sizeof documents, "%s/documents", folder);
    assert_int_equal(mkdir(documents, 0700), 0);
    (void)write_file(prompt, sizeof prompt, "prompt.json",
                     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Sum up: "
                     "{{document}}, {{document}}\"}],\"temperature\":0}");
    (void)write_file(second, sizeof second, "documents/b.txt", "second \"quoted\"");
    (void)write_file(first, sizeof first, "documents/a.txt", "first");
    (void)write_file(broken, sizeof broken, "documents/c.txt", "\xff\xfe");
    struct job_source_options options = {
        .documents = documents, .prompt = prompt, .model = "other", .record_bytes_max = 4096};
    struct walk walk = walk_source(&options);
    assert_int_equal(walk.requests, 2);
    assert_int_equal(walk.invalid, 1);
    assert_string_equal(walk.ids, "a.txt b.txt ");
    assert_non_null(strstr(walk.bodies, "\"Sum up: first, first\""));
    assert_non_null(strstr(walk.bodies, "second \\\"quoted\\\", second"));
    assert_non_null(strstr(walk.bodies, "\"model\":\"other\""));
    assert_non_null(strstr(walk.bodies, "\"temperature\":0"));
    assert_non_null(strstr(walk.last.message, "c.txt"));
    assert_int_equal(unlink(first) + unlink(second) + unlink(broken) + unlink(prompt), 0);
    assert_int_equal(rmdir(documents), 0);
}

static void test_what_is_no_file_is_invalid_and_not_waited_for(void **state)
{
    (void)state;
    char prompt[128];
    char text[128];
    char documents[128];
    char pipe[128];
    char subfolder[128];
    char dangling[128];
    (void)snprintf(documents, sizeof documents, "%s/odd", folder);
    (void)snprintf(pipe, sizeof pipe, "%s/odd/a-pipe.txt", folder);
    (void)snprintf(subfolder, sizeof subfolder, "%s/odd/b-folder", folder);
    (void)snprintf(dangling, sizeof dangling, "%s/odd/c-link.txt", folder);
    assert_int_equal(mkdir(documents, 0700), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(mkdir(subfolder, 0700), 0);
    assert_int_equal(symlink("/nowhere/file", dangling), 0);
    (void)write_file(prompt, sizeof prompt, "prompt.json", "{\"prompt\":\"{{document}}\"}");
    (void)write_file(text, sizeof text, "odd/d.txt", "");
    struct job_source_options options = {
        .documents = documents, .prompt = prompt, .record_bytes_max = 4096};
    struct walk walk = walk_source(&options);
    assert_string_equal(walk.ids, "d.txt ");
    assert_int_equal(walk.invalid, 3);
    assert_string_equal(walk.bodies, "{\"prompt\":\"\"}\n");
    assert_int_equal(unlink(pipe) + unlink(dangling) + unlink(text) + unlink(prompt), 0);
    assert_int_equal(rmdir(subfolder) + rmdir(documents), 0);
}

static void test_a_prompt_without_a_place_for_the_document_is_refused(void **state)
{
    (void)state;
    char prompt[128];
    (void)write_file(prompt, sizeof prompt, "prompt.json", "{\"messages\":[\"nothing\"]}");
    struct job_source_options options = {
        .documents = folder, .prompt = prompt, .record_bytes_max = 4096};
    struct job_source *source = NULL;
    struct error error = {0};
    assert_false(job_source_open(&options, codec, &source, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_non_null(strstr(error.message, "{{document}}"));
    assert_int_equal(unlink(prompt), 0);
}

static int open_all(void **state)
{
    (void)state;
    struct error error = {0};
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    codec = record_codec_open(&options, &error);
    return codec == NULL || mkdtemp(folder) == NULL;
}

static int close_all(void **state)
{
    (void)state;
    record_codec_close(codec);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_lines_are_named_and_cost_no_other),
        cmocka_unit_test(test_a_line_over_the_limit_is_invalid),
        cmocka_unit_test(test_a_missing_file_ends_the_input),
        cmocka_unit_test(test_documents_are_put_into_the_prompt),
        cmocka_unit_test(test_what_is_no_file_is_invalid_and_not_waited_for),
        cmocka_unit_test(test_a_prompt_without_a_place_for_the_document_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
