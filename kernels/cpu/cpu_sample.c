/* cpu_sample: from a row of logits to a token.
 *
 * Filters work on a heap of candidates, taken in order of probability and, among equals, of id, so
 * that nothing sorts the whole vocabulary. Sums are taken in double and in a fixed order: the same
 * row, parameters, seed and position give the same token in any batch.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/random.h"

struct candidate {
    float weight; // not normalised
    int32_t token;
};

/* A thread's scratch for one row. */
struct sampler {
    const struct cpu_kernels *kernels;
    const struct sample_params *params;
    int vocabulary;
    float *logits;                // [vocabulary], changed by mask and penalties
    float *weights;               // [vocabulary]
    struct candidate *candidates; // [vocabulary]
};

static size_t sampler_bytes(int vocabulary)
{
    return (size_t)vocabulary * (2 * sizeof(float) + sizeof(struct candidate));
}

static void apply_mask(const struct sampler *sampler)
{
    const uint32_t *allowed = sampler->params->allowed;
    for (int t = 0; allowed != NULL && t < sampler->vocabulary; t++) {
        if ((allowed[t / 32] >> (t % 32) & 1u) == 0) {
            sampler->logits[t] = -INFINITY;
        }
    }
}

static void apply_penalties(const struct sampler *sampler)
{
    const struct sample_params *params = sampler->params;
    for (int i = 0; i < params->output_counts_count; i++) {
        struct token_count seen = params->output_counts[i];
        if (seen.count <= 0 || seen.token < 0 || seen.token >= sampler->vocabulary) {
            continue;
        }
        float *logit = &sampler->logits[seen.token];
        if (params->repetition_penalty > 0.0f) {
            *logit = *logit > 0.0f ? *logit / params->repetition_penalty
                                   : *logit * params->repetition_penalty;
        }
        *logit -= params->frequency_penalty * (float)seen.count + params->presence_penalty;
    }
}

static int32_t first_equal(const float *row, int count, float value)
{
    for (int i = 0; i < count; i++) {
        if (row[i] == value) {
            return i;
        }
    }
    return -1;
}

static bool is_ahead(struct candidate a, struct candidate b)
{
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
}

