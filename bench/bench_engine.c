/* bench_engine: documents a second of a model folder through the engine, with random ids, and the
 * time of each operation. Prints one JSON object; bench/engine-rate runs it and says what it means.
 *
 *     bench_engine [-w auto|f32|bf16|int8] [-k auto|f32|bf16|int8] [-t THREADS] [-n REQUESTS]
 *                  [-p PROMPT_TOKENS] [-o OUTPUT_TOKENS] [-r ROWS_OF_A_STEP] [-s SEED] DIR
 *
 * All requests are submitted at once, after one that fills caches and scratch memory.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/profile.h"
#include "pipeline/clock.h"
#include "pipeline/engine/engine.h"
#include "schemas/base/check.h"

enum { BLOCK_TOKENS = 16, REQUESTS_MAX = 1 << 16, TOKENS_MAX = 1 << 20 };

/* In the order of enum weight_format and of enum kv_format. */
static const char *const format_names[] = {"auto", "f32", "bf16", "int8"};
_Static_assert((int)WEIGHTS_INT8 == 3 && (int)KV_INT8 == 3, "format_names");

struct bench {
    const char *path;
    enum weight_format weights;
    enum kv_format kv;
    int threads;
    int requests;
    int prompt_tokens;
    int output_tokens;
    int rows_max;
    unsigned seed;

    struct backend *backend;
    struct model *model;
    struct engine *engine;
    int32_t *prompts;           // [requests, prompt_tokens]
    int32_t *outputs;           // [requests, output_tokens]
    struct sequence *sequences; // [requests]

    pthread_mutex_t mutex;
    pthread_cond_t finished;
    int left; // sequences that have not finished
};

static void must(bool is_ok, const struct error *error)
{
    if (!is_ok) {
        (void)fprintf(stderr, "bench_engine: %s\n", error->message);
        exit(1);
    }
}

static int number(const char *text, int value_min, int value_max)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < value_min || value > value_max) {
        (void)fprintf(stderr, "bench_engine: \"%s\" must be from %d to %d\n", text, value_min,
                      value_max);
        exit(2);
    }
    return (int)value;
}

static int format_named(const char *name)
{
    for (size_t i = 0; i < sizeof format_names / sizeof *format_names; i++) {
        if (strcmp(format_names[i], name) == 0) {
            return (int)i;
        }
    }
    (void)fprintf(stderr, "bench_engine: format \"%s\" must be auto, f32, bf16 or int8\n", name);
    exit(2);
}

static void read_options(struct bench *bench, int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "w:k:t:n:p:o:r:s:")) != -1;) {
        switch (option) {
        case 'w':
            bench->weights = (enum weight_format)format_named(optarg);
            break;
        case 'k':
            bench->kv = (enum kv_format)format_named(optarg);
            break;
        case 't':
            bench->threads = number(optarg, 0, 256);
            break;
        case 'n':
            bench->requests = number(optarg, 1, REQUESTS_MAX);
            break;
        case 'p':
            bench->prompt_tokens = number(optarg, 1, TOKENS_MAX);
            break;
        case 'o':
            bench->output_tokens = number(optarg, 1, TOKENS_MAX);
            break;
        case 'r':
            bench->rows_max = number(optarg, 1, TOKENS_MAX);
            break;
        case 's':
            bench->seed = (unsigned)number(optarg, 0, TOKENS_MAX);
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc) {
        (void)fprintf(stderr, "bench_engine: give one model folder\n");
        exit(2);
    }
    bench->path = argv[optind];
}

static void on_finish(void *context, struct sequence *sequence)
{
    struct bench *bench = context;
    if (sequence->finish_reason != FINISH_LENGTH) {
        (void)fprintf(stderr, "bench_engine: a request ended with reason %d: %s\n",
                      (int)sequence->finish_reason, sequence->error.message);
        exit(1);
    }
    (void)pthread_mutex_lock(&bench->mutex);
    bench->left--;
    (void)pthread_cond_signal(&bench->finished);
    (void)pthread_mutex_unlock(&bench->mutex);
}

static void bench_open(struct bench *bench)
{
    struct error error = {0};
    struct backend_options backend = {.threads = bench->threads};
    struct model_options model = {
        .weights = bench->weights, .kv_format = bench->kv, .block_tokens = BLOCK_TOKENS};
    must(backend_open(&backend, &bench->backend, &error), &error);
    profile_attach(bench->backend, bench->requests);
    must(model_open(bench->path, bench->backend, &model, &bench->model, &error), &error);
    size_t blocks = (size_t)(bench->prompt_tokens + bench->output_tokens) / BLOCK_TOKENS + 1;
    struct engine_options engine = {
        .models = &bench->model,
        .models_count = 1,
        .kv_bytes = blocks * (size_t)bench->requests * model_kv_block_bytes(bench->model),
        .max_num_seqs = bench->requests,
        .max_num_batched_tokens = bench->rows_max,
        .max_waiting = bench->requests,
        .enable_prefix_caching = true,
        .observer = {.on_finish = on_finish, .context = bench},
    };
    must(engine_open(&engine, &bench->engine, &error), &error);
    size_t requests = (size_t)bench->requests;
    bench->prompts = calloc(requests * (size_t)bench->prompt_tokens, sizeof(int32_t));
    bench->outputs = calloc(requests * (size_t)bench->output_tokens, sizeof(int32_t));
    bench->sequences = calloc(requests, sizeof(struct sequence));
    CHECK(bench->prompts != NULL && bench->outputs != NULL && bench->sequences != NULL);
}

