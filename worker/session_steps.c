/* session, second half: one job's way from intake to outcome. */
#include "worker/session_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "pipeline/clock.h"
#include "pipeline/comparison.h"
#include "pipeline/openai/omit.h"
#include "pipeline/openai/request.h"
#include "pipeline/pool.h"
#include "schemas/base/check.h"
#include "schemas/base/shortage.h"
#include "schemas/records/source.h"
#include "worker/failure.h"

enum { STEP_MAX = 128 };

static bool compares(const struct session *session)
{
    return session->config->mode == MODE_COMPARE;
}

static bool has_deadline_passed(const struct job *job)
{
    return job->request.has_deadline_ms && clock_unix_ms() >= job->request.deadline_ms;
}

static bool set_deadline_error(const struct job *job, struct error *error)
{
    return error_set(error, ERROR_DEADLINE, "deadline_exceeded", "deadline_ms",
                     "the deadline %lld (Unix ms) passed before the answer was ready",
                     (long long)job->request.deadline_ms);
}

/* Pool. Everything that needs no turn at the generator. */
static bool prepare_call(struct session *session, struct job *job, struct call *call)
{
    struct error *error = &job->error;
    enum openai_endpoint endpoint = openai_endpoint_of(job->request.url);
    if (endpoint == ENDPOINT_NONE) {
        return openai_unknown_url(job->request.url, error);
    }
    call->job = job;
    call->body = job->request.body;
    if (compares(session) && !openai_body_omit(job->request.body, &openai_streaming_parameters,
                                               job->arena, &call->body, &job->dropped, error)) {
        return false;
    }
    if (!openai_request_open(endpoint, call->body, &call->request, error)) {
        return false;
    }
    call->route = route_table_find(session->answerers.routes, call->request.model);
    if (call->route == NULL) {
        return error_set(error, ERROR_NOT_FOUND, "model_not_found", "model",
                         "the model %.*s does not exist here",
                         (int)(call->request.model.size < 200 ? call->request.model.size : 200),
                         call->request.model.data);
    }
    struct generator *generator = call->route->generator;
    return (generator->takes_any_body ||
            openai_request_check(call->body.size, job->arena, &call->request, error)) &&
           generator->ops->prepare(generator, call, error);
}

/* The record's id, and from it the seed of a request that brings none. */
static bool identify(struct job *job)
{
    char id[SOURCE_ID_SIZE];
    source_id(&job->source, id);
    job->id = arena_copy(job->arena, bytes_of(id));
    job->seed = XXH3_64bits(id, sizeof id - 1);
    return job->id.data != NULL;
}

/* Pool. False with job->error. */
static bool prepare(struct session *session, struct job *job)
{
    if (job->attempt == 1 && job->error.kind != ERROR_NONE) {
        return false; // the end found the record invalid
    }
    job->error = (struct error){0};
    if (job->calls_count > 0) { // an attempt before this one
        openai_request_close(&job->calls->request);
        *job->calls = (struct call){0};
    } else {
        job->calls = arena_alloc(job->arena, sizeof *job->calls);
    }
    if (job->calls == NULL || !identify(job)) {
        return error_set(&job->error, ERROR_INVALID, "request_too_large", NULL,
                         "the request needs more memory than one record may have");
    }
    job->calls_count = 1;
    return prepare_call(session, job, job->calls);
}

static void run_prepare(struct task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, task));
    struct session *session = job->session;
    (void)shortage_take();
    (void)prepare(session, job);
    if (shortage_take()) { // not the record's fault, and what looks well may lack something
        job->error = (struct error){0};
        error_set(&job->error, ERROR_INTERNAL, "out_of_memory", NULL,
                  "no memory to prepare the request");
    }
    CHECK(mailbox_post(session->prepared, job));
}

static void start_preparing(struct session *session, struct job *job)
{
    job->stage = STAGE_PREPARING;
    session->busy_count++;
    job->task.run = run_prepare;
    pool_submit(session->pool, &job->task);
}

/* Gives the job back to its end. */
static void hand_back(struct session *session, struct job *job)
{
    CHECK(job->outcome != OUTCOME_NONE);
    if (job->request.has_deadline_ms) {
        session->timed_count--;
    }
    job->stage = STAGE_DONE;
    if (session->is_closing) {
        session_release(session, job);
    } else {
        session->end.on_outcome(session->end.context, job);
    }
}

