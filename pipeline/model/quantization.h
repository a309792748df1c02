/* quantization: how a folder's matrices are packed, as quantization_config of config.json says.
 * What is packed in another way is refused by name. Thread: any. */
#ifndef PIPELINE_MODEL_QUANTIZATION_H
#define PIPELINE_MODEL_QUANTIZATION_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/error.h"

enum quantization_kind { QUANTIZATION_NONE, QUANTIZATION_FP8, QUANTIZATION_AWQ, QUANTIZATION_GPTQ };

struct quantization {
    enum quantization_kind kind;
    int block_rows; // fp8: what shares a scale; 0: a whole matrix, or each of its rows
    int block_columns;
    int bits;          // awq and gptq
    int group;         // inputs that share a scale; 0: all of a matrix
    bool is_less_one;  // gptq: zero points are stored less one
    bool is_reordered; // gptq: inputs say their group (g_idx), which else may be left out
};

/* `root` is config.json's, `file` its name for messages. */
MUST_CHECK bool quantization_read(const json_t *root, const char *file,
                                  struct quantization *quantization_out, struct error *error);

const char *quantization_name(enum quantization_kind kind); // "fp8"; "none"

#endif
