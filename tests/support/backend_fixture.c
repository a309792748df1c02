/* backend_fixture: backends of every kind, and noise to feed them. */
#include "tests/support/backend_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/random.h"
#include "tests/support/cmocka.h"

void each_backend(int threads_max, void (*test)(struct backend *backend))
{
    int opened = 0;
    for (enum backend_isa isa = ISA_AMX; isa <= ISA_PORTABLE; isa++) {
        for (int variant = 0; variant < 2 * threads_max; variant++) {
            struct backend_options options = {
                .isa = isa, .threads = variant / 2 + 1, .without_onednn = variant % 2 != 0};
            struct backend *backend = NULL;
            struct error error = {0};
            if (!backend_open(&options, &backend, &error)) {
                continue; // this machine lacks the instruction set
            }
            if (!options.without_onednn && strstr(backend->description, "onednn") == NULL) {
                backend_close(backend); // the same as the variant without
                continue;
            }
            print_message("  on %s\n", backend->description);
            test(backend);
            backend_close(backend);
            opened++;
        }
    }
    assert_true(opened > 0);
}

struct noise noise_open(uint64_t seed)
{
    const char *text = getenv("TEST_SEED");
    if (text != NULL) {
        seed = strtoull(text, NULL, 10);
    }
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    return (struct noise){.state = seed};
}

/* splitmix64 */
static uint64_t next(struct noise *noise)
{
    uint64_t x = random_mix(noise->state);
    noise->state += 0x9e3779b97f4a7c15u;
    return x;
}

double noise_uniform(struct noise *noise)
{
    return (double)(next(noise) >> 11) * 0x1p-53;
}

int noise_below(struct noise *noise, int bound)
{
    return (int)(next(noise) % (uint64_t)bound);
}

void noise_fill(struct noise *noise, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(2.0 * noise_uniform(noise) - 1.0);
    }
}

void assert_status(enum kernel_status status)
{
    if (status != KERNEL_OK) {
        fail_msg("%s", kernel_status_text(status));
    }
}

struct device_buffer *fixture_buffer(struct backend *backend, size_t bytes)
{
    struct device_buffer *buffer = NULL;
    assert_status(backend->ops->buffer_open(backend, bytes, &buffer));
    return buffer;
}

struct device_buffer *fixture_upload(struct backend *backend, const void *data, size_t bytes)
{
    struct device_buffer *buffer = fixture_buffer(backend, bytes);
    assert_status(backend->ops->copy_in(backend, buffer, 0, data, bytes));
    return buffer;
}

void fixture_download(struct backend *backend, void *target, const struct device_buffer *source,
                      size_t bytes)
{
    assert_status(backend->ops->copy_out(backend, target, source, 0, bytes));
}

struct backend *fixture_cpu(void)
{
    struct backend_options options = {.device = BACKEND_CPU, .threads = 1, .without_onednn = true};
    struct backend *backend = NULL;
    struct error error = {0};
    if (!backend_open(&options, &backend, &error)) {
        fail_msg("%s", error.message);
    }
    return backend;
}

struct expert_slots fixture_slots(struct backend *backend, size_t choices, size_t experts)
{
    return (struct expert_slots){
        .rows = fixture_buffer(backend, choices * sizeof(int32_t)),
        .slots = fixture_buffer(backend, choices * sizeof(int32_t)),
        .weights = fixture_buffer(backend, choices * sizeof(float)),
        .starts = fixture_buffer(backend, (experts + 1) * sizeof(int32_t)),
    };
}

void fixture_slots_close(struct backend *backend, const struct expert_slots *slots)
{
    backend->ops->buffer_close(backend, slots->rows);
    backend->ops->buffer_close(backend, slots->slots);
    backend->ops->buffer_close(backend, slots->weights);
    backend->ops->buffer_close(backend, slots->starts);
}

struct weight *fixture_weight(struct backend *backend, const float *data, const float *bias,
                              int rows, int columns)
{
    return fixture_weight_in(backend, WEIGHTS_F32, data, bias, rows, columns);
}

struct weight *fixture_weight_in(struct backend *backend, enum weight_format format,
                                 const float *data, const float *bias, int rows, int columns)
{
    struct weight_part part = {
        .data = data, .dtype = DTYPE_F32, .rows = rows, .bias = bias, .bias_dtype = DTYPE_F32};
    struct weight_source source = {
        .parts = &part, .parts_count = 1, .columns = columns, .format = format};
    struct weight *weight = NULL;
    assert_status(backend->ops->weight_open(backend, &source, &weight));
    return weight;
}

void assert_close(const float *actual, const double *expected, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)actual[i] - expected[i]) <= tolerance)) {
            fail_msg("element %zu is %g, expected %g", i, (double)actual[i], expected[i]);
        }
    }
}