static void sift_down(struct candidate *heap, int count, int at)
{
    struct candidate moved = heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && is_ahead(heap[child + 1], heap[child])) {
            child++;
        }
        if (!is_ahead(heap[child], moved)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Moves the `wanted` first candidates, in order, to the end of the array (the last is the best), or
 * fewer once they weigh `enough`. Gives how many. */
static int take_best(struct candidate *heap, int count, int wanted, double enough)
{
    for (int i = count / 2 - 1; i >= 0; i--) {
        sift_down(heap, count, i);
    }
    double weight = 0;
    int taken = 0;
    while (taken < wanted && taken < count && weight < enough) {
        struct candidate best = heap[0];
        int last = count - 1 - taken;
        heap[0] = heap[last];
        heap[last] = best;
        sift_down(heap, last, 0);
        weight += (double)best.weight;
        taken++;
    }
    return taken;
}

/* Collects what min_p leaves, and of that what top_p can reach at all: tokens lighter than an even
 * share of the tail cannot be in the nucleus. */
static int collect(const struct sampler *sampler, double *total_out)
{
    const struct sample_params *params = sampler->params;
    float least = params->min_p > 0.0f ? params->min_p : 0.0f; // the best token's weight is 1
    double total = 0;
    for (int t = 0; t < sampler->vocabulary; t++) {
        total += sampler->weights[t] >= least ? (double)sampler->weights[t] : 0.0;
    }
    double floor = (double)least;
    if (params->top_k <= 0) {
        double tail = (1.0 - (double)params->top_p) * total / (double)sampler->vocabulary;
        floor = tail > floor ? tail : floor;
    }
    int count = 0;
    for (int t = 0; t < sampler->vocabulary; t++) {
        if ((double)sampler->weights[t] >= floor && sampler->weights[t] > 0.0f) {
            sampler->candidates[count++] =
                (struct candidate){.weight = sampler->weights[t], .token = t};
        }
    }
    *total_out = total;
    return count;
}

static int32_t sample_filtered(const struct sampler *sampler, double random)
{
    const struct sample_params *params = sampler->params;
    double total = 0;
    int count = collect(sampler, &total);
    bool has_top_p = params->top_p > 0.0f && params->top_p < 1.0f;
    int wanted = params->top_k > 0 && params->top_k < count ? params->top_k : count;
    double enough = has_top_p && params->top_k <= 0 ? (double)params->top_p * total : HUGE_VAL;
    int taken = take_best(sampler->candidates, count, wanted, enough);
    const struct candidate *best = sampler->candidates + count - 1;
    double weight = 0;
    for (int i = 0; i < taken; i++) {
        weight += (double)best[-i].weight;
    }
    if (has_top_p && params->top_k > 0) { // the nucleus of what top_k left
        enough = (double)params->top_p * weight;
        weight = 0;
        int nucleus = 0;
        while (nucleus < taken && weight < enough) {
            weight += (double)best[-nucleus].weight;
            nucleus++;
        }
        taken = nucleus;
    }
    double left = random * weight;
    for (int i = 0; i < taken; i++) {
        left -= (double)best[-i].weight;
        if (left < 0) {
            return best[-i].token;
        }
    }
    return best[-(taken - 1)].token; // rounding at the very end
}

static int32_t sample_plain(const struct sampler *sampler, double random, double total)
{
    double left = random * total;
    int32_t token = -1;
    for (int32_t t = 0; t < sampler->vocabulary; t++) {
        if (sampler->weights[t] > 0.0f) {
            token = t;
            left -= (double)sampler->weights[t];
            if (left < 0) {
                break;
            }
        }
    }
    return token;
}

static int32_t sample_row(const struct sampler *sampler, const float *row)
{
    const struct sample_params *params = sampler->params;
    float max = 0;
    if (!sampler->kernels->row_max(row, sampler->vocabulary, &max)) {
        return -1;
    }
    if (params->allowed != NULL || params->output_counts_count > 0) {
        memcpy(sampler->logits, row, (size_t)sampler->vocabulary * sizeof(float));
        apply_penalties(sampler);
        apply_mask(sampler);
        row = sampler->logits;
        (void)sampler->kernels->row_max(row, sampler->vocabulary, &max); // masked ones: not finite
        if (!isfinite(max)) {
            return -1; // the mask allows nothing
        }
    }
    if (params->temperature <= 0.0f) {
        return first_equal(row, sampler->vocabulary, max);
    }
    double total = sampler->kernels->row_exp(row, sampler->weights, sampler->vocabulary, max,
                                             1.0f / params->temperature);
    double random = random_of(params->seed, params->position);
    bool has_filter =
        params->top_k > 0 || params->min_p > 0.0f || (params->top_p > 0.0f && params->top_p < 1.0f);
    return has_filter ? sample_filtered(sampler, random) : sample_plain(sampler, random, total);
}

static float logprob_of(const struct sampler *sampler, const float *row, int32_t token)
{
    if (token < 0) {
        return 0.0f;
    }
    float max = 0;
    (void)sampler->kernels->row_max(row, sampler->vocabulary, &max);
    double total = sampler->kernels->row_exp(row, sampler->weights, sampler->vocabulary, max, 1.0f);
    return (float)((double)row[token] - (double)max - log(total));
}

struct sample_job {
    struct cpu_backend *cpu;
    const struct sample_args *args;
};

static void run_sample(void *context, int index, int thread)
{
    const struct sample_job *job = context;
    const struct sample_args *args = job->args;
    size_t vocabulary = (size_t)args->vocabulary;
    float *scratch = threads_scratch(job->cpu->threads, thread);
    struct sampler sampler = {
        .kernels = job->cpu->kernels,
        .params = &args->params[index],
        .vocabulary = args->vocabulary,
        .logits = scratch,
        .weights = scratch + vocabulary,
        .candidates = (struct candidate *)(scratch + 2 * vocabulary),
    };
    const float *row = const_floats_of(args->logits) + (size_t)index * vocabulary;
    int32_t token = sample_row(&sampler, row);
    ((int32_t *)args->tokens->data)[index] = token;
    if (args->logprobs != NULL) {
        floats_of(args->logprobs)[index] = logprob_of(&sampler, row, token);
    }
}

enum kernel_status cpu_sample(struct backend *backend, const struct sample_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    if (args->vocabulary <= 0) {
        return KERNEL_BAD_SHAPE;
    }
    if (!threads_reserve(cpu->threads, sampler_bytes(args->vocabulary))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    struct sample_job job = {.cpu = cpu, .args = args};
    size_t cost = (size_t)args->rows * (size_t)args->vocabulary * 2 * ELEMENT_COST;
    threads_run(cpu->threads, run_sample, &job, args->rows, cost);
    return KERNEL_OK;
}
