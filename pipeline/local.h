/* local: the generator that answers with models in this process.
 *
 * Joins text (template, tokens, stop strings), openai (bodies) and the engine (numbers):
 *
 *     prepare (pool)   template -> text -> token ids, checked against the context
 *     submit (loop)    one engine sequence per choice
 *     progress (pool)  detokenize, look for stop strings, stop the sequence that has one
 *     finish (pool)    the last choice composes the body and posts the call for poll
 */
#ifndef PIPELINE_LOCAL_H
#define PIPELINE_LOCAL_H

#include "pipeline/engine/engine.h"
#include "pipeline/generator.h"
#include "pipeline/pool.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct local_model_options {
    const char *name;
    const char *path;    // a Hugging Face folder
    const char *adapter; // a PEFT LoRA folder merged into it; NULL or "": none
    double kv_share;     // of the KV cache; 0: an equal share
};

struct local_options {
    const struct local_model_options *models;
    int models_count;
    struct backend_options backend;
    enum weight_format weights;
    enum kv_format kv_format;
    int64_t kv_cache_bytes;
    int max_num_seqs;
    int max_num_batched_tokens;
    int max_model_len; // 0: each model's own
    bool enable_prefix_caching;
    bool may_lack_tokenizer; // then only prompts of token ids are served
    int calls_max;           // submitted at once, choices counted each
    struct pool *pool;       // borrowed until close
    struct generator_wake wake;
    /* On the caller's thread, while local_open runs; NULL: nobody watches. */
    void (*on_loading)(void *context, const char *model, int layers_done, int layers);
    void *loading_context;
};

/* How a model was made ready. Texts are borrowed until close. */
struct local_model_facts {
    const char *name;
    const char *weights; // "int8"
    const char *kv;
    const char *backend;     // its description
    const char *auto_reason; // why the back end takes what it takes for `auto`; or NULL
    size_t weights_bytes;
    size_t kv_bytes;
    int kv_blocks;
    int kv_block_tokens;
    int tokens_max; // of prompt and output
    double load_ms;
};

struct local;

/* Loads the models and starts the engine; takes seconds. Everything is copied from *options but the
 * pool. On failure the message names the model. */
MUST_CHECK bool local_open(const struct local_options *options, struct local **local_out,
                           struct error *error);

/* The generator inside; closing it closes the whole. */
struct generator *local_generator(struct local *local);
/* Who answers as model `index`; borrowed until close. */
const struct served_by *local_served_by(const struct local *local, int index);
/* The token ids of an answered call's choice, without stop token or what came after a stop string.
 * Borrowed until the job is closed. Returns how many. */
int local_call_tokens(const struct call *call, int choice, const int32_t **tokens_out);
struct local_model_facts local_facts(const struct local *local, int index);
void local_get_stats(const struct local *local, struct engine_stats *stats_out);

#endif
