/* encoder_config: what makes a model an encoder (BERT, RoBERTa): one vector for a whole text.
 *
 * Each row attends to its whole text, norms stand behind attention and MLP, and positions are
 * learned. How the rows become one vector is what sentence-transformers wrote into the folder;
 * where it wrote nothing, their mean of length 1.
 */
#ifndef PIPELINE_MODEL_ENCODER_CONFIG_H
#define PIPELINE_MODEL_ENCODER_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/error.h"

enum pooling { POOLING_MEAN, POOLING_FIRST };

struct encoder_config {
    bool is_encoder;
    int positions;       // rows of the table of positions
    int positions_first; // the row of position 0
    int types;           // rows of the table of token types
    enum pooling pooling;
    bool normalizes; // vectors have the length 1
};

/* Reads what is an encoder's own in config.json (`root`, named `file` in messages) and in the other
 * files of the folder `path`. `context` is the number of tokens that a text may have. */
MUST_CHECK bool encoder_config_read(const char *path, const json_t *root, const char *file,
                                    struct encoder_config *encoder, int *context,
                                    struct error *error);

#endif
