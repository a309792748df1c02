/* traces: the scheduler over thousands of real requests, on a simulated device. */
#include "pipeline/engine/kv_blocks.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/engine/runner.h"
#include "tests/support/cmocka.h"
#include "tests/unit/engine/simulated_device.h"
#include "tests/unit/engine/workload.h"

enum {
    REQUESTS_MAX = 20000,
    CONTEXT = 32768,
    BLOCK_TOKENS = 16,
    VOCABULARY = 1000,
    RUNNING_MAX = 256,
    ROWS_MAX = 2048,
    TEXT_TOKENS = 1 << 16, // prompts are windows of one random text
    MOONCAKE_BLOCK = 512,  // tokens that one hash of the trace stands for
    MOONCAKE_REQUESTS = 400,
    MOONCAKE_HASHES_MAX = 1 << 18,
};

struct request {
    struct sequence sequence; // first
    struct sequence_state state;
    bool has_finished;
    int32_t *owned_prompt; // NULL: borrowed
    int *hashes;           // [prompt_count / MOONCAKE_BLOCK + 1] of the trace, or NULL
};

struct trace {
    struct request *requests; // [REQUESTS_MAX]
    int count;
    int32_t *text; // [TEXT_TOKENS + CONTEXT]
    int64_t prompt_tokens;
    int64_t output_tokens;
    int64_t finished_count;
};

static void on_finish(void *context, struct sequence_state *state)
{
    struct trace *trace = context;
    struct request *request = (struct request *)(void *)state->sequence;
    assert_false(request->has_finished);
    assert_int_equal(request->sequence.finish_reason, FINISH_LENGTH);
    request->has_finished = true;
    trace->finished_count++;
}

static void trace_open(struct trace *trace)
{
    struct random random = {1};
    *trace = (struct trace){
        .requests = calloc(REQUESTS_MAX, sizeof *trace->requests),
        .text = calloc(TEXT_TOKENS + CONTEXT, sizeof *trace->text),
    };
    assert_non_null(trace->requests);
    assert_non_null(trace->text);
    for (int i = 0; i < TEXT_TOKENS + CONTEXT; i++) {
        trace->text[i] = random_between(&random, 0, VOCABULARY - 1);
    }
}

static void trace_close(struct trace *trace)
{
    for (int i = 0; i < trace->count; i++) {
        free(trace->requests[i].sequence.output);
        free(trace->requests[i].owned_prompt);
        free(trace->requests[i].hashes);
    }
    free(trace->text);
    free(trace->requests);
}

static struct request *trace_add(struct trace *trace, int prompt_count, int output_count)
{
    struct request *request = &trace->requests[trace->count++];
    request->sequence.prompt_count = prompt_count;
    request->sequence.params.max_tokens = output_count;
    request->sequence.params.ignore_eos = true;
    request->sequence.output = calloc((size_t)output_count, sizeof(int32_t));
    assert_non_null(request->sequence.output);
    trace->prompt_tokens += prompt_count;
    trace->output_tokens += output_count;
    return request;
}

/* Lines of "time,prompt tokens,output tokens". */
static bool load_azure(struct trace *trace, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    char line[200];
    struct random random = {2};
    while (trace->count < REQUESTS_MAX && fgets(line, sizeof line, file) != NULL) {
        int prompt_count = 0;
        int output_count = 0;
        if (sscanf(line, "%*[^,],%d,%d", &prompt_count, &output_count) == 2 && prompt_count > 0 &&
            output_count > 0) {
            struct request *request = trace_add(trace, prompt_count, output_count);
            request->sequence.prompt = trace->text + random_between(&random, 0, TEXT_TOKENS - 1);
        }
    }
    (void)fclose(file);
    return true;
}

