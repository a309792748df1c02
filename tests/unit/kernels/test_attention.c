/* Rope, the paged cache and attention: against double precision, and independent of how sequences
 * are cut into steps, which blocks they use and who shares the step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum { SEQUENCES = 3, LENGTH_MAX = 150, BLOCKS_MAX = 64, ROWS_MAX = SEQUENCES * LENGTH_MAX };

/* Three sequences whose q, k and v are known for every position. */
struct scene {
    struct attention_shape shape;
    int lengths[SEQUENCES];
    size_t qkv_width;
    size_t output_width;
    float *qkv; // [sequences, LENGTH_MAX, qkv_width], before rope
    float *frequencies;
    float scale;
    int window;            // 0: none
    bool is_bidirectional; // and then without rope
    int32_t tables[SEQUENCES * BLOCKS_MAX];
    int blocks;
};

static struct scene scene_open(struct noise *noise, struct attention_shape shape)
{
    struct scene scene = {.shape = shape, .lengths = {LENGTH_MAX, 1, 0}, .blocks = 0};
    scene.lengths[2] = 2 + noise_below(noise, LENGTH_MAX - 2);
    scene.qkv_width = (size_t)((shape.heads + 2 * shape.kv_heads) * shape.head_dim);
    scene.output_width = (size_t)(shape.heads * shape.head_dim);
    scene.qkv = malloc(SEQUENCES * LENGTH_MAX * scene.qkv_width * sizeof(float));
    scene.frequencies = malloc((size_t)shape.head_dim / 2 * sizeof(float));
    assert_true(scene.qkv != NULL && scene.frequencies != NULL);
    noise_fill(noise, scene.qkv, SEQUENCES * LENGTH_MAX * scene.qkv_width);
    for (size_t i = 0; i < SEQUENCES * LENGTH_MAX * scene.qkv_width; i++) {
        scene.qkv[i] *= 3.0f; // scores that matter
    }
    for (int i = 0; i < shape.head_dim / 2; i++) {
        scene.frequencies[i] = (float)pow(10000.0, -2.0 * i / shape.head_dim);
    }
    scene.scale = 1.0f / sqrtf((float)shape.head_dim);
    return scene;
}

static void scene_close(struct scene *scene)
{
    free(scene->qkv);
    free(scene->frequencies);
}

/* Gives every sequence its blocks, in random order. */
static void scramble(struct scene *scene, struct noise *noise)
{
    int32_t ids[SEQUENCES * BLOCKS_MAX];
    int per_sequence = (LENGTH_MAX + scene->shape.block_tokens - 1) / scene->shape.block_tokens;
    assert_true(per_sequence <= BLOCKS_MAX);
    scene->blocks = SEQUENCES * per_sequence;
    for (int i = 0; i < scene->blocks; i++) {
        int other = noise_below(noise, i + 1);
        ids[i] = ids[other];
        ids[other] = i;
    }
    for (int i = 0; i < scene->blocks; i++) {
        scene->tables[i / per_sequence * BLOCKS_MAX + i % per_sequence] = ids[i];
    }
}

/* One step in the making: which rows of which sequences. */
struct plan {
    int done[SEQUENCES];
    int32_t positions[ROWS_MAX];
    int32_t sequence_of[ROWS_MAX];
    int32_t row_starts[SEQUENCES + 1];
    int32_t tables[SEQUENCES * BLOCKS_MAX];
    int rows;
    int sequences;
};

/* Up to `chunk` rows of every sequence in `mask` that has some left; false when nothing is left. */
static bool plan_step(struct plan *plan, const struct scene *scene, int chunk, unsigned mask)
{
    plan->rows = 0;
    plan->sequences = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        int left = scene->lengths[s] - plan->done[s];
        int rows = left < chunk ? left : chunk;
        if (rows == 0 || (mask >> s & 1u) == 0) {
            continue;
        }
        plan->row_starts[plan->sequences] = plan->rows;
        memcpy(plan->tables + plan->sequences * BLOCKS_MAX, scene->tables + s * BLOCKS_MAX,
               BLOCKS_MAX * sizeof(int32_t));
        for (int i = 0; i < rows; i++, plan->rows++) {
            plan->positions[plan->rows] = plan->done[s]++;
            plan->sequence_of[plan->rows] = s;
        }
        plan->sequences++;
    }
    plan->row_starts[plan->sequences] = plan->rows;
    return plan->rows > 0;
}

