/* sample: from a row of logits to a token, one block a row, without sorting the vocabulary.
 *
 * Ordered by weight, and among equals by id, every filter keeps a prefix of the tokens: min_p those
 * above a weight, top_k the first k, top_p the first that together have enough. So does the choice
 * itself: it is the token at which the running sum passes a random share of what is kept. Each is
 * one question: at which token does a running sum, of weights or of ones, pass a bound? It is
 * answered from the top of the weights' 30 bits down, ten at a time: a histogram of the sums by
 * these bits in shared memory, the bin in which the bound lies, then the next ten bits of the
 * tokens in that bin. Three passes over the row, and one more to find the token among equal
 * weights.
 *
 * Weights are e^((logit - max) / temperature), the greatest 1. Sums are integers, in units of
 * 2^-40: adding them in any order gives the same sum, so that atomics are as good as a fixed order
 * and a row gives the same token in any batch. A vocabulary of 2^20 fits into 61 bits. The tokens
 * are the CPU back end's, which adds doubles, unless a bound falls within that rounding.
 *
 * Every pass reads the row again and computes its weights again: the row, 0.5 MB at 128 k tokens,
 * is likely still in the second-level cache (50 MB and more, NVIDIA H100 white paper), and weights
 * would be written once and read as often. Greedy rows need one pass, and one for a log
 * probability.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_kernels.h"

enum {
    THREADS = CUDA_SAMPLE_THREADS,
    WARPS = THREADS / WARP_LANES,
    BITS = 10, // of a pass
    BINS = 1 << BITS,
    TOP_SHIFT = 2 * BITS, // weights are below 2, so their bits below 2^30
};

#define MASS_ONE 0x1p40f

/* A place in the order of the tokens. */
struct place {
    uint32_t key;            // bits of its weight
    unsigned long long rest; // the bound, less what is before the tokens of this weight
    unsigned long long before;
};

/* One number of a row. */
struct row_source {
    const float *logits;
    int vocabulary;
    float most;
    float factor; // 1 / temperature

    __device__ __forceinline__ float weight(int token) const
    {
        return expf((logits[token] - most) * factor);
    }
};

static __device__ __forceinline__ unsigned long long mass_of(float weight)
{
    return (unsigned long long)(weight * MASS_ONE);
}

/* Over the block, the same in every thread. */
static __device__ __forceinline__ unsigned long long block_sum(unsigned long long value)
{
    SHARED(unsigned long long, sums, WARPS);
    value = warp_sum(value);
    __syncthreads(); // sums may still be read from the last time
    if (lane_index() == 0) {
        sums[warp_index()] = value;
    }
    __syncthreads();
    value = 0;
    for (int i = 0; i < WARPS; i++) {
        value += sums[i];
    }
    return value;
}

/* The greatest logit and its lowest token; false in is_finite if one is no number or not finite. */
struct best {
    float value;
    int token;
    int is_finite;
};

static __device__ __forceinline__ best better(best a, best b)
{
    bool is_a = a.value > b.value || (a.value == b.value && a.token < b.token);
    best result = is_a ? a : b;
    result.is_finite = a.is_finite && b.is_finite;
    return result;
}

static __device__ __noinline__ best find_best(const float *logits, int vocabulary)
{
    SHARED(best, bests, WARPS);
    best mine = {-INFINITY, vocabulary, 1};
    for (int t = (int)threadIdx.x; t < vocabulary; t += THREADS) {
        float value = logits[t];
        mine.is_finite = mine.is_finite && isfinite(value);
        if (value > mine.value) {
            mine.value = value;
            mine.token = t;
        }
    }
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
        best other;
        other.value = __shfl_xor_sync(WARP_ALL, mine.value, bits);
        other.token = __shfl_xor_sync(WARP_ALL, mine.token, bits);
        other.is_finite = __shfl_xor_sync(WARP_ALL, mine.is_finite, bits);
        mine = better(mine, other);
    }
    __syncthreads();
    if (lane_index() == 0) {
        bests[warp_index()] = mine;
    }
    __syncthreads();
    mine = bests[0];
    for (int i = 1; i < WARPS; i++) {
        mine = better(mine, bests[i]);
    }
    return mine;
}

