/* attention_kernel: causal attention of some rows over the paged cache, for one key-value head.
 *
 * Every query (one row, one head) walks over the keys in steps of four groups of sixteen, counted
 * from position 0, and keeps a running maximum, sum and output. Scores and sums are taken key by
 * key and dimension by dimension in the same order whatever queries share the call; a step that
 * lies wholly ahead of a query, or wholly behind its window, is not taken for it, and masked keys
 * of the steps at its ends weigh exactly 0.
 */
#include "kernels/cpu/attention_kernel.h"

#include <math.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/int_vector.h"

enum { GROUPS = ATTENTION_KEYS / LANES, VECTORS = 4 };

/* Queries of a tile, times GROUPS or VECTORS sums in registers, and a case for each number. */
#if defined(KERNEL_AVX512)
enum { ROWS = 6 };
#define EACH_ROWS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#else
enum { ROWS = 1 };
#define EACH_ROWS(CASE) CASE(1)
#endif

/* The queries [first, end) of a task that a step is taken for. */
struct range {
    int first;
    int end;
};

/* The scratch of a task, per query. */
struct queries {
    float *q;       // [queries, head_dim], scaled
    float *outputs; // [queries, padded], before the division
    float *scores;  // [queries, ATTENTION_KEYS]
    float *weights; // [queries, LANES], sums of e^score lane by lane
    float *max;     // [queries]
    float *keys;    // [GROUPS, head_dim, LANES], of a step, where the cache is not f32
    float *values;  // [ATTENTION_KEYS, padded], likewise
    int head_dim;
    int value_dim;
    int padded; // value_dim in whole vectors
    int count;
};

/* One step's keys. */
struct step {
    const float *keys[GROUPS];   // [head_dim, LANES]
    const float *values[GROUPS]; // [LANES, padded]
    int position[GROUPS];        // of the group's first key
    int valid[GROUPS];           // keys of the group that lie in its block
    int groups;                  // that some query of the task needs; 0: none is left
    bool is_whole;               // GROUPS groups of LANES keys
    int position_end;            // past the step's last key
    int position_max;            // the last query's
};

static struct queries queries_start(const struct attention_task *task)
{
    size_t most = ATTENTION_QUERIES_MAX;
    size_t head_dim = (size_t)task->head_dim;
    struct queries queries = {.head_dim = task->head_dim,
                              .value_dim = task->value_dim,
                              .padded = kv_pad(task->value_dim)};
    queries.count = task->rows * task->group;
    queries.outputs = task->scratch;
    queries.scores = queries.outputs + most * (size_t)queries.padded;
    queries.weights = queries.scores + most * ATTENTION_KEYS;
    queries.q = queries.weights + most * LANES;
    queries.keys = queries.q + most * head_dim;
    queries.values = queries.keys + ATTENTION_KEYS * head_dim;
    queries.max = queries.values + (size_t)ATTENTION_KEYS * (size_t)queries.padded;
    size_t count = (size_t)queries.count;
    memset(queries.outputs, 0, count * (size_t)queries.padded * sizeof(float));
    memset(queries.weights, 0, count * LANES * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        size_t row = i / (size_t)task->group;
        size_t head = i % (size_t)task->group;
        const float *q = task->q + row * task->q_stride + head * head_dim;
        for (size_t d = 0; d < head_dim; d++) {
            queries.q[i * head_dim + d] = q[d] * task->scale;
        }
        queries.max[i] = -INFINITY;
    }
    return queries;
}

/* Makes `count` numbers of the cache f32, LANES by LANES. `scales`: those of the lanes of bytes, or
 * of all of them where `is_row`. */
