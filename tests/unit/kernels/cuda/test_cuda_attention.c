/* Attention of the CUDA kernels, emulated: against the CPU back end over odd shapes, the same in
 * every order of threads, and independent of who shares the step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulation.h"
#include "tests/support/cuda/kernel_fixture.h"

enum { SEQUENCES_MAX = 3, POSITIONS_MAX = 640, ROWS_MAX = 1024, BLOCKS_MAX = POSITIONS_MAX };

/* The rows of one sequence in a step. */
struct part {
    int first; // position
    int rows;
};

struct scene {
    struct attention_shape shape;
    int window;
    bool is_bidirectional;
    bool has_norms;
    struct part parts[SEQUENCES_MAX];
};

/* What all positions of all sequences are made of. */
struct numbers {
    size_t width;     // of qkv
    float *qkv;       // [sequences, POSITIONS_MAX, width]
    float *rotations; // [POSITIONS_MAX, head_dim]
    float *norm;      // [head_dim]
    int32_t *tables;  // [sequences, blocks_max]
    int blocks_max;
};

static struct numbers numbers_open(struct noise *noise, const struct scene *scene)
{
    const struct attention_shape *shape = &scene->shape;
    struct numbers numbers = {0};
    size_t head_dim = (size_t)shape->head_dim;
    numbers.width = (size_t)(shape->heads + 2 * shape->kv_heads) * head_dim;
    size_t count = SEQUENCES_MAX * POSITIONS_MAX * numbers.width;
    numbers.qkv = malloc(count * sizeof(float));
    numbers.rotations = malloc(POSITIONS_MAX * head_dim * sizeof(float));
    numbers.norm = malloc(head_dim * sizeof(float));
    numbers.blocks_max = (POSITIONS_MAX + shape->block_tokens - 1) / shape->block_tokens;
    int blocks = SEQUENCES_MAX * numbers.blocks_max;
    numbers.tables = malloc((size_t)blocks * sizeof(int32_t));
    assert_true(numbers.qkv && numbers.rotations && numbers.norm && numbers.tables);
    noise_fill(noise, numbers.qkv, count);
    for (size_t i = 0; i < count; i++) {
        numbers.qkv[i] = fixture_round_bf16(2.0f * numbers.qkv[i]);
    }
    for (size_t i = 0; i < POSITIONS_MAX * head_dim; i += 2) {
        double angle = 6.3 * noise_uniform(noise);
        numbers.rotations[i] = (float)cos(angle);
        numbers.rotations[i + 1] = (float)sin(angle);
    }
    noise_fill(noise, numbers.norm, head_dim);
    for (int i = 0; i < blocks; i++) {
        int other = noise_below(noise, i + 1);
        numbers.tables[i] = numbers.tables[other];
        numbers.tables[other] = i;
    }
    return numbers;
}

static void numbers_close(struct numbers *numbers)
{
    free(numbers->qkv);
    free(numbers->rotations);
    free(numbers->norm);
    free(numbers->tables);
}

/* A back end with the scene's cache. */
struct stage {
    struct backend *backend;
    const struct scene *scene;
    const struct numbers *numbers;
    struct device_buffer *kv;
    struct device_buffer *norm;
    bool is_bf16; // activations are
};

static struct stage stage_open(struct backend *backend, const struct scene *scene,
                               const struct numbers *numbers)
{
    struct stage stage = {backend, scene, numbers, NULL, NULL, backend->activation_bytes == 2};
    size_t block = backend->ops->kv_block_bytes(backend, &scene->shape);
    stage.kv = fixture_buffer(backend, block * (size_t)(SEQUENCES_MAX * numbers->blocks_max));
    stage.norm =
        fixture_upload(backend, numbers->norm, (size_t)scene->shape.head_dim * sizeof(float));
    return stage;
}

static void stage_close(struct stage *stage)
{
    stage->backend->ops->buffer_close(stage->backend, stage->kv);
    stage->backend->ops->buffer_close(stage->backend, stage->norm);
    stage->backend->ops->close(stage->backend);
}

static struct device_buffer *upload(const struct stage *stage, const float *values, size_t count)
{
    return stage->is_bf16 ? fixture_upload_bf16(stage->backend, values, count)
                          : fixture_upload(stage->backend, values, count * sizeof(float));
}

