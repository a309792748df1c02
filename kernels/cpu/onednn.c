/* onednn: primitives, made when a weight is opened and shared by weights of the same shape, and the
 * memory objects that each thread runs them with, made at their first use.
 *
 * The library would give each primitive one scratchpad, which threads that run it at once would
 * share: every thread brings its own instead.
 */
#include "kernels/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

#include "kernels/cpu/onednn_desc.h"
#include "kernels/dtype.h"

enum { INPUT, WEIGHTS, OUTPUT, SCRATCHPAD, MEMORIES };

enum { PAIR_ROWS = 2, PAIR_STRIDE = 2 * ONEDNN_PANEL };
enum { OUTPUT_BYTES = 4 }; // f32 or s32

/* What one thread hands to a primitive; the addresses change from panel to panel. */
struct binding {
    dnnl_exec_arg_t arguments[MEMORIES];
    bool is_open;
};

/* All products of one shape: primitives for 1, 2, ... rows (f32) or for a whole block. That
 * for 1 row computes PAIR_ROWS, because the library has another kernel for a single one, and for
 * outputs without gaps where the other products have gaps, and it sums in another order. */
struct shape {
    int columns;
    int outputs;       // of the panel
    int output_stride; // elements
    enum weight_format format;
    dnnl_primitive_t products[ONEDNN_ROWS_F32]; // [rows - 1]
    struct binding *bindings;                   // [threads, ONEDNN_ROWS_F32]
    int bindings_count;
    size_t panel_bytes;
    size_t scratchpad_bytes; // the most of all products
    struct shape *next;
};

struct onednn {
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attributes; // scratchpads are ours
    dnnl_stream_t *streams;           // [threads]
    int threads;
    struct shape *shapes;
    char version[16];
};

struct onednn_weight {
    const struct onednn *onednn;
    const struct shape *full; // NULL if there is but a narrow panel
    const struct shape *last; // the narrow one at the end, or NULL
    int rows;
    int columns;
    enum weight_format format;
    char *panels; // each `panel_stride` bytes
    size_t panel_stride;
};

/* Primitives take their number of threads from OpenMP when they are made, and some when they run,
 * from a setting of the calling thread: one, for ours. Gives what it was. */
static int threads_limit(int count)
{
#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_OMP
    int before = omp_get_max_threads();
    omp_set_num_threads(count);
    return before;
#else
    return count;
#endif
}

