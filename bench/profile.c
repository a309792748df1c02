/* profile: each timed operation calls the one that it stands for. */
#include "bench/profile.h"

#include "pipeline/clock.h"
#include "schemas/base/check.h"

enum { ENTRIES_MAX = 64, WEIGHTS_MAX = 1 << 12 };

static struct {
    struct backend_operations inner;
    struct backend_operations timed;
    struct profile_entry entries[ENTRIES_MAX];
    int entries_count;
    struct {
        const struct weight *weight;
        struct profile_shape shape;
    } weights[WEIGHTS_MAX];
    int weights_count;
    int decode_rows_max;
    int kind;       // of the present step
    double step_ms; // when it began, or 0
    double last_ms; // when its latest operation ended
    struct profile_steps steps[PROFILE_KINDS];
} profile;

static bool is_same(const struct profile_shape *a, const struct profile_shape *b)
{
    return a->outputs == b->outputs && a->inputs == b->inputs;
}

static struct profile_entry *entry_of(const char *operation,
                                      const struct profile_shape shapes[PROFILE_SHAPES])
{
    for (int i = 0; i < profile.entries_count; i++) {
        struct profile_entry *entry = &profile.entries[i];
        if (entry->operation == operation && is_same(&entry->shapes[0], &shapes[0]) &&
            is_same(&entry->shapes[1], &shapes[1])) {
            return entry;
        }
    }
    CHECK(profile.entries_count < ENTRIES_MAX);
    struct profile_entry *entry = &profile.entries[profile.entries_count++];
    *entry = (struct profile_entry){.operation = operation, .shapes = {shapes[0], shapes[1]}};
    return entry;
}

static enum kernel_status add(const char *operation, double start_ms, enum kernel_status status)
{
    static const struct profile_shape none[PROFILE_SHAPES];
    profile.last_ms = clock_monotonic_ms();
    entry_of(operation, none)->sums[profile.kind].ms += profile.last_ms - start_ms;
    return status;
}

static struct profile_shape shape_of(const struct weight *weight)
{
    int at = 0;
    while (at < profile.weights_count && profile.weights[at].weight != weight) {
        at++;
    }
    CHECK(at < profile.weights_count);
    return profile.weights[at].shape;
}

/* `second` may be NULL. */
static void add_products(const char *operation, const struct weight *first,
                         const struct weight *second, int rows, double start_ms)
{
    double ms = clock_monotonic_ms() - start_ms;
    struct profile_shape shapes[PROFILE_SHAPES] = {shape_of(first)};
    if (second != NULL) {
        shapes[1] = shape_of(second);
    }
    struct profile_entry *entry = entry_of(operation, shapes);
    entry->sums[profile.kind].ms += ms;
    for (int i = 0; i < PROFILE_SHAPES; i++) {
        entry->sums[profile.kind].products += (double)rows * shapes[i].outputs * shapes[i].inputs;
    }
}

static enum kernel_status weight_open(struct backend *backend, const struct weight_source *source,
                                      struct weight **weight_out)
{
    enum kernel_status status = profile.inner.weight_open(backend, source, weight_out);
    if (status == KERNEL_OK) {
        CHECK(profile.weights_count < WEIGHTS_MAX);
        int at = profile.weights_count++;
        profile.weights[at].weight = *weight_out;
        profile.weights[at].shape = (struct profile_shape){.inputs = source->columns};
        for (int i = 0; i < source->parts_count; i++) {
            profile.weights[at].shape.outputs += source->parts[i].rows;
        }
    }
    return status;
}

static void end_step(double now_ms)
{
    if (profile.step_ms > 0) {
        profile.steps[profile.kind].ms += now_ms - profile.step_ms;
    }
    profile.step_ms = 0;
}

/* The first operation of every step. */
static enum kernel_status embed(struct backend *backend, const struct embed_args *args)
{
    double start_ms = clock_monotonic_ms();
    end_step(start_ms);
    profile.step_ms = start_ms;
    profile.kind = args->step->rows > profile.decode_rows_max ? PROFILE_PROMPT : PROFILE_DECODE;
    profile.steps[profile.kind].count++;
    profile.steps[profile.kind].rows += args->step->rows;
    return add("embed", start_ms, profile.inner.embed(backend, args));
}

