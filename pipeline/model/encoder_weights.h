/* encoder_weights: the tensors of BERT and RoBERTa by their Hugging Face names. Internal to the
 * loading of weights. */
#ifndef PIPELINE_MODEL_ENCODER_WEIGHTS_H
#define PIPELINE_MODEL_ENCODER_WEIGHTS_H

#include "pipeline/model/loader.h"
#include "pipeline/model/weights.h"

/* Loads the embeddings and all layers; the heads of other tasks are claimed and left out. What was
 * loaded before a failure is closed by weights_close. */
MUST_CHECK bool encoder_weights_load(const struct loader *loader, struct weights *weights);

#endif
