/* product: descriptions of products for cuBLASLt, and the algorithms that it chose. */
#include "kernels/cuda/product.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHOICES_MAX = 1024, // shapes whose algorithm is kept
    PROBES_MAX = 8,     // places that a shape may have among them
    ALIGNMENT_MAX = 256,
};

/* What an algorithm is chosen for. Without padding: compared as bytes. */
struct shape {
    int32_t outputs;
    int32_t columns;
    int32_t rows;
    int32_t input_stride;
    int32_t output_stride;
    int16_t alignments[3]; // of weights, inputs, output
    uint8_t is_fp8;
    uint8_t is_f32;
    uint8_t has_bias;
    uint8_t has_scales;
    uint8_t is_unsplit;
    uint8_t is_used;
};

struct choice {
    struct shape shape;
    struct cublas_algorithm algorithm;
    int result; // CUBLAS_OK, or why there is none
};

struct products {
    const struct cublas_library *library;
    struct cublas_handle *handle;
    void *workspace;
    struct choice choices[CHOICES_MAX];
};

int products_open(const struct cublas_library *library, void *workspace,
                  struct products **products_out)
{
    struct products *products = calloc(1, sizeof(*products));
    if (products == NULL) {
        return CUBLAS_ALLOC_FAILED;
    }
    products->library = library;
    products->workspace = workspace;
    int result = library->Create(&products->handle);
    if (result != CUBLAS_OK) {
        free(products);
        return result;
    }
    *products_out = products;
    return CUBLAS_OK;
}

void products_close(struct products *products)
{
    if (products != NULL) {
        (void)products->library->Destroy(products->handle);
        free(products);
    }
}

static int16_t alignment_of(const void *pointer)
{
    uintptr_t bit = (uintptr_t)pointer & (~(uintptr_t)pointer + 1);
    return (int16_t)(bit == 0 || bit > ALIGNMENT_MAX ? ALIGNMENT_MAX : bit);
}

/* To a power of two, and from 256 on to a multiple of that. */
static int round_rows(int rows)
{
    enum { COARSE = 256 };
    int rounded = 16;
    while (rounded < rows && rounded < COARSE) {
        rounded *= 2;
    }
    return rows <= rounded ? rounded : (int)(((unsigned)rows + COARSE - 1) / COARSE * COARSE);
}

static struct shape shape_of(const struct product *product)
{
    struct shape shape;
    memset(&shape, 0, sizeof(shape));
    shape.outputs = product->outputs;
    shape.columns = product->columns;
    shape.rows = product->is_unsplit ? product->rows : round_rows(product->rows);
    shape.input_stride = product->input_stride;
    shape.output_stride = product->output_stride;
    shape.alignments[0] = alignment_of(product->weights);
    shape.alignments[1] = alignment_of(product->inputs);
    shape.alignments[2] = alignment_of(product->output);
    shape.is_fp8 = product->is_fp8;
    shape.is_f32 = product->is_f32;
    shape.has_bias = product->bias != NULL;
    shape.has_scales = product->weight_scales != NULL;
    shape.is_unsplit = product->is_unsplit;
    shape.is_used = true;
    return shape;
}

/* A product as the library wants it: column-major, so D = A^T B of [outputs, rows]. */
struct call {
    struct cublas_desc *desc;
    struct cublas_layout *a; // weights
    struct cublas_layout *b; // inputs
    struct cublas_layout *d; // output; nothing is added, so also C
};

static void call_close(const struct cublas_library *library, struct call *call)
{
    if (call->desc != NULL) {
        (void)library->MatmulDescDestroy(call->desc);
    }
    struct cublas_layout *const layouts[] = {call->a, call->b, call->d};
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        if (layouts[i] != NULL) {
            (void)library->MatrixLayoutDestroy(layouts[i]);
        }
    }
}

