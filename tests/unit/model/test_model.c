/* A whole model, written by the test itself: the same numbers however its work is cut, and clear
 * errors for what it refuses. */
#include "pipeline/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

enum { LENGTH = 130, VOCABULARY = 61 };

static void some_tokens(int32_t *tokens)
{
    for (int i = 0; i < LENGTH; i++) {
        tokens[i] = (i * 37 + i * i % 11) % VOCABULARY;
    }
}

static float *logits_of(const char *path, const struct runner_options *options, int chunk,
                        bool is_scrambled)
{
    struct model_runner runner;
    int32_t tokens[LENGTH];
    float *logits = malloc(sizeof(float) * LENGTH * VOCABULARY);
    assert_non_null(logits);
    some_tokens(tokens);
    model_runner_open(&runner, path, options);
    assert_int_equal(runner.vocabulary, VOCABULARY);
    for (int i = 0; is_scrambled && i < runner.blocks; i++) {
        runner.block_table[i] = (i * 7 + 3) % runner.blocks;
    }
    model_runner_logits(&runner, tokens, 0, LENGTH, chunk, logits);
    model_runner_close(&runner);
    return logits;
}

static void assert_same_logits(const float *a, const float *b)
{
    assert_memory_equal(a, b, sizeof(float) * LENGTH * VOCABULARY);
}

static void check_cuts(enum backend_isa isa, enum weight_format weights, const char *path)
{
    struct error error = {0};
    struct backend *backend = NULL;
    struct runner_options options = {.backend = {.isa = isa, .threads = 1}, .weights = weights};
    if (!backend_open(&options.backend, &backend, &error)) {
        return; // this machine lacks the instruction set
    }
    backend_close(backend);
    float *whole = logits_of(path, &options, LENGTH, false);
    for (int i = 0; i < LENGTH * VOCABULARY; i++) {
        assert_true(isfinite(whole[i]));
    }
    assert_memory_not_equal(whole, whole + VOCABULARY, sizeof(float) * VOCABULARY);
    static const int chunks[] = {1, 5, 16, 64, 129};
    for (int i = 0; i < 5; i++) {
        options.backend.threads = 1 + i % 3;
        float *cut = logits_of(path, &options, chunks[i], true);
        assert_same_logits(cut, whole);
        free(cut);
    }
    free(whole);
}

static void test_chunks_threads_and_scrambled_blocks_give_identical_logits(void **state)
{
    (void)state;
    struct tiny_model tiny = {.hidden = 128, .intermediate = 256, .seed = 1}; // worth threads
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    for (enum backend_isa isa = ISA_AMX; isa <= ISA_PORTABLE; isa++) {
        check_cuts(isa, WEIGHTS_F32, path);
        check_cuts(isa, WEIGHTS_BF16, path);
        check_cuts(isa, WEIGHTS_INT8, path);
    }
    tiny_model_remove(path);
}

static void test_instruction_sets_and_block_sizes_agree_closely(void **state)
{
    (void)state;
    struct tiny_model tiny = {.seed = 2, .has_bias = true};
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    struct runner_options best = {.backend = {.threads = 1}};
    struct runner_options portable = {.backend = {.isa = ISA_PORTABLE, .threads = 1},
                                      .block_tokens = 7};
    float *a = logits_of(path, &best, LENGTH, false);
    float *b = logits_of(path, &portable, 50, true);
    for (int i = 0; i < LENGTH * VOCABULARY; i++) {
        assert_true(fabsf(a[i] - b[i]) < 1e-3f);
    }
    free(a);
    free(b);
    tiny_model_remove(path);
}

static void test_qwen2_biases_and_tied_embeddings_are_used(void **state)
{
    (void)state;
    struct tiny_model tiny = {
        .architecture = "Qwen2ForCausalLM", .ties_embeddings = true, .seed = 3};
    struct runner_options options = {.backend = {.threads = 1}};
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    float *logits = logits_of(path, &options, LENGTH, false);
    assert_true(isfinite(logits[0]));
    free(logits);
    tiny_model_remove(path);
}

