/* failure: one switch from error to outcome. */
#include "worker/failure.h"

#include "pipeline/openai/response.h"
#include "schemas/base/buffer.h"
#include "schemas/base/check.h"

enum {
    ERROR_BODY_BYTES_MAX = 16384,
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 10000,
};

enum error_fate failure_fate(const struct job *job, const struct error *error, int attempts_max)
{
    enum error_fate fate = error_fate(error->kind);
    if (fate == FATE_RETRY && job->attempt >= attempts_max) {
        return FATE_DEAD_LETTER;
    }
    return fate;
}

double failure_backoff_ms(const struct job *job)
{
    double wait_ms = BACKOFF_FIRST_MS;
    for (int attempt = 1; attempt < job->attempt && wait_ms < BACKOFF_MAX_MS; attempt++) {
        wait_ms *= 2;
    }
    wait_ms = wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
    // Up to a half more, so that what failed together does not come back together.
    return wait_ms * (1.0 + (double)(job->seed % 1024) / 2048.0);
}

void failure_exhaust(struct job *job, int attempts)
{
    job->outcome = OUTCOME_DEAD_LETTER;
    (void)error_set(
        &job->error, ERROR_INTERNAL, "worker_ended", NULL,
        "the worker ended %d time%s while it answered this record, the last time with nothing "
        "beside it: attempts.max allows no more",
        attempts, attempts == 1 ? "" : "s");
}

/* Whether an OpenAI endpoint would have said it with an HTTP status. */
static bool is_http_like(const struct error *error)
{
    return error->kind == ERROR_INVALID || error->kind == ERROR_NOT_FOUND ||
           error->kind == ERROR_BUSY || error->kind == ERROR_INTERNAL;
}

static bool answer_with_body(struct job *job, const struct error *error)
{
    struct buffer body;
    buffer_init(&body, ERROR_BODY_BYTES_MAX);
    openai_error_write(error, &body);
    if (!buffer_failed(&body)) {
        job->response.body = arena_copy(job->arena, buffer_bytes(&body));
    }
    buffer_close(&body);
    job->response.status_code = error_status(error->kind);
    return job->response.body.data != NULL;
}

static bool answer_with_failure(struct job *job, const struct error *error)
{
    struct failure *failure = arena_alloc(job->arena, sizeof *failure);
    if (failure == NULL) {
        return false;
    }
    failure->code = bytes_of(error->code == NULL ? error_type(error->kind) : error->code);
    failure->message = arena_copy(job->arena, bytes_of(error->message));
    job->response.error = failure;
    return failure->message.data != NULL;
}

void failure_answer(struct job *job, const struct error *error)
{
    CHECK(error->kind != ERROR_NONE);
    struct error copy = *error; // `error` may be job->error
    job->response = (struct inference_response){
        .custom_id = job->request.custom_id,
        .run_id = job->request.run_id,
        .source = job->source,
        .attempt = job->attempt,
    };
    bool is_whole =
        is_http_like(&copy) ? answer_with_body(job, &copy) : answer_with_failure(job, &copy);
    job->error = copy;
    job->outcome = is_whole ? OUTCOME_RESPONSE : OUTCOME_DEAD_LETTER;
}