static int set_bias(const struct cublas_library *library, struct cublas_desc *desc,
                    const struct product *product)
{
    uint32_t epilogue = CUBLAS_EPILOGUE_BIAS;
    int32_t type = product->is_f32 ? CUBLAS_TYPE_F32 : CUBLAS_TYPE_BF16;
    int result =
        library->MatmulDescSetAttribute(desc, CUBLAS_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
    if (result == CUBLAS_OK) {
        result = library->MatmulDescSetAttribute(desc, CUBLAS_DESC_BIAS_POINTER, &product->bias,
                                                 sizeof(product->bias));
    }
    return result != CUBLAS_OK
               ? result
               : library->MatmulDescSetAttribute(desc, CUBLAS_DESC_BIAS_TYPE, &type, sizeof(type));
}

static int set_scales(const struct cublas_library *library, struct cublas_desc *desc,
                      const struct product *product)
{
    int32_t mode = CUBLAS_SCALE_OUTER_VECTOR;
    const struct {
        int attribute;
        const void *value;
        size_t bytes;
    } values[] = {
        {CUBLAS_DESC_A_SCALE_MODE, &mode, sizeof(mode)},
        {CUBLAS_DESC_B_SCALE_MODE, &mode, sizeof(mode)},
        {CUBLAS_DESC_A_SCALE_POINTER, &product->weight_scales, sizeof(product->weight_scales)},
        {CUBLAS_DESC_B_SCALE_POINTER, &product->input_scales, sizeof(product->input_scales)},
    };
    int result = CUBLAS_OK;
    for (size_t i = 0; result == CUBLAS_OK && i < sizeof(values) / sizeof(values[0]); i++) {
        result = library->MatmulDescSetAttribute(desc, values[i].attribute, values[i].value,
                                                 values[i].bytes);
    }
    return result;
}

static int open_desc(const struct cublas_library *library, const struct product *product,
                     struct cublas_desc **desc_out)
{
    int32_t transposed = CUBLAS_TRANSPOSED;
    int result = library->MatmulDescCreate(desc_out, CUBLAS_COMPUTE_F32, CUBLAS_TYPE_F32);
    if (result == CUBLAS_OK) {
        result = library->MatmulDescSetAttribute(*desc_out, CUBLAS_DESC_TRANSPOSE_A, &transposed,
                                                 sizeof(transposed));
    }
    if (result == CUBLAS_OK && product->bias != NULL) {
        result = set_bias(library, *desc_out, product);
    }
    if (result == CUBLAS_OK && product->weight_scales != NULL) {
        result = set_scales(library, *desc_out, product);
    }
    return result;
}

/* call_close also after a failure. */
static int call_open(const struct cublas_library *library, const struct product *product, int rows,
                     struct call *call)
{
    int operands = product->is_fp8 ? CUBLAS_TYPE_E4M3 : CUBLAS_TYPE_BF16;
    int output = product->is_f32 ? CUBLAS_TYPE_F32 : CUBLAS_TYPE_BF16;
    uint64_t columns = (uint64_t)product->columns;
    uint64_t outputs = (uint64_t)product->outputs;
    int result = open_desc(library, product, &call->desc);
    if (result == CUBLAS_OK) {
        result =
            library->MatrixLayoutCreate(&call->a, operands, columns, outputs, product->columns);
    }
    if (result == CUBLAS_OK) {
        result = library->MatrixLayoutCreate(&call->b, operands, columns, (uint64_t)rows,
                                             product->input_stride);
    }
    if (result == CUBLAS_OK) {
        result = library->MatrixLayoutCreate(&call->d, output, outputs, (uint64_t)rows,
                                             product->output_stride);
    }
    return result;
}

static int set_preference(const struct cublas_library *library,
                          struct cublas_preference *preference, int attribute, uint32_t value)
{
    return library->MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value));
}

static int set_preferences(const struct cublas_library *library,
                           struct cublas_preference *preference, const struct shape *shape)
{
    uint64_t bytes = PRODUCT_WORKSPACE_BYTES;
    int result = library->MatmulPreferenceSetAttribute(
        preference, CUBLAS_PREFERENCE_WORKSPACE_BYTES, &bytes, sizeof(bytes));
    if (result == CUBLAS_OK && shape->is_unsplit) {
        result = set_preference(library, preference, CUBLAS_PREFERENCE_REDUCTIONS,
                                CUBLAS_REDUCTION_NONE);
    }
    const int attributes[] = {CUBLAS_PREFERENCE_ALIGNMENT_A, CUBLAS_PREFERENCE_ALIGNMENT_B,
                              CUBLAS_PREFERENCE_ALIGNMENT_C, CUBLAS_PREFERENCE_ALIGNMENT_D};
    for (int i = 0; result == CUBLAS_OK && i < 4; i++) {
        int matrix = i < 2 ? i : 2;
        result =
            set_preference(library, preference, attributes[i], (uint32_t)shape->alignments[matrix]);
    }
    return result;
}

