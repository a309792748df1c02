/* quantized_matrix: the tensors of one packed matrix, found, checked and made f32. */
#ifndef PIPELINE_MODEL_QUANTIZED_MATRIX_H
#define PIPELINE_MODEL_QUANTIZED_MATRIX_H

#include "pipeline/model/loader.h"

/* Whether the module `name` ("model.layers.0.self_attn.q_proj") is packed: of a quantized model
 * some are not. */
bool quantized_matrix_is(const struct loader *loader, const char *name);
/* [rows, columns], malloc'ed. Claims all tensors of the module but its bias. */
MUST_CHECK bool quantized_matrix_take(const struct loader *loader, const char *name, int rows,
                                      int columns, float **values_out);
/* Claims what a quantized model may hold and is not needed: scales of activations, of keys and
 * values, and GPTQ's biases of zeros. */
void quantized_matrix_claim_redundant(const struct loader *loader);

#endif