static void run_compose(struct task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, task));
    struct session *session = job->session;
    struct error error = {0};
    (void)shortage_take();
    bool is_composed = comparison_compose(job, session->scorer, &error);
    if (shortage_take()) { // as where an outcome is encoded
        (void)error_set(&error, ERROR_FATAL, NULL, NULL, "out of memory for a comparison");
        is_composed = false;
    }
    if (!is_composed) {
        job->error = error;
        job->outcome = OUTCOME_DEAD_LETTER;
    }
    CHECK(mailbox_post(session->prepared, job));
}

static void finish(struct session *session, struct job *job)
{
    if (!compares(session) || job->outcome == OUTCOME_DROPPED || session->is_closing) {
        hand_back(session, job);
        return;
    }
    job->stage = STAGE_COMPOSING;
    session->busy_count++;
    job->task.run = run_compose;
    pool_submit(session->pool, &job->task);
}

static void take_composed(struct session *session, struct job *job)
{
    session->busy_count--;
    if (job->is_cancelled) {
        job->outcome = OUTCOME_DROPPED;
    } else if (job->outcome == OUTCOME_DEAD_LETTER && job->error.kind == ERROR_FATAL) {
        job->outcome = OUTCOME_DROPPED;
        if (!session->is_closing) {
            session->end.on_fatal(session->end.context, &job->error);
        }
    }
    hand_back(session, job);
}

static void drop(struct session *session, struct job *job)
{
    job->outcome = OUTCOME_DROPPED;
    finish(session, job);
}

/* The job met an error: answer it, try again, put it aside, or let it go. */
static void fail(struct session *session, struct job *job, const struct error *error)
{
    switch (failure_fate(job, error, (int)session->config->attempts_max)) {
    case FATE_RETRY:
        job->retry_at_ms = clock_monotonic_ms() + failure_backoff_ms(job);
        job->attempt++;
        job->stage = STAGE_BACKOFF;
        session->timed_count++;
        return;
    case FATE_ANSWER:
        failure_answer(job, error);
        break;
    case FATE_DEAD_LETTER:
        job->error = *error;
        job->outcome = OUTCOME_DEAD_LETTER;
        break;
    case FATE_STOP:
        job->outcome = OUTCOME_DROPPED;
        if (!session->is_closing) {
            session->end.on_fatal(session->end.context, error);
        }
        break;
    case FATE_DROP:
        job->outcome = OUTCOME_DROPPED;
        break;
    }
    finish(session, job);
}

static struct session_queue *queue_of(struct session *session, const struct job *job)
{
    return &session->waiting[answerers_index(&session->answerers, job->calls->route->generator)];
}

static void enqueue_waiting(struct session *session, struct job *job)
{
    struct session_queue *queue = queue_of(session, job);
    job->stage = STAGE_WAITING;
    job->queue_next = NULL;
    if (queue->last == NULL) {
        queue->first = job;
    } else {
        queue->last->queue_next = job;
    }
    queue->last = job;
}

static void remove_waiting(struct session *session, const struct job *job)
{
    struct session_queue *queue = queue_of(session, job);
    struct job *before = NULL;
    for (struct job *at = queue->first; at != job; at = at->queue_next) {
        CHECK(at != NULL);
        before = at;
    }
    if (before == NULL) {
        queue->first = job->queue_next;
    } else {
        before->queue_next = job->queue_next;
    }
    if (queue->last == job) {
        queue->last = before;
    }
}

/* Hands waiting jobs to their generator until it is full. */
static void submit_waiting(struct session *session, struct session_queue *queue)
{
    while (queue->first != NULL) {
        struct job *job = queue->first;
        struct generator *generator = job->calls->route->generator;
        job->calls->submitted_ms = clock_monotonic_ms();
        job->stage = STAGE_ANSWERING;
        if (!generator->ops->submit(generator, job->calls)) {
            job->stage = STAGE_WAITING;
            return;
        }
        queue->first = job->queue_next;
        queue->last = queue->first == NULL ? NULL : queue->last;
        session->busy_count++;
    }
}

static void take_prepared(struct session *session, struct job *job)
{
    if (job->stage == STAGE_COMPOSING) {
        take_composed(session, job);
        return;
    }
    CHECK(job->stage == STAGE_PREPARING);
    session->busy_count--;
    struct error error;
    if (job->is_cancelled) {
        drop(session, job);
    } else if (has_deadline_passed(job)) {
        set_deadline_error(job, &error);
        fail(session, job, &error);
    } else if (job->error.kind != ERROR_NONE) {
        error = job->error;
        fail(session, job, &error);
    } else {
        enqueue_waiting(session, job);
    }
}

