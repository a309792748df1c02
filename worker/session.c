/* session, first half: its life, its credits, its list of jobs. */
#include "worker/session.h"

#include <stdlib.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "pipeline/compare/score.h"
#include "pipeline/local.h"
#include "schemas/base/check.h"
#include "worker/session_internal.h"

enum {
    TICK_MS = 100,
    // A job's own structs, headers, error body and response envelope.
    JOB_BYTES_BASE = 16 << 10,
    // The value itself, its parsed form, the rendered prompt, its token ids, output and body.
    JOB_BYTES_PER_VALUE_BYTE = 8,
    // The hard limit of one job's arena beyond that: max_tokens may be large while text is short.
    JOB_BYTES_EXTRA_MAX = 64 << 20,
    POOL_THREADS_AUTO_MAX = 16,
};

size_t session_credit(size_t value_bytes)
{
    return JOB_BYTES_BASE + JOB_BYTES_PER_VALUE_BYTE * value_bytes;
}

static void wake_from_any(void *context)
{
    struct session *session = context;
    (void)uv_async_send(&session->wake);
}

static void on_wake(uv_async_t *handle)
{
    session_step(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    session_tick(handle->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    session->handles_open--;
}

static bool open_handles(struct session *session, struct error *error)
{
    if (uv_async_init(session->loop, &session->wake, on_wake) != 0) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot open an event handle");
    }
    session->wake.data = session;
    session->handles_open++;
    CHECK(uv_timer_init(session->loop, &session->timer) == 0);
    session->timer.data = session;
    session->handles_open++;
    CHECK(uv_timer_start(&session->timer, on_timer, TICK_MS, TICK_MS) == 0);
    // The session keeps the loop alive only while it has jobs.
    uv_unref((uv_handle_t *)&session->timer);
    uv_unref((uv_handle_t *)&session->wake);
    return true;
}

static bool open_answerers(struct session *session, struct error *error)
{
    struct answerers_options options = {
        .loop = session->loop,
        .config = session->config,
        .pool = session->pool,
        .wake = {wake_from_any, session},
    };
    return answerers_open(&options, &session->answerers, error);
}

static int pool_threads(const struct config *config)
{
    if (config->pool_threads > 0) {
        return (int)config->pool_threads;
    }
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1
               ? 1
               : (int)(processors < POOL_THREADS_AUTO_MAX ? processors : POOL_THREADS_AUTO_MAX);
}

bool session_open(uv_loop_t *loop, const struct config *config, const struct session_end *end,
                  struct session **session_out, struct error *error)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the session");
    }
    session->loop = loop;
    session->config = config;
    session->end = *end;
    session->prepared =
        mailbox_open((size_t)config->intake_records_max + 1, wake_from_any, session);
    bool is_open = session->prepared != NULL
                       ? open_handles(session, error)
                       : error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the session");
    is_open = is_open && pool_open(pool_threads(config), &session->pool, error) &&
              open_answerers(session, error) &&
              (config->mode != MODE_COMPARE || scorer_open(&session->scorer, error));
    if (!is_open) {
        session_close(session);
        return false;
    }
    *session_out = session;
    return true;
}

/* Runs the loop until pool and generator have given everything back, then frees the jobs. */
static void end_jobs(struct session *session)
{
    session->is_closing = true;
    for (struct job *job = session->first, *next; job != NULL; job = next) {
        next = job->next;
        session_cancel_job(session, job, false);
    }
    while (session->busy_count > 0) {
        (void)uv_run(session->loop, UV_RUN_ONCE);
    }
    while (session->first != NULL) {
        session_release(session, session->first);
    }
}

void session_close(struct session *session)
{
    if (session == NULL) {
        return;
    }
    if (session->handles_open > 0) {
        end_jobs(session);
    }
    answerers_close(&session->answerers);
    pool_close(session->pool);
    if (session->handles_open > 0) {
        uv_close((uv_handle_t *)&session->wake, on_handle_closed);
        uv_close((uv_handle_t *)&session->timer, on_handle_closed);
        while (session->handles_open > 0) {
            (void)uv_run(session->loop, UV_RUN_ONCE);
        }
    }
    answerers_close_routes(&session->answerers);
    scorer_close(session->scorer);
    mailbox_close(session->prepared);
    free(session);
}

bool session_has_room(struct session *session, size_t value_bytes)
{
    const struct config *config = session->config;
    size_t bytes_max = (size_t)config->intake_bytes_max;
    size_t credit = session_credit(value_bytes);
    // One record always fits, or a large one would wait for ever.
    bool has_room = session->jobs_count == 0 ||
                    (session->jobs_count < (size_t)config->intake_records_max &&
                     credit <= bytes_max && session->credit_bytes <= bytes_max - credit);
    session->wants_room = session->wants_room || !has_room;
    return has_room;
}

struct job *session_job(struct session *session, size_t value_bytes)
{
    size_t credit = session_credit(value_bytes);
    struct job *job = job_open(credit + JOB_BYTES_EXTRA_MAX);
    if (job == NULL) {
        return NULL;
    }
    job->credit_bytes = credit;
    job->received_ms = clock_monotonic_ms();
    job->session = session;
    job->stage = STAGE_FILLING;
    job->previous = session->last;
    if (session->last == NULL) {
        session->first = job;
    } else {
        session->last->next = job;
    }
    session->last = job;
    if (session->jobs_count == 0) {
        uv_ref((uv_handle_t *)&session->wake);
    }
    session->jobs_count++;
    session->credit_bytes += credit;
    return job;
}

/* Pausing a partition drops what was fetched ahead, so room is announced only when there is plenty.
 */
static bool has_plenty_of_room(const struct session *session)
{
    return session->jobs_count <= (size_t)session->config->intake_records_max / 4 * 3 &&
           session->credit_bytes <= (size_t)session->config->intake_bytes_max / 4 * 3;
}

void session_release(struct session *session, struct job *job)
{
    CHECK(job->stage == STAGE_DONE || job->stage == STAGE_FILLING);
    if (job->previous == NULL) {
        session->first = job->next;
    } else {
        job->previous->next = job->next;
    }
    if (job->next == NULL) {
        session->last = job->previous;
    } else {
        job->next->previous = job->previous;
    }
    session->jobs_count--;
    if (session->jobs_count == 0) {
        uv_unref((uv_handle_t *)&session->wake);
    }
    session->credit_bytes -= job->credit_bytes;
    job_close(job);
    if (session->wants_room && !session->is_closing && has_plenty_of_room(session)) {
        session->wants_room = false;
        session->end.on_room(session->end.context);
    }
}

void session_cancel(struct session *session, bool (*matches)(const struct job *job, void *context),
                    void *context, bool only_waiting)
{
    for (struct job *job = session->first, *next; job != NULL; job = next) {
        next = job->next;
        if (matches(job, context)) {
            session_cancel_job(session, job, only_waiting);
        }
    }
}

size_t session_jobs(const struct session *session)
{
    return session->jobs_count;
}

size_t session_bytes(const struct session *session)
{
    return session->credit_bytes;
}

bool session_engine_stats(const struct session *session, struct engine_stats *stats_out)
{
    if (session->answerers.local == NULL) {
        return false;
    }
    local_get_stats(session->answerers.local, stats_out);
    return true;
}
