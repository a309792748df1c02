/* jinja_run: the state of one render and its limits.
 *
 * A template comes with a model and its variables with a request: neither is trusted. A render is
 * bounded in steps (statements, expressions, items walked), in nesting, in arena memory and in the
 * size of its output buffer. Text under construction is written at the end of the output buffer and
 * taken off again (jinja_capture_begin, jinja_capture_end), so that there is one writer and nothing
 * to free. Thread: the one that renders.
 */
#ifndef PIPELINE_TEXT_JINJA_RUN_H
#define PIPELINE_TEXT_JINJA_RUN_H

#include <time.h>

#include "pipeline/text/jinja_node.h"
#include "schemas/base/buffer.h"
#include "schemas/base/error.h"

enum {
    JINJA_STEPS_MAX = 5000000,           // about a second
    JINJA_DEPTH_MAX = 600,               // expressions and statements inside each other
    JINJA_MEMORY_BYTES_MAX = 64 << 20,   // of one render
    JINJA_TEMPLATE_BYTES_MAX = 64 << 20, // of a parsed template
    JINJA_RANGE_MAX = 100000,            // items of a range, as in Jinja2's sandbox
};

enum { JINJA_BYTES_PER_STEP = 64, JINJA_HOPS_PER_STEP = 16 };

enum jinja_signal { JINJA_SIGNAL_NONE, JINJA_SIGNAL_BREAK, JINJA_SIGNAL_CONTINUE };

struct jinja_binding {
    struct jinja_binding *next;
    struct bytes name;
    struct jinja_value value;
};

struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_binding *bindings;
};

/* What `loop` is inside a for. The loop's own `if` is asked no earlier than needed, because the
 * body may change what it looks at: `items` holds those of `source` that passed so far. */
struct jinja_loop {
    const struct jinja_node *node;
    const struct jinja_list *source;
    struct jinja_list *items;
    size_t asked; // of source
    size_t index0;
    bool has_finished_round; // without break or continue; else runs unless there was one
    int64_t depth0;
    struct jinja_scope *scope;   // around the for, for recursive loops
    struct jinja_value *changed; // what loop.changed saw last, or NULL
};

struct jinja_macro {
    const struct jinja_signature *signature;
    struct jinja_scope *scope; // where it was defined
};

/* A native function, with the value that it is a method of. */
struct jinja_method {
    const struct jinja_native *native;
    struct jinja_value subject;
};

struct jinja_run {
    struct arena *arena;
    struct buffer *out;
    struct error *error;
    struct jinja_scope *scope; // innermost
    size_t steps_left;
    unsigned depth;
    unsigned line; // of the statement or expression at work
    enum jinja_signal signal;
    time_t now; // what strftime_now tells, UTC
};

void jinja_set_error(struct jinja_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void jinja_set_memory_error(struct jinja_run *run);
/* The message that Jinja2 has for an operation on an undefined value. */
void jinja_set_undefined_error(struct jinja_run *run, struct jinja_value value);

/* The above as one expression that is false, which compilers and analyzers can see. */
#define jinja_fail(run, ...) (jinja_set_error(run, __VA_ARGS__), false)
#define jinja_fail_memory(run) (jinja_set_memory_error(run), false)
#define jinja_fail_undefined(run, value) (jinja_set_undefined_error(run, value), false)

/* False, with the error set, where the render has used up its steps. */
bool jinja_spend(struct jinja_run *run, size_t steps) MUST_CHECK;
/* The steps of work on text: one per 64 bytes, times as many as the part that is looked for in it
 * costs, because a search may compare all of it at each place. */
bool jinja_spend_search(struct jinja_run *run, size_t text_bytes, size_t part_bytes) MUST_CHECK;
/* One level of nesting more; each successful enter is followed by one leave. */
bool jinja_enter(struct jinja_run *run) MUST_CHECK;
void jinja_leave(struct jinja_run *run);

/* Zeroed memory from the render's arena; NULL with the error set. */
void *jinja_alloc(struct jinja_run *run, size_t count, size_t size);
struct jinja_list *jinja_new_list(struct jinja_run *run, size_t capacity);
struct jinja_dict *jinja_new_dict(struct jinja_run *run, size_t capacity);
bool jinja_append(struct jinja_run *run, struct jinja_list *list,
                  struct jinja_value item) MUST_CHECK;

/* The output's present size; what is written from here on belongs to the capture. */
size_t jinja_capture_begin(const struct jinja_run *run);
/* Takes the text since `begin` off the output. */
bool jinja_capture_end(struct jinja_run *run, size_t begin, struct bytes *out) MUST_CHECK;
/* As above, as a string. */
bool jinja_capture_string(struct jinja_run *run, size_t begin, struct jinja_value *out) MUST_CHECK;

/* A scope inside `parent`, or NULL with the error set. */
struct jinja_scope *jinja_scope_open(struct jinja_run *run, struct jinja_scope *parent);
/* Binds in that scope, replacing what it has under the name. */
bool jinja_scope_set(struct jinja_run *run, struct jinja_scope *scope, struct bytes name,
                     struct jinja_value value) MUST_CHECK;
/* What the name is bound to in run->scope or around it; ABSENT where it is not. */
bool jinja_scope_find(struct jinja_run *run, struct bytes name, struct jinja_value *out) MUST_CHECK;

/* The items that Python's iter(value) yields, borrowed. Uses up a generator. */
bool jinja_iterate(struct jinja_run *run, struct jinja_value value,
                   const struct jinja_list **out) MUST_CHECK;

#endif
