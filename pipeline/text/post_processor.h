/* post_processor: the ids that a tokenizer.json puts around a text when special tokens are wanted.
 */
#ifndef PIPELINE_TEXT_POST_PROCESSOR_H
#define PIPELINE_TEXT_POST_PROCESSOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

enum { TEMPLATE_IDS_MAX = 32 };

struct special_ids {
    int32_t ids[TEMPLATE_IDS_MAX];
    size_t count;
};

struct post_processor {
    struct special_ids before;
    struct special_ids after;
};

/* `json` is the value of "post_processor", or null or NULL. Ids must be below `ids_count`. */
MUST_CHECK bool post_processor_init(struct post_processor *post_processor, const json_t *json,
                                    size_t ids_count, struct error *error);

#endif
