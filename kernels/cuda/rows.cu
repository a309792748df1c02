/* rows: kernels that treat every row alone, a block each.
 *
 * A thread takes CHUNK neighbours at a time, with one load where rows begin at multiples of 16
 * bytes, so sums are made in an order that depends on the width and the block alone. Later passes
 * over a row read it again, out of the cache.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows_kernels.h"

#define CHUNK 8

struct chunk {
    float values[CHUNK];
};

/* Numbers first..first + CHUNK - 1 of a row; zeros behind its end. */
static __device__ __forceinline__ struct chunk load_chunk(const uint16_t *row, int first, int width)
{
    struct chunk chunk;
    if (width % CHUNK == 0) {
        const uint4 words = *(const uint4 *)(row + first);
        const uint32_t pairs[CHUNK / 2] = {words.x, words.y, words.z, words.w};
        for (int i = 0; i < CHUNK / 2; i++) {
            chunk.values[2 * i] = bf16_low(pairs[i]);
            chunk.values[2 * i + 1] = bf16_high(pairs[i]);
        }
        return chunk;
    }
    for (int i = 0; i < CHUNK; i++) {
        chunk.values[i] = first + i < width ? bf16_to_float(row[first + i]) : 0.0f;
    }
    return chunk;
}

static __device__ __forceinline__ void store_chunk(uint16_t *row, int first, int width,
                                                   const struct chunk &chunk)
{
    if (width % CHUNK == 0) {
        *(uint4 *)(row + first) = make_uint4(bf16_pair(chunk.values[0], chunk.values[1]),
                                             bf16_pair(chunk.values[2], chunk.values[3]),
                                             bf16_pair(chunk.values[4], chunk.values[5]),
                                             bf16_pair(chunk.values[6], chunk.values[7]));
        return;
    }
    for (int i = 0; i < CHUNK && first + i < width; i++) {
        row[first + i] = float_to_bf16(chunk.values[i]);
    }
}

/* The first number of this thread's first chunk, and how far the next one is. */
static __device__ __forceinline__ int chunk_first()
{
    return (int)threadIdx.x * CHUNK;
}

static __device__ __forceinline__ int chunk_stride()
{
    return (int)blockDim.x * CHUNK;
}

static __device__ __forceinline__ size_t row_start(int width)
{
    return (size_t)blockIdx.x * (size_t)width;
}

/* The block's sum, the same in every thread. */
static __device__ float block_sum(float value)
{
    SHARED(float, parts, ROWS_THREADS_MAX / WARP_LANES);
    float part = warp_sum(value);
    if (lane_index() == 0) {
        parts[warp_index()] = part;
    }
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < (int)blockDim.x / WARP_LANES; i++) {
        sum += parts[i];
    }
    __syncthreads(); // before the next sum's parts
    return sum;
}

static __device__ float block_max(float value)
{
    SHARED(float, parts, ROWS_THREADS_MAX / WARP_LANES);
    float part = warp_max(value);
    if (lane_index() == 0) {
        parts[warp_index()] = part;
    }
    __syncthreads();
    float most = parts[0];
    for (int i = 1; i < (int)blockDim.x / WARP_LANES; i++) {
        most = fmaxf(most, parts[i]);
    }
    __syncthreads();
    return most;
}

KERNEL(embed_kernel, struct embed_kernel_args, ROWS_THREADS_MAX)
{
    const uint16_t *row = args.table + (size_t)args.tokens[blockIdx.x] * (size_t)args.width;
    uint16_t *output = args.output + row_start(args.width);
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        struct chunk chunk = load_chunk(row, i, args.width);
        if (args.position_table != NULL) {
            const uint16_t *added =
                args.position_table + (size_t)args.positions[blockIdx.x] * (size_t)args.width;
            struct chunk position = load_chunk(added, i, args.width);
            for (int k = 0; k < CHUNK; k++) {
                chunk.values[k] += position.values[k];
            }
        }
        store_chunk(output, i, args.width, chunk);
    }
}

/* residual += delta, and the sum of the residual as it is kept. */
static __device__ float add_delta(const struct add_norm_kernel_args &args, bool is_squared)
{
    uint16_t *residual = args.residual + row_start(args.width);
    float sum = 0.0f;
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        struct chunk x = load_chunk(residual, i, args.width);
        if (args.delta != NULL) {
            struct chunk delta = load_chunk(args.delta + row_start(args.width), i, args.width);
            for (int k = 0; k < CHUNK; k++) {
                x.values[k] = bf16_to_float(float_to_bf16(x.values[k] + delta.values[k]));
            }
            store_chunk(residual, i, args.width, x);
        }
        for (int k = 0; k < CHUNK; k++) {
            sum += is_squared ? x.values[k] * x.values[k] : x.values[k];
        }
    }
    return block_sum(sum);
}

/* The sum of (residual - mean)^2. */
static __device__ float squared_deviations(const struct add_norm_kernel_args &args, float mean)
{
    const uint16_t *residual = args.residual + row_start(args.width);
    float sum = 0.0f;
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        struct chunk x = load_chunk(residual, i, args.width);
        for (int k = 0; k < CHUNK && i + k < args.width; k++) {
            sum += (x.values[k] - mean) * (x.values[k] - mean);
        }
    }
    return block_sum(sum);
}

