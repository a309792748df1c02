/* cpu_experts: mixture layers: which experts a row goes to, their products, and the way back.
 *
 * A row's choice depends on its own scores alone, equal scores go to the lower expert, and its
 * experts are summed in the order of their numbers, so what shares the step does not show.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <math.h>
#include <string.h>

#include "schemas/base/check.h"

enum { EXPERTS_MAX = 1024 };

static inline int32_t *ints_of(const struct device_buffer *buffer)
{
    return buffer->data;
}

static bool is_sound(const struct expert_routing *routing)
{
    return routing->experts > 0 && routing->experts <= EXPERTS_MAX && routing->top_k > 0 &&
           routing->groups > 0 && routing->experts % routing->groups == 0 &&
           routing->groups_top > 0 && routing->groups_top <= routing->groups &&
           routing->top_k <= routing->experts / routing->groups * routing->groups_top;
}

static void score(const struct expert_routing *routing, const float *logits, float *scores)
{
    float max = logits[0];
    for (int e = 1; e < routing->experts; e++) {
        max = logits[e] > max ? logits[e] : max;
    }
    float sum = 0;
    for (int e = 0; e < routing->experts; e++) {
        scores[e] = routing->is_sigmoid ? 1.0f / (1.0f + expf(-logits[e])) : expf(logits[e] - max);
        sum += scores[e];
    }
    for (int e = 0; e < routing->experts && !routing->is_sigmoid; e++) {
        scores[e] /= sum;
    }
}

/* Marks the `count` best of values[0..n), the lower index among equals. A value that is no number
 * is never the best, but taken where nothing else is left, so that there are always `count`. */
static void mark_best(const float *values, int n, int count, bool *is_best)
{
    for (int e = 0; e < n; e++) {
        is_best[e] = false;
    }
    for (int i = 0; i < count; i++) {
        int best = -1;
        for (int e = 0; e < n; e++) {
            if (!is_best[e] && (best < 0 || values[e] > values[best] || isnan(values[best]))) {
                best = e;
            }
        }
        is_best[best] = true;
    }
}

static float group_score(const struct expert_routing *routing, const float *choice)
{
    float first = -INFINITY;
    float second = -INFINITY;
    for (int e = 0; e < routing->experts / routing->groups; e++) {
        if (choice[e] > first) {
            second = first;
            first = choice[e];
        } else if (choice[e] > second) {
            second = choice[e];
        }
    }
    return routing->is_pair_sum ? first + second : first;
}

/* Takes the experts of all but the best groups out of the choice. */
static void limit_groups(const struct expert_routing *routing, float *choice)
{
    float scores[EXPERTS_MAX] = {0};
    bool is_best[EXPERTS_MAX] = {0};
    int size = routing->experts / routing->groups;
    CHECK(size > 0);
    for (int g = 0; g < routing->groups; g++) {
        scores[g] = group_score(routing, choice + (size_t)g * (size_t)size);
    }
    mark_best(scores, routing->groups, routing->groups_top, is_best);
    for (int e = 0; e < routing->experts; e++) {
        choice[e] = is_best[e / size] ? choice[e] : -INFINITY;
    }
}

/* One row's experts, ascending, and their weights. */
static void choose(const struct expert_route_args *args, int row, int32_t *experts, float *weights)
{
    const struct expert_routing *routing = &args->routing;
    size_t count = (size_t)routing->experts;
    float scores[EXPERTS_MAX] = {0};
    float choice[EXPERTS_MAX] = {0};
    bool is_best[EXPERTS_MAX] = {0};
    score(routing, const_floats_of(args->logits) + (size_t)row * count, scores);
    for (size_t e = 0; e < count; e++) {
        choice[e] = scores[e] + (args->bias == NULL ? 0.0f : const_floats_of(args->bias)[e]);
    }
    if (routing->groups_top < routing->groups) {
        limit_groups(routing, choice);
    }
    mark_best(choice, routing->experts, routing->top_k, is_best);
    float sum = 0;
    int chosen = 0;
    for (int e = 0; e < routing->experts; e++) {
        if (is_best[e]) {
            experts[chosen] = e;
            weights[chosen] = scores[e];
            sum += scores[e];
            chosen++;
        }
    }
    float factor = routing->normalizes ? routing->scale / sum : routing->scale;
    for (int k = 0; k < routing->top_k; k++) {
        weights[k] *= factor;
    }
}

