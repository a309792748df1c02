/* What int8 may cost: the demo model's greedy answers against those in f32, and the perplexity of
 * a model over its own text.
 *
 *     test_quality [DOCUMENTS]
 *
 * Without an argument the answers are those of the demo's 200 jobs; with one, of as many documents
 * as documents.py makes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/local_fixture.h"
#include "tests/support/model_runner.h"

enum { DOCUMENTS_MAX = 10000, WAVE = 100, TOKENS_MAX = 1024 };

static int documents_wanted;

static FILE *documents_open(void)
{
    if (documents_wanted == 0) {
        return fopen(SOURCE_DIR "/deploy/demo/jobs.jsonl", "rb");
    }
    char command[512];
    (void)snprintf(command, sizeof command,
                   "python3 " SOURCE_DIR "/deploy/demo/documents.py --count %d --seed 7",
                   documents_wanted);
    return popen(command, "r");
}

static void documents_close(FILE *file)
{
    if (documents_wanted == 0) {
        (void)fclose(file);
    } else {
        assert_int_equal(pclose(file), 0);
    }
}

/* Answers up to WAVE documents; returns how many there were. */
static int answer_wave(struct local_fixture *fixture, FILE *file, char **texts)
{
    struct job *jobs[WAVE];
    int count = 0;
    json_t *body = NULL;
    while (count < WAVE && (body = demo_body_next(file)) != NULL) {
        jobs[count] = local_fixture_job(fixture, ENDPOINT_CHAT, body);
        assert_true(local_fixture_submit(fixture, jobs[count]));
        count++;
    }
    local_fixture_wait(fixture, count);
    for (int i = 0; i < count; i++) {
        json_t *answer = local_fixture_answer(jobs[i]);
        texts[i] = strdup(choice_text(answer_choice(answer, 0)));
        assert_non_null(texts[i]);
        json_decref(answer);
        job_close(jobs[i]);
    }
    return count;
}

/* The greedy answers to all documents; returns how many. */
static int answer_all(enum weight_format weights, enum kv_format kv_format, char **texts)
{
    struct local_fixture fixture;
    local_fixture_open_in(&fixture, SCRIBE, weights, kv_format, WAVE);
    FILE *file = documents_open();
    assert_non_null(file);
    int count = 0;
    for (int wave = WAVE; wave == WAVE; count += wave) {
        assert_true(count + WAVE <= DOCUMENTS_MAX);
        wave = answer_wave(&fixture, file, texts + count);
    }
    documents_close(file);
    local_fixture_close(&fixture);
    return count;
}

static char *exact[DOCUMENTS_MAX];
static int exact_count;

static void check_answers(enum kv_format kv_format)
{
    static char *rounded[DOCUMENTS_MAX];
    exact_count = exact_count == 0 ? answer_all(WEIGHTS_F32, KV_F32, exact) : exact_count;
    assert_true(exact_count >= (documents_wanted == 0 ? 200 : documents_wanted));
    assert_int_equal(answer_all(WEIGHTS_INT8, kv_format, rounded), exact_count);
    int same = 0;
    for (int i = 0; i < exact_count; i++) {
        same += strcmp(exact[i], rounded[i]) == 0 ? 1 : 0;
        free(rounded[i]);
    }
    print_message("%d of %d answers are the same\n", same, exact_count);
    assert_true(same * 100 >= exact_count * 99);
}

static void test_greedy_answers_in_int8_are_those_in_f32(void **state)
{
    (void)state;
    check_answers(KV_AUTO);
}

static void test_greedy_answers_with_an_int8_cache_are_those_in_f32(void **state)
{
    (void)state;
    check_answers(KV_INT8);
}

static int free_exact(void **state)
{
    (void)state;
    for (int i = 0; i < exact_count; i++) {
        free(exact[i]);
    }
    return 0;
}

/* Natural log of the probability of `token` under one row of logits. */
static double log_probability(const float *logits, int vocabulary, int32_t token)
{
    double max = -INFINITY;
    double sum = 0;
    for (int i = 0; i < vocabulary; i++) {
        max = logits[i] > max ? logits[i] : max;
    }
    for (int i = 0; i < vocabulary; i++) {
        sum += exp(logits[i] - max);
    }
    return logits[token] - max - log(sum);
}

static double perplexity(const char *path, const struct runner_options *options,
                         const int32_t *tokens, int count)
{
    struct model_runner runner;
    model_runner_open(&runner, path, options);
    size_t width = (size_t)runner.vocabulary;
    float *logits = malloc((size_t)count * width * sizeof(float));
    assert_non_null(logits);
    model_runner_logits(&runner, tokens, 0, count, count, logits);
    double sum = 0;
    for (int i = 0; i + 1 < count; i++) {
        sum += log_probability(logits + (size_t)i * width, runner.vocabulary, tokens[i + 1]);
    }
    free(logits);
    model_runner_close(&runner);
    return exp(-sum / (count - 1));
}

static void check_perplexity(const char *folder)
{
    char path[512];
    int32_t tokens[TOKENS_MAX];
    (void)snprintf(path, sizeof path, "%s/golden_greedy.json", folder);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    json_t *golden = json_load_file(path, 0, NULL);
    const json_t *ids = json_object_get(golden, "greedy_ids");
    int count = (int)json_array_size(ids);
    assert_in_range(count, 2, TOKENS_MAX);
    for (int i = 0; i < count; i++) {
        tokens[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
    }
    json_decref(golden);
    struct runner_options options = {.backend = {.threads = 2}, .weights = WEIGHTS_F32};
    double before = perplexity(folder, &options, tokens, count);
    assert_true(before > 1);
    options.weights = WEIGHTS_INT8;
    for (enum kv_format format = KV_F32; format <= KV_INT8; format++) {
        options.kv_format = format;
        double after = perplexity(folder, &options, tokens, count);
        print_message("perplexity over %d tokens: %.5f in f32, %.5f in int8 with cache format %d\n",
                      count, before, after, (int)format);
        assert_true(after < before * 1.01);
    }
}

static void test_perplexity_of_stories260k_in_int8_rises_by_less_than_a_hundredth(void **state)
{
    (void)state;
    check_perplexity(DATA_DIR "/models/stories260K");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_answers_in_int8_are_those_in_f32),
        cmocka_unit_test(test_greedy_answers_with_an_int8_cache_are_those_in_f32),
        cmocka_unit_test(test_perplexity_of_stories260k_in_int8_rises_by_less_than_a_hundredth),
    };
    documents_wanted = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    return cmocka_run_group_tests(tests, NULL, free_exact);
}