static struct step_arrays upload_step(const struct stage *stage, const struct part *parts)
{
    static int32_t packed[ROWS_MAX + SEQUENCES_MAX + 1 + SEQUENCES_MAX * BLOCKS_MAX];
    const struct numbers *numbers = stage->numbers;
    struct step_arrays step = {.blocks_max = numbers->blocks_max};
    int32_t starts[SEQUENCES_MAX + 1] = {0};
    int which[SEQUENCES_MAX];
    for (int s = 0; s < SEQUENCES_MAX; s++) {
        for (int i = 0; i < parts[s].rows; i++) {
            packed[step.rows++] = parts[s].first + i;
        }
        if (parts[s].rows > 0) {
            which[step.sequences++] = s;
            starts[step.sequences] = step.rows;
        }
    }
    size_t used = (size_t)step.rows;
    step.row_starts = used;
    memcpy(packed + used, starts, sizeof(starts));
    used += SEQUENCES_MAX + 1;
    step.block_tables = used;
    for (int s = 0; s < step.sequences; s++) {
        memcpy(packed + used, numbers->tables + which[s] * numbers->blocks_max,
               (size_t)numbers->blocks_max * sizeof(int32_t));
        used += (size_t)numbers->blocks_max;
    }
    step.buffer = fixture_upload(stage->backend, packed, used * sizeof(int32_t));
    return step;
}

/* Writes the rows' keys and values; with an output, also computes their attention. */
static void run_step(const struct stage *stage, const struct part *parts, float *output)
{
    struct backend *backend = stage->backend;
    const struct scene *scene = stage->scene;
    const struct numbers *numbers = stage->numbers;
    struct step_arrays step = upload_step(stage, parts);
    size_t head_dim = (size_t)scene->shape.head_dim;
    size_t out = (size_t)step.rows * (size_t)scene->shape.heads * head_dim;
    float *qkv = malloc((size_t)step.rows * numbers->width * sizeof(float));
    float *rotations = malloc((size_t)step.rows * head_dim * sizeof(float));
    assert_true(qkv != NULL && rotations != NULL);
    size_t row = 0;
    for (size_t s = 0; s < SEQUENCES_MAX; s++) {
        for (int i = 0; i < parts[s].rows; i++, row++) {
            size_t position = (size_t)(parts[s].first + i);
            memcpy(qkv + row * numbers->width,
                   numbers->qkv + (s * POSITIONS_MAX + position) * numbers->width,
                   numbers->width * sizeof(float));
            memcpy(rotations + row * head_dim, numbers->rotations + position * head_dim,
                   head_dim * sizeof(float));
        }
    }
    struct device_buffer *qkv_buffer = upload(stage, qkv, row * numbers->width);
    struct device_buffer *turns =
        fixture_upload(backend, rotations, row * head_dim * sizeof(float));
    float *zeros = calloc(out, sizeof(float));
    assert_non_null(zeros);
    struct device_buffer *result = upload(stage, zeros, out);
    struct rope_kv_write_args write = {
        .step = &step,
        .shape = scene->shape,
        .rotations = turns,
        .q_norm = scene->has_norms ? stage->norm : NULL,
        .k_norm = scene->has_norms ? stage->norm : NULL,
        .epsilon = 1e-5f,
        .qkv = qkv_buffer,
        .kv = stage->kv,
    };
    assert_status(backend->ops->rope_kv_write(backend, &write));
    struct attention_args attention = {
        .step = &step,
        .shape = scene->shape,
        .scale = 1.0f / sqrtf((float)head_dim),
        .window = scene->window,
        .is_bidirectional = scene->is_bidirectional,
        .qkv = qkv_buffer,
        .kv = stage->kv,
        .output = result,
    };
    if (output != NULL) {
        assert_status(backend->ops->attention(backend, &attention));
        if (stage->is_bf16) {
            fixture_download_bf16(backend, output, result, out);
        } else {
            fixture_download(backend, output, result, out * sizeof(float));
        }
    }
    struct device_buffer *buffers[] = {step.buffer, qkv_buffer, turns, result};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        backend->ops->buffer_close(backend, buffers[i]);
    }
    free(qkv);
    free(rotations);
    free(zeros);
}

/* Fills the cache with all that comes before the rows of the scene. */
static void run_past(const struct stage *stage)
{
    struct part past[SEQUENCES_MAX] = {{0}};
    for (int s = 0; s < SEQUENCES_MAX; s++) {
        past[s].rows = stage->scene->parts[s].first;
    }
    run_step(stage, past, NULL);
}

static size_t outputs_count(const struct scene *scene)
{
    int rows = 0;
    for (int s = 0; s < SEQUENCES_MAX; s++) {
        rows += scene->parts[s].rows;
    }
    return (size_t)(rows * scene->shape.heads * scene->shape.head_dim);
}

static float *floats(size_t count)
{
    float *values = malloc(count * sizeof(float));
    assert_non_null(values);
    return values;
}

