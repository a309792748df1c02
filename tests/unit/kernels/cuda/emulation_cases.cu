/* emulation_cases: kernels that try out the emulation. */
#include "tests/unit/kernels/cuda/emulation_cases.h"

#include "kernels/cuda/device.cuh"

KERNEL(reverse, struct reverse_args, 64)
{
    int *shared = reinterpret_cast<int *>(shared_memory());
    int i = (int)threadIdx.x;
    int block = (int)blockIdx.x * 64;
    shared[i] = args.input[block + i];
    if (args.mistake == CASE_BARRIER_IN_BRANCH) {
        if (i < 32) {
            __syncthreads();
        }
    } else if (args.mistake == CASE_BARRIERS_APART) {
        if (i < 32) {
            __syncthreads();
        } else {
            __syncthreads();
        }
    } else if (args.mistake == CASE_EARLY_RETURN && i == 7) {
        return;
    } else if (args.mistake != CASE_WITHOUT_BARRIER) {
        __syncthreads();
    }
    args.output[block + i] = shared[63 - i];
}

KERNEL(sum, struct sum_args, 64)
{
    SHARED(float, total, 1);
    if (threadIdx.x == 0) {
        total[0] = 0;
    }
    __syncthreads();
    if (args.mistake == CASE_WITHOUT_LANE && threadIdx.x == 40) {
        return;
    }
    float value = warp_sum(args.input[blockIdx.x * 64 + threadIdx.x]);
    unsigned evens = __ballot_sync(WARP_ALL, lane_index() % 2 == 0);
    if (lane_index() == 0 && evens == 0x55555555u) {
        atomicAdd(total, value);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        args.output[blockIdx.x] = total[0];
    }
}

KERNEL(stage, struct stage_args, 64)
{
    float *shared = reinterpret_cast<float *>(shared_memory()); // [2 or 1, 64]
    bool overwrites = args.mistake == CASE_OVERWRITES;
    int i = (int)threadIdx.x;
    float sum = 0;
    for (int step = 0; step < 2; step++) {
        float *target = shared + (overwrites ? 0 : step * 64);
        if (i < 16) {
            copy_async(target + i * 4, args.input + (blockIdx.x * 2 + step) * 64 + i * 4, 16);
            copy_commit();
        }
        if (args.mistake != CASE_WITHOUT_WAIT) {
            copy_wait<0>();
        }
        __syncthreads();
        sum += target[(i + 1) % 64];
    }
    args.output[blockIdx.x * 64 + i] = sum;
    if (args.mistake == CASE_COPY_LEFT && i == 0) {
        copy_async(shared, args.input, 16);
    } else {
        copy_wait<0>();
    }
}

KERNEL(mma, struct mma_args, 32)
{
    uint16_t *a = reinterpret_cast<uint16_t *>(shared_memory()); // [16, 16]
    uint16_t *b = a + 16 * 16;                                   // [16, 8], or [8, 16] by columns
    int lane = lane_index();
    for (int i = lane; i < 16 * 16; i += WARP_LANES) {
        a[i] = args.a[i];
    }
    for (int i = lane; i < 16 * 8; i += WARP_LANES) {
        b[i] = args.b[i];
    }
    __syncwarp();
    uint32_t a_words[4];
    uint32_t b_words[4];
    float d[4] = {0, 0, 0, 0};
    load_matrix<false>(a_words, a + lane % 16 * 16 + lane / 16 * 8);
    if (args.is_b_by_columns) {
        load_matrix<false>(b_words, b + lane % 8 * 16 + lane / 8 % 2 * 8);
    } else {
        load_matrix<true>(b_words, b + lane % 16 * 8);
    }
    uint32_t b_pair[2] = {b_words[0], b_words[1]};
    mma_bf16(d, a_words, b_pair);
    for (int i = 0; i < 4; i++) {
        args.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
    }
}

KERNEL(convert, struct convert_args, 32)
{
    for (int i = lane_index(); i < args.count; i += WARP_LANES) {
        args.fp8[i] = float_to_fp8(args.input[i]);
        args.from_fp8[i] = fp8_to_float(args.fp8[i]);
        args.bf16[i] = float_to_bf16(args.input[i]);
        args.from_bf16[i] = bf16_to_float(args.bf16[i]);
    }
}