static struct step_arrays upload_plan(struct backend *backend, const struct plan *plan)
{
    int32_t packed[2 * ROWS_MAX + SEQUENCES + 1 + SEQUENCES * BLOCKS_MAX];
    size_t rows = (size_t)plan->rows;
    struct step_arrays step = {
        .positions = 0,
        .row_starts = rows,
        .block_tables = rows + SEQUENCES + 1,
        .rows = plan->rows,
        .sequences = plan->sequences,
        .blocks_max = BLOCKS_MAX,
    };
    memset(packed, 0, sizeof(packed));
    memcpy(packed, plan->positions, rows * sizeof(int32_t));
    memcpy(packed + step.row_starts, plan->row_starts, sizeof(plan->row_starts));
    memcpy(packed + step.block_tables, plan->tables, sizeof(plan->tables));
    step.buffer = fixture_upload(backend, packed, sizeof(packed));
    return step;
}

/* Device memory of a run. */
struct run {
    struct device_buffer *frequencies;
    struct device_buffer *kv;
    struct device_buffer *qkv;
    struct device_buffer *rotations;
    struct device_buffer *output;
};

static void run_step(struct backend *backend, const struct scene *scene, const struct plan *plan,
                     const struct run *run, float *outputs)
{
    struct step_arrays step = upload_plan(backend, plan);
    size_t row_bytes = scene->qkv_width * sizeof(float);
    for (int r = 0; r < plan->rows; r++) {
        size_t at = (size_t)(plan->sequence_of[r] * LENGTH_MAX + plan->positions[r]);
        assert_status(backend->ops->copy_in(backend, run->qkv, (size_t)r * row_bytes,
                                            scene->qkv + at * scene->qkv_width, row_bytes));
    }
    struct rope_angles_args angles = {
        .step = &step,
        .inverse_frequencies = run->frequencies,
        .rotations = run->rotations,
        .head_dim = scene->shape.head_dim,
    };
    struct rope_kv_write_args rope = {.step = &step,
                                      .shape = scene->shape,
                                      .rotations = scene->is_bidirectional ? NULL : run->rotations,
                                      .qkv = run->qkv,
                                      .kv = run->kv};
    struct attention_args attention = {.step = &step,
                                       .shape = scene->shape,
                                       .scale = scene->scale,
                                       .window = scene->window,
                                       .is_bidirectional = scene->is_bidirectional,
                                       .qkv = run->qkv,
                                       .kv = run->kv,
                                       .output = run->output};
    assert_status(backend->ops->rope_angles(backend, &angles));
    assert_status(backend->ops->rope_kv_write(backend, &rope));
    assert_status(backend->ops->attention(backend, &attention));
    size_t out_bytes = scene->output_width * sizeof(float);
    for (int r = 0; r < plan->rows; r++) {
        size_t at = (size_t)(plan->sequence_of[r] * LENGTH_MAX + plan->positions[r]);
        assert_status(backend->ops->copy_out(backend, outputs + at * scene->output_width,
                                             run->output, (size_t)r * out_bytes, out_bytes));
    }
    backend->ops->buffer_close(backend, step.buffer);
}

/* Runs all sequences; `chunk` 0 means a random number of rows and sequences at every step. */
static float *run_scene(struct backend *backend, const struct scene *scene, int chunk,
                        struct noise *noise)
{
    const struct backend_operations *ops = backend->ops;
    size_t rows = ROWS_MAX;
    struct run run = {
        .frequencies = fixture_upload(backend, scene->frequencies,
                                      (size_t)scene->shape.head_dim / 2 * sizeof(float)),
        .kv = fixture_buffer(backend,
                             (size_t)scene->blocks * ops->kv_block_bytes(backend, &scene->shape)),
        .qkv = fixture_buffer(backend, rows * scene->qkv_width * sizeof(float)),
        .rotations = fixture_buffer(backend, rows * (size_t)scene->shape.head_dim * sizeof(float)),
        .output = fixture_buffer(backend, rows * scene->output_width * sizeof(float)),
    };
    float *outputs = calloc(rows * scene->output_width, sizeof(float));
    assert_non_null(outputs);
    struct plan plan = {0};
    for (int steps = 0; steps < 4 * ROWS_MAX; steps++) {
        bool is_random = chunk == 0;
        unsigned mask = is_random ? (unsigned)noise_below(noise, 8) : 7u;
        int now = is_random ? 1 + noise_below(noise, 40) : chunk;
        if (plan_step(&plan, scene, now, mask)) {
            run_step(backend, scene, &plan, &run, outputs);
        } else if (!is_random) {
            break;
        }
    }
    for (int s = 0; s < SEQUENCES; s++) {
        assert_int_equal(plan.done[s], scene->lengths[s]);
    }
    struct device_buffer *const all[] = {run.frequencies, run.kv, run.qkv, run.rotations,
                                         run.output};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ops->buffer_close(backend, all[i]);
    }
    return outputs;
}

