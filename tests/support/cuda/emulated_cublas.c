/* emulated_cublas: products as their definition says. */
#include "tests/support/cuda/emulated_cublas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cuda/emulated_driver.h"

struct cublas_desc {
    int32_t is_transposed;
    uint32_t epilogue;
    int32_t bias_type;
    int32_t a_scale_mode;
    int32_t b_scale_mode;
    const void *bias;
    const float *a_scales;
    const float *b_scales;
};

struct cublas_layout {
    int type;
    uint64_t rows;
    uint64_t columns;
    int64_t leading;
};

struct cublas_preference {
    uint64_t workspace_bytes;
};

static size_t version(void)
{
    return 130100;
}

static int create(struct cublas_handle **handle)
{
    static int there;
    *handle = (struct cublas_handle *)(void *)&there;
    return CUBLAS_OK;
}

static int destroy(struct cublas_handle *handle)
{
    (void)handle;
    return CUBLAS_OK;
}

static int desc_create(struct cublas_desc **desc, int compute_type, int scale_type)
{
    if (compute_type != CUBLAS_COMPUTE_F32 || scale_type != CUBLAS_TYPE_F32) {
        return CUBLAS_INVALID_VALUE;
    }
    *desc = calloc(1, sizeof(**desc));
    return *desc == NULL ? (int)CUBLAS_ALLOC_FAILED : (int)CUBLAS_OK;
}

static int desc_destroy(struct cublas_desc *desc)
{
    free(desc);
    return CUBLAS_OK;
}

static int desc_set(struct cublas_desc *desc, int attribute, const void *value, size_t bytes)
{
    const struct {
        int attribute;
        void *member;
        size_t bytes;
    } members[] = {
        {CUBLAS_DESC_TRANSPOSE_A, &desc->is_transposed, sizeof(desc->is_transposed)},
        {CUBLAS_DESC_EPILOGUE, &desc->epilogue, sizeof(desc->epilogue)},
        {CUBLAS_DESC_BIAS_POINTER, &desc->bias, sizeof(desc->bias)},
        {CUBLAS_DESC_BIAS_TYPE, &desc->bias_type, sizeof(desc->bias_type)},
        {CUBLAS_DESC_A_SCALE_POINTER, &desc->a_scales, sizeof(desc->a_scales)},
        {CUBLAS_DESC_B_SCALE_POINTER, &desc->b_scales, sizeof(desc->b_scales)},
        {CUBLAS_DESC_A_SCALE_MODE, &desc->a_scale_mode, sizeof(desc->a_scale_mode)},
        {CUBLAS_DESC_B_SCALE_MODE, &desc->b_scale_mode, sizeof(desc->b_scale_mode)},
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (members[i].attribute == attribute && members[i].bytes == bytes) {
            memcpy(members[i].member, value, bytes);
            return CUBLAS_OK;
        }
    }
    return CUBLAS_INVALID_VALUE;
}

static int layout_create(struct cublas_layout **layout, int type, uint64_t rows, uint64_t columns,
                         int64_t leading)
{
    if (rows == 0 || columns == 0 || leading < (int64_t)rows) {
        return CUBLAS_INVALID_VALUE;
    }
    *layout = malloc(sizeof(**layout));
    if (*layout == NULL) {
        return CUBLAS_ALLOC_FAILED;
    }
    **layout = (struct cublas_layout){type, rows, columns, leading};
    return CUBLAS_OK;
}

static int layout_destroy(struct cublas_layout *layout)
{
    free(layout);
    return CUBLAS_OK;
}

static int preference_create(struct cublas_preference **preference)
{
    *preference = calloc(1, sizeof(**preference));
    return *preference == NULL ? (int)CUBLAS_ALLOC_FAILED : (int)CUBLAS_OK;
}

static int preference_destroy(struct cublas_preference *preference)
{
    free(preference);
    return CUBLAS_OK;
}

static int preference_set(struct cublas_preference *preference, int attribute, const void *value,
                          size_t bytes)
{
    if (attribute == CUBLAS_PREFERENCE_WORKSPACE_BYTES) {
        memcpy(&preference->workspace_bytes, value, sizeof(uint64_t));
        return bytes == sizeof(uint64_t) ? CUBLAS_OK : CUBLAS_INVALID_VALUE;
    }
    return bytes == sizeof(uint32_t) ? CUBLAS_OK : CUBLAS_INVALID_VALUE;
}

/* What the library's manual asks of a product of E4M3. */
static int check_fp8(const struct cublas_desc *desc, const struct cublas_layout *a,
                     const struct cublas_layout *b, const struct cublas_layout *d)
{
    enum { UNIT = 16, CAPABILITY = 89, CAPABILITY_OUTER_VECTOR = 90 };
    bool has_scales = desc->a_scales != NULL || desc->b_scales != NULL;
    if (emulated_device_capability() < CAPABILITY || a->rows % UNIT != 0 || d->rows % UNIT != 0 ||
        a->leading % UNIT != 0 || b->leading % UNIT != 0 ||
        (has_scales && (emulated_device_capability() < CAPABILITY_OUTER_VECTOR ||
                        desc->a_scale_mode != CUBLAS_SCALE_OUTER_VECTOR ||
                        desc->b_scale_mode != CUBLAS_SCALE_OUTER_VECTOR))) {
        return CUBLAS_NOT_SUPPORTED;
    }
    return CUBLAS_OK;
}

