/* fake_session: jobs wait in a list; a timer answers them. */
#include "tests/support/fake_session.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/session.h"

enum { LARGE_BYTES = 2 << 20, JOB_BYTES = 64 << 10 };

static _Atomic bool is_holding;
static _Atomic size_t most;
static _Atomic size_t answered;

struct session {
    const struct config *config;
    struct session_end end;
    uv_timer_t timer;
    struct job *first, *last; // to be answered
    size_t jobs_count;        // not released
    bool wants_room;
};

void fake_session_hold(bool holds)
{
    is_holding = holds;
}

size_t fake_session_most(void)
{
    return most;
}

size_t fake_session_answered(void)
{
    return answered;
}

void fake_session_reset(void)
{
    is_holding = false;
    most = 0;
    answered = 0;
}

static struct bytes body_of(struct job *job)
{
    if (job->request.custom_id.size < 5 || memcmp(job->request.custom_id.data, "large", 5) != 0) {
        return bytes_of("{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\"}");
    }
    char *body = arena_alloc(job->arena, LARGE_BYTES);
    CHECK(body != NULL);
    memset(body, ' ', LARGE_BYTES);
    body[0] = '{';
    body[LARGE_BYTES - 1] = '}';
    return (struct bytes){body, LARGE_BYTES};
}

static void answer(struct session *session, struct job *job)
{
    job->attempt = 1;
    job->response = (struct inference_response){
        .custom_id = job->request.custom_id,
        .run_id = job->request.run_id,
        .source = job->source,
        .status_code = 200,
        .body = body_of(job),
        .attempt = 1,
    };
    job->outcome = OUTCOME_RESPONSE;
    answered++;
    session->end.on_outcome(session->end.context, job);
}

static struct job *take_first(struct session *session)
{
    struct job *job = session->first;
    session->first = job->next;
    if (session->first == NULL) {
        session->last = NULL;
    }
    return job;
}

static void on_timer(uv_timer_t *timer)
{
    struct session *session = timer->data;
    while (session->first != NULL && !is_holding) {
        answer(session, take_first(session));
    }
}

bool session_open(uv_loop_t *loop, const struct config *config, const struct session_end *end,
                  struct session **session_out, struct error *error)
{
    (void)error;
    struct session *session = calloc(1, sizeof *session);
    CHECK(session != NULL);
    session->config = config;
    session->end = *end;
    CHECK(uv_timer_init(loop, &session->timer) == 0);
    session->timer.data = session;
    CHECK(uv_timer_start(&session->timer, on_timer, 2, 2) == 0);
    *session_out = session;
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void session_close(struct session *session)
{
    if (session == NULL) {
        return;
    }
    CHECK(session->jobs_count == 0);
    uv_close((uv_handle_t *)&session->timer, on_closed);
}

size_t session_credit(size_t value_bytes)
{
    (void)value_bytes;
    return FAKE_SESSION_CREDIT;
}

bool session_has_room(struct session *session, size_t value_bytes)
{
    (void)value_bytes;
    bool has_room = session->jobs_count < (size_t)session->config->intake_records_max;
    session->wants_room = session->wants_room || !has_room;
    return has_room;
}

struct job *session_job(struct session *session, size_t value_bytes)
{
    struct job *job = job_open(JOB_BYTES + 8 * value_bytes + 2 * LARGE_BYTES);
    CHECK(job != NULL);
    session->jobs_count++;
    if (session->jobs_count > most) {
        most = session->jobs_count;
    }
    return job;
}

void session_intake(struct session *session, struct job *job)
{
    job->next = NULL;
    if (session->last == NULL) {
        session->first = job;
    } else {
        session->last->next = job;
    }
    session->last = job;
}

void session_release(struct session *session, struct job *job)
{
    session->jobs_count--;
    job_close(job);
    if (session->wants_room) {
        session->wants_room = false;
        session->end.on_room(session->end.context);
    }
}

void session_cancel(struct session *session, bool (*matches)(const struct job *job, void *context),
                    void *context, bool only_waiting)
{
    // What is held counts as work in progress.
    struct job *job = only_waiting ? NULL : session->first;
    if (job != NULL) {
        session->first = NULL;
        session->last = NULL;
    }
    while (job != NULL) {
        struct job *next = job->next;
        if (matches(job, context)) {
            job->outcome = OUTCOME_DROPPED;
            session->end.on_outcome(session->end.context, job);
        } else {
            session_intake(session, job);
        }
        job = next;
    }
}

size_t session_jobs(const struct session *session)
{
    return session->jobs_count;
}

size_t session_bytes(const struct session *session)
{
    return FAKE_SESSION_CREDIT * session_jobs(session);
}

bool session_engine_stats(const struct session *session, struct engine_stats *stats_out)
{
    (void)session;
    (void)stats_out;
    return false;
}
