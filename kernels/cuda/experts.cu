/* experts: which experts a row goes to, their places, and the way back.
 *
 * A row's choice is one warp's: lane l has experts l, l + 32, ... What shares the step does not
 * show: equal scores go to the lower expert, rows of an expert stand in the order of their numbers,
 * and a row's experts are added in the order of theirs.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/expert_kernels.h"

enum { THREADS = CUDA_EXPERT_THREADS, WARPS = THREADS / WARP_LANES };

/* For sorting: as the float, with what is no number below all. */
static __device__ __forceinline__ float ranked(float value)
{
    return isnan(value) ? -INFINITY : value;
}

/* Bit i of a lane: number lane + 32 i is among the `count` best of values[0..n), the lower number
 * among equals; what is no number comes last. */
static __device__ __forceinline__ uint32_t mark_best(const float *values, int n, int count)
{
    uint32_t taken = 0;
    for (int round = 0; round < count; round++) {
        float best = -INFINITY;
        int at = n;
        for (int i = lane_index(); i < n; i += WARP_LANES) {
            bool is_free = (taken >> (i / WARP_LANES) & 1u) == 0;
            if (is_free && (at == n || ranked(values[i]) > best)) {
                best = ranked(values[i]);
                at = i;
            }
        }
        for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
            float other = __shfl_xor_sync(WARP_ALL, best, bits);
            int other_at = __shfl_xor_sync(WARP_ALL, at, bits);
            if (other > best || (other == best && other_at < at)) {
                best = other;
                at = other_at;
            }
        }
        if (at % WARP_LANES == lane_index()) {
            taken |= 1u << (at / WARP_LANES);
        }
    }
    return taken;
}

static __device__ __forceinline__ void score_row(const expert_choose_kernel_args &args,
                                                 const float *logits, float *scores, float *choice)
{
    float most = -INFINITY;
    for (int e = lane_index(); e < args.experts; e += WARP_LANES) {
        most = fmaxf(most, logits[e]);
    }
    most = warp_max(most);
    float sum = 0;
    for (int e = lane_index(); e < args.experts; e += WARP_LANES) {
        scores[e] = args.is_sigmoid ? 1.0f / (1.0f + expf(-logits[e])) : expf(logits[e] - most);
        sum += scores[e];
    }
    float inverse = args.is_sigmoid ? 1.0f : 1.0f / warp_sum(sum);
    for (int e = lane_index(); e < args.experts; e += WARP_LANES) {
        scores[e] *= inverse;
        choice[e] = scores[e] + (args.bias == nullptr ? 0.0f : args.bias[e]);
    }
    __syncwarp();
}

/* Takes the experts of all but the best groups out of the choice. */
static __device__ __forceinline__ void limit_groups(const expert_choose_kernel_args &args,
                                                    float *groups, float *choice)
{
    int size = args.experts / args.groups;
    for (int g = lane_index(); g < args.groups; g += WARP_LANES) {
        float first = -INFINITY;
        float second = -INFINITY;
        for (int e = g * size; e < (g + 1) * size; e++) {
            float value = choice[e];
            second = value > first ? first : value > second ? value : second;
            first = value > first ? value : first;
        }
        groups[g] = args.is_pair_sum ? first + second : first;
    }
    __syncwarp();
    uint32_t taken = mark_best(groups, args.groups, args.groups_top);
    __syncwarp();
    for (int g = lane_index(); g < args.groups; g += WARP_LANES) {
        bool is_taken = (taken >> (g / WARP_LANES) & 1u) != 0;
        for (int e = g * size; e < (g + 1) * size && !is_taken; e++) {
            choice[e] = -INFINITY;
        }
    }
    __syncwarp();
}