static int check(const struct cublas_desc *desc, const struct cublas_layout *a,
                 const struct cublas_layout *b, const struct cublas_layout *d)
{
    if (desc->is_transposed != CUBLAS_TRANSPOSED || a->type != b->type || a->rows != b->rows ||
        a->columns != d->rows || b->columns != d->columns ||
        (desc->bias != NULL && desc->bias_type != d->type)) {
        return CUBLAS_INVALID_VALUE;
    }
    return a->type == CUBLAS_TYPE_E4M3 ? check_fp8(desc, a, b, d) : CUBLAS_OK;
}

static int heuristic(struct cublas_handle *handle, struct cublas_desc *desc,
                     struct cublas_layout *a, struct cublas_layout *b, struct cublas_layout *c,
                     struct cublas_layout *d, struct cublas_preference *preference, int wanted,
                     struct cublas_heuristic *results, int *count)
{
    (void)handle;
    (void)c;
    (void)preference;
    int result = check(desc, a, b, d);
    *count = result == CUBLAS_OK && wanted > 0 ? 1 : 0;
    results[0] = (struct cublas_heuristic){.state = result};
    return result;
}

static float e4m3_value(uint8_t bits)
{
    int exponent = bits >> 3 & 15;
    int mantissa = bits & 7;
    float magnitude = (bits & 0x7f) == 0x7f ? NAN
                      : exponent == 0       ? ldexpf((float)mantissa, -9)
                                            : ldexpf((float)(8 + mantissa), exponent - 10);
    return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

static float value_at(const void *data, int type, size_t index)
{
    if (type == CUBLAS_TYPE_E4M3) {
        return e4m3_value(((const uint8_t *)data)[index]);
    }
    if (type == CUBLAS_TYPE_F32) {
        return ((const float *)data)[index];
    }
    uint32_t bits = (uint32_t)((const uint16_t *)data)[index] << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void put_at(void *data, int type, size_t index, float value)
{
    if (type == CUBLAS_TYPE_F32) {
        ((float *)data)[index] = value;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    bits = isnan(value) ? 0x7fc00000u : bits + 0x7fffu + (bits >> 16 & 1u);
    ((uint16_t *)data)[index] = (uint16_t)(bits >> 16);
}

struct matmul {
    struct cublas_desc desc;
    struct cublas_layout a_layout;
    struct cublas_layout b_layout;
    struct cublas_layout d_layout;
    const void *a;
    const void *b;
    void *d;
    void *workspace;
    size_t workspace_bytes;
};

static float *values_of(const void *data, const struct cublas_layout *layout)
{
    float *values = malloc(layout->rows * layout->columns * sizeof(*values));
    if (values == NULL) {
        abort();
    }
    for (uint64_t column = 0; column < layout->columns; column++) {
        for (uint64_t row = 0; row < layout->rows; row++) {
            values[column * layout->rows + row] =
                value_at(data, layout->type, column * (uint64_t)layout->leading + row);
        }
    }
    return values;
}

static void run_matmul(const void *context)
{
    enum { DIRTY_BYTES = 256 };
    const struct matmul *call = context;
    const struct cublas_desc *desc = &call->desc;
    uint64_t depth = call->a_layout.rows;
    float *a = values_of(call->a, &call->a_layout);
    float *b = values_of(call->b, &call->b_layout);
    for (uint64_t n = 0; n < call->d_layout.columns; n++) {
        for (uint64_t m = 0; m < call->d_layout.rows; m++) {
            float sum = 0;
            for (uint64_t k = 0; k < depth; k++) {
                sum += a[m * depth + k] * b[n * depth + k];
            }
            sum *= desc->a_scales == NULL ? 1 : desc->a_scales[m] * desc->b_scales[n];
            sum += desc->bias == NULL ? 0 : value_at(desc->bias, desc->bias_type, m);
            put_at(call->d, call->d_layout.type, n * (uint64_t)call->d_layout.leading + m, sum);
        }
    }
    memset(call->workspace, 0xff, DIRTY_BYTES); // it is the library's
    free(a);
    free(b);
}

static int matmul(struct cublas_handle *handle, struct cublas_desc *desc, const void *alpha,
                  const void *a, struct cublas_layout *a_layout, const void *b,
                  struct cublas_layout *b_layout, const void *beta, const void *c,
                  struct cublas_layout *c_layout, void *d, struct cublas_layout *d_layout,
                  const struct cublas_algorithm *algorithm, void *workspace, size_t workspace_bytes,
                  struct cuda_stream *stream)
{
    (void)handle;
    (void)c;
    (void)c_layout;
    (void)algorithm;
    (void)stream;
    float one;
    float zero;
    memcpy(&one, alpha, sizeof(one));
    memcpy(&zero, beta, sizeof(zero));
    int result = check(desc, a_layout, b_layout, d_layout);
    if (result != CUBLAS_OK || one != 1 || zero != 0) {
        return result != CUBLAS_OK ? result : (int)CUBLAS_INVALID_VALUE;
    }
    struct matmul call = {*desc, *a_layout, *b_layout, *d_layout,      a,
                          b,     d,         workspace, workspace_bytes};
    return emulated_stream_put(run_matmul, &call, sizeof(call));
}

const struct cublas_library *emulated_cublas(void)
{
    static const struct cublas_library library = {
        .GetVersion = version,
        .Create = create,
        .Destroy = destroy,
        .MatmulDescCreate = desc_create,
        .MatmulDescDestroy = desc_destroy,
        .MatmulDescSetAttribute = desc_set,
        .MatrixLayoutCreate = layout_create,
        .MatrixLayoutDestroy = layout_destroy,
        .MatmulPreferenceCreate = preference_create,
        .MatmulPreferenceDestroy = preference_destroy,
        .MatmulPreferenceSetAttribute = preference_set,
        .MatmulAlgoGetHeuristic = heuristic,
        .Matmul = matmul,
    };
    return &library;
}