static enum kernel_status add_norm(struct backend *backend, const struct add_norm_args *args)
{
    double start_ms = clock_monotonic_ms();
    return add("add_norm", start_ms, profile.inner.add_norm(backend, args));
}

static enum kernel_status linear(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows)
{
    double start_ms = clock_monotonic_ms();
    enum kernel_status status = profile.inner.linear(backend, weight, input, output, rows);
    add_products("linear", weight, NULL, rows, start_ms);
    return status;
}

static enum kernel_status logits(struct backend *backend, const struct weight *weight,
                                 const struct device_buffer *input, struct device_buffer *output,
                                 int rows)
{
    double start_ms = clock_monotonic_ms();
    enum kernel_status status = profile.inner.logits(backend, weight, input, output, rows);
    add_products("logits", weight, NULL, rows, start_ms);
    return status;
}

static enum kernel_status rope_angles(struct backend *backend, const struct rope_angles_args *args)
{
    double start_ms = clock_monotonic_ms();
    return add("rope_angles", start_ms, profile.inner.rope_angles(backend, args));
}

static enum kernel_status rope_kv_write(struct backend *backend,
                                        const struct rope_kv_write_args *args)
{
    double start_ms = clock_monotonic_ms();
    return add("rope_kv_write", start_ms, profile.inner.rope_kv_write(backend, args));
}

static enum kernel_status attention(struct backend *backend, const struct attention_args *args)
{
    double start_ms = clock_monotonic_ms();
    return add("attention", start_ms, profile.inner.attention(backend, args));
}

static enum kernel_status silu_mul(struct backend *backend, const struct device_buffer *input,
                                   struct device_buffer *output, int rows, int width)
{
    double start_ms = clock_monotonic_ms();
    return add("silu_mul", start_ms, profile.inner.silu_mul(backend, input, output, rows, width));
}

static enum kernel_status gelu(struct backend *backend, const struct device_buffer *input,
                               struct device_buffer *output, int rows, int width)
{
    double start_ms = clock_monotonic_ms();
    return add("gelu", start_ms, profile.inner.gelu(backend, input, output, rows, width));
}

static enum kernel_status mlp(struct backend *backend, const struct mlp_args *args)
{
    double start_ms = clock_monotonic_ms();
    enum kernel_status status = profile.inner.mlp(backend, args);
    add_products("mlp", args->gate_up, args->down, args->rows, start_ms);
    return status;
}

static enum kernel_status sample(struct backend *backend, const struct sample_args *args)
{
    double start_ms = clock_monotonic_ms();
    return add("sample", start_ms, profile.inner.sample(backend, args));
}

void profile_attach(struct backend *backend, int decode_rows_max)
{
    profile.inner = *backend->ops;
    profile.timed = *backend->ops; // what is not timed is called as it is
    profile.timed.weight_open = weight_open;
    profile.timed.embed = embed;
    profile.timed.add_norm = add_norm;
    profile.timed.linear = linear;
    profile.timed.logits = logits;
    profile.timed.rope_angles = rope_angles;
    profile.timed.rope_kv_write = rope_kv_write;
    profile.timed.attention = attention;
    profile.timed.silu_mul = silu_mul;
    profile.timed.gelu = gelu;
    profile.timed.mlp = mlp;
    profile.timed.sample = sample;
    profile.weights_count = 0;
    profile.decode_rows_max = decode_rows_max;
    backend->ops = &profile.timed;
    profile_reset();
}

void profile_reset(void)
{
    profile.entries_count = 0;
    profile.step_ms = 0;
    profile.steps[PROFILE_PROMPT] = (struct profile_steps){0};
    profile.steps[PROFILE_DECODE] = (struct profile_steps){0};
}

int profile_entries(const struct profile_entry **entries_out)
{
    *entries_out = profile.entries;
    return profile.entries_count;
}

struct profile_steps profile_steps(int kind)
{
    end_step(profile.last_ms);
    return profile.steps[kind];
}
