/* bench_scheduler: CPU time of the engine's thread per generated token, with a device that computes
 * nothing. What finishes is submitted again, so that as many run and wait all the time.
 *
 *     bench_scheduler [waiting]...      (1000 and 100000 when none is given)
 *
 * Or recorded traffic in simulated time, with look-ahead and first come first served:
 *
 *     bench_scheduler --trace FILE [requests [kv_blocks]]
 */
#include "pipeline/engine/engine_internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/support/simulator.h"

enum {
    RUNNING = 256,
    ROWS_MAX = 2048,
    PROMPT_TOKENS = 512,
    OUTPUT_TOKENS = 128,
    BLOCK_TOKENS = 16,
    WARM_STEPS = 2000,
    STEPS = 20000,
    TEXT_TOKENS = 1 << 16,
    TRACE_CONTEXT = 32768,
    TRACE_REQUESTS = 4000,
    TRACE_BLOCKS = 28000, // 57 GB of an 8 B model
    TRACE_CHECKED_EVERY = 1000,
};

struct bench {
    struct engine *engine;
    struct sequence *sequences;
    int32_t *text;    // [TEXT_TOKENS + PROMPT_TOKENS] prompts are windows of it
    int32_t *outputs; // [sequences, OUTPUT_TOKENS]
    int sequences_count;
    unsigned random;
    int sampled_count; // logit rows of the present step
    int64_t steps_count;
    int64_t tokens_count;
    int64_t running_sum;
    double cpu_start_us;
    int64_t tokens_start;
    long resident_start_kb;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool has_all; // every sequence was submitted
    bool is_done;
    double cpu_us;
    int64_t tokens;
    long grown_kb;
};

