/* backend_fixture: runs a test on every path that this machine has: instruction sets, threads, with
 * and without oneDNN. Failures name the path. */
#ifndef TESTS_SUPPORT_BACKEND_FIXTURE_H
#define TESTS_SUPPORT_BACKEND_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

/* Opens each backend in turn and calls `test`; `threads_max` 1 or more. */
void each_backend(int threads_max, void (*test)(struct backend *backend));

/* A reproducible source of numbers; the seed is TEST_SEED where that is set, and is printed. */
struct noise {
    uint64_t state;
};
struct noise noise_open(uint64_t seed);
double noise_uniform(struct noise *noise); // [0, 1)
int noise_below(struct noise *noise, int bound);
void noise_fill(struct noise *noise, float *values, size_t count); // [-1, 1)

/* These end the test on failure. */
struct device_buffer *fixture_buffer(struct backend *backend, size_t bytes);
struct device_buffer *fixture_upload(struct backend *backend, const void *data, size_t bytes);
void fixture_download(struct backend *backend, void *target, const struct device_buffer *source,
                      size_t bytes);
/* The CPU's own products on one thread, for others to be compared with. */
struct backend *fixture_cpu(void);
/* Room for `choices` choices of rows among `experts`. */
struct expert_slots fixture_slots(struct backend *backend, size_t choices, size_t experts);
void fixture_slots_close(struct backend *backend, const struct expert_slots *slots);
/* A plain f32 matrix, [rows, columns], with bias (or NULL). */
struct weight *fixture_weight(struct backend *backend, const float *data, const float *bias,
                              int rows, int columns);
struct weight *fixture_weight_in(struct backend *backend, enum weight_format format,
                                 const float *data, const float *bias, int rows, int columns);
void assert_status(enum kernel_status status);

/* Fails unless |actual - expected| <= tolerance everywhere (NaN fails). */
void assert_close(const float *actual, const double *expected, size_t count, double tolerance);

#endif
