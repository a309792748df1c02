/* statistics: how sure a figure from a sample is. Intervals are of 95 %. Thread: any, no state. */
#ifndef PIPELINE_COMPARE_STATISTICS_H
#define PIPELINE_COMPARE_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

enum { STATISTICS_RESAMPLES = 2000, STATISTICS_VALUES_MAX = 1000000 };

struct interval {
    double low;
    double high;
};

/* Of a rate: `passed` of `count`, after Wilson. [0, 1] where count is 0. */
struct interval statistics_wilson(size_t passed, size_t count);

/* Of a mean, by the percentiles of means of STATISTICS_RESAMPLES samples drawn from the values. The
 * same seed gives the same interval. Fails for no values and for over STATISTICS_VALUES_MAX. */
MUST_CHECK bool statistics_bootstrap_mean(const double *values, size_t count, uint64_t seed,
                                          struct interval *interval_out, struct error *error);

/* McNemar's exact test, two-sided: how likely so uneven a split is if both are equally good, where
 * only the one passed `first` pairs, and only the other `second`. */
double statistics_mcnemar(size_t first, size_t second);

#endif