/* Asks the library for the algorithm of `rows` rows. */
static int choose(struct products *products, const struct product *product, int rows,
                  struct cublas_algorithm *algorithm_out)
{
    const struct cublas_library *library = products->library;
    struct shape shape = shape_of(product);
    struct call call = {0};
    struct cublas_preference *preference = NULL;
    struct cublas_heuristic heuristic = {0};
    int count = 0;
    int result = call_open(library, product, rows, &call);
    if (result == CUBLAS_OK) {
        result = library->MatmulPreferenceCreate(&preference);
    }
    if (result == CUBLAS_OK) {
        result = set_preferences(library, preference, &shape);
    }
    if (result == CUBLAS_OK) {
        result = library->MatmulAlgoGetHeuristic(products->handle, call.desc, call.a, call.b,
                                                 call.d, call.d, preference, 1, &heuristic, &count);
    }
    if (result == CUBLAS_OK) {
        result = count < 1 ? (int)CUBLAS_NOT_SUPPORTED : heuristic.state;
        *algorithm_out = heuristic.algorithm;
    }
    if (preference != NULL) {
        (void)library->MatmulPreferenceDestroy(preference);
    }
    call_close(library, &call);
    return result;
}

static size_t hash_of(const struct shape *shape)
{
    const unsigned char *bytes = (const unsigned char *)shape;
    uint64_t hash = 14695981039346656037u; // FNV-1a
    for (size_t i = 0; i < sizeof(*shape); i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return (size_t)(hash >> 20);
}

/* The kept choice for the shape, or the place for it. */
static struct choice *find_choice(struct products *products, const struct shape *shape)
{
    size_t hash = hash_of(shape);
    for (size_t i = 0; i < PROBES_MAX; i++) {
        struct choice *choice = &products->choices[(hash + i) % CHOICES_MAX];
        if (!choice->shape.is_used || memcmp(&choice->shape, shape, sizeof(*shape)) == 0) {
            return choice;
        }
    }
    return &products->choices[hash % CHOICES_MAX]; // whose own is forgotten
}

static int algorithm_of(struct products *products, const struct product *product,
                        struct cublas_algorithm *algorithm_out)
{
    struct shape shape = shape_of(product);
    struct choice *choice = find_choice(products, &shape);
    if (memcmp(&choice->shape, &shape, sizeof(shape)) != 0) {
        struct cublas_algorithm algorithm = {0};
        int result = choose(products, product, shape.rows, &algorithm);
        if (result != CUBLAS_OK && result != CUBLAS_NOT_SUPPORTED &&
            result != CUBLAS_INVALID_VALUE) {
            return result; // may be otherwise the next time
        }
        *choice = (struct choice){shape, algorithm, result};
    }
    *algorithm_out = choice->algorithm;
    return choice->result;
}

bool products_can(struct products *products, const struct product *product)
{
    struct cublas_algorithm algorithm;
    return algorithm_of(products, product, &algorithm) == CUBLAS_OK;
}

static int run_with(struct products *products, const struct product *product,
                    const struct cublas_algorithm *algorithm, struct cuda_stream *stream)
{
    const struct cublas_library *library = products->library;
    struct call call = {0};
    float alpha = 1;
    float beta = 0;
    int result = call_open(library, product, product->rows, &call);
    if (result == CUBLAS_OK) {
        result = library->Matmul(products->handle, call.desc, &alpha, product->weights, call.a,
                                 product->inputs, call.b, &beta, product->output, call.d,
                                 product->output, call.d, algorithm, products->workspace,
                                 PRODUCT_WORKSPACE_BYTES, stream);
    }
    call_close(library, &call);
    return result;
}

int products_run(struct products *products, const struct product *product,
                 struct cuda_stream *stream)
{
    struct cublas_algorithm algorithm;
    int result = algorithm_of(products, product, &algorithm);
    if (result == CUBLAS_OK) {
        result = run_with(products, product, &algorithm, stream);
    }
    if (result == CUBLAS_NOT_SUPPORTED || result == CUBLAS_INVALID_VALUE) {
        // What suits the rounded number of rows may not suit this one.
        result = choose(products, product, product->rows, &algorithm);
        if (result == CUBLAS_OK) {
            result = run_with(products, product, &algorithm, stream);
        }
    }
    return result;
}
