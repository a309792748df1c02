/* sequence_state: order and tokens of one sequence. */
#include "pipeline/engine/sequence_state.h"

#include <string.h>

/* How long after its submission a sequence without a deadline is due. */
static int64_t patience_ms(const struct sequence_params *params)
{
    return PATIENCE_MS - (params->max_tokens < LONG_TOKENS ? params->max_tokens : LONG_TOKENS);
}

static bool is_urgent(const struct sequence_params *params, int64_t unix_ms)
{
    return params->deadline_ms != 0 && params->deadline_ms <= unix_ms + patience_ms(params);
}

/* How long after its submission the sequence is due. */
static int64_t wait_ms(const struct sequence_params *params, int64_t unix_ms)
{
    if (!is_urgent(params, unix_ms)) {
        return patience_ms(params);
    }
    return params->deadline_ms < unix_ms ? 0 : params->deadline_ms - unix_ms;
}

void sequence_state_init(struct sequence_state *state, struct sequence *sequence, uint64_t arrival,
                         int64_t unix_ms)
{
    *state = (struct sequence_state){
        .sequence = sequence,
        .rank_ms = (int64_t)sequence->timing.submitted_ms + wait_ms(&sequence->params, unix_ms) +
                   (int64_t)sequence->params.priority * PRIORITY_MS,
        .arrival = arrival,
        .is_urgent = is_urgent(&sequence->params, unix_ms),
        .waiting_index = -1,
    };
}

const int32_t *sequence_tokens(const struct sequence *sequence, int first, int count,
                               int32_t *scratch)
{
    int prompt_count = sequence->prompt_count;
    if (first + count <= prompt_count) {
        return sequence->prompt + first;
    }
    if (first >= prompt_count) {
        return sequence->output + (first - prompt_count);
    }
    int from_prompt = prompt_count - first;
    memcpy(scratch, sequence->prompt + first, (size_t)from_prompt * sizeof *scratch);
    memcpy(scratch + from_prompt, sequence->output,
           (size_t)(count - from_prompt) * sizeof *scratch);
    return scratch;
}

bool sequence_has_penalty(const struct sequence *sequence)
{
    const struct sample_params *sample = &sequence->params.sample;
    // A repetition penalty of 0 means 1: off.
    return sample->frequency_penalty != 0 || sample->presence_penalty != 0 ||
           (sample->repetition_penalty != 0 && sample->repetition_penalty != 1);
}
