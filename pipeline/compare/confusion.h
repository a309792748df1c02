/* confusion: expected and given classes counted, and what follows from the counts. A quotient whose
 * divisor is 0 is 0. Thread: one at a time. */
#ifndef PIPELINE_COMPARE_CONFUSION_H
#define PIPELINE_COMPARE_CONFUSION_H

#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/error.h"

enum { CONFUSION_CLASSES_MAX = 256 };

struct confusion {
    uint64_t *counts; // [classes, classes] row: expected, column: given
    size_t classes;
    uint64_t total;
};

/* Of one class against the rest, or the mean over classes. */
struct confusion_rates {
    double precision;
    double recall;
    double f1;
    uint64_t support; // how often it was expected
};

/* All zero, for classes 0 up to `classes` - 1. The counts are the arena's. */
MUST_CHECK bool confusion_init(struct confusion *confusion, size_t classes, struct arena *arena,
                               struct error *error);
void confusion_add(struct confusion *confusion, size_t expected, size_t given);

double confusion_accuracy(const struct confusion *confusion);
struct confusion_rates confusion_class(const struct confusion *confusion, size_t index);
/* The plain mean over the classes, and the one weighted by support. */
struct confusion_rates confusion_macro(const struct confusion *confusion);
struct confusion_rates confusion_weighted(const struct confusion *confusion);

#endif
