/* cuda_operations: the operations of the CUDA back end around attention, sampling and mixtures, for
 * its table. */
#ifndef KERNELS_CUDA_CUDA_OPERATIONS_H
#define KERNELS_CUDA_CUDA_OPERATIONS_H

#include "kernels/cuda/cuda_backend_internal.h"

size_t cuda_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape);
enum kernel_status cuda_rope_kv_write(struct backend *backend,
                                      const struct rope_kv_write_args *args);
enum kernel_status cuda_attention(struct backend *backend, const struct attention_args *args);

enum kernel_status cuda_latent_write(struct backend *backend, const struct latent_write_args *args);
enum kernel_status cuda_expert_route(struct backend *backend, const struct expert_route_args *args);
enum kernel_status cuda_expert_linear(struct backend *backend,
                                      const struct expert_linear_args *args);
enum kernel_status cuda_expert_combine(struct backend *backend,
                                       const struct expert_combine_args *args);
enum kernel_status cuda_sample(struct backend *backend, const struct sample_args *args);

/* One layer's cache, as kernels find their way in it; NO_DEVICE: not in this format. */
enum kernel_status cuda_kv_view(const struct step_arrays *step, const struct attention_shape *shape,
                                const struct device_buffer *kv, struct kernel_kv *view_out);

#endif
