/* model_runner: one sequence through model.h. */
#include "tests/support/model_runner.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"

static void check(bool is_ok, const struct error *error)
{
    if (!is_ok) {
        fail_msg("%s", error->message);
    }
}

void model_runner_open(struct model_runner *runner, const char *path,
                       const struct runner_options *options)
{
    struct error error = {0};
    struct model_options model_options = {
        .weights = options->weights == WEIGHTS_AUTO ? WEIGHTS_F32 : options->weights,
        .kv_format = options->kv_format,
        .adapter = options->adapter,
        .block_tokens = options->block_tokens == 0 ? RUNNER_BLOCK_TOKENS : options->block_tokens,
    };
    check((options->open == NULL ? backend_open : options->open)(&options->backend,
                                                                 &runner->backend, &error),
          &error);
    check(model_open(path, runner->backend, &model_options, &runner->model, &error), &error);
    const struct model_config *config = model_get_config(runner->model);
    runner->vocabulary = config->vocabulary;
    runner->blocks = config->context / model_options.block_tokens + 1;
    check(model_kv_open(runner->model, runner->blocks, &error), &error);
    check(model_step_open(runner->model, config->context, config->context, &error), &error);
    runner->block_table = calloc((size_t)runner->blocks, sizeof(int32_t));
    assert_non_null(runner->block_table);
    for (int i = 0; i < runner->blocks; i++) {
        runner->block_table[i] = i;
    }
}

void model_runner_close(struct model_runner *runner)
{
    model_close(runner->model);
    backend_close(runner->backend);
    free(runner->block_table);
}

static void run_chunk(struct model_runner *runner, const int32_t *tokens, int first, int count,
                      float *logits_out)
{
    struct error error = {0};
    int32_t *positions = malloc(sizeof(int32_t) * (size_t)count);
    int32_t *rows = malloc(sizeof(int32_t) * (size_t)count);
    assert_non_null(positions);
    assert_non_null(rows);
    for (int i = 0; i < count; i++) {
        positions[i] = first + i;
        rows[i] = i;
    }
    int32_t row_starts[] = {0, count};
    struct model_batch batch = {
        .rows_count = count,
        .sequences_count = 1,
        .tokens = tokens + first,
        .positions = positions,
        .row_starts = row_starts,
        .block_tables = runner->block_table,
        .blocks_max = runner->blocks,
        .logit_rows = rows,
        .logit_rows_count = count,
    };
    check(model_forward(runner->model, &batch, &error), &error);
    check(model_logits(runner->model, logits_out, &error), &error);
    free(rows);
    free(positions);
}

void model_runner_logits(struct model_runner *runner, const int32_t *tokens, int first, int end,
                         int chunk, float *logits_out)
{
    for (int at = first; at < end; at += chunk) {
        int count = end - at < chunk ? end - at : chunk;
        run_chunk(runner, tokens, at, count,
                  logits_out + (size_t)(at - first) * (size_t)runner->vocabulary);
    }
}

void model_runner_greedy(struct model_runner *runner, int32_t *tokens, int prompt, int count)
{
    struct error error = {0};
    struct sample_params params[1] = {{0}};
    size_t rows = prompt > 1 ? (size_t)prompt : 1;
    float *logits = malloc(rows * (size_t)runner->vocabulary * sizeof(float));
    assert_non_null(logits);
    model_runner_logits(runner, tokens, 0, prompt - 1, prompt, logits);
    for (int i = prompt; i < count; i++) {
        model_runner_logits(runner, tokens, i - 1, i, 1, logits);
        check(model_sample(runner->model, params, &tokens[i], NULL, &error), &error);
    }
    free(logits);
}