static void take_answered(struct session *session, struct call *call)
{
    struct job *job = call->job;
    CHECK(job->stage == STAGE_ANSWERING);
    session->busy_count--;
    if (job->is_cancelled) {
        drop(session, job);
        return;
    }
    if (call->answer.error.kind != ERROR_NONE) {
        struct error error = call->answer.error;
        if (job->has_expired) {
            set_deadline_error(job, &error);
        }
        fail(session, job, &error);
        return;
    }
    job->response = (struct inference_response){
        .custom_id = job->request.custom_id,
        .run_id = job->request.run_id,
        .source = job->source,
        .status_code = call->answer.status_code,
        .body = call->answer.body,
        .served_by =
            call->answer.served_by != NULL ? call->answer.served_by : &call->route->served_by,
        .changed = call->answer.changed,
        .dropped = call->answer.dropped,
        .usage = &call->answer.usage,
        .timing = &call->answer.timing,
        .attempt = job->attempt + call->answer.retries,
    };
    job->outcome = OUTCOME_RESPONSE;
    finish(session, job);
}

/* Returns how many calls were answered. */
static size_t step_answerer(struct session *session, int index)
{
    struct call *calls[STEP_MAX];
    struct generator *generator = session->answerers.items[index];
    size_t calls_count = generator->ops->poll(generator, calls, STEP_MAX);
    for (size_t i = 0; i < calls_count; i++) {
        take_answered(session, calls[i]);
    }
    submit_waiting(session, &session->waiting[index]);
    return calls_count;
}

void session_step(struct session *session)
{
    void *jobs[STEP_MAX];
    size_t jobs_count = mailbox_take(session->prepared, jobs, STEP_MAX);
    for (size_t i = 0; i < jobs_count; i++) {
        take_prepared(session, jobs[i]);
    }
    size_t calls_count = 0;
    for (int i = 0; i < session->answerers.count; i++) {
        calls_count += step_answerer(session, i);
    }
    // Bounded work per turn: the loop serves its other handles before the rest.
    if (jobs_count > 0 || calls_count > 0) {
        CHECK(uv_async_send(&session->wake) == 0);
    }
}

void session_tick(struct session *session)
{
    if (session->timed_count == 0) {
        return;
    }
    double now_ms = clock_monotonic_ms();
    for (struct job *job = session->first, *next; job != NULL; job = next) {
        next = job->next;
        if (job->stage == STAGE_DONE || job->stage == STAGE_FILLING) {
            continue;
        }
        bool is_late = has_deadline_passed(job);
        if (job->stage == STAGE_BACKOFF && (is_late || now_ms >= job->retry_at_ms)) {
            session->timed_count--;
            start_preparing(session, job); // finds the deadline itself
        } else if (is_late && job->stage == STAGE_ANSWERING && !job->has_expired) {
            job->has_expired = true;
            struct generator *generator = job->calls->route->generator;
            generator->ops->cancel(generator, job->calls, false);
        } else if (is_late && job->stage == STAGE_WAITING) {
            struct error error;
            remove_waiting(session, job);
            set_deadline_error(job, &error);
            fail(session, job, &error);
        }
    }
}

void session_intake(struct session *session, struct job *job)
{
    CHECK(job->stage == STAGE_FILLING);
    if (compares(session)) { // nobody waits for a candidate: what was due is answered already
        job->request.has_deadline_ms = false;
    }
    if (job->request.has_deadline_ms) {
        session->timed_count++;
    }
    start_preparing(session, job);
}

void session_cancel_job(struct session *session, struct job *job, bool only_waiting)
{
    switch ((enum job_stage)job->stage) {
    case STAGE_PREPARING:
        job->is_cancelled = true;
        break;
    case STAGE_COMPOSING:
        job->is_cancelled = job->is_cancelled || !only_waiting;
        break;
    case STAGE_WAITING:
        remove_waiting(session, job);
        drop(session, job);
        break;
    case STAGE_BACKOFF:
        session->timed_count--;
        drop(session, job);
        break;
    case STAGE_ANSWERING:
        job->is_cancelled = job->is_cancelled || !only_waiting;
        struct generator *generator = job->calls->route->generator;
        generator->ops->cancel(generator, job->calls, only_waiting);
        break;
    case STAGE_FILLING:
    case STAGE_DONE:
        break;
    }
}