/* A head of the scene at one position, rotated, in double. */
static void rotated(const struct scene *scene, int sequence, int position, int head, double *out)
{
    int dim = scene->shape.head_dim;
    const float *x = scene->qkv + (size_t)(sequence * LENGTH_MAX + position) * scene->qkv_width +
                     (size_t)(head * dim);
    for (int i = 0; i < dim / 2; i++) {
        double angle =
            scene->is_bidirectional ? 0 : (double)((float)position * scene->frequencies[i]);
        out[i] = (double)x[i] * cos(angle) - (double)x[i + dim / 2] * sin(angle);
        out[i + dim / 2] = (double)x[i + dim / 2] * cos(angle) + (double)x[i] * sin(angle);
    }
}

static void naive_attention(const struct scene *scene, int sequence, int position, int head,
                            double *out)
{
    double q[512];
    double k[512];
    double weights[LENGTH_MAX];
    int dim = scene->shape.head_dim;
    int kv_head = head / (scene->shape.heads / scene->shape.kv_heads);
    double largest = -HUGE_VAL;
    bool is_limited = scene->window > 0 && scene->window <= position;
    int first = is_limited ? position - scene->window + 1 : 0;
    int last = scene->is_bidirectional ? scene->lengths[sequence] - 1 : position;
    rotated(scene, sequence, position, head, q);
    for (int p = first; p <= last; p++) {
        rotated(scene, sequence, p, scene->shape.heads + kv_head, k);
        weights[p] = 0;
        for (int d = 0; d < dim; d++) {
            weights[p] += q[d] * k[d] * (double)scene->scale;
        }
        largest = weights[p] > largest ? weights[p] : largest;
    }
    double sum = 0;
    for (int p = first; p <= last; p++) {
        weights[p] = exp(weights[p] - largest);
        sum += weights[p];
    }
    size_t value_at = (size_t)((scene->shape.heads + scene->shape.kv_heads + kv_head) * dim);
    for (int d = 0; d < dim; d++) {
        out[d] = 0;
        for (int p = first; p <= last; p++) {
            const float *row = scene->qkv + (size_t)(sequence * LENGTH_MAX + p) * scene->qkv_width;
            out[d] += weights[p] / sum * (double)row[value_at + (size_t)d];
        }
    }
}

/* How far a cache of a format may lead outputs of -3..3 astray: at worst, and on average. */
static const struct {
    double worst;
    double mean;
} tolerances[] = {[KV_F32] = {5e-5, 5e-6}, [KV_BF16] = {0.1, 0.01}, [KV_INT8] = {0.3, 0.02}};

static void check_numbers(const struct scene *scene, const float *outputs)
{
    double expected[512];
    double worst = 0;
    double sum = 0;
    int count = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        for (int p = 0; p < scene->lengths[s]; p += p < 20 ? 1 : 13) {
            for (int i = 0; i < scene->shape.heads * scene->shape.head_dim; i++, count++) {
                int d = i % scene->shape.head_dim;
                if (d == 0) {
                    naive_attention(scene, s, p, i / scene->shape.head_dim, expected);
                }
                size_t at = (size_t)(s * LENGTH_MAX + p) * scene->output_width + (size_t)i;
                double difference = fabs((double)outputs[at] - expected[d]);
                worst = difference > worst || isnan(difference) ? difference : worst;
                sum += difference;
            }
        }
    }
    enum kv_format format = scene->shape.kv_format;
    if (!(worst <= tolerances[format].worst && sum / count <= tolerances[format].mean)) {
        fail_msg("format %d: off by %g at worst, by %g on average", (int)format, worst,
                 sum / count);
    }
}

