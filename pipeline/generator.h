/* generator: who answers calls. The local engine, a remote OpenAI-compatible endpoint, a scripted
 * fake.
 *
 * A call goes prepare -> submit -> (poll). Between a true submit and the poll that returns it, the
 * call is the generator's. Every submitted call comes back through poll exactly once, cancelled
 * ones too.
 */
#ifndef PIPELINE_GENERATOR_H
#define PIPELINE_GENERATOR_H

#include <stddef.h>

#include "pipeline/job.h"
#include "schemas/base/error.h"

struct generator;

struct generator_ops {
    /* Thread: pool. Checks the request against what this generator can do and does what needs no
     * turn: template, tokens. Memory from call->job->arena. */
    bool (*prepare)(struct generator *generator, struct call *call, struct error *error);
    /* Thread: loop. False when full, by bytes or tokens: submit again after the next poll. */
    bool (*submit)(struct generator *generator, struct call *call);
    /* Thread: loop. The call still comes back through poll, soon, with ERROR_CANCELLED unless it
     * was answered already. With `only_waiting` a call whose work has begun goes on; where only a
     * part of its choices has, it may come back either way. */
    void (*cancel)(struct generator *generator, struct call *call, bool only_waiting);
    /* Thread: loop. Takes at most calls_max answered calls; call->answer is whole. */
    size_t (*poll)(struct generator *generator, struct call **calls_out, size_t calls_max);
    /* Thread: loop. Everything submitted must have come back. */
    void (*close)(struct generator *generator);
};

/* The first member of each implementation. */
struct generator {
    const struct generator_ops *ops;
    /* Calls come opened, not checked (openai_request_open): who answers knows best which parameters
     * there are. */
    bool takes_any_body;
};

/* Called from any thread when poll has something to give. */
struct generator_wake {
    void (*on_wake)(void *context);
    void *context;
};

#endif