INLINE void expand(const struct attention_task *task, const char *source, size_t count,
                   const float *scales, bool is_row, float *target)
{
    if (task->layout.format == KV_BF16) {
        for (size_t i = 0; i < count; i += LANES) {
            vec_store(target + i, vec_load_bf16((const uint16_t *)(const void *)source + i));
        }
        return;
    }
    struct vec scale = is_row ? vec_set1(*scales) : vec_load(scales);
    for (size_t i = 0; i < count; i += LANES) {
        struct vec x = ints_to_vec(ints_load_bytes((const int8_t *)source + i));
        vec_store(target + i, vec_mul(x, scale));
    }
}

/* Makes one group of keys and their values f32. */
static void expand_group(const struct attention_task *task, const struct queries *queries,
                         struct step *step, int g, const char *block, int lane)
{
    const struct kv_layout *layout = &task->layout;
    size_t element = kv_element_bytes(layout->format);
    size_t head_dim = (size_t)queries->head_dim;
    size_t padded = (size_t)queries->padded;
    const float *key_scales = (const float *)(const void *)(block + layout->key_scales) + lane;
    const float *value_scales = (const float *)(const void *)(block + layout->value_scales) + lane;
    float *keys = queries->keys + (size_t)g * head_dim * LANES;
    float *values = queries->values + (size_t)g * LANES * padded;
    expand(task, block + (size_t)lane * head_dim * element, head_dim * LANES, key_scales, false,
           keys);
    const char *source = block + layout->values + (size_t)lane * padded * element;
    for (int i = 0; i < step->valid[g]; i++) {
        expand(task, source + (size_t)i * padded * element, padded, value_scales + i, true,
               values + (size_t)i * padded);
    }
    step->keys[g] = keys;
    step->values[g] = values;
}

/* The step whose first group is number `group_first` of the sequence. */
static struct step step_at(const struct attention_task *task, const struct queries *queries,
                           int group_first)
{
    int groups_per_block = kv_pad(task->block_tokens) / LANES;
    struct step step = {.position_max = task->positions[task->rows - 1], .is_whole = true};
    for (int g = 0; g < GROUPS; g++) {
        int block = (group_first + g) / groups_per_block;
        int lane = (group_first + g) % groups_per_block * LANES;
        int position = block * task->block_tokens + lane;
        if (position > step.position_max) {
            break;
        }
        const char *head = task->kv + (size_t)task->block_table[block] * task->block_stride;
        const float *keys = (const float *)(const void *)head;
        const float *values = (const float *)(const void *)(head + task->layout.values);
        step.keys[g] = keys + (size_t)lane * (size_t)queries->head_dim;
        step.values[g] = values + (size_t)lane * (size_t)queries->padded;
        step.position[g] = position;
        int left = task->block_tokens - lane;
        step.valid[g] = left < LANES ? left : LANES;
        step.position_end = position + step.valid[g];
        step.is_whole = step.is_whole && step.valid[g] == LANES;
        step.groups = g + 1;
        if (task->layout.format == KV_BF16 || task->layout.format == KV_INT8) {
            expand_group(task, queries, &step, g, head, lane);
        }
    }
    step.is_whole = step.is_whole && step.groups == GROUPS;
    return step;
}

/* Scores of `rows` queries against `groups` groups of keys, in registers. */
INLINE void score_tile(const struct queries *queries, int first, const int rows,
                       const float *const *keys, const int groups, float *scores)
{
    struct vec sums[ROWS * GROUPS];
    size_t head_dim = (size_t)queries->head_dim;
    const float *q = queries->q + (size_t)first * head_dim;
#pragma GCC unroll 24
    for (int i = 0; i < rows * groups; i++) {
        sums[i] = vec_zero();
    }
    for (size_t d = 0; d < head_dim; d++) {
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            struct vec key = vec_load(keys[g] + d * LANES);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                struct vec x = vec_set1(q[(size_t)r * head_dim + d]);
                sums[r * groups + g] = vec_fma(x, key, sums[r * groups + g]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            vec_store(scores + (size_t)(first + r) * ATTENTION_KEYS + g * LANES,
                      sums[r * groups + g]);
        }
    }
}

