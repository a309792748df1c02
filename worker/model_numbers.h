/* model_numbers: `model logits` and `model generate`. Thread: main; generate starts its own. */
#ifndef WORKER_MODEL_NUMBERS_H
#define WORKER_MODEL_NUMBERS_H

#include "schemas/base/error.h"
#include "worker/config.h"

struct model_source {
    const char *path;
    const char *adapter; // or NULL
};

/* {"ids"} -> {"logits": [[...], ...]}, one row per position, or the last one only. */
MUST_CHECK bool model_numbers_logits(const struct model_source *source, const struct config *config,
                                     bool only_last, struct error *error);
/* {"ids", "max_tokens", "temperature": 0, ...} or an OpenAI chat body
 * -> {"ids", "text", "finish_reason"}, through the same generator as a worker's requests. */
MUST_CHECK bool model_numbers_generate(const struct model_source *source,
                                       const struct config *config, struct error *error);

#endif