static float *run_scene(struct backend *backend, const struct scene *scene,
                        const struct numbers *numbers)
{
    float *output = floats(outputs_count(scene));
    struct stage stage = stage_open(backend, scene, numbers);
    run_past(&stage);
    run_step(&stage, scene->parts, output);
    stage_close(&stage);
    return output;
}

/* What rounding queries, keys, values and probabilities to bf16 (8 bits), or keys and values to
 * E4M3 (4 bits), leaves of outputs that are below 2: a mean over keys of values off by one part in
 * 256 (16), by probabilities off as much as the scores, which are below 4. */
static double tolerance(const struct scene *scene)
{
    return scene->shape.kv_format == KV_FP8 ? 0.25 : 0.04;
}

static void check_scene(struct noise *noise, struct scene scene)
{
    struct numbers numbers = numbers_open(noise, &scene);
    struct scene exact = scene;
    exact.shape.kv_format = KV_F32;
    float *expected = run_scene(fixture_cpu(), &exact, &numbers);
    float *first = NULL;
    size_t count = outputs_count(&scene);
    bool is_fp8 = scene.shape.kv_format == KV_FP8; // one order is enough for the other copies
    for (enum emulation_order order = is_fp8 ? EMULATION_RANDOM : EMULATION_FORWARD;
         order <= EMULATION_RANDOM; order++) {
        emulation_set_order(order, noise->state);
        float *output = run_scene(kernel_fixture_open(false), &scene, &numbers);
        for (size_t i = 0; i < count; i++) {
            if (!(fabs((double)output[i] - (double)expected[i]) <= tolerance(&scene))) {
                fail_msg("heads %d/%d of %d, block %d, window %d, format %d, order %d: element %zu "
                         "is %g, expected %g",
                         scene.shape.heads, scene.shape.kv_heads, scene.shape.head_dim,
                         scene.shape.block_tokens, scene.window, (int)scene.shape.kv_format,
                         (int)order, i, (double)output[i], (double)expected[i]);
            }
        }
        if (first == NULL) {
            first = output;
            continue;
        }
        assert_memory_equal(output, first, count * sizeof(float));
        free(output);
    }
    free(first);
    free(expected);
    numbers_close(&numbers);
}

static void check_formats(struct scene scene)
{
    struct noise noise = noise_open(21);
    for (int i = 0; i < 2; i++) {
        scene.shape.kv_format = i == 0 ? KV_BF16 : KV_FP8;
        check_scene(&noise, scene);
    }
}

static void test_chunks_and_single_rows_agree_with_the_cpu(void **state)
{
    (void)state;
    check_formats((struct scene){
        .shape = {.heads = 3, .kv_heads = 1, .head_dim = 64, .block_tokens = 16},
        .has_norms = true,
        .parts = {{100, 1}, {50, 20}, {0, 1}},
    });
    check_formats((struct scene){
        .shape = {.heads = 3, .kv_heads = 3, .head_dim = 96, .block_tokens = 7},
        .parts = {{0, 3}, {63, 2}, {64, 1}},
    });
    check_formats((struct scene){
        .shape = {.heads = 8, .kv_heads = 2, .head_dim = 128, .block_tokens = 32},
        .parts = {{127, 1}, {120, 5}, {15, 1}},
    });
}

static void test_a_window_hides_what_it_has_passed(void **state)
{
    (void)state;
    check_formats((struct scene){
        .shape = {.heads = 8, .kv_heads = 1, .head_dim = 40, .block_tokens = 5},
        .window = 33,
        .parts = {{129, 1}, {90, 20}, {20, 1}},
    });
}

static void test_head_dimensions_up_to_256_agree_with_the_cpu(void **state)
{
    (void)state;
    check_formats((struct scene){
        .shape = {.heads = 3, .kv_heads = 1, .head_dim = 192, .block_tokens = 16},
        .parts = {{70, 1}, {10, 9}, {0, 0}},
    });
    check_formats((struct scene){
        .shape = {.heads = 2, .kv_heads = 1, .head_dim = 250, .block_tokens = 1},
        .parts = {{40, 1}, {0, 6}, {0, 0}},
    });
}

static void test_a_row_over_many_splits_is_merged(void **state)
{
    (void)state;
    check_formats((struct scene){
        .shape = {.heads = 17, .kv_heads = 1, .head_dim = 18, .block_tokens = 16},
        .parts = {{600, 1}, {511, 1}, {512, 1}},
    });
    check_formats((struct scene){
        .shape = {.heads = 2, .kv_heads = 2, .head_dim = 64, .block_tokens = 16},
        .window = 300,
        .parts = {{600, 1}, {514, 1}, {3, 1}},
    });
}

