/* bpe_load: the "model" of a tokenizer.json. */
#ifndef PIPELINE_TEXT_BPE_LOAD_H
#define PIPELINE_TEXT_BPE_LOAD_H

#include <jansson.h>
#include <stdbool.h>

#include "pipeline/text/bpe.h"
#include "pipeline/text/vocabulary.h"
#include "schemas/base/error.h"

/* `names` are the tokens of the model's vocabulary as the file spells them. */
MUST_CHECK bool bpe_load(struct bpe *bpe, const json_t *model, const struct vocabulary *names,
                         bool is_byte_level, struct error *error);

#endif
