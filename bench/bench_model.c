/* bench_model: tokens per second of a model folder, with random ids: prompts and decoding.
 *
 *     bench_model DIR [PROMPT_TOKENS [ROWS [FORMAT [ISA]]]]
 *
 * FORMAT is one of auto, f32, bf16 and int8, ISA one of amx, avx512_vnni, avx512, avx2, portable
 * and all (the default). The time to load comes first, in seconds. Prompts fill steps of ROWS rows
 * (default 2048); decoding runs 1, 16 and 64 sequences at once, behind prompts of PROMPT_TOKENS
 * (default 150). Each figure is the best of three, on one thread and on two.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/model/model.h"
#include "schemas/base/check.h"

enum { BLOCK_TOKENS = 16, SEQUENCES_MAX = 64, DECODE_STEPS = 32, REPEATS = 3 };

struct bench {
    struct model *model;
    enum weight_format format;
    int vocabulary;
    int prompt_tokens;
    int rows_max;
    int blocks_max;
    int32_t *tokens;
    int32_t *positions;
    int32_t *row_starts;
    int32_t *tables;
    int32_t *logit_rows;
};

static double now_s(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void must(bool is_ok, const struct error *error)
{
    if (!is_ok) {
        (void)fprintf(stderr, "bench_model: %s\n", error->message);
        exit(1);
    }
}

/* One step: `count` sequences from position `first` on, `length` rows each; samples one token each.
 */
static void run_step(struct bench *bench, int count, int first, int length)
{
    struct error error = {0};
    struct sample_params params[SEQUENCES_MAX] = {{0}};
    int32_t sampled[SEQUENCES_MAX];
    int rows = 0;
    for (int s = 0; s < count; s++) {
        bench->row_starts[s] = rows;
        for (int i = 0; i < length; i++, rows++) {
            bench->tokens[rows] = (int32_t)(rand() % bench->vocabulary);
            bench->positions[rows] = first + i;
        }
        bench->logit_rows[s] = rows - 1;
    }
    bench->row_starts[count] = rows;
    struct model_batch batch = {
        .rows_count = rows,
        .sequences_count = count,
        .tokens = bench->tokens,
        .positions = bench->positions,
        .row_starts = bench->row_starts,
        .block_tables = bench->tables,
        .blocks_max = bench->blocks_max,
        .logit_rows = bench->logit_rows,
        .logit_rows_count = count,
    };
    must(model_forward(bench->model, &batch, &error), &error);
    must(model_sample(bench->model, params, sampled, NULL, &error), &error);
}

static double prefill_rate(struct bench *bench)
{
    int count = bench->rows_max / bench->prompt_tokens;
    count = count < 1 ? 1 : count > SEQUENCES_MAX ? SEQUENCES_MAX : count;
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        double start = now_s();
        run_step(bench, count, 0, bench->prompt_tokens);
        double rate = count * bench->prompt_tokens / (now_s() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static double decode_rate(struct bench *bench, int count)
{
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        double start = now_s();
        for (int step = 0; step < DECODE_STEPS; step++) {
            run_step(bench, count, bench->prompt_tokens + step, 1);
        }
        double rate = count * DECODE_STEPS / (now_s() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static void bench_open(struct bench *bench, const char *path, struct backend *backend)
{
    struct error error = {0};
    struct model_options options = {.weights = bench->format, .block_tokens = BLOCK_TOKENS};
    must(model_open(path, backend, &options, &bench->model, &error), &error);
    bench->vocabulary = model_get_config(bench->model)->vocabulary;
    bench->blocks_max = (bench->prompt_tokens + DECODE_STEPS) / BLOCK_TOKENS + 1;
    int blocks = bench->blocks_max * SEQUENCES_MAX;
    must(model_kv_open(bench->model, blocks, &error), &error);
    must(model_step_open(bench->model, bench->rows_max, SEQUENCES_MAX, &error), &error);
    size_t rows = (size_t)bench->rows_max;
    bench->tokens = calloc(rows, sizeof(int32_t));
    bench->positions = calloc(rows, sizeof(int32_t));
    bench->row_starts = calloc(SEQUENCES_MAX + 1, sizeof(int32_t));
    bench->tables = calloc((size_t)blocks, sizeof(int32_t));
    bench->logit_rows = calloc(SEQUENCES_MAX, sizeof(int32_t));
    CHECK(bench->tokens != NULL && bench->positions != NULL && bench->row_starts != NULL &&
          bench->tables != NULL && bench->logit_rows != NULL);
    for (int i = 0; i < blocks; i++) {
        bench->tables[i] = i;
    }
}

static void bench_close(struct bench *bench)
{
    model_close(bench->model);
    free(bench->tokens);
    free(bench->positions);
    free(bench->row_starts);
    free(bench->tables);
    free(bench->logit_rows);
}

static void measure(const char *path, const struct backend_options *options,
                    const struct bench *settings)
{
    struct error error = {0};
    struct backend *backend = NULL;
    if (!backend_open(options, &backend, &error)) {
        printf("%s\n", error.message);
        return;
    }
    struct bench bench = *settings;
    double start = now_s();
    bench_open(&bench, path, backend);
    double load_s = now_s() - start;
    run_step(&bench, 1, 0, bench.prompt_tokens); // fills caches and scratch memory
    static const char *const formats[] = {"auto", "f32", "bf16", "int8"};
    printf("%-40s %-5s %7.2f %9.0f %9.0f %9.0f %9.0f\n", backend->description,
           formats[model_weights(bench.model)], load_s, prefill_rate(&bench),
           decode_rate(&bench, 1), decode_rate(&bench, 16), decode_rate(&bench, 64));
    (void)fflush(stdout);
    bench_close(&bench);
    backend_close(backend);
}

/* The place of `word` among `count` words; the end of the program if it is none. */
static int word_index(const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    (void)fprintf(stderr, "bench_model: unknown word %s\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    static const char *const formats[] = {"auto", "f32", "bf16", "int8"};
    static const char *const isas[] = {"all", "amx", "avx512_vnni", "avx512", "avx2", "portable"};
    struct bench bench = {
        .prompt_tokens = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 150,
        .rows_max = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2048,
        .format = argc > 4 ? (enum weight_format)word_index(argv[4], formats, 4) : WEIGHTS_AUTO,
    };
    int chosen = argc > 5 ? word_index(argv[5], isas, 5) : 0;
    if (argc < 2 || bench.prompt_tokens < 1 || bench.rows_max < SEQUENCES_MAX ||
        bench.rows_max < bench.prompt_tokens) {
        (void)fprintf(stderr,
                      "usage: bench_model DIR [PROMPT_TOKENS [ROWS >= %d [FORMAT [ISA]]]]\n",
                      SEQUENCES_MAX);
        return 2;
    }
    printf("tokens per second, prompts of %d\n%-40s %-5s %7s %9s %9s %9s %9s\n",
           bench.prompt_tokens, "", "", "load s", "prompt", "decode 1", "decode 16", "decode 64");
    for (int isa = ISA_AMX; isa <= (int)ISA_PORTABLE; isa++) {
        for (int variant = 0; variant < 4 && (chosen == 0 || chosen == isa); variant++) {
            struct backend_options options = {.isa = (enum backend_isa)isa,
                                              .threads = variant % 2 + 1,
                                              .without_onednn = variant / 2 != 0};
            measure(argv[1], &options, &bench);
        }
    }
    return 0;
}
