/* forecast: a running mean, and the peak over a few moments. */
#include "pipeline/engine/forecast.h"

enum {
    // The means begin as if so many sequences had put out half of so many tokens.
    WEIGHT_FIRST = 16,
    TOKENS_FIRST = 256,
    WEIGHT_MAX = 256,
    REMAINING_LEAST = 8, // tokens: what has outlived the mean is taken to go on for so long
    MOMENTS = 16,
};

void forecast_init(struct forecast *forecast)
{
    *forecast = (struct forecast){TOKENS_FIRST / 2.0, TOKENS_FIRST, WEIGHT_FIRST};
}

void forecast_learn(struct forecast *forecast, int output_count, int max_tokens)
{
    if (forecast->weight < WEIGHT_MAX) {
        forecast->weight++;
    }
    forecast->output_mean += (output_count - forecast->output_mean) / forecast->weight;
    forecast->max_tokens_mean += (max_tokens - forecast->max_tokens_mean) / forecast->weight;
}

int forecast_remaining(const struct forecast *forecast, int output_count, int max_tokens)
{
    int at_most = max_tokens - output_count;
    double ratio = forecast->output_mean / forecast->max_tokens_mean;
    int expected = (int)(ratio * max_tokens) - output_count;
    expected = expected < REMAINING_LEAST ? REMAINING_LEAST : expected;
    return expected < at_most ? expected : at_most;
}

/* Blocks in use between two moments, counted in tokens from now, less those held now: a sequence
 * that reaches beyond the first grows up to the second, and one that does not has left. */
static int64_t growth_between(const struct forecast_item *items, int items_count, int block_tokens,
                              int first, int second)
{
    int64_t tokens = 0;
    int64_t blocks = 0;
    for (int i = 0; i < items_count; i++) {
        int remaining = items[i].remaining;
        tokens += remaining <= first ? 0 : remaining < second ? remaining : second;
        blocks += remaining <= first ? -items[i].own_blocks : 1; // 1: the last one is not full
    }
    return tokens / block_tokens + blocks;
}

int64_t forecast_peak(const struct forecast_item *items, int items_count, int block_tokens)
{
    int longest = 0;
    for (int i = 0; i < items_count; i++) {
        longest = items[i].remaining > longest ? items[i].remaining : longest;
    }
    int width = longest / MOMENTS + 1;
    int64_t peak = items_count;
    for (int first = 0; first < longest; first += width) {
        int64_t growth = growth_between(items, items_count, block_tokens, first, first + width);
        peak = growth > peak ? growth : peak;
    }
    return peak;
}
