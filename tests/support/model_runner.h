/* model_runner: drives a model without an engine: one sequence, chunks of any size, blocks in any
 * order. */
#ifndef TESTS_SUPPORT_MODEL_RUNNER_H
#define TESTS_SUPPORT_MODEL_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/model/model.h"

enum { RUNNER_BLOCK_TOKENS = 16 };

struct model_runner {
    struct backend *backend;
    struct model *model;
    int vocabulary;
    int blocks;
    int32_t *block_table; // [blocks], ascending unless the test changes it
};

struct runner_options {
    struct backend_options backend;
    int block_tokens;           // 0: RUNNER_BLOCK_TOKENS
    enum weight_format weights; // AUTO: f32
    enum kv_format kv_format;
    const char *adapter; // or NULL
    /* NULL: backend_open */
    bool (*open)(const struct backend_options *options, struct backend **backend_out,
                 struct error *error);
};

/* Ends the test with a message on failure. Room for one sequence of the whole context. */
void model_runner_open(struct model_runner *runner, const char *path,
                       const struct runner_options *options);
void model_runner_close(struct model_runner *runner);

/* Runs tokens[first..end), whose predecessors are in the cache, in steps of at most `chunk` rows;
 * logits_out [end - first, vocabulary]. */
void model_runner_logits(struct model_runner *runner, const int32_t *tokens, int first, int end,
                         int chunk, float *logits_out);

/* Continues tokens[0..prompt) greedily to `count` tokens in all. */
void model_runner_greedy(struct model_runner *runner, int32_t *tokens, int prompt, int count);

#endif
