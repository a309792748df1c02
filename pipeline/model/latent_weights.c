/* latent_weights: kv_b_proj is cut into two matrices for each head, the first of them transposed.
 */
#include "pipeline/model/latent_weights.h"

#include <stdlib.h>

#include "kernels/dtype.h"

static const char kv_b_name[] = "self_attn.kv_b_proj";

static bool load_projections(const struct loader *loader, const char *prefix,
                             struct latent_weights *latent)
{
    const struct model_config *config = loader->config;
    const struct latent_config *sizes = &config->latent;
    int width = config->heads * (sizes->plain + sizes->rotated);
    bool has_bottleneck = sizes->q_rank > 0;
    const struct part_spec q_down = {"self_attn.q_a_proj", sizes->q_rank, false};
    const struct part_spec q = {has_bottleneck ? "self_attn.q_b_proj" : "self_attn.q_proj", width,
                                false};
    const struct part_spec kv_down = {"self_attn.kv_a_proj_with_mqa",
                                      sizes->kv_rank + sizes->rotated, false};
    return (!has_bottleneck ||
            (loader_weight(loader, prefix, &q_down, 1, config->hidden, &latent->q_down) &&
             loader_vector(loader, prefix, "self_attn.q_a_layernorm.weight", sizes->q_rank,
                           &latent->q_norm))) &&
           loader_weight(loader, prefix, &q, 1, has_bottleneck ? sizes->q_rank : config->hidden,
                         &latent->q) &&
           loader_weight(loader, prefix, &kv_down, 1, config->hidden, &latent->kv_down) &&
           loader_vector(loader, prefix, "self_attn.kv_a_layernorm.weight", sizes->kv_rank,
                         &latent->kv_norm);
}

/* One matrix of a head, f32 whatever the format: the two are small beside the experts. */
static bool open_head(const struct loader *loader, const float *matrix, int rows, int columns,
                      struct weight **weight_out)
{
    const struct weight_part part = {.data = matrix, .dtype = DTYPE_F32, .rows = rows};
    const struct weight_source source = {.parts = &part,
                                         .parts_count = 1,
                                         .columns = columns,
                                         .format = WEIGHTS_F32,
                                         .is_for_heads = true};
    enum kernel_status status =
        loader->backend->ops->weight_open(loader->backend, &source, weight_out);
    return status == KERNEL_OK || loader_failed(loader, kv_b_name, status);
}

/* `rows`: the head's part of kv_b_proj, [plain + value_dim, kv_rank]; `turned` has room for its
 * first `plain` rows. */
static bool load_head(const struct loader *loader, const float *rows, float *turned, int head,
                      struct latent_weights *latent)
{
    const struct latent_config *sizes = &loader->config->latent;
    size_t rank = (size_t)sizes->kv_rank;
    size_t plain = (size_t)sizes->plain;
    for (size_t i = 0; i < plain; i++) {
        for (size_t k = 0; k < rank; k++) {
            turned[k * plain + i] = rows[i * rank + k];
        }
    }
    return open_head(loader, turned, sizes->kv_rank, sizes->plain, &latent->absorb[head]) &&
           open_head(loader, rows + plain * rank, sizes->value_dim, sizes->kv_rank,
                     &latent->expand[head]);
}

static bool load_heads(const struct loader *loader, const char *prefix,
                       struct latent_weights *latent)
{
    const struct model_config *config = loader->config;
    const struct latent_config *sizes = &config->latent;
    int head_rows = sizes->plain + sizes->value_dim;
    size_t head_elements = (size_t)head_rows * (size_t)sizes->kv_rank;
    const struct part_spec spec = {kv_b_name, config->heads * head_rows, false};
    struct loader_part part;
    if (!loader_find_part(loader, prefix, &spec, sizes->kv_rank, &part)) {
        return false;
    }
    float *rows = malloc(head_elements * sizeof(float));
    float *turned = malloc(head_elements * sizeof(float));
    latent->absorb = calloc((size_t)config->heads, sizeof(struct weight *));
    latent->expand = calloc((size_t)config->heads, sizeof(struct weight *));
    bool is_ok = rows != NULL && turned != NULL && latent->absorb != NULL && latent->expand != NULL;
    if (is_ok) {
        latent->heads = config->heads;
    } else {
        (void)loader_failed(loader, kv_b_name, KERNEL_OUT_OF_MEMORY);
    }
    for (int h = 0; is_ok && h < config->heads; h++) {
        size_t at = (size_t)h * head_elements * dtype_bytes(part.part.dtype);
        dtype_to_f32(rows, (const char *)part.part.data + at, part.part.dtype, head_elements);
        is_ok = load_head(loader, rows, turned, h, latent);
    }
    free(rows);
    free(turned);
    loader_part_close(&part);
    return is_ok;
}

bool latent_weights_load(const struct loader *loader, const char *prefix,
                         struct latent_weights *latent)
{
    return load_projections(loader, prefix, latent) && load_heads(loader, prefix, latent);
}

void latent_weights_close(struct backend *backend, struct latent_weights *latent)
{
    const struct backend_operations *ops = backend->ops;
    ops->weight_close(backend, latent->q_down);
    ops->buffer_close(backend, latent->q_norm);
    ops->weight_close(backend, latent->q);
    ops->weight_close(backend, latent->kv_down);
    ops->buffer_close(backend, latent->kv_norm);
    for (int h = 0; h < latent->heads; h++) {
        ops->weight_close(backend, latent->absorb[h]);
        ops->weight_close(backend, latent->expand[h]);
    }
    free(latent->absorb);
    free(latent->expand);
}
