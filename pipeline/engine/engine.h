/* engine: runs token sequences through the models of one device by continuous batching.
 *
 * Speaks token ids only; text, templates and stop strings are decided outside. One thread, started
 * by engine_open, plans and runs steps; it never waits for anything but work. A step has decode
 * rows first, then chunks of prompts, up to max_num_batched_tokens rows; finished sequences leave
 * and waiting ones join at every step. A sequence that finds no free KV block is preempted and
 * recomputed; the answer is the same (row invariance, DESIGN of model and kernels).
 *
 * An encoder's sequence is its prompt alone: it finishes (FINISH_STOP) with its vector after the
 * step that has all of it. Prompts of an encoder fit into max_num_batched_tokens.
 *
 * When a step fails, the culprit is found by halves and finishes with the error; the others go on.
 * When the device is lost (a model's error of kind ERROR_FATAL), all that are inside and all that
 * are submitted later finish with that error: the owner must open a new engine, in a new process.
 *
 * Ownership: a sequence's memory (prompt, output) is the submitter's and must stay until on_finish
 * for it has been called. Between submit and on_finish the engine owns every field but `output` up
 * to `output_count`, which any thread may read (acquire).
 */
#ifndef PIPELINE_ENGINE_ENGINE_H
#define PIPELINE_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pipeline/model/model.h"
#include "schemas/base/error.h"

enum finish_reason {
    FINISH_NONE,      // still going
    FINISH_STOP,      // a stop token, or engine_stop
    FINISH_LENGTH,    // max_tokens, or the context is full
    FINISH_CANCELLED, // engine_cancel
    FINISH_ERROR,     // sequence->error says what
};

struct sequence_params {
    struct sample_params sample; // position and output counts are filled by the engine
    int max_tokens;              // output has room for this many
    const int32_t *stop_tokens;  // end the output and are not part of it
    int stop_tokens_count;
    bool ignore_eos;     // stop tokens do not stop
    bool wants_progress; // on_progress after each token (the submitter checks stop strings)
    // The token at index i is sampled only once ready_count is above i: until then the sequence is
    // skipped, but for what of its prompt can be computed. The submitter meanwhile owns
    // sample.allowed.
    bool waits_for_ready;
    int priority;        // lower runs first
    int64_t deadline_ms; // Unix time, or 0: order only; the owner of the call enforces it
};

/* Monotonic milliseconds, 0 when not reached. */
struct sequence_timing {
    double submitted_ms;
    double scheduled_ms; // first step
    double first_token_ms;
    double finished_ms;
};

struct sequence {
    int model; // index of engine_options.models
    const int32_t *prompt;
    int prompt_count;
    struct sequence_params params;
    int32_t *output;          // [params.max_tokens]
    float *logprobs;          // [params.max_tokens] or NULL
    float *vector;            // [the model's hidden] for an encoder, which has no output; else NULL
    _Atomic int output_count; // release by the engine, acquire by readers
    _Atomic int ready_count;  // set before engine_submit, then raised by engine_resume
    void *owner;              // the submitter's

    // Results, valid in on_finish and after it.
    enum finish_reason finish_reason;
    int cached_count; // prompt tokens that the prefix cache saved
    struct sequence_timing timing;
    struct error error;

    struct sequence_state *state; // engine's own
    struct sequence *next;        // engine's own while submitted
};

/* Both are called on the engine thread and must be quick (post to a mailbox); they may call the
 * functions below that any thread may call. on_progress: after each token that does not end its
 * sequence, where the sequence wants it; may be NULL. */
struct engine_observer {
    void (*on_progress)(void *context, struct sequence *sequence);
    void (*on_finish)(void *context, struct sequence *sequence);
    void *context;
};

struct engine_options {
    struct model **models;   // borrowed until engine_close
    const double *kv_shares; // [models] fractions of kv_bytes, or NULL for equal ones
    int models_count;
    size_t kv_bytes;            // KV cache of all models together
    int max_num_seqs;           // running at once, of each model
    int max_num_batched_tokens; // rows of one step, at least max_num_seqs
    int max_model_len;          // 0: each model's own
    int max_waiting;            // submitted and not running; engine_submit is false beyond
    bool enable_prefix_caching; // on unless there is a reason
    struct engine_observer observer;
};

struct engine;

MUST_CHECK bool engine_open(const struct engine_options *options, struct engine **engine_out,
                            struct error *error);
/* Stops after the present step; sequences still inside finish as FINISH_CANCELLED. Accepts NULL. */
void engine_close(struct engine *engine);

/* Thread: any. False when max_waiting is reached: submit again later. A sequence that can never run
 * (prompt_count 0, or prompt + 1 over the model's context or its whole KV pool) finishes with
 * FINISH_ERROR. */
bool engine_submit(struct engine *engine, struct sequence *sequence);
/* Thread: any. Asks the sequence to finish by the next step; on_finish is still called, once. A
 * sequence that has finished already is not touched, but its memory must still be there. */
void engine_cancel(struct engine *engine, struct sequence *sequence);
/* Thread: any. As cancel for a sequence that has run no step yet; one that has goes on. */
void engine_withdraw(struct engine *engine, struct sequence *sequence);
/* Thread: any. As cancel, but with FINISH_STOP: the submitter found a stop string. */
void engine_stop(struct engine *engine, struct sequence *sequence);

/* Thread: any. One more token of a sequence that waits_for_ready may be sampled: its mask is in
 * place, or its stop check is done. For one that has finished it does nothing, but its memory must
 * still be there. */
void engine_resume(struct engine *engine, struct sequence *sequence);

/* The longest prompt + output that a sequence of this model can reach here. */
int engine_tokens_max(const struct engine *engine, int model);

/* A consistent-enough snapshot for metrics. Thread: any. */
struct engine_stats {
    int64_t running;
    int64_t waiting;
    int64_t kv_blocks_used;
    int64_t kv_blocks_total;
    int64_t steps_total;
    int64_t prompt_tokens_total; // computed, without cached ones
    int64_t cached_tokens_total; // saved by the prefix cache
    int64_t generation_tokens_total;
    int64_t preemptions_total;
};
void engine_get_stats(const struct engine *engine, struct engine_stats *stats_out);

#endif
