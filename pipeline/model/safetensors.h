/* safetensors: the tensors of a model folder, mapped read-only.
 *
 * Untrusted input: header size, offsets, gaps, overlaps, shapes, sizes and names are checked before
 * any byte of a tensor is touched. One file (model.safetensors) or several
 * (model.safetensors.index.json). Thread: any, once open.
 */
#ifndef PIPELINE_MODEL_SAFETENSORS_H
#define PIPELINE_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "schemas/base/error.h"

enum { TENSOR_DIMS_MAX = 8 };

struct tensor {
    char *name;
    char dtype[12]; // as the file spells it: "F32", "BF16", "I64"
    int64_t shape[TENSOR_DIMS_MAX];
    int dims;
    const void *data; // borrowed until safetensors_close; any alignment
    size_t bytes;
    size_t begin;    // in its file's data
    bool is_claimed; // the model uses it
};

struct safetensors;

MUST_CHECK bool safetensors_open(const char *folder, struct safetensors **safetensors_out,
                                 struct error *error);
/* The one file `name` of the folder. */
MUST_CHECK bool safetensors_open_file(const char *folder, const char *name,
                                      struct safetensors **safetensors_out, struct error *error);
void safetensors_close(struct safetensors *safetensors); // accepts NULL

/* NULL if there is none. */
const struct tensor *safetensors_find(const struct safetensors *safetensors, const char *name);
/* Finds and claims; NULL if there is none. */
const struct tensor *safetensors_claim(struct safetensors *safetensors, const char *name);
/* Claims every tensor whose name begins so. */
void safetensors_claim_all(struct safetensors *safetensors, const char *prefix);
/* The first in order of name that nobody claimed, or NULL. */
const struct tensor *safetensors_unclaimed(const struct safetensors *safetensors,
                                           size_t *count_out);
size_t safetensors_count(const struct safetensors *safetensors);
/* In order of name. */
const struct tensor *safetensors_at(const struct safetensors *safetensors, size_t index);
/* Of every tensor's name and bytes, in order of name, whatever file they are in. Reads it all. */
uint64_t safetensors_hash(const struct safetensors *safetensors);

/* Whether the numbers are of one of the formats `first` to `last`, and of which. */
bool tensor_dtype(const struct tensor *tensor, enum dtype first, enum dtype last,
                  enum dtype *dtype_out);

#endif
