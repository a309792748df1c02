/* statistics: the formulas. */
#include "pipeline/compare/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double z_95 = 1.959963984540054; // the normal distribution's 97.5th percentile

struct interval statistics_wilson(size_t passed, size_t count)
{
    if (count == 0) {
        return (struct interval){0, 1};
    }
    double n = (double)count;
    double rate = (double)passed / n;
    double square = z_95 * z_95;
    double center = (rate + square / (2 * n)) / (1 + square / n);
    double half = z_95 * sqrt(rate * (1 - rate) / n + square / (4 * n * n)) / (1 + square / n);
    return (struct interval){fmax(0, center - half), fmin(1, center + half)};
}

/* --- Bootstrap --- */

/* splitmix64: every seed is a good one. */
static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* 0 up to `count` - 1, from the upper half of the bits; off by at most count / 2^32. */
static size_t random_index(uint64_t *state, size_t count)
{
    return (size_t)((next_random(state) >> 32) * count >> 32);
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Between two neighbours in proportion, as numpy does. */
static double percentile(const double *sorted, size_t count, double share)
{
    double position = share * (double)(count - 1);
    size_t below = (size_t)position;
    size_t above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (sorted[above] - sorted[below]) * (position - (double)below);
}

bool statistics_bootstrap_mean(const double *values, size_t count, uint64_t seed,
                               struct interval *interval_out, struct error *error)
{
    double means[STATISTICS_RESAMPLES];
    if (count == 0 || count > STATISTICS_VALUES_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a mean of %zu values has no interval, must be 1 to %d", count,
                         STATISTICS_VALUES_MAX);
    }
    for (size_t i = 0; i < STATISTICS_RESAMPLES; i++) {
        double sum = 0;
        for (size_t j = 0; j < count; j++) {
            sum += values[random_index(&seed, count)];
        }
        means[i] = sum / (double)count;
    }
    qsort(means, STATISTICS_RESAMPLES, sizeof *means, compare_doubles);
    *interval_out = (struct interval){percentile(means, STATISTICS_RESAMPLES, 0.025),
                                      percentile(means, STATISTICS_RESAMPLES, 0.975)};
    return true;
}

/* --- McNemar --- */

double statistics_mcnemar(size_t first, size_t second)
{
    size_t fewer = first < second ? first : second;
    size_t total = first + second;
    double logarithm = -(double)total * log(2); // of the binomial term at `fewer`
    for (size_t i = 1; i <= fewer; i++) {
        logarithm += log((double)(total - fewer + i)) - log((double)i);
    }
    // From the largest term down, each relative to it, until they no longer count.
    double sum = 0;
    double term = 1;
    for (size_t k = fewer; term > sum * 1e-18; k--) {
        sum += term;
        if (k == 0) {
            break;
        }
        term *= (double)k / (double)(total - k + 1);
    }
    return fmin(1, 2 * sum * exp(logarithm));
}