KERNEL(add_norm_kernel, struct add_norm_kernel_args, ROWS_THREADS_MAX)
{
    if (args.scale == NULL) {
        add_delta(args, false);
        for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
            store_chunk(args.output + row_start(args.width), i, args.width,
                        load_chunk(args.residual + row_start(args.width), i, args.width));
        }
        return;
    }
    float count = (float)args.width;
    float squares = add_delta(args, args.bias == NULL);
    float mean = 0.0f;
    if (args.bias != NULL) {
        mean = squares / count;
        squares = squared_deviations(args, mean);
    }
    float factor = 1.0f / sqrtf(squares / count + args.epsilon);
    const uint16_t *residual = args.residual + row_start(args.width);
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        struct chunk x = load_chunk(residual, i, args.width);
        for (int k = 0; k < CHUNK && i + k < args.width; k++) {
            float bias = args.bias == NULL ? 0.0f : args.bias[i + k];
            x.values[k] = (x.values[k] - mean) * factor * args.scale[i + k] + bias;
        }
        store_chunk(args.output + row_start(args.width), i, args.width, x);
    }
}

KERNEL(rope_angles_kernel, struct rope_angles_kernel_args, ROWS_THREADS_MAX)
{
    float *rotations = args.rotations + (size_t)blockIdx.x * (size_t)args.pairs * 2;
    float position = (float)args.positions[blockIdx.x];
    for (int i = (int)threadIdx.x; i < args.pairs; i += (int)blockDim.x) {
        float angle = position * args.inverse_frequencies[i];
        rotations[2 * i] = cosf(angle) * args.magnitude;
        rotations[2 * i + 1] = sinf(angle) * args.magnitude;
    }
}

static __device__ __forceinline__ struct chunk silu_mul_chunk(const uint16_t *gate, int first,
                                                              int width)
{
    struct chunk x = load_chunk(gate, first, width);
    struct chunk up = load_chunk(gate + width, first, width);
    for (int k = 0; k < CHUNK; k++) {
        x.values[k] = x.values[k] / (1.0f + expf(-x.values[k])) * up.values[k];
    }
    return x;
}

static __device__ __forceinline__ float chunk_max(const struct chunk &chunk, float most)
{
    for (int k = 0; k < CHUNK; k++) {
        most = fmaxf(most, fabsf(chunk.values[k]));
    }
    return most;
}

/* The scale of a row whose largest magnitude in this thread's chunks is `most`. */
static __device__ float row_scale(float most, float *scales)
{
    most = block_max(most);
    float scale = most > 0.0f ? most / FP8_MAX : 1.0f;
    if (threadIdx.x == 0) {
        scales[blockIdx.x] = scale;
    }
    return scale;
}

static __device__ __forceinline__ void store_bytes(uint8_t *row, int first, int width,
                                                   const struct chunk &chunk, float scale)
{
    uint32_t words[CHUNK / 4] = {0, 0};
    for (int k = 0; k < CHUNK; k++) {
        words[k / 4] |= (uint32_t)float_to_fp8(chunk.values[k] / scale) << k % 4 * 8;
    }
    if (width % CHUNK == 0) {
        *(uint2 *)(row + first) = make_uint2(words[0], words[1]);
        return;
    }
    for (int k = 0; k < CHUNK && first + k < width; k++) {
        row[first + k] = (uint8_t)(words[k / 4] >> k % 4 * 8);
    }
}

KERNEL(silu_mul_kernel, struct silu_mul_kernel_args, ROWS_THREADS_MAX)
{
    const uint16_t *gate = args.input + 2 * row_start(args.width);
    if (args.output != NULL) {
        for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
            store_chunk(args.output + row_start(args.width), i, args.width,
                        silu_mul_chunk(gate, i, args.width));
        }
        return;
    }
    float most = 0.0f;
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        most = chunk_max(silu_mul_chunk(gate, i, args.width), most);
    }
    float scale = row_scale(most, args.scales);
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        store_bytes(args.bytes + row_start(args.width), i, args.width,
                    silu_mul_chunk(gate, i, args.width), scale);
    }
}

KERNEL(gelu_kernel, struct gelu_kernel_args, ROWS_THREADS_MAX)
{
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        struct chunk x = load_chunk(args.input + row_start(args.width), i, args.width);
        for (int k = 0; k < CHUNK; k++) {
            x.values[k] = 0.5f * x.values[k] * (1.0f + erff(x.values[k] * 0.707106781f));
        }
        store_chunk(args.output + row_start(args.width), i, args.width, x);
    }
}

KERNEL(gather_kernel, struct gather_kernel_args, ROWS_THREADS_MAX)
{
    const uint16_t *row = args.input + (size_t)args.indices[blockIdx.x] * (size_t)args.width;
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        store_chunk(args.output + row_start(args.width), i, args.width,
                    load_chunk(row, i, args.width));
    }
}

KERNEL(quantize_kernel, struct quantize_kernel_args, ROWS_THREADS_MAX)
{
    const uint16_t *row = args.input + row_start(args.width);
    float most = 0.0f;
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        most = chunk_max(load_chunk(row, i, args.width), most);
    }
    float scale = row_scale(most, args.scales);
    for (int i = chunk_first(); i < args.width; i += chunk_stride()) {
        store_bytes(args.bytes + row_start(args.width), i, args.width,
                    load_chunk(row, i, args.width), scale);
    }
}

KERNEL(scale_rows_kernel, struct scale_rows_kernel_args, ROWS_THREADS_MAX)
{
    size_t start = row_start(args.width);
    float row_scale = args.row_scales[blockIdx.x];
    for (int i = (int)threadIdx.x; i < args.width; i += (int)blockDim.x) {
        float bias = args.bias == NULL ? 0.0f : args.bias[i];
        float value = args.sums[start + i] * row_scale * args.column_scales[i] + bias;
        if (args.output != NULL) {
            args.output[start + i] = float_to_bf16(value);
        } else {
            args.output_f32[start + i] = value;
        }
    }
}
