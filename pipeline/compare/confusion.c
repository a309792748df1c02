/* confusion: sums of rows and columns. */
#include "pipeline/compare/confusion.h"

#include "schemas/base/check.h"

bool confusion_init(struct confusion *confusion, size_t classes, struct arena *arena,
                    struct error *error)
{
    if (classes == 0 || classes > CONFUSION_CLASSES_MAX) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL, "%zu classes, must be 1 to %d",
                         classes, CONFUSION_CLASSES_MAX);
    }
    *confusion = (struct confusion){
        .counts = arena_alloc_array(arena, classes * classes, sizeof *confusion->counts),
        .classes = classes,
    };
    return confusion->counts != NULL ||
           error_set(error, ERROR_INTERNAL, NULL, NULL, "no memory to count %zu classes", classes);
}

void confusion_add(struct confusion *confusion, size_t expected, size_t given)
{
    CHECK(expected < confusion->classes && given < confusion->classes);
    confusion->counts[expected * confusion->classes + given]++;
    confusion->total++;
}

static double quotient(double dividend, double divisor)
{
    return divisor == 0 ? 0 : dividend / divisor;
}

static uint64_t count_at(const struct confusion *confusion, size_t expected, size_t given)
{
    return confusion->counts[expected * confusion->classes + given];
}

double confusion_accuracy(const struct confusion *confusion)
{
    uint64_t right = 0;
    for (size_t i = 0; i < confusion->classes; i++) {
        right += count_at(confusion, i, i);
    }
    return quotient((double)right, (double)confusion->total);
}

struct confusion_rates confusion_class(const struct confusion *confusion, size_t index)
{
    CHECK(index < confusion->classes);
    uint64_t expected = 0;
    uint64_t given = 0;
    for (size_t i = 0; i < confusion->classes; i++) {
        expected += count_at(confusion, index, i);
        given += count_at(confusion, i, index);
    }
    double right = (double)count_at(confusion, index, index);
    return (struct confusion_rates){
        .precision = quotient(right, (double)given),
        .recall = quotient(right, (double)expected),
        .f1 = quotient(2 * right, (double)(given + expected)),
        .support = expected,
    };
}

/* The mean over classes; each counts by its support, or once. */
static struct confusion_rates mean_of(const struct confusion *confusion, bool is_weighted)
{
    struct confusion_rates sum = {.support = confusion->total};
    double weights = is_weighted ? (double)confusion->total : (double)confusion->classes;
    for (size_t i = 0; i < confusion->classes; i++) {
        struct confusion_rates rates = confusion_class(confusion, i);
        double share = quotient(is_weighted ? (double)rates.support : 1, weights);
        sum.precision += share * rates.precision;
        sum.recall += share * rates.recall;
        sum.f1 += share * rates.f1;
    }
    return sum;
}

struct confusion_rates confusion_macro(const struct confusion *confusion)
{
    return mean_of(confusion, false);
}

struct confusion_rates confusion_weighted(const struct confusion *confusion)
{
    return mean_of(confusion, true);
}