/* Writes the chosen experts, ascending, and their weights. */
static __device__ __forceinline__ void write_choice(const expert_choose_kernel_args &args, int row,
                                                    const float *scores, uint32_t taken)
{
    int32_t *chosen = args.chosen + (int64_t)row * args.top_k;
    float *weights = args.weights + (int64_t)row * args.top_k;
    int before = 0;
    float sum = 0;
    for (int first = 0; first < args.experts; first += WARP_LANES) {
        int e = first + lane_index();
        unsigned here = __ballot_sync(WARP_ALL, taken >> (first / WARP_LANES) & 1u);
        if ((here >> lane_index() & 1u) != 0) {
            chosen[before + __popc(here & ((1u << lane_index()) - 1u))] = e;
        }
        for (unsigned left = here; left != 0; left &= left - 1) { // in the order of the experts
            sum += scores[first + __ffs((int)left) - 1];
        }
        before += __popc(here);
    }
    float factor = args.normalizes ? args.scale / sum : args.scale;
    __syncwarp();
    for (int k = lane_index(); k < args.top_k; k += WARP_LANES) {
        weights[k] = scores[chosen[k]] * factor;
    }
}

KERNEL(expert_choose_kernel, struct expert_choose_kernel_args, CUDA_EXPERT_THREADS)
{
    int row = (int)blockIdx.x * WARPS + warp_index();
    if (row >= args.rows) {
        return;
    }
    float *scores =
        reinterpret_cast<float *>(shared_memory()) + (int64_t)warp_index() * 3 * args.experts;
    float *choice = scores + args.experts;
    float *groups = choice + args.experts;
    score_row(args, args.logits + (int64_t)row * args.experts, scores, choice);
    if (args.groups_top < args.groups) {
        limit_groups(args, groups, choice);
    }
    write_choice(args, row, scores, mark_best(choice, args.experts, args.top_k));
}

/* How many of this warp's lanes before this one, and of all threads, have `is_mine`. */
static __device__ __forceinline__ int count_before(bool is_mine, int *total)
{
    SHARED(int, counts, WARPS);
    unsigned here = __ballot_sync(WARP_ALL, is_mine);
    __syncthreads(); // counts may still be read from the last time
    if (lane_index() == 0) {
        counts[warp_index()] = __popc(here);
    }
    __syncthreads();
    int before = __popc(here & ((1u << lane_index()) - 1u));
    *total = 0;
    for (int w = 0; w < WARPS; w++) {
        before += w < warp_index() ? counts[w] : 0;
        *total += counts[w];
    }
    return before;
}

/* Two passes over all choices: how many go to lower experts, then where each of this one's goes. */
KERNEL(expert_place_kernel, struct expert_place_kernel_args, CUDA_EXPERT_THREADS)
{
    SHARED(int, start, 1);
    int expert = (int)blockIdx.x;
    int lower = 0;
    for (int i = (int)threadIdx.x; i < args.choices; i += THREADS) {
        lower += args.chosen[i] < expert ? 1 : 0;
    }
    if (threadIdx.x == 0) {
        *start = 0;
    }
    __syncthreads();
    atomicAdd(start, lower);
    __syncthreads();
    int next = *start;
    if (threadIdx.x == 0) {
        args.starts[expert] = next;
        if (expert == args.experts - 1) {
            args.starts[args.experts] = args.choices;
        }
    }
    for (int first = 0; first < args.choices; first += THREADS) {
        int i = first + (int)threadIdx.x;
        bool is_mine = i < args.choices && args.chosen[i] == expert;
        int total;
        int slot = next + count_before(is_mine, &total);
        if (is_mine) {
            args.rows[slot] = i / args.top_k;
            args.slots[i] = slot;
        }
        next += total;
    }
}

KERNEL(expert_combine_kernel, struct expert_combine_kernel_args, CUDA_EXPERT_THREADS)
{
    int64_t row = (int64_t)blockIdx.x;
    const int32_t *slots = args.slots + row * args.top_k;
    const float *weights = args.weights + row * args.top_k;
    uint16_t *output = args.output + row * args.width;
    for (int i = (int)threadIdx.x; i < args.width; i += THREADS) {
        float sum = args.is_first ? 0.0f : bf16_to_float(output[i]);
        for (int k = 0; k < args.top_k; k++) {
            sum += weights[k] * bf16_to_float(args.input[(int64_t)slots[k] * args.width + i]);
        }
        output[i] = float_to_bf16(sum);
    }
}