static void test_one_file_and_three_hold_the_same_model(void **state)
{
    (void)state;
    struct tiny_model tiny = {.dtype = "BF16", .seed = 4};
    struct runner_options options = {.backend = {.threads = 1}};
    char path[TINY_MODEL_PATH];
    float *logits[2];
    for (int i = 0; i < 2; i++) {
        tiny.shards = i == 0 ? 0 : 3;
        tiny_model_write(&tiny, path);
        logits[i] = logits_of(path, &options, LENGTH, false);
        tiny_model_remove(path);
    }
    assert_same_logits(logits[0], logits[1]);
    free(logits[0]);
    free(logits[1]);
}

/* Two sequences and single rows in one step, compared with each alone. */
static void test_sequences_of_one_step_do_not_touch_each_other(void **state)
{
    (void)state;
    struct tiny_model tiny = {.seed = 5};
    struct runner_options options = {.backend = {.threads = 2}};
    struct model_runner runner;
    struct error error = {0};
    char path[TINY_MODEL_PATH];
    int32_t tokens[LENGTH];
    float alone[2][VOCABULARY];
    float together[2][VOCABULARY];
    tiny_model_write(&tiny, path);
    some_tokens(tokens);
    model_runner_open(&runner, path, &options);
    float *logits = malloc(sizeof(float) * LENGTH * VOCABULARY);
    assert_non_null(logits);
    model_runner_logits(&runner, tokens, 0, 20, 20, logits);
    memcpy(alone[0], logits + 19 * VOCABULARY, sizeof(alone[0]));
    model_runner_logits(&runner, tokens + 50, 0, 33, 33, logits);
    memcpy(alone[1], logits + 32 * VOCABULARY, sizeof(alone[1]));
    free(logits);

    int32_t rows[53];
    int32_t positions[53];
    for (int i = 0; i < 53; i++) {
        rows[i] = i < 20 ? tokens[i] : tokens[50 + i - 20];
        positions[i] = i < 20 ? i : i - 20;
    }
    const int32_t row_starts[] = {0, 20, 53};
    const int32_t tables[] = {9, 2, 0, 8, 1, 5};
    const int32_t logit_rows[] = {19, 52};
    struct model_batch batch = {
        .rows_count = 53,
        .sequences_count = 2,
        .tokens = rows,
        .positions = positions,
        .row_starts = row_starts,
        .block_tables = tables,
        .blocks_max = 3,
        .logit_rows = logit_rows,
        .logit_rows_count = 2,
    };
    assert_true(model_forward(runner.model, &batch, &error));
    assert_true(model_logits(runner.model, together[0], &error));
    assert_memory_equal(together, alone, sizeof(alone));
    batch.logit_rows_count = 0; // a chunk that ends inside its prompt wants no logits
    assert_true(model_forward(runner.model, &batch, &error));
    model_runner_close(&runner);
    tiny_model_remove(path);
}

static void test_a_step_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct tiny_model tiny = {.seed = 6};
    struct runner_options options = {.backend = {.threads = 1}};
    struct model_runner runner;
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    model_runner_open(&runner, path, &options);
    int32_t token = 5;
    int32_t position = 0;
    int32_t row_starts[] = {0, 1};
    int32_t table[] = {0};
    int32_t logit_row = 0;
    struct model_batch batch = {
        .rows_count = 1,
        .sequences_count = 1,
        .tokens = &token,
        .positions = &position,
        .row_starts = row_starts,
        .block_tables = table,
        .blocks_max = 1,
        .logit_rows = &logit_row,
        .logit_rows_count = 1,
    };
    struct error error = {0};
    assert_true(model_forward(runner.model, &batch, &error));
    token = VOCABULARY;
    assert_false(model_forward(runner.model, &batch, &error));
    assert_non_null(strstr(error.message, "token id 61 must be from 0 to 60"));
    token = -1;
    assert_false(model_forward(runner.model, &batch, &error));
    token = 5;
    position = 16; // its block is not in the table
    assert_false(model_forward(runner.model, &batch, &error));
    position = -1;
    assert_false(model_forward(runner.model, &batch, &error));
    position = 0;
    table[0] = runner.blocks;
    assert_false(model_forward(runner.model, &batch, &error));
    table[0] = 0;
    logit_row = 1;
    assert_false(model_forward(runner.model, &batch, &error));
    logit_row = 0;
    row_starts[1] = 2;
    assert_false(model_forward(runner.model, &batch, &error));
    row_starts[1] = 1;
    assert_true(model_forward(runner.model, &batch, &error));
    model_runner_close(&runner);
    tiny_model_remove(path);
}

