/* step: a planned step as the flat arrays that a device takes.
 *
 * One workspace, obtained at open for the largest step, is filled anew for every step of every
 * model. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_STEP_H
#define PIPELINE_ENGINE_STEP_H

#include "pipeline/engine/scheduler.h"
#include "pipeline/model/model.h"

struct step {
    struct model_batch batch; // points into the arrays below
    int32_t *tokens;          // [rows_max]
    int32_t *positions;       // [rows_max]
    int32_t *row_starts;      // [sequences_max + 1]
    int32_t *block_tables;    // [sequences_max, blocks_max]
    int32_t *logit_rows;      // [sequences_max]

    // One per logit row.
    struct running_sequence **sampled; // [sequences_max] whose next token the row gives
    struct sample_params *params;      // [sequences_max]
    int32_t *next_tokens;              // [sequences_max] filled by the device
    float *logprobs;                   // [sequences_max] filled by the device
    float **vectors; // [sequences_max] likewise, of an encoder: the sequences' own
    bool wants_logprobs;
};

struct step_limits {
    int rows_max;
    int sequences_max;
    int blocks_max; // of one sequence
};

/* False when there is no memory. */
bool step_open(struct step *step, const struct step_limits *limits);
void step_close(struct step *step);

/* A sequence whose rows reach its last known token gets a logit row. block_tokens: of the model. */
void step_fill(struct step *step, const struct step_sequence *sequences, int sequences_count,
               int block_tokens);

#endif