static void add_mooncake(struct trace *trace, const json_t *line)
{
    const json_t *hashes = json_object_get(line, "hash_ids");
    int prompt_count = (int)json_integer_value(json_object_get(line, "input_length"));
    int output_count = (int)json_integer_value(json_object_get(line, "output_length"));
    if (prompt_count < 1 || output_count < 1 || prompt_count + output_count > CONTEXT) {
        return;
    }
    struct request *request = trace_add(trace, prompt_count, output_count);
    request->owned_prompt = calloc((size_t)prompt_count, sizeof(int32_t));
    request->hashes = calloc((size_t)(prompt_count / MOONCAKE_BLOCK + 1), sizeof(int));
    assert_non_null(request->owned_prompt);
    assert_non_null(request->hashes);
    for (int i = 0; i < prompt_count; i++) {
        int hash = (int)json_integer_value(json_array_get(hashes, (size_t)(i / MOONCAKE_BLOCK)));
        request->hashes[i / MOONCAKE_BLOCK] = hash;
        struct random random = {(uint64_t)hash * MOONCAKE_BLOCK + (uint64_t)(i % MOONCAKE_BLOCK)};
        request->owned_prompt[i] = random_between(&random, 0, VOCABULARY - 1);
    }
    request->sequence.prompt = request->owned_prompt;
}

static bool load_mooncake(struct trace *trace, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    while (trace->count < MOONCAKE_REQUESTS) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        if (line == NULL) {
            break;
        }
        add_mooncake(trace, line);
        json_decref(line);
    }
    (void)fclose(file);
    return true;
}

static struct runner *open_runner(struct trace *trace, struct simulated_device *simulated,
                                  int blocks_count)
{
    const struct simulated_options options = {.vocabulary = VOCABULARY,
                                              .context_tokens = CONTEXT,
                                              .blocks_count = blocks_count,
                                              .block_tokens = BLOCK_TOKENS,
                                              .rows_max = ROWS_MAX,
                                              .sequences_max = RUNNING_MAX};
    simulated_device_open(simulated, &options);
    const struct device table = simulated_device_table(simulated);
    const struct runner_options runner_options = {
        .devices = &table,
        .devices_count = 1,
        .max_num_seqs = RUNNING_MAX,
        .max_num_batched_tokens = ROWS_MAX,
        .waiting_max = REQUESTS_MAX,
        .enable_prefix_caching = true,
        .on_finish = on_finish,
        .context = trace,
    };
    struct runner *runner = NULL;
    struct error error = {0};
    assert_true(runner_open(&runner_options, &runner, &error));
    return runner;
}

static int compare_order(const void *a, const void *b)
{
    const struct request *const *first = a;
    const struct request *const *second = b;
    return sequence_state_precedes(&(*first)->state, &(*second)->state) ? -1 : 1;
}

/* The requests in the order in which they should start. */
static struct request **order_of(struct trace *trace)
{
    struct request **order = calloc((size_t)trace->count, sizeof(struct request *));
    assert_non_null(order);
    for (int i = 0; i < trace->count; i++) {
        order[i] = &trace->requests[i];
    }
    qsort(order, (size_t)trace->count, sizeof(struct request *), compare_order);
    return order;
}

/* After each step those that have started are the first of the order. */
static int count_started(struct request **order, int count, int started_count)
{
    while (started_count < count && order[started_count]->sequence.timing.scheduled_ms > 0) {
        started_count++;
    }
    for (int i = started_count; i < count && i < started_count + RUNNING_MAX; i++) {
        assert_true(order[i]->sequence.timing.scheduled_ms == 0);
    }
    return started_count;
}

