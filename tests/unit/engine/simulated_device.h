/* simulated_device: a device without a model, for tests of the engine.
 *
 * Its KV cache holds at each position a hash of all tokens up to there, made from the hash at the
 * position before, which it reads through the block table. Its "logits" are the last hash, and its
 * sampling is a function of that hash and the sampling parameters. So a wrong block, a stale
 * prefix, a wrong position, seed or penalty changes what comes out, and simulated_output says what
 * must come out, without an engine. Every step is checked: shapes, budgets, and that no block that
 * is written stands in another sequence's table.
 */
#ifndef TESTS_UNIT_ENGINE_SIMULATED_DEVICE_H
#define TESTS_UNIT_ENGINE_SIMULATED_DEVICE_H

#include "pipeline/engine/device.h"
#include "pipeline/engine/engine.h"

/* Tokens from `vocabulary` on that prompts may have and that are never sampled: for faults. */
enum { SIMULATED_RESERVED_TOKENS = 2 };

struct simulated_options {
    int vocabulary; // of sampled tokens
    int context_tokens;
    int blocks_count;
    int block_tokens;
    int rows_max;       // of a step, checked
    int sequences_max;  // of a step, checked
    bool checks_chains; // read every earlier position again in every step
};

struct simulated_device {
    struct simulated_options options;
    uint64_t *hashes;      // [blocks, block_tokens]
    int32_t *tokens;       // [blocks, block_tokens]
    int64_t *written_step; // [blocks] the last step that wrote it
    int *written_by;       // [blocks] and the sequence of that step
    uint64_t *kept;        // [sequences_max] hash of each logit row
    int32_t *kept_tokens;  // [sequences_max] and its token
    int kept_count;

    // Faults, set by the test.
    int32_t poison_token; // forward fails when a row has it; -1: never
    int32_t nan_token;    // a logit row with it is not finite; -1: never
    int64_t fails_at;     // this forward (1 is the first) fails; 0: none
    int64_t fails_sample_at;
    bool fails_always;
    int64_t lost_at; // this forward and all later ones find the device gone; 0: none

    int64_t forwards_count;
    int64_t samples_count;
    int64_t rows_count; // of all steps
    int64_t sequences_largest;
    const char *broken; // the first invariant that did not hold, or NULL
};

void simulated_device_open(struct simulated_device *simulated,
                           const struct simulated_options *options);
void simulated_device_close(struct simulated_device *simulated);
struct device simulated_device_table(struct simulated_device *simulated);

/* What the sequence's output must be. Fills output_out [max_tokens] and gives its length. */
int simulated_output(const struct simulated_options *options, const struct sequence *sequence,
                     int32_t nan_token, int32_t *output_out, enum finish_reason *reason_out);

#endif
