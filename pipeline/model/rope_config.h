/* rope_config: how positions turn queries and keys, as config.json says. */
#ifndef PIPELINE_MODEL_ROPE_CONFIG_H
#define PIPELINE_MODEL_ROPE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/error.h"

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };

struct rope_config {
    double theta;
    enum rope_scaling scaling;
    double factor;           // of the context; 1 when plain
    double original_context; // llama3, yarn: positions that the model was first trained for
    double low_freq_factor;  // llama3
    double high_freq_factor; // llama3
    double beta_fast;        // yarn: rotations above which a frequency stays
    double beta_slow;        // yarn: below which it is divided by `factor`
    bool is_untruncated;     // yarn: the bounds between are not rounded to whole dimensions
    double magnitude;        // of the rotations: 1 unless yarn
    double score_factor; // of the attention's scale, where the family asks for it: 1 unless yarn
};

/* Reads rope_theta and rope_scaling, or rope_parameters, of the object in `file`. `context` is
 * max_position_embeddings. */
MUST_CHECK bool rope_config_read(const json_t *root, const char *file, int context,
                                 struct rope_config *rope_out, struct error *error);

/* inverse_frequencies_out: [rotated / 2], scaling applied; `rotated` dimensions of a head turn. */
void rope_config_frequencies(const struct rope_config *rope, int rotated,
                             float *inverse_frequencies_out);

#endif
