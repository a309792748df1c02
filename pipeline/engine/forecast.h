/* forecast: how many KV blocks those that run will hold at most, if no one joins them.
 *
 * Admitting by the blocks that are idle now fills the pool with sequences that all grow, and then
 * preempts them; reserving max_tokens for each wastes most of the pool, since few use it up. So the
 * share of max_tokens that outputs use is learned, and a newcomer is admitted when the peak to come
 * fits: sequences that end soon make room for those that grow. A wrong forecast costs a preemption.
 * Pure. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_FORECAST_H
#define PIPELINE_ENGINE_FORECAST_H

#include "pipeline/engine/sequence_state.h"

struct forecast {
    // Means over those that ended lately. Their quotient is what counts: those with a large
    // max_tokens decide it, as they decide the peak.
    double output_mean;
    double max_tokens_mean;
    int weight; // sequences that the means stand for
};

/* One sequence that runs, or is about to. */
struct forecast_item {
    int remaining;  // tokens that it is expected to put out yet
    int own_blocks; // that are idle when it ends
};

void forecast_init(struct forecast *forecast);
/* A sequence ended by itself after output_count tokens. */
void forecast_learn(struct forecast *forecast, int output_count, int max_tokens);
/* Tokens that a sequence which has put out output_count will put out yet; at least a little. */
int forecast_remaining(const struct forecast *forecast, int output_count, int max_tokens);

/* Blocks that the peak takes beyond those that are held now; at least one for each item. */
int64_t forecast_peak(const struct forecast_item *items, int items_count, int block_tokens);

#endif