static void test_rows_of_an_encoder_see_all_of_their_sequence(void **state)
{
    (void)state;
    check_formats((struct scene){
        .shape = {.heads = 2, .kv_heads = 2, .head_dim = 32, .block_tokens = 16},
        .is_bidirectional = true,
        .parts = {{0, 70}, {0, 1}, {0, 20}},
    });
}

/* The rows of a scene's second sequence in steps of `chunk` rows, with others beside it or alone.
 */
static float *run_chunks(bool is_batch_invariant, const struct scene *scene,
                         const struct numbers *numbers, int chunk)
{
    size_t row = (size_t)(scene->shape.heads * scene->shape.head_dim);
    const struct part *all = &scene->parts[1];
    float *output = floats((size_t)all->rows * row);
    float *step = floats((size_t)(all->rows + 2) * row);
    struct stage stage = stage_open(kernel_fixture_open(is_batch_invariant), scene, numbers);
    run_past(&stage);
    for (int done = 0; done < all->rows; done += chunk) {
        int rows = chunk < all->rows - done ? chunk : all->rows - done;
        bool is_alone = done % 2 != 0;
        struct part parts[SEQUENCES_MAX] = {
            is_alone ? (struct part){0} : scene->parts[0],
            {all->first + done, rows},
            is_alone ? (struct part){0} : scene->parts[2],
        };
        run_step(&stage, parts, step);
        memcpy(output + (size_t)done * row, step + (size_t)parts[0].rows * row,
               (size_t)rows * row * sizeof(float));
    }
    stage_close(&stage);
    free(step);
    return output;
}

static void check_chunks(bool is_batch_invariant, const int *chunks, int chunks_count)
{
    struct noise noise = noise_open(22);
    struct scene scene = {
        .shape = {.heads = 3, .kv_heads = 1, .head_dim = 64, .block_tokens = 16},
        .window = 70,
        .parts = {{40, 1}, {60, 12}, {5, 1}},
    };
    emulation_set_order(EMULATION_RANDOM, noise.state);
    for (int format = 0; format < 2; format++) {
        scene.shape.kv_format = format == 0 ? KV_BF16 : KV_FP8;
        struct numbers numbers = numbers_open(&noise, &scene);
        size_t bytes = (size_t)(12 * scene.shape.heads * scene.shape.head_dim) * sizeof(float);
        float *whole = run_chunks(is_batch_invariant, &scene, &numbers, 12);
        for (int i = 0; i < chunks_count; i++) {
            float *cut = run_chunks(is_batch_invariant, &scene, &numbers, chunks[i]);
            assert_memory_equal(cut, whole, bytes);
            free(cut);
        }
        free(whole);
        numbers_close(&numbers);
    }
}

static void test_a_batch_invariant_row_is_the_same_however_it_comes(void **state)
{
    (void)state;
    check_chunks(true, (const int[]){1, 5}, 2);
}

static void test_rows_of_chunks_are_the_same_however_the_prompt_is_cut(void **state)
{
    (void)state;
    check_chunks(false, (const int[]){2, 5}, 2); // 5, 5 and 2
}

static void test_formats_and_shapes_without_a_kernel_are_refused(void **state)
{
    (void)state;
    struct backend *backend = kernel_fixture_open(false);
    struct step_arrays step = {.rows = 1, .sequences = 1, .blocks_max = 1};
    struct attention_args args = {
        .step = &step, .shape = {.heads = 2, .kv_heads = 1, .head_dim = 64, .block_tokens = 16}};
    args.shape.kv_format = KV_INT8;
    assert_int_equal(backend->ops->attention(backend, &args), KERNEL_NO_DEVICE);
    args.shape.kv_format = KV_AUTO;
    args.shape.head_dim = 258;
    assert_int_equal(backend->ops->attention(backend, &args), KERNEL_BAD_SHAPE);
    args.shape.head_dim = 64;
    args.shape.heads = 3;
    args.shape.kv_heads = 2;
    assert_int_equal(backend->ops->attention(backend, &args), KERNEL_BAD_SHAPE);
    backend->ops->close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_and_single_rows_agree_with_the_cpu),
        cmocka_unit_test(test_a_window_hides_what_it_has_passed),
        cmocka_unit_test(test_head_dimensions_up_to_256_agree_with_the_cpu),
        cmocka_unit_test(test_a_row_over_many_splits_is_merged),
        cmocka_unit_test(test_rows_of_an_encoder_see_all_of_their_sequence),
        cmocka_unit_test(test_a_batch_invariant_row_is_the_same_however_it_comes),
        cmocka_unit_test(test_rows_of_chunks_are_the_same_however_the_prompt_is_cut),
        cmocka_unit_test(test_formats_and_shapes_without_a_kernel_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