/* Opens a folder that must be refused with a message that holds `part`. */
static void assert_refused(const char *path, const char *part)
{
    struct backend_options backend_options = {.isa = ISA_PORTABLE, .threads = 1};
    struct model_options options = {.weights = WEIGHTS_F32, .block_tokens = 16};
    struct backend *backend = NULL;
    struct model *model = NULL;
    struct error error = {0};
    assert_true(backend_open(&backend_options, &backend, &error));
    assert_false(model_open(path, backend, &options, &model, &error));
    assert_null(model);
    if (strstr(error.message, part) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", error.message, part);
    }
    backend_close(backend);
}

static void test_missing_surplus_and_misshapen_tensors_are_named(void **state)
{
    (void)state;
    char path[TINY_MODEL_PATH];
    struct tiny_model tiny = {.seed = 7, .layers = 2};
    struct tiny_model other = tiny;
    char other_path[TINY_MODEL_PATH];
    char command[2 * TINY_MODEL_PATH + 64];
    static const struct {
        int layers;
        int intermediate;
        const char *message;
    } cases[] = {
        {3, 0, "tensor model.layers.2.input_layernorm.weight is missing"},
        {1, 0, "no place for tensor model.layers.1.input_layernorm.weight (9 such tensors)"},
        {2, 80,
         "tensor model.layers.0.mlp.gate_proj.weight has 2 dimensions [72, 40], "
         "config.json calls for [80, 40]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tiny_model_write(&tiny, path);
        other.layers = cases[i].layers;
        other.intermediate = cases[i].intermediate;
        tiny_model_write(&other, other_path);
        (void)snprintf(command, sizeof(command), "%s/config.json", other_path);
        FILE *file = fopen(command, "rb");
        char json[2048];
        assert_non_null(file);
        size_t bytes = fread(json, 1, sizeof(json), file);
        (void)fclose(file);
        tiny_model_put(path, "config.json", json, bytes);
        assert_refused(path, cases[i].message);
        tiny_model_remove(path);
        tiny_model_remove(other_path);
    }
}

static void test_a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    assert_refused("/nonexistent/folder", "cannot open /nonexistent/folder/config.json");
}

static void test_auto_becomes_a_weight_format(void **state)
{
    (void)state;
    struct tiny_model tiny = {.seed = 8};
    char path[TINY_MODEL_PATH];
    struct backend_options backend_options = {.threads = 1};
    struct model_options options = {.weights = WEIGHTS_AUTO, .block_tokens = 16};
    struct backend *backend = NULL;
    struct model *model = NULL;
    struct error error = {0};
    tiny_model_write(&tiny, path);
    assert_true(backend_open(&backend_options, &backend, &error));
    assert_true(model_open(path, backend, &options, &model, &error));
    assert_int_not_equal(model_weights(model), WEIGHTS_AUTO);
    assert_int_equal(model_get_config(model)->stop_tokens_count, 2);
    assert_true(model_kv_block_bytes(model) > 0);
    model_close(model);
    model_close(NULL);
    backend_close(backend);
    tiny_model_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_threads_and_scrambled_blocks_give_identical_logits),
        cmocka_unit_test(test_instruction_sets_and_block_sizes_agree_closely),
        cmocka_unit_test(test_qwen2_biases_and_tied_embeddings_are_used),
        cmocka_unit_test(test_one_file_and_three_hold_the_same_model),
        cmocka_unit_test(test_sequences_of_one_step_do_not_touch_each_other),
        cmocka_unit_test(test_a_step_that_does_not_fit_is_an_error),
        cmocka_unit_test(test_missing_surplus_and_misshapen_tensors_are_named),
        cmocka_unit_test(test_a_folder_that_is_not_there_is_named),
        cmocka_unit_test(test_auto_becomes_a_weight_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
