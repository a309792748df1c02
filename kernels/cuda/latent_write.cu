/* latent_write: latent attention's keys on their way to the cache, and the turned part of queries.
 *
 * One block a row. Warp 0 takes the key: it norms the latent, turns what is behind it and writes
 * both, with one scale for all where the cache is E4M3. The others turn the heads' queries.
 */
#include "kernels/cuda/kv_cache.cuh"

enum {
    THREADS = CUDA_KV_WRITE_THREADS,
    WARPS = THREADS / WARP_LANES,
    PARTS = CUDA_LATENT_KEY_MAX / WARP_LANES,
};

/* Number t of `source`, [count], after its pair is turned; number(i) reads one. */
template <typename Number>
static __device__ __forceinline__ float turned(Number number, const float *rotations, int count,
                                               bool is_interleaved, int t)
{
    int half = count / 2;
    int pair = is_interleaved ? t / 2 : t % half;
    bool is_second = (is_interleaved ? t % 2 : t / half) != 0;
    float x = number(is_interleaved ? 2 * pair : pair);
    float y = number(is_interleaved ? 2 * pair + 1 : pair + half);
    float c = rotations[2 * pair];
    float s = rotations[2 * pair + 1];
    return is_second ? y * c + x * s : x * c - y * s;
}

static __device__ __forceinline__ void write_key(const latent_write_kernel_args &args, int row,
                                                 const float *rotations)
{
    const uint16_t *key = args.keys + (int64_t)row * args.head_dim;
    float values[PARTS];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        int d = lane_index() + i * WARP_LANES;
        values[i] = d < args.head_dim ? bf16_to_float(key[d]) : 0.0f;
        sum += d < args.latent ? values[i] * values[i] : 0.0f;
    }
    float factor = rsqrtf(warp_sum(sum) / (float)args.latent + args.epsilon);
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        int d = lane_index() + i * WARP_LANES;
        if (d < args.latent) {
            values[i] *= factor * args.norm[d];
        } else if (d < args.head_dim) {
            auto number = [&](int t) { return bf16_to_float(key[args.latent + t]); };
            values[i] = turned(number, rotations, args.head_dim - args.latent, args.is_interleaved,
                               d - args.latent);
        }
    }
    int sequence = sequence_at(args.sequences, row, [&](int s) { return args.row_starts[s]; });
    kv_place place = kv_find(args.kv, sequence, 0, args.positions[row]);
    kv_store(args.kv, values, args.head_dim,
             place.head + (int64_t)place.slot * args.kv.pitch * kv_number_bytes(args.kv),
             reinterpret_cast<float *>(place.head + args.kv.key_scales) + place.slot,
             [](int i) { return lane_index() + i * WARP_LANES; });
}

KERNEL(latent_write_kernel, struct latent_write_kernel_args, CUDA_KV_WRITE_THREADS)
{
    int row = (int)blockIdx.x;
    int count = args.head_dim - args.latent; // that are turned
    const float *rotations = args.rotations + (int64_t)row * count;
    if (warp_index() == 0) {
        write_key(args, row, rotations);
        return;
    }
    for (int i = (int)threadIdx.x - WARP_LANES; i < args.heads * count; i += THREADS - WARP_LANES) {
        int64_t head = (int64_t)row * args.heads + i / count;
        const uint16_t *q = args.q + (head + 1) * args.q_width - count;
        uint16_t *target = args.absorbed + head * args.head_dim + args.latent;
        auto number = [&](int t) { return bf16_to_float(q[t]); };
        target[i % count] =
            float_to_bf16(turned(number, rotations, count, args.is_interleaved, i % count));
    }
}
