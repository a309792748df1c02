/* local_fixture: the local generator with one model, driven by hand instead of by a session. */
#ifndef TESTS_SUPPORT_LOCAL_FIXTURE_H
#define TESTS_SUPPORT_LOCAL_FIXTURE_H

#include <jansson.h>
#include <stdio.h>

#include "pipeline/local.h"
#include "pipeline/route/route.h"

#define SCRIBE SOURCE_DIR "/deploy/demo/scribe"

struct local_fixture {
    struct pool *pool;
    struct local *local;
    struct route route;
};

/* Ends the test with a message on failure. */
void local_fixture_open(struct local_fixture *fixture, const char *path, int calls_max,
                        int max_num_seqs);
void local_fixture_open_in(struct local_fixture *fixture, const char *path,
                           enum weight_format weights, enum kv_format kv_format, int calls_max);
void local_fixture_close(struct local_fixture *fixture);

/* A prepared call; what preparing says against it is in job->error. `body` is taken over. */
struct job *local_fixture_job(struct local_fixture *fixture, enum openai_endpoint endpoint,
                              json_t *body);
bool local_fixture_submit(struct local_fixture *fixture, struct job *job);
void local_fixture_cancel(struct local_fixture *fixture, struct job *job, bool only_waiting);
/* Waits until `count` calls have come back. */
void local_fixture_wait(struct local_fixture *fixture, int count);
/* The body of an answered call; the caller's. */
json_t *local_fixture_answer(const struct job *job);

/* All of it for one body that must succeed. */
json_t *local_fixture_ask(struct local_fixture *fixture, enum openai_endpoint endpoint,
                          json_t *body);

/* Of an answer; borrowed from it. */
json_t *answer_choice(const json_t *answer, int index);
const char *choice_text(const json_t *choice);
const char *choice_finish(const json_t *choice);
int answer_usage(const json_t *answer, const char *name);

/* The body of the next line of `file`, or NULL at its end. */
json_t *demo_body_next(FILE *file);
/* The body of line `index` of the demo's jobs, with the reference answer where wanted. */
json_t *demo_body(int index, json_t **reference_out);

#endif