INLINE void score_rows(const struct queries *queries, int first, const int rows,
                       const struct step *step)
{
    if (step->groups == GROUPS) {
        score_tile(queries, first, rows, step->keys, GROUPS, queries->scores);
        return;
    }
    for (int g = 0; g < step->groups; g++) {
        score_tile(queries, first, rows, step->keys + g, 1, queries->scores + g * LANES);
    }
}

/* How many of `left` queries the next tile takes: tiles are as even as can be. */
static int tile_rows(int left)
{
    int tiles = (left + ROWS - 1) / ROWS;
    return (left + tiles - 1) / tiles;
}

static void score(const struct queries *queries, struct range range, const struct step *step)
{
    for (int i = range.first; i < range.end;) {
        int rows = tile_rows(range.end - i);
        switch (rows) {
#define SCORE_CASE(n)                                                                              \
    case n:                                                                                        \
        score_rows(queries, i, n, step);                                                           \
        break;
            EACH_ROWS(SCORE_CASE)
        default:
            break;
        }
        i += rows;
    }
}

/* Whether the query at `position` sees all keys of a whole step. */
static bool sees_all(const struct step *step, int position, int window)
{
    return step->is_whole && position >= step->position_end - 1 &&
           position - window < step->position[0];
}

/* Masks what the query at `position` does not see of a group: its future, what lies outside the
 * block, and what its window has passed. */
static void mask_group(float *scores, const struct step *step, int g, int position, int window)
{
    int seen = position - step->position[g] + 1;
    int passed = seen - window;
    seen = seen < step->valid[g] ? seen : step->valid[g];
    for (int lane = 0; lane < passed && lane < LANES; lane++) {
        scores[lane] = -INFINITY;
    }
    for (int lane = seen > 0 ? seen : 0; lane < LANES; lane++) {
        scores[lane] = -INFINITY;
    }
}

/* Makes what a query has so far relative to a new maximum. */
static void rescale(const struct queries *queries, int i, float max_new)
{
    struct vec factor = vec_exp(vec_set1(queries->max[i] - max_new));
    float *weights = queries->weights + (size_t)i * LANES;
    float *outputs = queries->outputs + (size_t)i * (size_t)queries->padded;
    queries->max[i] = max_new;
    vec_store(weights, vec_mul(vec_load(weights), factor));
    for (int d = 0; d < queries->padded; d += LANES) {
        vec_store(outputs + d, vec_mul(vec_load(outputs + d), factor));
    }
}

/* Masks one query's scores, turns them into weights and rescales what it has so far. */
static void weigh(const struct queries *queries, int i, const struct step *step, int position,
                  int window)
{
    float *scores = queries->scores + (size_t)i * ATTENTION_KEYS;
    struct vec max = vec_set1(queries->max[i]);
    bool is_masked = !sees_all(step, position, window);
    for (int g = 0; g < step->groups; g++) {
        if (is_masked) {
            mask_group(scores + g * LANES, step, g, position, window);
        }
        max = vec_max(max, vec_load(scores + g * LANES));
    }
    float max_new = vec_max_lane(max);
    if (max_new != queries->max[i]) { // else all factors are 1
        rescale(queries, i, max_new);
    }
    float *weights = queries->weights + (size_t)i * LANES;
    struct vec sum = vec_load(weights);
    for (int g = 0; g < step->groups; g++) {
        struct vec weight = vec_exp(vec_sub(vec_load(scores + g * LANES), vec_set1(max_new)));
        vec_store(scores + g * LANES, weight);
        sum = vec_add(sum, weight);
    }
    vec_store(weights, sum);
}

/* sums[r][v] += weights[r] * value[v] */
INLINE void value_add(struct vec *sums, const float *weights, const float *value, const int rows,
                      const int vectors)
{
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        struct vec x = vec_set1(weights[r * ATTENTION_KEYS]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[r * vectors + v] = vec_fma(x, vec_load(value + v * LANES), sums[r * vectors + v]);
        }
    }
}