static const int windows[] = {0, 1, 24, 64};
enum { WINDOWS = sizeof(windows) / sizeof(windows[0]), FORMATS = KV_INT8 };

static const struct attention_shape shapes[] = {
    {.heads = 4, .kv_heads = 2, .head_dim = 64, .block_tokens = 16},
    {.heads = 3, .kv_heads = 3, .head_dim = 6, .block_tokens = 5},
    {.heads = 6, .kv_heads = 2, .head_dim = 40, .block_tokens = 32},
    {.heads = 8, .kv_heads = 1, .head_dim = 128, .block_tokens = 24},
};

static void check_shapes(struct backend *backend)
{
    struct noise noise = noise_open(21);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct scene scene = scene_open(&noise, shapes[i]);
        scramble(&scene, &noise);
        for (int w = 0; w < WINDOWS * FORMATS; w++) {
            scene.window = windows[w % WINDOWS];
            scene.shape.kv_format = (enum kv_format)(KV_F32 + w / WINDOWS);
            float *outputs = run_scene(backend, &scene, LENGTH_MAX, &noise);
            check_numbers(&scene, outputs);
            free(outputs);
        }
        scene_close(&scene);
    }
}

static void test_attention_agrees_with_double_precision(void **state)
{
    (void)state;
    each_backend(2, check_shapes);
}

/* One sequence alone in a step, then with the others. */
static void check_company(struct backend *backend, struct scene *scene, struct noise *noise)
{
    float *together = run_scene(backend, scene, LENGTH_MAX, noise);
    check_numbers(scene, together);
    int lengths[SEQUENCES];
    memcpy(lengths, scene->lengths, sizeof(lengths));
    for (int s = 0; s < SEQUENCES; s++) {
        memset(scene->lengths, 0, sizeof(lengths));
        scene->lengths[s] = lengths[s];
        scramble(scene, noise);
        float *alone = run_scene(backend, scene, LENGTH_MAX, noise);
        size_t at = (size_t)s * LENGTH_MAX * scene->output_width;
        assert_memory_equal(alone + at, together + at,
                            (size_t)lengths[s] * scene->output_width * sizeof(float));
        free(alone);
    }
    memcpy(scene->lengths, lengths, sizeof(lengths));
    free(together);
}

static void check_bidirectional(struct backend *backend)
{
    struct noise noise = noise_open(23);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct scene scene = scene_open(&noise, shapes[i]);
        scramble(&scene, &noise);
        scene.is_bidirectional = true;
        scene.shape.kv_format = KV_F32;
        check_company(backend, &scene, &noise);
        scene_close(&scene);
    }
}

static void test_bidirectional_rows_see_all_of_their_sequence_and_nothing_else(void **state)
{
    (void)state;
    each_backend(2, check_bidirectional);
}

static void check_cuts(struct backend *backend, struct scene *scene, struct noise *noise)
{
    static const int chunks[] = {1, 7, 16, 33, 64, 100, 0, 0};
    float *whole = run_scene(backend, scene, LENGTH_MAX, noise);
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        scramble(scene, noise);
        float *cut = run_scene(backend, scene, chunks[c], noise);
        assert_memory_equal(cut, whole, ROWS_MAX * scene->output_width * sizeof(float));
        free(cut);
    }
    free(whole);
}

static void check_invariance(struct backend *backend)
{
    struct noise noise = noise_open(22);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct scene scene = scene_open(&noise, shapes[i]);
        scramble(&scene, &noise);
        for (enum kv_format format = KV_F32; format <= KV_INT8; format++) {
            scene.shape.kv_format = format;
            scene.window = 0;
            check_cuts(backend, &scene, &noise);
            scene.window = 1 + noise_below(&noise, LENGTH_MAX);
            check_cuts(backend, &scene, &noise);
        }
        scene_close(&scene);
    }
}

static void test_a_row_does_not_depend_on_chunks_blocks_or_neighbours(void **state)
{
    (void)state;
    each_backend(2, check_invariance);
}

