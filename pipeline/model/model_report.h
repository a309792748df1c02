/* model_report: what a model folder is and needs, without loading it. Thread: any. */
#ifndef PIPELINE_MODEL_MODEL_REPORT_H
#define PIPELINE_MODEL_MODEL_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "pipeline/model/model_config.h"
#include "schemas/base/error.h"

enum { REPORT_DTYPES_MAX = 16 };

struct model_report_dtype {
    char name[12]; // as the files spell it
    int64_t parameters;
};

struct model_report {
    struct model_config config;
    int64_t parameters;
    int64_t tensors;
    size_t file_bytes; // of all tensors as they are
    struct model_report_dtype dtypes[REPORT_DTYPES_MAX];
    int dtypes_count;
    size_t weights_bytes_f32; // what the weights take in each format
    size_t weights_bytes_bf16;
    size_t weights_bytes_int8;
    size_t kv_bytes_per_token; // of the CPU back end
};

/* Checks config.json and every tensor's name, shape and dtype as model_open does; those of the
 * adapter too, unless it is NULL. */
MUST_CHECK bool model_report_make(const char *path, const char *adapter,
                                  struct model_report *report_out, struct error *error);

#endif
