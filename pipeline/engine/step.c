/* step: copies the planned rows of each sequence side by side. */
#include "pipeline/engine/step.h"

#include <stdlib.h>
#include <string.h>

bool step_open(struct step *step, const struct step_limits *limits)
{
    size_t rows = (size_t)limits->rows_max;
    size_t sequences = (size_t)limits->sequences_max;
    *step = (struct step){
        .tokens = calloc(rows, sizeof *step->tokens),
        .positions = calloc(rows, sizeof *step->positions),
        .row_starts = calloc(sequences + 1, sizeof *step->row_starts),
        .block_tables = calloc(sequences * (size_t)limits->blocks_max, sizeof *step->block_tables),
        .logit_rows = calloc(sequences, sizeof *step->logit_rows),
        .sampled = calloc(sequences, sizeof(struct running_sequence *)),
        .params = calloc(sequences, sizeof *step->params),
        .next_tokens = calloc(sequences, sizeof *step->next_tokens),
        .logprobs = calloc(sequences, sizeof *step->logprobs),
        .vectors = calloc(sequences, sizeof *step->vectors),
    };
    return step->tokens != NULL && step->positions != NULL && step->row_starts != NULL &&
           step->block_tables != NULL && step->logit_rows != NULL && step->sampled != NULL &&
           step->params != NULL && step->next_tokens != NULL && step->logprobs != NULL &&
           step->vectors != NULL;
}

void step_close(struct step *step)
{
    free(step->vectors);
    free(step->logprobs);
    free(step->next_tokens);
    free(step->params);
    free(step->sampled);
    free(step->logit_rows);
    free(step->block_tables);
    free(step->row_starts);
    free(step->positions);
    free(step->tokens);
    *step = (struct step){0};
}

/* Blocks that the step's rows read or write: no more of a table is copied. */
static int blocks_touched(const struct step_sequence *planned, int block_tokens)
{
    return (planned->running->computed_count + planned->rows - 1) / block_tokens + 1;
}

static int blocks_touched_max(const struct step_sequence *sequences, int sequences_count,
                              int block_tokens)
{
    int largest = 0;
    for (int i = 0; i < sequences_count; i++) {
        int count = blocks_touched(&sequences[i], block_tokens);
        largest = count > largest ? count : largest;
    }
    return largest;
}

static void add_rows(struct step *step, const struct step_sequence *planned)
{
    const struct running_sequence *running = planned->running;
    const struct sequence *sequence = running->sequence;
    int first = running->computed_count;
    int row = step->batch.rows_count;
    for (int i = 0; i < planned->rows; i++) {
        int position = first + i;
        step->tokens[row + i] = position < sequence->prompt_count
                                    ? sequence->prompt[position]
                                    : sequence->output[position - sequence->prompt_count];
        step->positions[row + i] = position;
    }
    step->batch.rows_count += planned->rows;
}

static void add_logit_row(struct step *step, struct running_sequence *running)
{
    const struct sequence *sequence = running->sequence;
    int index = step->batch.logit_rows_count++;
    step->logit_rows[index] = step->batch.rows_count - 1;
    step->sampled[index] = running;
    step->vectors[index] = running->sequence->vector;
    struct sample_params *params = &step->params[index];
    *params = sequence->params.sample;
    params->position = (uint32_t)(running->known_count - sequence->prompt_count);
    params->output_counts = running->counts.items;
    params->output_counts_count = running->counts.count;
    step->wants_logprobs = step->wants_logprobs || sequence->logprobs != NULL;
}

void step_fill(struct step *step, const struct step_sequence *sequences, int sequences_count,
               int block_tokens)
{
    int blocks_max = blocks_touched_max(sequences, sequences_count, block_tokens);
    step->wants_logprobs = false;
    step->batch = (struct model_batch){
        .sequences_count = sequences_count,
        .tokens = step->tokens,
        .positions = step->positions,
        .row_starts = step->row_starts,
        .block_tables = step->block_tables,
        .blocks_max = blocks_max,
        .logit_rows = step->logit_rows,
    };
    for (int i = 0; i < sequences_count; i++) {
        const struct step_sequence *planned = &sequences[i];
        struct running_sequence *running = planned->running;
        int32_t *table = step->block_tables + (size_t)i * (size_t)blocks_max;
        size_t copied = (size_t)blocks_touched(planned, block_tokens);
        memcpy(table, running->blocks, copied * sizeof *table);
        // Unused entries name a valid block, so that a device may prefetch them.
        memset(table + copied, 0, ((size_t)blocks_max - copied) * sizeof *table);
        step->row_starts[i] = step->batch.rows_count;
        add_rows(step, planned);
        if (running->computed_count + planned->rows == running->known_count) {
            add_logit_row(step, running);
        }
    }
    step->row_starts[sequences_count] = step->batch.rows_count;
}