/* One row at position 0, where nothing turns: what is left of q is its norm. */
static void check_norms(struct backend *backend)
{
    enum { HEADS = 3, HEAD_DIM = 20, WIDTH = 5 * HEAD_DIM };
    struct noise noise = noise_open(9);
    float qkv[WIDTH];
    float scale[HEADS * HEAD_DIM];
    float actual[WIDTH];
    double expected[HEADS * HEAD_DIM];
    const struct attention_shape shape = {
        .heads = HEADS, .kv_heads = 1, .head_dim = HEAD_DIM, .block_tokens = 16};
    const int32_t arrays[] = {0, 0, 0, 1, 0}; // token, position, row starts, table
    struct step_arrays step = {.buffer = fixture_upload(backend, arrays, sizeof(arrays)),
                               .positions = 1,
                               .row_starts = 2,
                               .block_tables = 4,
                               .rows = 1,
                               .sequences = 1,
                               .blocks_max = 1};
    noise_fill(&noise, qkv, WIDTH);
    noise_fill(&noise, scale, HEADS * HEAD_DIM);
    struct device_buffer *norm = fixture_upload(backend, scale, sizeof(scale));
    struct device_buffer *kv =
        fixture_buffer(backend, backend->ops->kv_block_bytes(backend, &shape));
    for (int is_whole = 0; is_whole < 2; is_whole++) {
        struct device_buffer *device = fixture_upload(backend, qkv, sizeof(qkv));
        struct rope_kv_write_args args = {.step = &step,
                                          .shape = shape,
                                          .q_norm = norm,
                                          .k_norm = norm,
                                          .is_norm_whole = is_whole != 0,
                                          .epsilon = 1e-5f,
                                          .qkv = device,
                                          .kv = kv};
        int width = is_whole != 0 ? HEADS * HEAD_DIM : HEAD_DIM;
        for (int i = 0; i < HEADS * HEAD_DIM; i++) {
            double squares = 0;
            for (int k = i / width * width; k < (i / width + 1) * width; k++) {
                squares += (double)qkv[k] * (double)qkv[k];
            }
            expected[i] = (double)qkv[i] / sqrt(squares / width + 1e-5) * (double)scale[i % width];
        }
        assert_status(backend->ops->rope_kv_write(backend, &args));
        fixture_download(backend, actual, device, sizeof(actual));
        assert_close(actual, expected, HEADS * HEAD_DIM, 1e-5);
        backend->ops->buffer_close(backend, device);
    }
    backend->ops->buffer_close(backend, norm);
    backend->ops->buffer_close(backend, kv);
    backend->ops->buffer_close(backend, step.buffer);
}

static void test_queries_are_normalized_by_head_or_all_together(void **state)
{
    (void)state;
    each_backend(1, check_norms);
}

static void check_refusals(struct backend *backend)
{
    struct step_arrays step = {0};
    static const struct attention_shape bad[] = {
        {.heads = 3, .kv_heads = 2, .head_dim = 8, .block_tokens = 16},
        {.heads = 4, .kv_heads = 2, .head_dim = 7, .block_tokens = 16},
        {.heads = 4, .kv_heads = 2, .head_dim = 1024, .block_tokens = 16},
        {.heads = 4, .kv_heads = 2, .head_dim = 8, .block_tokens = 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct attention_args args = {.step = &step, .shape = bad[i]};
        assert_int_equal(backend->ops->attention(backend, &args), KERNEL_BAD_SHAPE);
        struct rope_kv_write_args rope = {.step = &step, .shape = bad[i]};
        assert_int_equal(backend->ops->rope_kv_write(backend, &rope), KERNEL_BAD_SHAPE);
    }
}

static void test_impossible_shapes_are_refused(void **state)
{
    (void)state;
    each_backend(1, check_refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_agrees_with_double_precision),
        cmocka_unit_test(test_a_row_does_not_depend_on_chunks_blocks_or_neighbours),
        cmocka_unit_test(test_bidirectional_rows_see_all_of_their_sequence_and_nothing_else),
        cmocka_unit_test(test_queries_are_normalized_by_head_or_all_together),
        cmocka_unit_test(test_impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