static dnnl_data_type_t input_type(enum weight_format format)
{
    return format == WEIGHTS_INT8 ? dnnl_s8 : format == WEIGHTS_BF16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_data_type_t output_type(enum weight_format format)
{
    return format == WEIGHTS_INT8 ? dnnl_s32 : dnnl_f32;
}

static size_t input_bytes(enum weight_format format)
{
    return format == WEIGHTS_INT8 ? 1 : format == WEIGHTS_BF16 ? 2 : 4;
}

/* Whether products take whole blocks only. */
static bool is_blocked(enum weight_format format)
{
    return format != WEIGHTS_F32;
}

/* Whether a product of so many rows goes through the scratch memory, with rows of zeros below. */
static bool is_padded(enum weight_format format, int rows)
{
    return is_blocked(format) || rows == 1;
}

static int output_stride(const struct shape *shape, int rows)
{
    if (is_blocked(shape->format)) {
        return shape->outputs;
    }
    return rows > 1 || shape->output_stride < PAIR_STRIDE ? shape->output_stride : PAIR_STRIDE;
}

/* Makes the product of `rows` rows with the weights laid out as `weights` says. */
static bool open_product(const struct onednn *onednn, struct shape *shape, int rows,
                         const struct desc *weights)
{
    struct desc descs[3];
    memset(descs, 0, sizeof(descs));
    descs[1] = *weights;
    dnnl_primitive_desc_t chosen = NULL;
    int computed = !is_blocked(shape->format) && rows == 1 ? PAIR_ROWS : rows;
    dnnl_dims_t input = {computed, shape->columns};
    dnnl_dims_t input_strides = {shape->columns, 1};
    dnnl_dims_t output = {computed, shape->outputs};
    dnnl_dims_t output_strides = {output_stride(shape, rows), 1};
    bool is_ok = desc_strided(&descs[0], input, input_strides, input_type(shape->format)) &&
                 desc_strided(&descs[2], output, output_strides, output_type(shape->format)) &&
                 desc_matmul(&chosen, onednn->engine, onednn->attributes, descs) &&
                 dnnl_primitive_create(&shape->products[rows - 1], chosen) == dnnl_success;
    desc_close(&descs[0]);
    desc_close(&descs[2]);
    if (chosen != NULL) {
        (void)dnnl_primitive_desc_destroy(chosen);
    }
    return is_ok;
}

static void shape_close(struct shape *shape)
{
    for (int i = 0; i < shape->bindings_count; i++) {
        for (int j = 0; j < MEMORIES; j++) {
            if (shape->bindings[i].arguments[j].memory != NULL) {
                (void)dnnl_memory_destroy(shape->bindings[i].arguments[j].memory);
            }
        }
    }
    free(shape->bindings);
    for (int i = 0; i < ONEDNN_ROWS_F32; i++) {
        if (shape->products[i] != NULL) {
            (void)dnnl_primitive_destroy(shape->products[i]);
        }
    }
    free(shape);
}

static int block_rows(enum weight_format format)
{
    return is_blocked(format) ? ONEDNN_ROWS_BLOCK : ONEDNN_ROWS_F32;
}

/* What a product reads or writes, as it was described when it was made. */
static desc_ref described(const struct shape *shape, int rows, dnnl_query_t what)
{
    const_dnnl_primitive_desc_t made = NULL;
    (void)dnnl_primitive_get_primitive_desc(shape->products[rows - 1], &made);
    return dnnl_primitive_desc_query_md(made, what, 0);
}

/* Makes the product of a whole block, whose layout of the weights all others take over. */
static bool open_products(const struct onednn *onednn, struct shape *shape)
{
    struct desc any;
    struct desc layout;
    memset(&any, 0, sizeof(any));
    memset(&layout, 0, sizeof(layout));
    dnnl_dims_t weights = {shape->columns, shape->outputs};
    int most = block_rows(shape->format);
    bool is_ok = desc_any(&any, weights, input_type(shape->format)) &&
                 open_product(onednn, shape, most, &any) &&
                 desc_copy(&layout, described(shape, most, dnnl_query_weights_md));
    for (int rows = 1; is_ok && !is_blocked(shape->format) && rows < most; rows++) {
        is_ok = open_product(onednn, shape, rows, &layout);
    }
    shape->panel_bytes = is_ok ? dnnl_memory_desc_get_size(desc_of(&layout)) : 0;
    for (int rows = 1; is_ok && rows <= most; rows++) {
        if (shape->products[rows - 1] != NULL) {
            size_t bytes =
                dnnl_memory_desc_get_size(described(shape, rows, dnnl_query_scratchpad_md));
            shape->scratchpad_bytes =
                bytes > shape->scratchpad_bytes ? bytes : shape->scratchpad_bytes;
        }
    }
    desc_close(&layout);
    desc_close(&any);
    return is_ok;
}

/* NULL if oneDNN cannot, or out of memory. */
static struct shape *shape_open(const struct onednn *onednn, const struct shape *wanted)
{
    struct shape *shape = calloc(1, sizeof(*shape));
    if (shape == NULL) {
        return NULL;
    }
    *shape = *wanted;
    shape->bindings_count = onednn->threads * ONEDNN_ROWS_F32;
    shape->bindings = calloc((size_t)shape->bindings_count, sizeof(*shape->bindings));
    shape->bindings_count = shape->bindings == NULL ? 0 : shape->bindings_count;
    if (shape->bindings == NULL || !open_products(onednn, shape)) {
        shape_close(shape);
        return NULL;
    }
    return shape;
}

/* Finds the shape among those that are open, or opens it. */
static const struct shape *shape_of(struct onednn *onednn, const struct shape *wanted)
{
    for (struct shape *shape = onednn->shapes; shape != NULL; shape = shape->next) {
        if (shape->columns == wanted->columns && shape->outputs == wanted->outputs &&
            shape->output_stride == wanted->output_stride && shape->format == wanted->format) {
            return shape;
        }
    }
    struct shape *shape = shape_open(onednn, wanted);
    if (shape != NULL) {
        shape->next = onednn->shapes;
        onednn->shapes = shape;
    }
    return shape;
}

struct onednn *onednn_open(enum backend_isa isa, int threads)
{
    if (isa != ISA_AMX && isa != ISA_AVX512_VNNI &&
        isa != ISA_AVX512) { // f32 on AVX2 depends on the number of rows
        return NULL;
    }
    struct onednn *onednn = calloc(1, sizeof(*onednn));
    if (onednn == NULL) {
        return NULL;
    }
    onednn->streams = calloc((size_t)threads, sizeof(dnnl_stream_t));
    bool is_ok = onednn->streams != NULL &&
                 dnnl_engine_create(&onednn->engine, dnnl_cpu, 0) == dnnl_success &&
                 dnnl_primitive_attr_create(&onednn->attributes) == dnnl_success &&
                 dnnl_primitive_attr_set_scratchpad_mode(onednn->attributes,
                                                         dnnl_scratchpad_mode_user) == dnnl_success;
    for (int i = 0; is_ok && i < threads; i++) {
        is_ok = dnnl_stream_create(&onednn->streams[i], onednn->engine,
                                   dnnl_stream_default_flags) == dnnl_success;
        onednn->threads += is_ok ? 1 : 0;
    }
    if (!is_ok) {
        onednn_close(onednn);
        return NULL;
    }
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(onednn->version, sizeof(onednn->version), "%d.%d.%d", version->major,
                   version->minor, version->patch);
    return onednn;
}

void onednn_close(struct onednn *onednn)
{
    if (onednn == NULL) {
        return;
    }
    while (onednn->shapes != NULL) {
        struct shape *next = onednn->shapes->next;
        shape_close(onednn->shapes);
        onednn->shapes = next;
    }
    for (int i = 0; i < onednn->threads; i++) {
        (void)dnnl_stream_destroy(onednn->streams[i]);
    }
    if (onednn->attributes != NULL) {
        (void)dnnl_primitive_attr_destroy(onednn->attributes);
    }
    if (onednn->engine != NULL) {
        (void)dnnl_engine_destroy(onednn->engine);
    }
    free(onednn->streams);
    free(onednn);
}

const char *onednn_version(const struct onednn *onednn)
{
    return onednn == NULL ? "" : onednn->version;
}

/* Copies a matrix from one layout to another. */
static bool reorder(dnnl_stream_t stream, dnnl_primitive_desc_t chosen,
                    const dnnl_exec_arg_t *arguments)
{
    dnnl_primitive_t primitive = NULL;
    bool is_ok = dnnl_primitive_create(&primitive, chosen) == dnnl_success &&
                 dnnl_primitive_execute(primitive, stream, 2, arguments) == dnnl_success &&
                 dnnl_stream_wait(stream) == dnnl_success;
    if (primitive != NULL) {
        (void)dnnl_primitive_destroy(primitive);
    }
    return is_ok;
}

/* oneDNN takes what it only reads without const. */
static void *without_const(const void *data)
{
    void *result = NULL;
    memcpy(&result, &data, sizeof(result));
    return result;
}

/* Lays a panel of [outputs, columns] out as the shape wants it. */
static bool pack_panel(const struct onednn *onednn, const struct shape *shape, const void *matrix,
                       void *panel, int thread)
{
    dnnl_data_type_t type = shape->format == WEIGHTS_INT8 ? dnnl_s8 : dnnl_f32;
    struct desc source;
    dnnl_primitive_desc_t chosen = NULL;
    dnnl_exec_arg_t arguments[2] = {{.arg = DNNL_ARG_FROM}, {.arg = DNNL_ARG_TO}};
    dnnl_dims_t sizes = {shape->columns, shape->outputs};
    dnnl_dims_t strides = {1, shape->columns}; // transposed
    desc_ref layout = described(shape, block_rows(shape->format), dnnl_query_weights_md);
    memset(&source, 0, sizeof(source));
    bool is_ok =
        desc_strided(&source, sizes, strides, type) &&
        dnnl_reorder_primitive_desc_create(&chosen, desc_of(&source), onednn->engine, layout,
                                           onednn->engine, NULL) == dnnl_success &&
        dnnl_memory_create(&arguments[0].memory, desc_of(&source), onednn->engine,
                           without_const(matrix)) == dnnl_success &&
        dnnl_memory_create(&arguments[1].memory, layout, onednn->engine, panel) == dnnl_success &&
        reorder(onednn->streams[thread], chosen, arguments);
    for (int i = 0; i < 2; i++) {
        if (arguments[i].memory != NULL) {
            (void)dnnl_memory_destroy(arguments[i].memory);
        }
    }
    if (chosen != NULL) {
        (void)dnnl_primitive_desc_destroy(chosen);
    }
    desc_close(&source);
    return is_ok;
}

static int panels_count(const struct onednn_weight *weight)
{
    return (weight->rows + ONEDNN_PANEL - 1) / ONEDNN_PANEL;
}

static const struct shape *panel_shape(const struct onednn_weight *weight, int panel)
{
    return weight->last != NULL && panel == panels_count(weight) - 1 ? weight->last : weight->full;
}

static enum kernel_status open_shapes(struct onednn *onednn, struct onednn_weight *weight)
{
    struct shape wanted = {.columns = weight->columns,
                           .outputs = ONEDNN_PANEL,
                           .output_stride = weight->rows,
                           .format = weight->format};
    bool is_ok = true;
    if (weight->rows >= ONEDNN_PANEL) {
        weight->full = shape_of(onednn, &wanted);
        is_ok = weight->full != NULL;
    }
    wanted.outputs = weight->rows % ONEDNN_PANEL;
    if (is_ok && wanted.outputs > 0) {
        weight->last = shape_of(onednn, &wanted);
        is_ok = weight->last != NULL;
    }
    return is_ok ? KERNEL_OK : KERNEL_NO_DEVICE;
}

static enum kernel_status open_panels(struct onednn_weight *weight)
{
    size_t full = weight->full == NULL ? 0 : weight->full->panel_bytes;
    size_t last = weight->last == NULL ? 0 : weight->last->panel_bytes;
    weight->panel_stride = ((full > last ? full : last) + 63) / 64 * 64;
    weight->panels = aligned_alloc(64, weight->panel_stride * (size_t)panels_count(weight));
    return weight->panels == NULL ? KERNEL_OUT_OF_MEMORY : KERNEL_OK;
}

enum kernel_status onednn_weight_pack(const struct onednn_weight *weight, int panel,
                                      const void *matrix, int thread)
{
    (void)threads_limit(1);
    bool is_ok = pack_panel(weight->onednn, panel_shape(weight, panel), matrix,
                            weight->panels + (size_t)panel * weight->panel_stride, thread);
    return is_ok ? KERNEL_OK : KERNEL_DEVICE_LOST;
}

enum kernel_status onednn_weight_open(struct onednn *onednn, int rows, int columns,
                                      enum weight_format format, struct onednn_weight **weight_out)
{
    struct onednn_weight *weight = calloc(1, sizeof(*weight));
    if (weight == NULL) {
        return KERNEL_OUT_OF_MEMORY;
    }
    weight->onednn = onednn;
    weight->rows = rows;
    weight->columns = columns;
    weight->format = format;
    int threads = threads_limit(1);
    enum kernel_status status = open_shapes(onednn, weight);
    (void)threads_limit(threads);
    if (status == KERNEL_OK) {
        status = open_panels(weight);
    }
    if (status != KERNEL_OK) {
        onednn_weight_close(weight);
        return status;
    }
    *weight_out = weight;
    return KERNEL_OK;
}

void onednn_weight_close(struct onednn_weight *weight)
{
    if (weight != NULL) {
        free(weight->panels);
        free(weight);
    }
}

int onednn_block_rows(const struct onednn_weight *weight)
{
    return block_rows(weight->format);
}

/* Of the rows in the scratch memory, and behind them the products' outputs. */
static size_t padded_bytes(const struct onednn_weight *weight)
{
    size_t rows = is_blocked(weight->format) ? ONEDNN_ROWS_BLOCK : PAIR_ROWS;
    return (rows * (size_t)weight->columns * input_bytes(weight->format) + 63) / 64 * 64;
}

/* The scratch memory holds padded input and a block of output, and then a scratchpad. */
static size_t block_bytes(const struct onednn_weight *weight)
{
    size_t outputs =
        is_blocked(weight->format) ? ONEDNN_ROWS_BLOCK * ONEDNN_PANEL : PAIR_ROWS * PAIR_STRIDE;
    return padded_bytes(weight) + outputs * sizeof(float);
}

size_t onednn_scratch_bytes(const struct onednn_weight *weight)
{
    size_t full = weight->full == NULL ? 0 : weight->full->scratchpad_bytes;
    size_t last = weight->last == NULL ? 0 : weight->last->scratchpad_bytes;
    return block_bytes(weight) + (full > last ? full : last);
}

/* The rows rounded to bf16, and zeros up to a whole block. */
static void *round_input(const struct onednn_task *task)
{
    uint16_t *rounded = task->scratch;
    const float *input = task->input;
    size_t count = (size_t)task->rows * (size_t)task->weight->columns;
    for (size_t i = 0; i < count; i++) {
        rounded[i] = dtype_f32_to_bf16(input[i]);
    }
    memset(rounded + count, 0, padded_bytes(task->weight) - count * sizeof(uint16_t));
    return rounded;
}

/* The rows as they are, and zeros. */
static void *pad_input(const struct onednn_task *task)
{
    const struct onednn_weight *weight = task->weight;
    size_t bytes = (size_t)weight->columns * input_bytes(weight->format);
    size_t stride = weight->format == WEIGHTS_INT8 ? task->input_stride : bytes;
    char *padded = task->scratch;
    for (int r = 0; r < task->rows; r++) {
        memcpy(padded + (size_t)r * bytes, (const char *)task->input + (size_t)r * stride, bytes);
    }
    size_t copied = (size_t)task->rows * bytes;
    memset(padded + copied, 0, padded_bytes(weight) - copied);
    return padded;
}

/* The rows as the products read them. */
static void *product_input(const struct onednn_task *task)
{
    if (task->weight->format == WEIGHTS_BF16) {
        return round_input(task);
    }
    return is_padded(task->weight->format, task->rows) ? pad_input(task)
                                                       : without_const(task->input);
}

/* The memory objects of this thread for this many rows. */
static struct binding *bind(const struct onednn *onednn, const struct shape *shape, int rows,
                            int thread)
{
    static const dnnl_query_t queries[] = {dnnl_query_src_md, dnnl_query_weights_md,
                                           dnnl_query_dst_md, dnnl_query_scratchpad_md};
    static const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    struct binding *binding = &shape->bindings[thread * ONEDNN_ROWS_F32 + rows - 1];
    for (int i = 0; !binding->is_open && i < MEMORIES; i++) {
        binding->arguments[i].arg = names[i];
        if (binding->arguments[i].memory == NULL &&
            dnnl_memory_create(&binding->arguments[i].memory, described(shape, rows, queries[i]),
                               onednn->engine, DNNL_MEMORY_NONE) != dnnl_success) {
            return NULL;
        }
        binding->is_open = i == MEMORIES - 1;
    }
    return binding;
}

/* One panel: straight into the output, or by way of a block in the scratch memory. */
static bool run_panel(const struct onednn_task *task, int panel, void *input)
{
    const struct onednn_weight *weight = task->weight;
    const struct onednn *onednn = weight->onednn;
    const struct shape *shape = panel_shape(weight, panel);
    char *output = (char *)task->output + (size_t)panel * ONEDNN_PANEL * OUTPUT_BYTES;
    bool is_apart = is_padded(weight->format, task->rows);
    char *block = is_apart ? (char *)task->scratch + padded_bytes(weight) : output;
    int rows = is_blocked(weight->format) ? ONEDNN_ROWS_BLOCK : task->rows;
    struct binding *binding = bind(onednn, shape, rows, task->thread);
    if (binding == NULL) {
        return false;
    }
    dnnl_stream_t stream = onednn->streams[task->thread];
    void *const data[] = {input, weight->panels + (size_t)panel * weight->panel_stride, block,
                          (char *)task->scratch + block_bytes(weight)};
    for (int i = 0; i < MEMORIES; i++) {
        if (dnnl_memory_set_data_handle(binding->arguments[i].memory, data[i]) != dnnl_success) {
            return false;
        }
    }
    if (dnnl_primitive_execute(shape->products[rows - 1], stream, MEMORIES, binding->arguments) !=
            dnnl_success ||
        dnnl_stream_wait(stream) != dnnl_success) {
        return false;
    }
    for (int r = 0; is_apart && r < task->rows; r++) {
        memcpy(output + (size_t)r * (size_t)weight->rows * OUTPUT_BYTES,
               block + (size_t)(r * shape->outputs) * OUTPUT_BYTES,
               (size_t)shape->outputs * OUTPUT_BYTES);
    }
    return true;
}

enum kernel_status onednn_product(const struct onednn_task *task)
{
    (void)threads_limit(1);
    void *input = product_input(task);
    for (int panel = task->panel; panel < task->panel_end; panel++) {
        if (!run_panel(task, panel, input)) {
            return KERNEL_DEVICE_LOST;
        }
    }
    return KERNEL_OK;
}
