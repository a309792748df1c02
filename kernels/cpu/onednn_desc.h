/* onednn_desc: a matrix's description, and a product of three of them, in oneDNN 2.x and 3.x: the
 * former passes a struct by its address, the latter a handle. For onednn.c alone. Thread: any. */
#ifndef KERNELS_CPU_ONEDNN_DESC_H
#define KERNELS_CPU_ONEDNN_DESC_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stddef.h>

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_ref;
struct desc {
    dnnl_memory_desc_t md;
};

static inline desc_ref desc_of(const struct desc *desc)
{
    return desc->md;
}

static inline void desc_close(struct desc *desc)
{
    if (desc->md != NULL) {
        (void)dnnl_memory_desc_destroy(desc->md);
    }
}

static inline bool desc_strided(struct desc *desc, const dnnl_dims_t sizes,
                                const dnnl_dims_t strides, dnnl_data_type_t type)
{
    return dnnl_memory_desc_create_with_strides(&desc->md, 2, sizes, type, strides) == dnnl_success;
}

static inline bool desc_any(struct desc *desc, const dnnl_dims_t sizes, dnnl_data_type_t type)
{
    return dnnl_memory_desc_create_with_tag(&desc->md, 2, sizes, type, dnnl_format_tag_any) ==
           dnnl_success;
}

static inline bool desc_copy(struct desc *desc, desc_ref source)
{
    return dnnl_memory_desc_clone(&desc->md, source) == dnnl_success;
}

static inline bool desc_matmul(dnnl_primitive_desc_t *product, dnnl_engine_t engine,
                               const_dnnl_primitive_attr_t attributes, const struct desc *descs)
{
    return dnnl_matmul_primitive_desc_create(product, engine, descs[0].md, descs[1].md, NULL,
                                             descs[2].md, attributes) == dnnl_success;
}
#else
typedef const dnnl_memory_desc_t *desc_ref;
struct desc {
    dnnl_memory_desc_t md;
};

static inline desc_ref desc_of(const struct desc *desc)
{
    return &desc->md;
}

static inline void desc_close(struct desc *desc)
{
    (void)desc;
}

static inline bool desc_strided(struct desc *desc, const dnnl_dims_t sizes,
                                const dnnl_dims_t strides, dnnl_data_type_t type)
{
    return dnnl_memory_desc_init_by_strides(&desc->md, 2, sizes, type, strides) == dnnl_success;
}

static inline bool desc_any(struct desc *desc, const dnnl_dims_t sizes, dnnl_data_type_t type)
{
    return dnnl_memory_desc_init_by_tag(&desc->md, 2, sizes, type, dnnl_format_tag_any) ==
           dnnl_success;
}

static inline bool desc_copy(struct desc *desc, desc_ref source)
{
    desc->md = *source;
    return true;
}

static inline bool desc_matmul(dnnl_primitive_desc_t *product, dnnl_engine_t engine,
                               const_dnnl_primitive_attr_t attributes, const struct desc *descs)
{
    dnnl_matmul_desc_t operation;
    return dnnl_matmul_desc_init(&operation, &descs[0].md, &descs[1].md, NULL, &descs[2].md) ==
               dnnl_success &&
           dnnl_primitive_desc_create(product, &operation, attributes, engine, NULL) ==
               dnnl_success;
}
#endif

#endif
