/* local: what its files share. local.c opens and moves calls, local_prompt.c makes token ids of a
 * request, local_answer.c makes a body of token ids. */
#ifndef PIPELINE_LOCAL_INTERNAL_H
#define PIPELINE_LOCAL_INTERNAL_H

#include <stdatomic.h>

#include "pipeline/local.h"
#include "pipeline/mailbox.h"
#include "pipeline/text/chat_template.h"
#include "pipeline/text/detokenizer.h"
#include "pipeline/text/stop_rule.h"
#include "pipeline/text/tokenizer.h"

enum { HASH_TEXT_SIZE = 17 }; // 16 hexadecimal digits and a NUL

struct local_model {
    char *name; // with an adapter "name+adapter"
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat_template *chat_template; // NULL: the folder has none, completions only
    struct served_by served_by;
    double load_ms;
    char weights_hash[HASH_TEXT_SIZE]; // served_by borrows them
    char template_hash[HASH_TEXT_SIZE];
};

struct local {
    struct generator generator;
    struct backend *backend;
    struct engine *engine;
    struct pool *pool; // borrowed
    struct mailbox *answered;
    int sequences_inside; // loop thread
    int sequences_max;
    int max_model_len;
    int models_count;
    struct local_model models[]; // [models_count]
};

/* One choice of a call: a sequence in the engine and what reads its tokens. In the job's arena.
 *
 * `signals` orders the readers: the engine adds 1 for each progress and SIGNAL_FINISHED once at the
 * end; whoever raises it from 0 submits the task, and the task runs until it has seen all of them.
 * So at most one task reads a choice at a time, and after the finish nobody but it touches the
 * choice. */
struct local_choice {
    struct sequence sequence;
    struct local_call *owner;
    struct task task;
    _Atomic unsigned signals;

    // The task's own.
    struct detokenizer detokenizer;
    struct stop_rule stop_rule;
    struct buffer text; // so far; freed when the call's body is composed
    int tokens_read;
    bool has_stop_string;
};

enum { SIGNAL_FINISHED = 1u << 30 };

/* call->state. */
struct local_call {
    struct call *call;
    struct local *local;
    struct local_model *model;
    int32_t *stop_tokens; // [stop_tokens_count]
    int stop_tokens_count;
    int choices_count;
    _Atomic int choices_left;      // the last one to finish composes
    struct local_choice choices[]; // [choices_count]
};

/* Pool. Makes call->state: token ids, limits, sequences ready for the engine. */
MUST_CHECK bool local_prepare_call(struct local *local, struct call *call, struct error *error);

/* Engine thread: the observer's two functions; context is the struct local. */
void local_on_progress(void *context, struct sequence *sequence);
void local_on_finish(void *context, struct sequence *sequence);

#endif
