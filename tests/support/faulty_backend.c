/* faulty_backend: a copy of the table with some members replaced. */
#include "tests/support/faulty_backend.h"

#include <math.h>

#include "schemas/base/check.h"

enum { ROWS_MAX = 4096, SEQUENCES_MAX = 1024 };

/* One backend at a time; used by the engine's thread. */
static struct {
    struct backend_operations table;
    const struct backend_operations *real;
    struct fault fault;
    int calls_count;
    int failed_count;
    struct step_arrays step;      // the present one
    bool step_matches;            // a row of the present step has the fault's token
    bool row_matches[ROWS_MAX];   // [rows] of the step
    bool logit_matches[ROWS_MAX]; // [logit rows] of a sequence with such a row
    struct device_buffer *logits; // of the present step
} faulty;

void faulty_backend_set(const struct fault *fault)
{
    faulty.fault = *fault;
    faulty.calls_count = 0;
    faulty.failed_count = 0;
}

int faulty_backend_failed(void)
{
    return faulty.failed_count;
}

/* KERNEL_OK to go on. */
static enum kernel_status check(enum faulty_operation operation)
{
    const struct fault *fault = &faulty.fault;
    if (fault->status == KERNEL_OK || fault->operation != operation || !faulty.step_matches) {
        return KERNEL_OK;
    }
    int call = faulty.calls_count++ - fault->calls_before;
    if (call < 0 || (fault->times > 0 && call >= fault->times)) {
        return KERNEL_OK;
    }
    faulty.failed_count++;
    return fault->status;
}

static void read_array(struct backend *backend, const struct step_arrays *step, size_t offset,
                       int count, int32_t *out)
{
    CHECK(faulty.real->copy_out(backend, out, step->buffer, offset * sizeof *out,
                                (size_t)count * sizeof *out) == KERNEL_OK);
}

/* The first operation of a step. */
static enum kernel_status embed(struct backend *backend, const struct embed_args *args)
{
    static int32_t tokens[ROWS_MAX];
    CHECK(args->step->rows <= ROWS_MAX);
    faulty.step = *args->step;
    read_array(backend, args->step, args->step->tokens, args->step->rows, tokens);
    faulty.step_matches = faulty.fault.token == FAULTY_ANY_TOKEN;
    for (int row = 0; row < args->step->rows; row++) {
        faulty.row_matches[row] = tokens[row] == faulty.fault.token;
        faulty.step_matches = faulty.step_matches || faulty.row_matches[row];
    }
    enum kernel_status status = check(FAULTY_EMBED);
    return status == KERNEL_OK ? faulty.real->embed(backend, args) : status;
}

static enum kernel_status rope_angles(struct backend *backend, const struct rope_angles_args *args)
{
    enum kernel_status status = check(FAULTY_ROPE_ANGLES);
    return status == KERNEL_OK ? faulty.real->rope_angles(backend, args) : status;
}

static enum kernel_status add_norm(struct backend *backend, const struct add_norm_args *args)
{
    enum kernel_status status = check(FAULTY_ADD_NORM);
    return status == KERNEL_OK ? faulty.real->add_norm(backend, args) : status;
}

static enum kernel_status linear(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows)
{
    enum kernel_status status = check(FAULTY_LINEAR);
    return status == KERNEL_OK ? faulty.real->linear(backend, weight, input, output, rows) : status;
}

static enum kernel_status rope_kv_write(struct backend *backend,
                                        const struct rope_kv_write_args *args)
{
    enum kernel_status status = check(FAULTY_ROPE_KV_WRITE);
    return status == KERNEL_OK ? faulty.real->rope_kv_write(backend, args) : status;
}

static enum kernel_status attention(struct backend *backend, const struct attention_args *args)
{
    enum kernel_status status = check(FAULTY_ATTENTION);
    return status == KERNEL_OK ? faulty.real->attention(backend, args) : status;
}

static enum kernel_status mlp(struct backend *backend, const struct mlp_args *args)
{
    enum kernel_status status = check(FAULTY_MLP);
    return status == KERNEL_OK ? faulty.real->mlp(backend, args) : status;
}

/* Which logit rows belong to a sequence with the token. */
static void match_logit_rows(struct backend *backend, const struct step_arrays *step, int count)
{
    static int32_t starts[SEQUENCES_MAX + 1];
    static int32_t rows[ROWS_MAX];
    CHECK(step->sequences <= SEQUENCES_MAX && count <= ROWS_MAX);
    read_array(backend, step, step->row_starts, step->sequences + 1, starts);
    read_array(backend, step, step->logit_rows, count, rows);
    int sequence = 0;
    for (int i = 0; i < count; i++) {
        while (starts[sequence + 1] <= rows[i]) {
            sequence++;
        }
        faulty.logit_matches[i] = false;
        for (int row = starts[sequence]; row < starts[sequence + 1]; row++) {
            faulty.logit_matches[i] = faulty.logit_matches[i] || faulty.row_matches[row];
        }
    }
}

static enum kernel_status gather_rows(struct backend *backend, const struct gather_args *args)
{
    enum kernel_status status = check(FAULTY_GATHER_ROWS);
    if (args->indices == faulty.step.buffer) {
        match_logit_rows(backend, &faulty.step, args->count);
    }
    return status == KERNEL_OK ? faulty.real->gather_rows(backend, args) : status;
}

static enum kernel_status logits(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows)
{
    enum kernel_status status = check(FAULTY_LOGITS);
    faulty.logits = output;
    return status == KERNEL_OK ? faulty.real->logits(backend, weight, input, output, rows) : status;
}

static enum kernel_status spoil_logits(struct backend *backend, const struct sample_args *args)
{
    const float nan = NAN;
    for (int row = 0; row < args->rows; row++) {
        size_t offset = ((size_t)row * (size_t)args->vocabulary + 1) * sizeof nan;
        if (faulty.logit_matches[row] &&
            faulty.real->copy_in(backend, faulty.logits, offset, &nan, sizeof nan) != KERNEL_OK) {
            return KERNEL_BAD_SHAPE;
        }
    }
    return KERNEL_OK;
}

static enum kernel_status sample(struct backend *backend, const struct sample_args *args)
{
    enum kernel_status status = check(FAULTY_SAMPLE);
    if (status != KERNEL_OK) {
        status = faulty.fault.gives_nan ? spoil_logits(backend, args) : status;
    }
    return status == KERNEL_OK ? faulty.real->sample(backend, args) : status;
}

bool __real_backend_open(const struct backend_options *options, struct backend **backend_out,
                         struct error *error);
bool __wrap_backend_open(const struct backend_options *options, struct backend **backend_out,
                         struct error *error);

/* The linker puts this in the place of backend_open (--wrap). */
bool __wrap_backend_open(const struct backend_options *options, struct backend **backend_out,
                         struct error *error)
{
    if (!__real_backend_open(options, backend_out, error)) {
        return false;
    }
    faulty.real = (*backend_out)->ops;
    faulty.table = *faulty.real;
    faulty.table.embed = embed;
    faulty.table.rope_angles = rope_angles;
    faulty.table.add_norm = add_norm;
    faulty.table.linear = linear;
    faulty.table.rope_kv_write = rope_kv_write;
    faulty.table.attention = attention;
    faulty.table.mlp = mlp;
    faulty.table.gather_rows = gather_rows;
    faulty.table.logits = logits;
    faulty.table.sample = sample;
    (*backend_out)->ops = &faulty.table;
    faulty.fault = (struct fault){.status = KERNEL_OK};
    return true;
}
