/* backend: where numbers are computed. One table of operations, behind which a device stands: cpu/
 * or cuda/.
 *
 * Memory is the device's: a `struct device_buffer` is only a handle, filled by copy_in and read by
 * copy_out. Activations are [rows, width] in the backend's own element type of `activation_bytes`;
 * indices are int32; logits are f32. Operations run in the order in which they are called and may
 * return before they are done; copy_out and synchronize wait.
 *
 * Row invariance: an operation computes each output row from that row's inputs alone, in an order
 * that does not depend on the number of rows, the row's place, the threads or how a prompt is cut
 * into chunks. Attention therefore reads all keys and values, those of its own chunk too, back from
 * the cache, in tiles anchored at absolute positions.
 *
 * A new operation is a new member of `struct backend_operations`, and a variant of one (sliding
 * window, another cache format) a new field of its argument struct whose zero means "without".
 *
 * Thread: one thread at a time per backend.
 */
#ifndef KERNELS_BACKEND_H
#define KERNELS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "schemas/base/error.h"

enum kernel_status {
    KERNEL_OK,
    KERNEL_NO_DEVICE,     // this machine cannot do it
    KERNEL_OUT_OF_MEMORY, // device or host
    KERNEL_BAD_SHAPE,     // sizes that do not fit together: a bug in the caller or a bad model
    KERNEL_DEVICE_LOST,   // everything on the device is gone; open a new backend
};

const char *kernel_status_text(enum kernel_status status);

struct backend;
struct device_buffer; // bytes on the device
struct weight;        // a matrix, packed for `linear`

/* FP8 is E4M3 with a scale for each output, and for each row of inputs. */
enum weight_format { WEIGHTS_AUTO, WEIGHTS_F32, WEIGHTS_BF16, WEIGHTS_INT8, WEIGHTS_FP8 };

/* One tensor of a safetensors file; several stacked make one weight (q, k, v; gate, up). */
struct weight_part {
    const void *data; // [rows, columns], any alignment; read during weight_open only
    enum dtype dtype;
    int rows;
    const void *bias; // [rows] or NULL
    enum dtype bias_dtype;
};

struct weight_source {
    const struct weight_part *parts; // stacked: part 0's rows come first in the output
    int parts_count;
    int columns;
    enum weight_format format;
    bool is_for_heads; // for head_linear
};

/* A step's index arrays, int32, in one buffer so that one copy brings them. The offsets count
 * elements. Rows of one sequence stand together in the order of their positions. */
struct step_arrays {
    struct device_buffer *buffer;
    size_t tokens;       // [rows]
    size_t positions;    // [rows]
    size_t row_starts;   // [sequences + 1], cumulative row counts
    size_t block_tables; // [sequences, blocks_max]
    size_t logit_rows;   // [logit rows]
    int rows;
    int sequences;
    int blocks_max;
};

/* What keys and values are kept as; bytes (int8, and E4M3 of CUDA) have a scale per position and
 * head. */
enum kv_format { KV_AUTO, KV_F32, KV_BF16, KV_INT8, KV_FP8 };

struct attention_shape {
    int heads;
    int kv_heads; // divides heads
    int head_dim; // of q and k
    int latent;   // 0: values are as wide as keys; else a value is its key's first `latent` numbers
    int block_tokens;         // positions of one KV block
    enum kv_format kv_format; // AUTO: f32 on the CPU, bf16 on a GPU
};

struct embed_args {
    const struct device_buffer *table; // [vocabulary, width], as table_open made it
    /* [positions, width], likewise: its row for a row's position is added. NULL: without */
    const struct device_buffer *position_table;
    const struct step_arrays *step;
    struct device_buffer *output; // [rows, width]
    int width;
};

/* residual += delta; output = residual / sqrt(mean(residual^2) + epsilon) * scale. With a bias the
 * mean is taken off before, and the bias is added after. Without a scale output = residual. */
struct add_norm_args {
    struct device_buffer *residual;    // [rows, width]
    const struct device_buffer *delta; // [rows, width] or NULL
    const struct device_buffer *scale; // [width] f32, or NULL
    const struct device_buffer *bias;  // [width] f32, or NULL
    struct device_buffer *output;      // [rows, width], may be the residual
    /* Until it is written again, only linear, logits and mlp with weights of this format read the
     * output, of as many rows, so it may be in the form that they take. AUTO: anyone reads it. */
    enum weight_format consumer;
    int rows;
    int width;
    float epsilon;
};