/* The row with penalties, and minus infinity where the mask does not allow a token. */
static __device__ __forceinline__ void edit_row(const kernel_sample_row &row, const float *logits,
                                                int vocabulary)
{
    for (int t = (int)threadIdx.x; t < vocabulary; t += THREADS) {
        row.edited[t] = logits[t];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < row.counts_count; i += THREADS) {
        kernel_token_count seen = row.counts[i];
        if (seen.count <= 0 || seen.token < 0 || seen.token >= vocabulary) {
            continue;
        }
        float logit = row.edited[seen.token];
        if (row.repetition_penalty > 0.0f) {
            logit = logit > 0.0f ? logit / row.repetition_penalty : logit * row.repetition_penalty;
        }
        row.edited[seen.token] =
            logit - (row.frequency_penalty * (float)seen.count + row.presence_penalty);
    }
    __syncthreads();
    for (int t = (int)threadIdx.x; row.allowed != nullptr && t < vocabulary; t += THREADS) {
        if ((row.allowed[t / 32] >> (t % 32) & 1u) == 0) {
            row.edited[t] = -INFINITY;
        }
    }
    __syncthreads();
}

/* The sum of the weights that are at least `least`, and how many there are. */
struct kept {
    unsigned long long mass;
    unsigned long long count;
};

static __device__ __noinline__ kept keep(const row_source &source, float least)
{
    kept mine = {0, 0};
    for (int t = (int)threadIdx.x; t < source.vocabulary; t += THREADS) {
        float weight = source.weight(t);
        if (weight >= least && weight > 0.0f) {
            mine.mass += mass_of(weight);
            mine.count++;
        }
    }
    mine.mass = block_sum(mine.mass);
    mine.count = block_sum(mine.count);
    return mine;
}

/* The bin, from the top, in which the running sum passes `bound`, which becomes what is left of it
 * there. One warp; the same in every lane. */
static __device__ __forceinline__ int pass_bins(const unsigned long long *bins,
                                                unsigned long long &bound)
{
    int lane = lane_index();
#pragma unroll 1
    for (int top = BINS - WARP_LANES; top >= 0; top -= WARP_LANES) {
        unsigned long long own = bins[top + WARP_LANES - 1 - lane]; // lane 0 has the highest
        unsigned long long sum = own;
        for (int delta = 1; delta < WARP_LANES; delta *= 2) {
            unsigned long long lower = __shfl_up_sync(WARP_ALL, sum, delta);
            sum += lane >= delta ? lower : 0;
        }
        unsigned passed = __ballot_sync(WARP_ALL, sum > bound);
        if (passed != 0) {
            int first = __ffs((int)passed) - 1;
            bound -= __shfl_sync(WARP_ALL, sum - own, first);
            return top + WARP_LANES - 1 - first;
        }
        bound -= __shfl_sync(WARP_ALL, sum, WARP_LANES - 1);
    }
    return 0; // the bound is below the sum of all
}

/* The weight at which the running sum over the tokens in their order, of masses or of ones, passes
 * `bound`, which is below the sum of all. */
static __device__ __noinline__ place find_weight(const row_source &source, bool is_count,
                                                 unsigned long long bound)
{
    SHARED(unsigned long long, bins, BINS);
    SHARED(unsigned long long, rest, 1);
    SHARED(uint32_t, found, 1);
    place at = {0, bound, 0};
    uint32_t mask = 0;
    for (int shift = TOP_SHIFT; shift >= 0; shift -= BITS) {
        __syncthreads();
        for (int i = (int)threadIdx.x; i < BINS; i += THREADS) {
            bins[i] = 0;
        }
        __syncthreads();
        for (int t = (int)threadIdx.x; t < source.vocabulary; t += THREADS) {
            float weight = source.weight(t);
            uint32_t key = __float_as_uint(weight);
            unsigned long long share = is_count ? 1 : mass_of(weight);
            if (weight > 0.0f && (key & mask) == at.key && share > 0) {
                atomicAdd(&bins[key >> shift & (BINS - 1)], share);
            }
        }
        __syncthreads();
        if (warp_index() == 0) {
            unsigned long long left = at.rest;
            uint32_t bin = (uint32_t)pass_bins(bins, left);
            if (lane_index() == 0) {
                *found = at.key | bin << shift;
                *rest = left;
            }
        }
        __syncthreads();
        at.key = *found;
        at.rest = *rest;
        mask |= (uint32_t)(BINS - 1) << shift;
    }
    at.before = bound - at.rest;
    return at;
}

/* What a token counts for in the order of ids. */
struct by_weight { // its mass
    const row_source &source;
    __device__ __forceinline__ unsigned long long operator()(int token) const
    {
        return mass_of(source.weight(token));
    }
};

struct by_key { // one, if it has this weight
    const row_source &source;
    uint32_t key;
    __device__ __forceinline__ unsigned long long operator()(int token) const
    {
        return __float_as_uint(source.weight(token)) == key ? 1 : 0;
    }
};

/* The token, in the order of ids, at which the running sum of share(token) passes `bound`, which is
 * below the sum of all. Each round gives every warp an equal part of what is left and goes on in
 * the part in which it happens, until that is one token. */
