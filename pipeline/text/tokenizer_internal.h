/* tokenizer_internal: what tokenizer_load.c builds, and tokenizer.c and detokenizer.c read. */
#ifndef PIPELINE_TEXT_TOKENIZER_INTERNAL_H
#define PIPELINE_TEXT_TOKENIZER_INTERNAL_H

#include <stdint.h>

#include "pipeline/text/added_tokens.h"
#include "pipeline/text/bpe.h"
#include "pipeline/text/decoder.h"
#include "pipeline/text/normalizer.h"
#include "pipeline/text/post_processor.h"
#include "pipeline/text/pre_tokenizer.h"
#include "pipeline/text/tokenizer.h"
#include "pipeline/text/vocabulary.h"
#include "pipeline/text/wordpiece.h"

struct tokenizer {
    struct vocabulary names; // every token as the file spells it, added ones too
    uint8_t *is_special;     // by id
    struct normalizer *normalizer;
    struct pre_tokenizer *pre_tokenizer;
    struct added_tokens raw_added;        // looked for in the text as it came
    struct added_tokens normalized_added; // looked for in normalized text
    bool is_wordpiece;
    struct wordpiece wordpiece; // or:
    struct bpe bpe;
    struct post_processor post_processor;
    struct decoder decoder;
};

#endif