/* rotations = (cos, sin) of position * inverse frequency, once per step for all layers. */
struct rope_angles_args {
    const struct step_arrays *step;
    float magnitude;                                 // of the rotations; 0: 1
    const struct device_buffer *inverse_frequencies; // [head_dim / 2] f32, scaling included
    struct device_buffer *rotations;                 // [rows, head_dim / 2, 2] f32
    int head_dim;
};

/* Rotates q in place and k on its way (half-split pairs: i with i + head_dim / 2); writes k and v
 * to the cache. With scales, each head of q and k is normalized before: head / sqrt(mean(head^2) +
 * epsilon) * scale; or where the norm is whole, all heads of a row's q together, and those of k. */
struct rope_kv_write_args {
    const struct step_arrays *step;
    struct attention_shape shape;
    const struct device_buffer *rotations; // NULL: nothing is rotated
    const struct device_buffer *q_norm;    // [head_dim] f32, whole: [heads, head_dim]; or NULL
    const struct device_buffer *k_norm;    // [head_dim] f32, whole: [kv_heads, head_dim]; or NULL
    bool is_norm_whole;
    float epsilon;
    struct device_buffer *qkv; // [rows, (heads + 2 * kv_heads) * head_dim]; k and v are scratch
    struct device_buffer *kv;  // one layer's cache
};

/* Causal softmax(q k^T * scale) v over positions 0..position of each row, or with a window over the
 * last `window` of them. Where it is bidirectional, each row sees positions 0..position of its
 * sequence's last row in the step. */
struct attention_args {
    const struct step_arrays *step;
    struct attention_shape shape;
    float scale;
    int window;            // 0: all positions
    bool is_bidirectional; // without a window
    /* q after rope_kv_write; k and v are not read from here. Latent: q after latent_write, [rows,
     * heads, head_dim]. */
    const struct device_buffer *qkv;
    const struct device_buffer *kv;
    struct device_buffer *output; // [rows, heads, head_dim], latent: [rows, heads, latent]
};

/* output[r, h] = W_h * input[r, h], where each head has its own matrix. */
struct head_linear_args {
    struct weight *const *weights; // [heads], of one shape, opened for heads
    int heads;
    const struct device_buffer *input; // [rows, heads, input_width], of which the first are read
    int input_width;
    struct device_buffer *output; // [rows, heads, output_width], of which the first are written
    int output_width;
    int rows;
};

/* Latent attention's side of the cache. A key is its row's latent, normalized, and behind it
 * head_dim - latent numbers that carry the position; all heads share it. A query is what
 * head_linear has put before the same numbers of its own. */
struct latent_write_args {
    const struct step_arrays *step;
    struct attention_shape shape;          // kv_heads 1
    bool is_interleaved;                   // pairs are i, i + 1; else half-split
    const struct device_buffer *rotations; // [rows, (head_dim - latent) / 2, 2]
    const struct device_buffer *keys;      // [rows, head_dim]
    const struct device_buffer *norm;      // [latent] f32
    float epsilon;
    const struct device_buffer *q; // [rows, heads, q_width], the last head_dim - latent are rotated
    int q_width;
    struct device_buffer *absorbed; // [rows, heads, head_dim]: they are written behind the latent
    struct device_buffer *kv;       // one layer's cache
};

/* output = down * (silu(gate) * up), of gate and up that gate_up gives. What lies between may stay
 * in the form that the backend likes best: bytes, where the weights are. The numbers are those of
 * linear, silu_mul and linear (on CUDA with fp8, what lies between is rounded once less). */
struct mlp_args {
    const struct weight *gate_up; // [2 * width, input width]
    const struct weight *down;    // [output width, width]
    int width;
    const struct device_buffer *input; // [rows, input width]
    struct device_buffer *gated;       // [rows, 2 * width]: memory that may be used
    struct device_buffer *activated;   // [rows, width]: likewise
    struct device_buffer *output;      // [rows, output width]
    int rows;
};