static void bench_close(struct bench *bench)
{
    engine_close(bench->engine);
    model_close(bench->model);
    backend_close(bench->backend);
    free(bench->prompts);
    free(bench->outputs);
    free(bench->sequences);
}

/* Submits `count` requests with new prompts and waits for all; -> milliseconds. */
static double run_requests(struct bench *bench, int count)
{
    int vocabulary = model_get_config(bench->model)->vocabulary;
    for (int i = 0; i < count * bench->prompt_tokens; i++) {
        bench->prompts[i] = (int32_t)(rand() % vocabulary);
    }
    bench->left = count;
    double start_ms = clock_monotonic_ms();
    for (int i = 0; i < count; i++) {
        bench->sequences[i] = (struct sequence){
            .prompt = bench->prompts + (size_t)i * (size_t)bench->prompt_tokens,
            .prompt_count = bench->prompt_tokens,
            .params = {.max_tokens = bench->output_tokens, .ignore_eos = true},
            .output = bench->outputs + (size_t)i * (size_t)bench->output_tokens,
        };
        CHECK(engine_submit(bench->engine, &bench->sequences[i]));
    }
    (void)pthread_mutex_lock(&bench->mutex);
    while (bench->left > 0) {
        (void)pthread_cond_wait(&bench->finished, &bench->mutex);
    }
    (void)pthread_mutex_unlock(&bench->mutex);
    return clock_monotonic_ms() - start_ms;
}

static void print_shapes(const struct profile_entry *entry)
{
    printf(", \"shapes\": [");
    for (int i = 0; i < PROFILE_SHAPES && entry->shapes[i].outputs > 0; i++) {
        printf("%s[%d, %d]", i == 0 ? "" : ", ", entry->shapes[i].outputs, entry->shapes[i].inputs);
    }
    printf("]");
}

static void print_operations(void)
{
    static const char *const kinds[] = {"prompt", "decode"};
    const struct profile_entry *entries = NULL;
    int count = profile_entries(&entries);
    for (int i = 0; i < count; i++) {
        printf("%s{\"operation\": \"%s\"", i == 0 ? "" : ", ", entries[i].operation);
        print_shapes(&entries[i]);
        for (int kind = 0; kind < PROFILE_KINDS; kind++) {
            printf(", \"%s_ms\": %.1f, \"%s_gop\": %.3f", kinds[kind], entries[i].sums[kind].ms,
                   kinds[kind], 2e-9 * entries[i].sums[kind].products);
        }
        printf("}");
    }
}

static void report(const struct bench *bench, double load_ms, double total_ms)
{
    struct profile_steps prompt = profile_steps(PROFILE_PROMPT);
    struct profile_steps decode = profile_steps(PROFILE_DECODE);
    double prompt_tokens = (double)bench->requests * bench->prompt_tokens;
    printf("{\"weights\": \"%s\", \"kv\": \"%s\", \"backend\": \"%s\", \"requests\": %d, "
           "\"prompt_tokens\": %d, "
           "\"output_tokens\": %d, \"rows\": %d, \"load_ms\": %.0f, \"ms\": %.0f, ",
           format_names[model_weights(bench->model)], format_names[model_kv_format(bench->model)],
           bench->backend->description, bench->requests, bench->prompt_tokens, bench->output_tokens,
           bench->rows_max, load_ms, total_ms);
    printf("\"documents_per_s\": %.4f, \"prompt_per_s\": %.1f, \"decode_per_s\": %.1f, "
           "\"prompt_steps\": %d, \"prompt_steps_ms\": %.0f, \"decode_steps\": %d, "
           "\"decode_steps_ms\": %.0f, \"operations\": [",
           1e3 * bench->requests / total_ms, 1e3 * prompt_tokens / prompt.ms,
           decode.ms > 0 ? 1e3 * decode.rows / decode.ms : 0, prompt.count, prompt.ms, decode.count,
           decode.ms);
    print_operations();
    printf("]}\n");
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .threads = 2,
        .requests = 64,
        .prompt_tokens = 1024,
        .output_tokens = 64,
        .rows_max = 2048,
        .seed = 1,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .finished = PTHREAD_COND_INITIALIZER,
    };
    read_options(&bench, argc, argv);
    srand(bench.seed);
    double start_ms = clock_monotonic_ms();
    bench_open(&bench);
    double load_ms = clock_monotonic_ms() - start_ms;
    (void)run_requests(&bench, 1);
    profile_reset();
    double total_ms = run_requests(&bench, bench.requests);
    report(&bench, load_ms, total_ms);
    bench_close(&bench);
    return 0;
}
