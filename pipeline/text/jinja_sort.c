/* jinja_sort: merge sort from the bottom up, because comparisons can fail and qsort cannot. */
#include "pipeline/text/jinja_sort.h"

#include "pipeline/text/jinja_operators.h"

/* Merges from[start..middle) and from[middle..stop) into `to`. */
static bool merge(struct jinja_run *run, const struct jinja_pair *from, struct jinja_pair *to,
                  const size_t part[3], bool is_reversed)
{
    size_t left = part[0];
    size_t right = part[1];
    for (size_t i = part[0]; i < part[2]; i++) {
        bool takes_right = left == part[1];
        if (!takes_right && right < part[2]) {
            enum jinja_operator op = is_reversed ? OPERATOR_GREATER : OPERATOR_LESS;
            if (!jinja_compare(run, op, from[right].key, from[left].key, &takes_right)) {
                return false;
            }
        }
        to[i] = takes_right ? from[right++] : from[left++];
    }
    return jinja_spend(run, part[2] - part[0]);
}

bool jinja_sort(struct jinja_run *run, struct jinja_pair *pairs, size_t count, bool is_reversed)
{
    struct jinja_pair *spare = jinja_alloc(run, count, sizeof *spare);
    if (spare == NULL) {
        return false;
    }
    struct jinja_pair *from = pairs;
    struct jinja_pair *to = spare;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t stop = middle + width < count ? middle + width : count;
            const size_t part[3] = {start, middle, stop};
            if (!merge(run, from, to, part, is_reversed)) {
                return false;
            }
        }
        struct jinja_pair *other = from;
        from = to;
        to = other;
    }
    if (from != pairs) {
        memcpy(pairs, from, count * sizeof *pairs);
    }
    return true;
}
