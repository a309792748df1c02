/* runner: takes sequences in, runs one step after another, and says what became of each sequence.
 *
 * The engine without its thread and its inbox: single-threaded and deterministic. A step is
 * planned by the scheduler of the model whose turn it is, run on that model's device, and its
 * tokens are appended. When the device fails, the step is halved until the sequence that makes it
 * fail stands alone; it is tried once more, and then finishes with the error; the others go on.
 * When the device is lost, nobody goes on.
 *
 * Thread: engine.
 */
#ifndef PIPELINE_ENGINE_RUNNER_H
#define PIPELINE_ENGINE_RUNNER_H

#include "pipeline/engine/device.h"
#include "pipeline/engine/engine.h"
#include "pipeline/engine/sequence_state.h"

struct runner_options {
    const struct device *devices; // [devices_count], copied
    int devices_count;
    int max_num_seqs;
    int max_num_batched_tokens;
    int max_model_len; // 0: each device's own
    int waiting_max;   // sequences inside, running ones included
    bool enable_prefix_caching;

    void (*on_progress)(void *context, struct sequence *sequence);
    // The runner has forgotten the sequence; its result members are set.
    void (*on_finish)(void *context, struct sequence_state *state);
    void *context;
};

struct runner;

MUST_CHECK bool runner_open(const struct runner_options *options, struct runner **runner_out,
                            struct error *error);
void runner_close(struct runner *runner); // accepts NULL; calls nothing

/* Finishes at once what can never run. */
void runner_add(struct runner *runner, struct sequence_state *state);
/* Finishes a sequence that is inside, between two steps. */
void runner_finish(struct runner *runner, struct sequence_state *state, enum finish_reason reason);

/* False too while all that is inside waits for runner_wake. */
bool runner_has_work(const struct runner *runner);
void runner_step(struct runner *runner);
/* Sequences that were not ready may be so now. */
void runner_wake(struct runner *runner);

int runner_tokens_max(const struct runner *runner, int model);
/* All but `waiting`, which the inbox knows. */
void runner_get_stats(const struct runner *runner, struct engine_stats *stats_out);
const struct kv_blocks *runner_blocks(const struct runner *runner, int model);

double runner_now_ms(void);

#endif