static double thread_cpu_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long resident_peak_kb(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void finish_measure(struct bench *bench)
{
    (void)pthread_mutex_lock(&bench->mutex);
    bench->cpu_us = thread_cpu_us() - bench->cpu_start_us;
    bench->tokens = bench->tokens_count - bench->tokens_start;
    bench->grown_kb = resident_peak_kb() - bench->resident_start_kb;
    bench->is_done = true;
    (void)pthread_cond_signal(&bench->changed);
    (void)pthread_mutex_unlock(&bench->mutex);
}

static void wait_for_all(struct bench *bench)
{
    (void)pthread_mutex_lock(&bench->mutex);
    while (!bench->has_all) {
        (void)pthread_cond_wait(&bench->changed, &bench->mutex);
    }
    (void)pthread_mutex_unlock(&bench->mutex);
}

static bool null_forward(void *context, const struct model_batch *batch, struct error *error)
{
    (void)error;
    struct bench *bench = context;
    bench->sampled_count = batch->logit_rows_count;
    bench->steps_count++;
    if (bench->steps_count == 1) {
        wait_for_all(bench);
    }
    if (bench->steps_count == WARM_STEPS) {
        bench->cpu_start_us = thread_cpu_us();
        bench->tokens_start = bench->tokens_count;
        bench->resident_start_kb = resident_peak_kb();
    } else if (bench->steps_count == WARM_STEPS + STEPS) {
        finish_measure(bench);
    }
    if (bench->steps_count > WARM_STEPS && bench->steps_count <= WARM_STEPS + STEPS) {
        bench->running_sum += batch->sequences_count;
    }
    return true;
}

static bool null_sample(void *context, const struct sample_params *params, int32_t *tokens_out,
                        float *logprobs_out, struct error *error)
{
    (void)params;
    (void)logprobs_out;
    (void)error;
    struct bench *bench = context;
    for (int i = 0; i < bench->sampled_count; i++) {
        tokens_out[i] = (int32_t)(bench->tokens_count++ & 0x3fff);
    }
    return true;
}

static void submit(struct bench *bench, int index)
{
    struct sequence *sequence = &bench->sequences[index];
    bench->random = bench->random * 1103515245U + 12345U;
    *sequence = (struct sequence){
        .prompt = bench->text + (bench->random >> 8) % TEXT_TOKENS,
        .prompt_count = PROMPT_TOKENS,
        .params = {.max_tokens = OUTPUT_TOKENS, .ignore_eos = true},
        .output = bench->outputs + (size_t)index * OUTPUT_TOKENS,
    };
    if (!engine_submit(bench->engine, sequence)) {
        (void)fprintf(stderr, "bench_scheduler: the engine is full\n");
        exit(1);
    }
}

static void on_finish(void *context, struct sequence *sequence)
{
    struct bench *bench = context;
    if (!bench->is_done) {
        submit(bench, (int)(sequence - bench->sequences));
    }
}

static void fail(const struct error *error)
{
    (void)fprintf(stderr, "bench_scheduler: %s\n", error->message);
    exit(1);
}

static void open_bench(struct bench *bench, int waiting)
{
    int sequences_count = waiting + RUNNING;
    *bench = (struct bench){
        .sequences = calloc((size_t)sequences_count, sizeof *bench->sequences),
        .text = calloc(TEXT_TOKENS + PROMPT_TOKENS, sizeof *bench->text),
        .outputs = calloc((size_t)sequences_count * OUTPUT_TOKENS, sizeof *bench->outputs),
        .sequences_count = sequences_count,
        .random = 1,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    if (bench->sequences == NULL || bench->text == NULL || bench->outputs == NULL) {
        fail(&(struct error){.message = "out of memory"});
    }
    // Touched now, so that the growth measured later is the engine's.
    memset(bench->outputs, 0xff, (size_t)sequences_count * OUTPUT_TOKENS * sizeof *bench->outputs);
    for (int i = 0; i < TEXT_TOKENS + PROMPT_TOKENS; i++) {
        bench->text[i] = (int32_t)((unsigned)i * 2654435761U >> 18);
    }
}

static void run(int waiting)
{
    struct bench bench;
    open_bench(&bench, waiting);
    const struct device device = {
        .forward = null_forward,
        .sample = null_sample,
        .context = &bench,
        .vocabulary = 1 << 14,
        .context_tokens = 4096,
        .blocks_count = 1 << 14,
        .block_tokens = BLOCK_TOKENS,
    };
    const struct engine_options options = {
        .models_count = 1,
        .max_num_seqs = RUNNING,
        .max_num_batched_tokens = ROWS_MAX,
        .max_waiting = waiting + RUNNING,
        .enable_prefix_caching = true,
        .observer = {.on_finish = on_finish, .context = &bench},
    };
    struct error error = {0};
    if (!engine_open_devices(&options, &device, &bench.engine, &error)) {
        fail(&error);
    }
    for (int i = 0; i < bench.sequences_count; i++) {
        submit(&bench, i);
    }
    (void)pthread_mutex_lock(&bench.mutex);
    bench.has_all = true;
    (void)pthread_cond_signal(&bench.changed);
    while (!bench.is_done) {
        (void)pthread_cond_wait(&bench.changed, &bench.mutex);
    }
    (void)pthread_mutex_unlock(&bench.mutex);
    engine_close(bench.engine);
    (void)printf("%7d waiting: %.3f us per token, %.0f sequences per step, %" PRId64
                 " tokens, memory grown by %ld kB\n",
                 waiting, bench.cpu_us / (double)bench.tokens, (double)bench.running_sum / STEPS,
                 bench.tokens, bench.grown_kb);
    free(bench.outputs);
    free(bench.text);
    free(bench.sequences);
}

static void run_trace(const struct trace *trace, int blocks_count, bool is_backlog,
                      bool is_first_come)
{
    const struct simulator_options options = {
        .scheduler = {.blocks = {.blocks_count = blocks_count, .block_tokens = BLOCK_TOKENS},
                      .enable_prefix_caching = true,
                      .enable_look_ahead = !is_first_come,
                      .tokens_max = TRACE_CONTEXT,
                      .running_max = RUNNING,
                      .rows_max = ROWS_MAX,
                      .waiting_max = trace->count,
                      .different_tokens_max = 1},
        .cost = SIMULATOR_8B,
        .is_first_come = is_first_come,
        .is_backlog = is_backlog,
        .checked_every = TRACE_CHECKED_EVERY,
    };
    struct simulator_report report;
    simulator_run(trace, &options, &report);
    if (report.broken != NULL) {
        fail(&(struct error){.message = "an invariant does not hold"});
    }
    (void)printf(
        "%-8s %-11s %8.1f s, tail %5.1f; %6" PRId64 " steps of %4.0f rows; cached %4.1f %%; "
        "%4" PRId64 " preemptions; waited %.1f, at most %.1f s; planned in %.3f us/token\n",
        is_backlog ? "backlog" : "arrivals", is_first_come ? "first come" : "look-ahead",
        report.makespan_ms / 1e3, report.tail_ms / 1e3, report.steps,
        (double)report.rows / (double)report.steps,
        100.0 * (double)report.cached_tokens / (double)report.prompt_tokens, report.preemptions,
        report.wait_median_ms / 1e3, report.wait_most_ms / 1e3,
        report.plan_us / (double)report.generated);
}

static void run_file(const char *path, int requests_max, int blocks_count)
{
    struct trace trace;
    if (!trace_open(path, requests_max, TRACE_CONTEXT, &trace)) {
        fail(&(struct error){.message = "cannot read the trace"});
    }
    (void)printf("%d requests, %.1f M prompt tokens, %.1f M output tokens, %.1f %% of prompts "
                 "shared; %d kv blocks\n",
                 trace.count, (double)trace.prompt_tokens / 1e6, (double)trace.output_tokens / 1e6,
                 100.0 * (double)trace.shared_tokens / (double)trace.prompt_tokens, blocks_count);
    for (int i = 0; i < 4; i++) {
        run_trace(&trace, blocks_count, i < 2, i % 2 == 1);
    }
    trace_close(&trace);
}

static int number_at(int argc, char **argv, int index, int otherwise)
{
    return index < argc ? (int)strtol(argv[index], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--trace") == 0) {
        int requests_max = number_at(argc, argv, 3, TRACE_REQUESTS);
        run_file(argv[2], requests_max, number_at(argc, argv, 4, TRACE_BLOCKS));
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        run((int)strtol(argv[i], NULL, 10));
    }
    if (argc == 1) {
        run(1000);
        run(100000);
    }
    return 0;
}