/* Adds the step's weighted values to `vectors` vectors of `rows` outputs, in registers. */
INLINE void value_tile(const struct queries *queries, int first, const int rows, int d,
                       const int vectors, const struct step *step)
{
    struct vec sums[ROWS * VECTORS];
    size_t padded = (size_t)queries->padded;
    const float *weights = queries->scores + (size_t)first * ATTENTION_KEYS;
    float *outputs = queries->outputs + (size_t)first * padded + d;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) {
        sums[i] = vec_load(outputs + (size_t)(i / vectors) * padded + i % vectors * LANES);
    }
    for (int g = 0; g < step->groups; g++) {
        int ahead = step->position_max - step->position[g] + 1;
        int keys = ahead < step->valid[g] ? ahead : step->valid[g];
        for (int key = 0; key < keys; key++) {
            const float *value = step->values[g] + (size_t)key * padded + d;
            value_add(sums, weights + g * LANES + key, value, rows, vectors);
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) {
        vec_store(outputs + (size_t)(i / vectors) * padded + i % vectors * LANES, sums[i]);
    }
}

INLINE void value_rows(const struct queries *queries, int first, const int rows,
                       const struct step *step)
{
    int d = 0;
    for (; d + VECTORS * LANES <= queries->padded; d += VECTORS * LANES) {
        value_tile(queries, first, rows, d, VECTORS, step);
    }
    for (; d < queries->padded; d += LANES) {
        value_tile(queries, first, rows, d, 1, step);
    }
}

static void add_values(const struct queries *queries, struct range range, const struct step *step)
{
    for (int i = range.first; i < range.end;) {
        int rows = tile_rows(range.end - i);
        switch (rows) {
#define VALUE_CASE(n)                                                                              \
    case n:                                                                                        \
        value_rows(queries, i, n, step);                                                           \
        break;
            EACH_ROWS(VALUE_CASE)
        default:
            break;
        }
        i += rows;
    }
}

static void queries_finish(const struct queries *queries, const struct attention_task *task)
{
    for (int i = 0; i < queries->count; i++) {
        float sum = vec_sum(vec_load(queries->weights + (size_t)i * LANES));
        const float *outputs = queries->outputs + (size_t)i * (size_t)queries->padded;
        float *target = task->output + (size_t)(i / task->group) * task->output_stride +
                        (size_t)(i % task->group) * (size_t)queries->value_dim;
        for (int d = 0; d < queries->value_dim; d++) {
            target[d] = outputs[d] / sum;
        }
    }
}

/* The number of the group at which the first row's window begins, back to the start of a step. */
static int group_start(const struct attention_task *task)
{
    int position = task->positions[0] - task->window + 1;
    if (position <= 0) {
        return 0;
    }
    int groups_per_block = kv_pad(task->block_tokens) / LANES;
    int group =
        position / task->block_tokens * groups_per_block + position % task->block_tokens / LANES;
    return group / GROUPS * GROUPS;
}

void KERNEL_NAME(attention)(const struct attention_task *task)
{
    struct queries queries = queries_start(task);
    int row = 0;     // the first that still has keys ahead
    int row_end = 0; // past the last whose window has begun
    for (int group = group_start(task);; group += GROUPS) {
        struct step step = step_at(task, &queries, group);
        if (step.groups == 0) {
            break;
        }
        while (task->positions[row] < step.position[0]) {
            row++;
        }
        while (row_end < task->rows &&
               task->positions[row_end] - task->window + 1 < step.position_end) {
            row_end++;
        }
        struct range range = {row * task->group, row_end * task->group};
        score(&queries, range, &step);
        for (int i = row; i < row_end; i++) {
            for (int head = 0; head < task->group; head++) {
                weigh(&queries, i * task->group + head, &step, task->positions[i], task->window);
            }
        }
        add_values(&queries, range, &step);
    }
    queries_finish(&queries, task);
}