static void choose_rows(const void *context, struct row_range rows)
{
    const struct expert_route_args *args = context;
    size_t top_k = (size_t)args->routing.top_k;
    for (int r = rows.first; r < rows.end; r++) {
        choose(args, r, ints_of(args->slots->slots) + (size_t)r * top_k,
               floats_of(args->slots->weights) + (size_t)r * top_k);
    }
}

/* Turns the rows' experts into slots: a counting sort. */
static void place(const struct expert_route_args *args)
{
    const struct expert_slots *slots = args->slots;
    size_t choices = (size_t)args->rows * (size_t)args->routing.top_k;
    int32_t *slot_of = ints_of(slots->slots); // still the expert
    int32_t *starts = ints_of(slots->starts);
    int32_t next[EXPERTS_MAX];
    memset(starts, 0, ((size_t)args->routing.experts + 1) * sizeof(*starts));
    for (size_t i = 0; i < choices; i++) {
        starts[slot_of[i] + 1]++;
    }
    for (int e = 0; e < args->routing.experts; e++) {
        next[e] = starts[e];
        starts[e + 1] += starts[e];
    }
    for (size_t i = 0; i < choices; i++) {
        int32_t slot = next[slot_of[i]]++;
        ints_of(slots->rows)[slot] = (int32_t)(i / (size_t)args->routing.top_k);
        slot_of[i] = slot;
    }
}

enum kernel_status cpu_expert_route(struct backend *backend, const struct expert_route_args *args)
{
    if (!is_sound(&args->routing)) {
        return KERNEL_BAD_SHAPE;
    }
    size_t cost = (size_t)args->routing.experts * (size_t)args->routing.top_k * ELEMENT_COST;
    cpu_each_rows(cpu_of(backend), args->rows, cost, choose_rows, args);
    place(args);
    return KERNEL_OK;
}

enum kernel_status cpu_expert_linear(struct backend *backend, const struct expert_linear_args *args)
{
    const int32_t *starts = ints_of(args->slots->starts);
    enum kernel_status status = KERNEL_OK;
    for (int e = 0; e < args->experts && status == KERNEL_OK; e++) {
        const struct weight *weight = args->weights[e];
        size_t first = (size_t)starts[e];
        int rows = starts[e + 1] - starts[e];
        if (rows > 0) {
            status = cpu_multiply(cpu_of(backend), weight,
                                  const_floats_of(args->input) + first * (size_t)weight->columns,
                                  floats_of(args->output) + first * (size_t)weight->rows, rows);
        }
    }
    return status;
}

static void combine_rows(const void *context, struct row_range rows)
{
    const struct expert_combine_args *args = context;
    size_t width = (size_t)args->width;
    for (int r = rows.first; r < rows.end; r++) {
        float *output = floats_of(args->output) + (size_t)r * width;
        if (args->is_first) {
            memset(output, 0, width * sizeof(*output));
        }
        for (int k = 0; k < args->top_k; k++) {
            size_t at = (size_t)r * (size_t)args->top_k + (size_t)k;
            float weight = const_floats_of(args->slots->weights)[at];
            const float *input =
                const_floats_of(args->input) + (size_t)ints_of(args->slots->slots)[at] * width;
            for (size_t i = 0; i < width; i++) {
                output[i] += weight * input[i];
            }
        }
    }
}

enum kernel_status cpu_expert_combine(struct backend *backend,
                                      const struct expert_combine_args *args)
{
    size_t cost = (size_t)args->width * (size_t)args->top_k * ELEMENT_COST;
    cpu_each_rows(cpu_of(backend), args->rows, cost, combine_rows, args);
    return KERNEL_OK;
}
