/* Encoders: vectors and states of transformers and sentence-transformers, on every instruction set
 * of this machine, and the same numbers whatever shares the step. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/model.h"
#include "tests/support/cmocka.h"

#define GOLDEN_DIR SOURCE_DIR "/tests/golden/encoders/"

enum { TEXTS_MAX = 8, ROWS_MAX = 512, BLOCK_TOKENS = 16, BLOCKS = 64, ISAS = 5 };
enum { BLOCKS_EACH = BLOCKS / TEXTS_MAX };
static const enum backend_isa isas[ISAS] = {ISA_AMX, ISA_AVX512_VNNI, ISA_AVX512, ISA_AVX2,
                                            ISA_PORTABLE};

struct scene {
    struct backend *backend;
    struct model *model;
    json_t *golden;
    size_t hidden;
};

/* False where the machine lacks the instruction set. */
static bool scene_open(struct scene *scene, const char *name, enum backend_isa isa)
{
    char path[256];
    struct error error = {0};
    struct backend_options options = {.isa = isa, .threads = 2};
    struct model_options model = {
        .weights = WEIGHTS_F32, .block_tokens = BLOCK_TOKENS, .kv_format = KV_F32};
    *scene = (struct scene){0};
    if (!backend_open(&options, &scene->backend, &error)) {
        return false;
    }
    (void)snprintf(path, sizeof path, GOLDEN_DIR "%s", name);
    if (!model_open(path, scene->backend, &model, &scene->model, &error) ||
        !model_kv_open(scene->model, BLOCKS, &error) ||
        !model_step_open(scene->model, ROWS_MAX, TEXTS_MAX, &error)) {
        fail_msg("%s", error.message);
    }
    (void)snprintf(path, sizeof path, GOLDEN_DIR "%s/golden.json", name);
    scene->golden = json_load_file(path, 0, NULL);
    assert_non_null(scene->golden);
    scene->hidden = (size_t)model_get_config(scene->model)->hidden;
    return true;
}

static void scene_close(struct scene *scene)
{
    json_decref(scene->golden);
    model_close(scene->model);
    backend_close(scene->backend);
}

/* Some texts of the golden file, as one step. */
struct batch {
    struct model_batch batch;
    int32_t tokens[ROWS_MAX];
    int32_t positions[ROWS_MAX];
    int32_t row_starts[TEXTS_MAX + 1];
    int32_t tables[BLOCKS];
    float *vectors[TEXTS_MAX];
    float values[TEXTS_MAX * 64];
};

static void batch_make(struct batch *batch, const struct scene *scene, int first, int end)
{
    *batch = (struct batch){0};
    int rows = 0;
    for (int i = first; i < end; i++) {
        const json_t *ids = json_object_get(json_array_get(scene->golden, (size_t)i), "ids");
        for (size_t p = 0; p < json_array_size(ids); p++, rows++) {
            batch->tokens[rows] = (int32_t)json_integer_value(json_array_get(ids, p));
            batch->positions[rows] = (int32_t)p;
        }
        int s = i - first;
        for (int b = 0; b < BLOCKS_EACH; b++) {
            batch->tables[s * BLOCKS_EACH + b] = b * TEXTS_MAX + s;
        }
        batch->row_starts[s + 1] = rows;
        batch->vectors[s] = batch->values + (size_t)s * scene->hidden;
    }
    batch->batch = (struct model_batch){
        .rows_count = rows,
        .sequences_count = end - first,
        .tokens = batch->tokens,
        .positions = batch->positions,
        .row_starts = batch->row_starts,
        .block_tables = batch->tables,
        .blocks_max = BLOCKS_EACH,
    };
}

/* Within 2e-4 of the largest number. */
static void assert_row(const float *actual, const json_t *expected, size_t width)
{
    double largest = 0;
    double worst = 0;
    assert_int_equal(json_array_size(expected), width);
    for (size_t i = 0; i < width; i++) {
        double number = json_number_value(json_array_get(expected, i));
        double difference = fabs((double)actual[i] - number);
        largest = fabs(number) > largest ? fabs(number) : largest;
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (!(worst <= 2e-4 * largest)) {
        fail_msg("off by %g, of %g", worst, largest);
    }
}

static void check_golden(struct scene *scene)
{
    static struct batch together;
    static struct batch alone;
    static float states[ROWS_MAX * 64];
    struct error error = {0};
    int texts = (int)json_array_size(scene->golden);
    batch_make(&together, scene, 0, texts);
    assert_true(model_encode(scene->model, &together.batch, together.vectors, &error));
    assert_true(model_states(scene->model, states, &error));
    for (int i = 0; i < texts; i++) {
        const json_t *text = json_array_get(scene->golden, (size_t)i);
        const json_t *rows = json_object_get(text, "states");
        size_t first = (size_t)together.row_starts[i];
        assert_row(together.vectors[i], json_object_get(text, "vector"), scene->hidden);
        for (size_t r = 0; r < json_array_size(rows); r++) {
            assert_row(states + (first + r) * scene->hidden, json_array_get(rows, r),
                       scene->hidden);
        }
    }
    for (int i = 0; i < texts; i++) {
        batch_make(&alone, scene, i, i + 1);
        assert_true(model_encode(scene->model, &alone.batch, alone.vectors, &error));
        assert_memory_equal(alone.values, together.vectors[i], scene->hidden * sizeof(float));
    }
}

static void encoder(const char *name)
{
    for (int i = 0; i < ISAS; i++) {
        struct scene scene;
        if (scene_open(&scene, name, isas[i])) {
            check_golden(&scene);
            scene_close(&scene);
        }
    }
}

static void test_minilm_agrees_with_sentence_transformers(void **state)
{
    (void)state;
    encoder("minilm");
}

static void test_bge_agrees_with_the_first_token_below_a_head(void **state)
{
    (void)state;
    encoder("bge");
}

static void test_e5_without_other_files_has_means_of_length_1(void **state)
{
    (void)state;
    encoder("e5");
}

static void test_roberta_agrees_with_positions_behind_the_padding(void **state)
{
    (void)state;
    encoder("roberta");
}

static void test_a_part_of_a_text_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    struct error error = {0};
    static struct batch batch;
    assert_true(scene_open(&scene, "minilm", ISA_AUTO));
    batch_make(&batch, &scene, 0, 1);
    batch.batch.tokens++;
    batch.batch.positions++;
    batch.batch.rows_count--;
    batch.row_starts[1]--;
    assert_false(model_encode(scene.model, &batch.batch, batch.vectors, &error));
    assert_int_equal(error.kind, ERROR_INTERNAL);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minilm_agrees_with_sentence_transformers),
        cmocka_unit_test(test_bge_agrees_with_the_first_token_below_a_head),
        cmocka_unit_test(test_e5_without_other_files_has_means_of_length_1),
        cmocka_unit_test(test_roberta_agrees_with_positions_behind_the_padding),
        cmocka_unit_test(test_a_part_of_a_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