template <typename Share>
static __device__ __noinline__ int find_token(int vocabulary, unsigned long long bound, Share share)
{
    SHARED(unsigned long long, parts, WARPS);
    int first = 0;
    int count = vocabulary;
    while (count > 1) {
        int part = (count + WARPS - 1) / WARPS;
        int begin = warp_index() * part;
        int end = min(begin + part, count);
        unsigned long long sum = 0;
        for (int i = begin + lane_index(); i < end; i += WARP_LANES) {
            sum += share(first + i);
        }
        sum = warp_sum(sum);
        __syncthreads(); // parts may still be read from the last time
        if (lane_index() == 0) {
            parts[warp_index()] = sum;
        }
        __syncthreads();
        int chosen = 0;
        while (chosen < WARPS - 1 && parts[chosen] <= bound) {
            bound -= parts[chosen];
            chosen++;
        }
        first += chosen * part;
        count = min(part, count - chosen * part);
    }
    return first;
}

/* A share of a sum, rounded down to its units. */
static __device__ __forceinline__ unsigned long long share_of(double share, unsigned long long sum)
{
    unsigned long long bound = (unsigned long long)(share * (double)sum);
    return bound < sum ? bound : sum - 1;
}

/* The mass of the tokens up to the one that reaches top_p of `mass`. */
static __device__ __forceinline__ unsigned long long nucleus(const row_source &source, float top_p,
                                                             unsigned long long mass)
{
    double enough = ceil((double)top_p * (double)mass);
    unsigned long long bound = enough < 1 ? 0 : (unsigned long long)enough - 1;
    place at = find_weight(source, false, bound < mass ? bound : mass - 1);
    unsigned long long own = mass_of(__uint_as_float(at.key));
    return at.before + (at.rest / own + 1) * own; // whole tokens of this weight
}

static __device__ __forceinline__ int sample_filtered(const row_source &source,
                                                      const kernel_sample_row &row)
{
    kept all = keep(source, row.min_p);
    if (row.top_k > 0 && (unsigned long long)row.top_k < all.count) {
        unsigned long long last = (unsigned long long)row.top_k - 1;
        place at = find_weight(source, true, last);
        float weight = __uint_as_float(at.key);
        unsigned long long equals = at.rest + 1; // of this weight that are kept
        kept heavier = keep(source, __uint_as_float(at.key + 1));
        all.mass = heavier.mass + equals * mass_of(weight);
    }
    if (row.top_p > 0.0f && row.top_p < 1.0f) {
        unsigned long long mass = nucleus(source, row.top_p, all.mass);
        all.mass = mass < all.mass ? mass : all.mass;
    }
    place at = find_weight(source, false, share_of(row.random, all.mass));
    unsigned long long index = at.rest / mass_of(__uint_as_float(at.key));
    return find_token(source.vocabulary, index, by_key{source, at.key});
}

static __device__ __forceinline__ int sample_row(const kernel_sample_row &row, const float *logits,
                                                 int vocabulary, best &raw)
{
    raw = find_best(logits, vocabulary);
    if (!raw.is_finite) {
        return -1;
    }
    best top = raw;
    if (row.edited != nullptr) {
        edit_row(row, logits, vocabulary);
        logits = row.edited;
        top = find_best(logits, vocabulary); // masked ones are not finite
        if (!isfinite(top.value)) {
            return -1; // the mask allows nothing
        }
    }
    if (row.temperature <= 0.0f) {
        return top.token;
    }
    row_source source = {logits, vocabulary, top.value, 1.0f / row.temperature};
    if (row.top_k > 0 || row.min_p > 0.0f || (row.top_p > 0.0f && row.top_p < 1.0f)) {
        return sample_filtered(source, row);
    }
    unsigned long long mass = keep(source, 0.0f).mass;
    return find_token(vocabulary, share_of(row.random, mass), by_weight{source});
}

KERNEL(sample_kernel, struct sample_kernel_args, CUDA_SAMPLE_THREADS)
{
    int index = (int)blockIdx.x;
    const kernel_sample_row &row =
        args.groups[index / CUDA_SAMPLE_GROUP][index % CUDA_SAMPLE_GROUP];
    const float *logits = args.logits + (int64_t)index * args.vocabulary;
    best raw;
    int token = sample_row(row, logits, args.vocabulary, raw);
    if (threadIdx.x == 0) {
        args.tokens[index] = token;
    }
    if (args.logprobs == nullptr) {
        return;
    }
    row_source source = {logits, args.vocabulary, raw.value, 1.0f};
    double mass = token < 0 ? 1 : (double)keep(source, 0.0f).mass;
    if (threadIdx.x == 0) {
        args.logprobs[index] =
            token < 0 ? 0.0f
                      : (float)((double)logits[token] - (double)raw.value - log(mass * 0x1p-40));
    }
}