/* output[i] = input[indices[first + i]], [count, width] */
struct gather_args {
    const struct device_buffer *indices; // int32
    size_t first;
    const struct device_buffer *input;
    struct device_buffer *output;
    int count;
    int width;
};

/* How rows of a mixture layer choose their experts. */
struct expert_routing {
    int experts;
    int top_k;       // of them, for each row
    bool is_sigmoid; // a score is the sigmoid of its logit; else a softmax over all experts
    bool normalizes; // the weights of a row's choices are divided by their sum
    float scale;     // of the weights, after that
    int groups;      // of equal size; a row chooses from the experts of groups_top of them; 1: none
    int groups_top;  // those with the best scores:
    bool is_pair_sum; // the sum of the group's two best; else its best
};

/* Where the rows of a step go: one slot for each choice of a row. Slots of one expert stand
 * together, experts in order, and among them the rows in order. */
struct expert_slots {
    struct device_buffer *rows;    // [slots] int32: the row of a slot
    struct device_buffer *slots;   // [rows, top_k] int32: a row's slots, by expert
    struct device_buffer *weights; // [rows, top_k] f32, alike
    struct device_buffer *starts;  // [experts + 1] int32: an expert's first slot
};

/* Scores with `bias` decide who is chosen, scores without it are the weights. */
struct expert_route_args {
    const struct device_buffer *logits; // [rows, experts] f32
    const struct device_buffer *bias;   // [experts] f32, or NULL
    struct expert_routing routing;
    const struct expert_slots *slots;
    int rows;
};

/* output[slot] = input[slot] * weight^T of the slot's expert. */
struct expert_linear_args {
    struct weight *const *weights; // [experts], all of one shape
    int experts;
    const struct expert_slots *slots;
    int count;                         // of slots: rows * top_k
    const struct device_buffer *input; // [slots, weight columns]
    struct device_buffer *output;      // [slots, weight rows]
};

/* output[row] += the sum of weight * input[slot] over the row's slots, by expert. */
struct expert_combine_args {
    const struct expert_slots *slots;
    int top_k;
    const struct device_buffer *input; // [slots, width]
    struct device_buffer *output;      // [rows, width]
    bool is_first;                     // the output is set, not added to
    int rows;
    int width;
};

struct token_count {
    int32_t token;
    int32_t count;
};

/* How one row is sampled. The order: mask, penalties, temperature, min_p, top_k, top_p. */
struct sample_params {
    float temperature; // 0: the most likely token, the lowest id among equals
    float top_p;       // 1 (or 0): off
    int top_k;         // 0: off
    float min_p;       // 0: off
    uint64_t seed;
    uint32_t position; // the random number is a function of (seed, position)
    float frequency_penalty;
    float presence_penalty;
    float repetition_penalty;                // 1 (or 0): off
    const struct token_count *output_counts; // tokens of the output so far; borrowed for the call
    int output_counts_count;
    const uint32_t *allowed; // bit t % 32 of word t / 32 allows token t; NULL: all; borrowed
};

struct sample_args {
    const struct device_buffer *logits; // [rows, vocabulary] f32, left as they are
    int rows;
    int vocabulary;
    const struct sample_params *params; // [rows], host memory, read during the call
    struct device_buffer *tokens;       // [rows] int32; -1 where logits are not finite
    struct device_buffer *logprobs;     // [rows] f32 of the raw logits, or NULL
};

struct backend_operations {
    void (*close)(struct backend *backend);

    enum kernel_status (*buffer_open)(struct backend *backend, size_t bytes,
                                      struct device_buffer **buffer_out);        // zeroed
    void (*buffer_close)(struct backend *backend, struct device_buffer *buffer); // accepts NULL
    enum kernel_status (*copy_in)(struct backend *backend, struct device_buffer *target,
                                  size_t offset, const void *source, size_t bytes);
    enum kernel_status (*copy_out)(struct backend *backend, void *target,
                                   const struct device_buffer *source, size_t offset, size_t bytes);
    enum kernel_status (*synchronize)(struct backend *backend);

    /* Bytes that buffers can still have, a reserve for steps taken off; 0: as many as the host has.
     */
    size_t (*memory_left)(const struct backend *backend);

