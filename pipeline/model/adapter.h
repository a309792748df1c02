/* adapter: a PEFT LoRA folder, whose products are added to a model's matrices while they are
 * loaded: W + scale * B A. Untrusted input, as the model's folder is. Thread: one. */
#ifndef PIPELINE_MODEL_ADAPTER_H
#define PIPELINE_MODEL_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/model/safetensors.h"
#include "schemas/base/error.h"

struct adapter;

/* What is added to one matrix. */
struct adapter_pair {
    const struct tensor *a; // [rank, columns]
    const struct tensor *b; // [rows, rank]
    int rows;
    int columns;
    int rank; // 0: nothing
    double scale;
};

/* Reads adapter_config.json and maps adapter_model.safetensors of the folder `path`. What is not
 * done here (DoRA, biases, saved modules...) is refused by name. */
MUST_CHECK bool adapter_open(const char *path, struct adapter **adapter_out, struct error *error);
void adapter_close(struct adapter *adapter); // accepts NULL

/* What belongs to the module `name` ("model.layers.0.self_attn.q_proj") of [rows, columns], and
 * claims it. Fails where one of the two is missing or does not fit. */
MUST_CHECK bool adapter_find(struct adapter *adapter, const char *name, int rows, int columns,
                             struct adapter_pair *pair_out, struct error *error);
/* values: [rows, columns] */
MUST_CHECK bool adapter_load_into(const struct adapter_pair *pair, float *values,
                                  struct error *error);
/* Fails where a tensor belongs to no matrix of the model. */
MUST_CHECK bool adapter_check_surplus(const struct adapter *adapter, struct error *error);

/* Of its tensors and its configuration, whatever spaces and order that has. */
uint64_t adapter_hash(const struct adapter *adapter);

#endif