static void run_trace(struct trace *trace, int blocks_count, struct engine_stats *stats_out)
{
    struct simulated_device simulated;
    struct runner *runner = open_runner(trace, &simulated, blocks_count);
    for (int i = 0; i < trace->count; i++) {
        struct request *request = &trace->requests[i];
        sequence_state_init(&request->state, &request->sequence, (uint64_t)i, 0);
        runner_add(runner, &request->state);
    }
    struct request **order = order_of(trace);
    int started_count = 0;
    for (int64_t step = 0; runner_has_work(runner); step++) {
        assert_true(step < trace->output_tokens + trace->prompt_tokens);
        runner_step(runner);
        started_count = count_started(order, trace->count, started_count);
        assert_null(simulated.broken);
    }
    free(order);
    assert_int_equal(trace->finished_count, trace->count);
    assert_int_equal(kv_blocks_idle_count(runner_blocks(runner, 0)), blocks_count);
    runner_get_stats(runner, stats_out);
    assert_int_equal(stats_out->generation_tokens_total, trace->output_tokens);
    print_message("%d requests: %" PRId64 " steps, %" PRId64 " prompt rows, %" PRId64
                  " tokens from the cache, %" PRId64 " preemptions\n",
                  trace->count, stats_out->steps_total, stats_out->prompt_tokens_total,
                  stats_out->cached_tokens_total, stats_out->preemptions_total);
    runner_close(runner);
    simulated_device_close(&simulated);
}

static void run_azure(const char *path)
{
    struct trace trace;
    trace_open(&trace);
    if (!load_azure(&trace, path)) {
        print_message("no %s\n", path);
        trace_close(&trace);
        skip();
    }
    assert_true(trace.count > 8000);
    struct engine_stats stats;
    run_trace(&trace, 16384, &stats);
    // Steps are full: no more of them than rows or slots demand, but for the ramp at both ends.
    int64_t by_rows = (trace.prompt_tokens + trace.output_tokens) / ROWS_MAX;
    int64_t by_slots = trace.output_tokens / RUNNING_MAX;
    int64_t least = by_rows > by_slots ? by_rows : by_slots;
    assert_true(stats.steps_total < 2 * least + 2000);
    trace_close(&trace);
}

static void test_code_requests_all_finish_in_order(void **state)
{
    (void)state;
    run_azure(DATA_DIR "/traces/azure-llm-2023/AzureLLMInferenceTrace_code.csv");
}

static void test_chat_requests_all_finish_in_order(void **state)
{
    (void)state;
    run_azure(DATA_DIR "/traces/azure-llm-2023/AzureLLMInferenceTrace_conv.csv");
}

/* Tokens that an endless cache would save if each request ran after all before it. */
static int64_t ideal_saving(const struct trace *trace)
{
    bool *is_known = calloc(MOONCAKE_HASHES_MAX, sizeof *is_known);
    int64_t saved = 0;
    assert_non_null(is_known);
    for (int i = 0; i < trace->count; i++) {
        const struct sequence *sequence = &trace->requests[i].sequence;
        bool is_prefix = true;
        for (int block = 0; (block + 1) * MOONCAKE_BLOCK < sequence->prompt_count; block++) {
            int hash = trace->requests[i].hashes[block];
            assert_in_range(hash, 0, MOONCAKE_HASHES_MAX - 1);
            is_prefix = is_prefix && is_known[hash];
            saved += is_prefix ? MOONCAKE_BLOCK : 0;
            is_known[hash] = true;
        }
    }
    free(is_known);
    return saved;
}

static void test_shared_prefixes_are_computed_once(void **state)
{
    (void)state;
    struct trace trace;
    trace_open(&trace);
    if (!load_mooncake(&trace, DATA_DIR "/traces/mooncake/conversation_trace.jsonl")) {
        print_message("no traces in " DATA_DIR "\n");
        trace_close(&trace);
        skip();
    }
    int64_t ideal = ideal_saving(&trace);
    struct engine_stats stats;
    run_trace(&trace, 400000, &stats);
    print_message("%" PRId64 " tokens would be ideal\n", ideal);
    assert_true((double)stats.cached_tokens_total >= 0.95 * (double)ideal);
    trace_close(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_requests_all_finish_in_order),
        cmocka_unit_test(test_chat_requests_all_finish_in_order),
        cmocka_unit_test(test_shared_prefixes_are_computed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