    /* WEIGHTS_AUTO becomes the backend's choice; KERNEL_NO_DEVICE if a format cannot be. */
    enum kernel_status (*weight_format)(const struct backend *backend, enum weight_format *format);
    /* Likewise KV_AUTO, beside weights of a format that is not AUTO. */
    enum kernel_status (*kv_format)(const struct backend *backend, enum weight_format weights,
                                    enum kv_format *format);
    enum kernel_status (*weight_open)(struct backend *backend, const struct weight_source *source,
                                      struct weight **weight_out);
    void (*weight_close)(struct backend *backend, struct weight *weight); // accepts NULL
    /* The rows of `part` as `embed` wants them. Closed as a buffer. */
    enum kernel_status (*table_open)(struct backend *backend, const struct weight_part *part,
                                     int columns, struct device_buffer **table_out);
    /* Bytes of one block of one layer's KV cache. */
    size_t (*kv_block_bytes)(const struct backend *backend, const struct attention_shape *shape);

    enum kernel_status (*embed)(struct backend *backend, const struct embed_args *args);
    enum kernel_status (*add_norm)(struct backend *backend, const struct add_norm_args *args);
    /* output[rows, weight rows] = input[rows, weight columns] * weight^T + bias */
    enum kernel_status (*linear)(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows);
    /* As linear with f32 output whatever the activations are. */
    enum kernel_status (*logits)(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows);
    enum kernel_status (*rope_angles)(struct backend *backend, const struct rope_angles_args *args);
    enum kernel_status (*rope_kv_write)(struct backend *backend,
                                        const struct rope_kv_write_args *args);
    enum kernel_status (*attention)(struct backend *backend, const struct attention_args *args);
    enum kernel_status (*head_linear)(struct backend *backend, const struct head_linear_args *args);
    enum kernel_status (*latent_write)(struct backend *backend,
                                       const struct latent_write_args *args);
    /* output[r, i] = silu(input[r, i]) * input[r, width + i]; input is [rows, 2 * width]. */
    enum kernel_status (*silu_mul)(struct backend *backend, const struct device_buffer *input,
                                   struct device_buffer *output, int rows, int width);
    /* output[r, i] = x / 2 * (1 + erf(x / sqrt(2))) of x = input[r, i] */
    enum kernel_status (*gelu)(struct backend *backend, const struct device_buffer *input,
                               struct device_buffer *output, int rows, int width);
    enum kernel_status (*mlp)(struct backend *backend, const struct mlp_args *args);
    enum kernel_status (*gather_rows)(struct backend *backend, const struct gather_args *args);
    enum kernel_status (*expert_route)(struct backend *backend,
                                       const struct expert_route_args *args);
    enum kernel_status (*expert_linear)(struct backend *backend,
                                        const struct expert_linear_args *args);
    enum kernel_status (*expert_combine)(struct backend *backend,
                                         const struct expert_combine_args *args);
    enum kernel_status (*sample)(struct backend *backend, const struct sample_args *args);
};

/* AUTO: the CPU. The CUDA back end has run in the emulation of the tests only, never on a GPU, so
 * nothing takes it without being told to. */
enum backend_device { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA };

/* What every backend starts with. */
struct backend {
    const struct backend_operations *ops;
    size_t activation_bytes;
    enum backend_device device; // not AUTO
    char description[80];       // "cpu avx512 onednn 2.6.3, 2 threads": for logs and served_by
    const char *auto_reason;    // why weight_format makes of AUTO what it makes: for logs; or NULL
};

/* Each as if the processor had no more. AMX is there where oneDNN is. */
enum backend_isa { ISA_AUTO, ISA_AMX, ISA_AVX512_VNNI, ISA_AVX512, ISA_AVX2, ISA_PORTABLE };

struct backend_options {
    enum backend_device device;
    enum backend_isa isa; // of the CPU backend; one that the machine lacks is an error
    int threads;          // of the CPU backend, the caller's included; 0: one per processor
    bool without_onednn;  // own matrix products even where oneDNN is built in

    double memory_utilization; // of a GPU: the share of its memory that may be used; 0: 0.9
    bool batch_invariant;      // of a GPU: row invariance also there, for some speed
};

MUST_CHECK bool backend_open(const struct backend_options *options, struct backend **backend_out,
                             struct error *error);
void backend_close(struct backend *backend); // accepts NULL

#endif
