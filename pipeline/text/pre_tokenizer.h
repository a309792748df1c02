/* pre_tokenizer: cuts normalized text into the words that byte-pair encoding works on.
 *
 * The steps of a tokenizer.json ("pre_tokenizer") run depth first: each word goes through the later
 * steps before the next one is looked for, so nothing is collected. Immutable after open.
 */
#ifndef PIPELINE_TEXT_PRE_TOKENIZER_H
#define PIPELINE_TEXT_PRE_TOKENIZER_H

#include <jansson.h>
#include <stdbool.h>

#include "pipeline/text/pattern.h"
#include "pipeline/text/tokenizer_json.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct pre_tokenizer;

/* `json` is the value of "pre_tokenizer": an object, or null or NULL for none. */
MUST_CHECK bool pre_tokenizer_open(const json_t *json, struct pre_tokenizer **pre_tokenizer_out,
                                   struct error *error);
void pre_tokenizer_close(struct pre_tokenizer *pre_tokenizer); // accepts NULL

/* True when the vocabulary is written in the byte alphabet (ByteLevel). */
bool pre_tokenizer_is_byte_level(const struct pre_tokenizer *pre_tokenizer);

/* Memory of one call. Zeroed is valid. */
struct pre_tokenizer_scratch {
    struct pattern_scratch pattern;
    struct buffer rewritten[STEPS_MAX]; // by step: the piece that the step has changed
};
void pre_tokenizer_scratch_close(struct pre_tokenizer_scratch *scratch);

/* Who receives the words. False from `word` ends the run. */
struct word_sink {
    bool (*word)(void *context, struct bytes word, struct error *error);
    void *context;
};

/* `is_first`: the text begins where the whole input begins. */
MUST_CHECK bool pre_tokenizer_run(const struct pre_tokenizer *pre_tokenizer,
                                  struct pre_tokenizer_scratch *scratch, struct bytes text,
                                  bool is_first, struct word_sink sink, struct error *error);

#endif
