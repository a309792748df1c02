/* turns: deficit round robin. */
#include "pipeline/engine/turns.h"

#include "schemas/base/check.h"

void turns_init(struct turns *turns, int count)
{
    CHECK(count > 0 && count <= TURNS_MAX);
    *turns = (struct turns){.count = count};
}

static bool has_any(const struct turns *turns, const bool *has_work)
{
    for (int i = 0; i < turns->count; i++) {
        if (has_work[i]) {
            return true;
        }
    }
    return false;
}

int turns_next(struct turns *turns, const bool *has_work)
{
    if (!has_any(turns, has_work)) {
        return -1;
    }
    // Ends: some model with work earns credit in every round.
    while (!has_work[turns->current] || turns->credits[turns->current] <= 0) {
        // Credit is not saved up while idle.
        if (!has_work[turns->current] && turns->credits[turns->current] > 0) {
            turns->credits[turns->current] = 0;
        }
        turns->current = (turns->current + 1) % turns->count;
        turns->credits[turns->current] += TURN_ROWS;
    }
    return turns->current;
}

void turns_pay(struct turns *turns, int rows)
{
    turns->credits[turns->current] -= rows < TURN_ROWS_MIN ? TURN_ROWS_MIN : rows;
}
