/* worker: joins consumer, intake, session and publisher. */
#include "worker/worker.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/availability.h"
#include "worker/consumer.h"
#include "worker/delivery.h"
#include "worker/failure.h"
#include "worker/gate.h"
#include "worker/intake.h"
#include "worker/kafka_client.h"
#include "worker/log.h"
#include "worker/metrics.h"
#include "worker/observe.h"
#include "worker/publisher.h"
#include "worker/registry.h"

enum {
    START_TIMEOUT_MS = 30000,
    METADATA_TIMEOUT_MS = 5000,
    CLOSE_TIMEOUT_MS = 5000,
    TICK_MS = 1000,
    REASON_BYTES_MAX = 200, // why it is not ready: not looked at here
    // After the drain: so long may cancelled work and abandoned results take to come back.
    ABANDON_TIMEOUT_MS = 3000,
};

enum worker_state { WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING, WORKER_STOPPED };

struct worker {
    uv_loop_t *loop;
    const struct config *config; // borrowed
    _Atomic enum worker_state state;
    struct error failure; // why it stops, if not by request

    struct record_codec *codec;
    struct registry *registry;
    struct publisher *publisher;
    struct consumer *consumer;
    struct session *session;
    struct intake intake;
    struct gate gate;
    struct delivery_setting setting;

    uv_async_t stop;     // from any thread
    uv_timer_t deadline; // of the drain
    uv_timer_t tick;     // for the gauges
    struct availability availability;
    uint64_t ended_count; // records
    int handles_open;
    bool is_abandoning;
};

static bool every_job(const struct job *job, void *context)
{
    (void)job;
    (void)context;
    return true;
}

static void stop_when_empty(struct worker *worker)
{
    if (worker->state != WORKER_DRAINING || session_jobs(worker->session) > 0) {
        return;
    }
    publisher_finish(worker->publisher);
    if (publisher_is_finished(worker->publisher)) {
        worker->state = WORKER_STOPPED;
        uv_stop(worker->loop);
    }
}

/* The job's way ends here. */
static void end_job(struct worker *worker, struct job *job)
{
    struct partition *partition = job->end;
    worker->ended_count++;
    consumer_give_share(worker->consumer, partition, job->credit_bytes);
    gate_leave(&worker->gate, job);
    session_release(worker->session, job);
    partition_release(partition);
    if (worker->gate.waiting > 0) {
        consumer_resume(worker->consumer); // somebody may have waited for this one
    }
}

/* The partition's next owner answers the record. */
static void drop_job(struct worker *worker, struct job *job)
{
    job->outcome = OUTCOME_DROPPED;
    observe_outcome(job);
    end_job(worker, job);
    stop_when_empty(worker);
}

static void on_deadline(uv_timer_t *handle)
{
    struct worker *worker = handle->data;
    if (worker->is_abandoning) {
        log_event(LOG_WARN, "stopped_with_work_inside", "jobs=%zu", session_jobs(worker->session));
        worker->state = WORKER_STOPPED;
        uv_stop(worker->loop);
        return;
    }
    worker->is_abandoning = true;
    CHECK(uv_timer_start(&worker->deadline, on_deadline, ABANDON_TIMEOUT_MS, 0) == 0);
    session_cancel(worker->session, every_job, NULL, false);
    publisher_abandon(worker->publisher);
}

static void drain(struct worker *worker, uint64_t timeout_ms)
{
    if (worker->state == WORKER_DRAINING || worker->state == WORKER_STOPPED) {
        return;
    }
    worker->state = WORKER_DRAINING;
    log_event(LOG_INFO, "draining", "jobs=%zu timeout_ms=%" PRIu64, session_jobs(worker->session),
              timeout_ms);
    consumer_drain(worker->consumer);
    CHECK(uv_timer_start(&worker->deadline, on_deadline, timeout_ms, 0) == 0);
    for (struct partition *partition = consumer_assignment(worker->consumer); partition != NULL;
         partition = partition->next) {
        gate_drop(&worker->gate, partition);
    }
    session_cancel(worker->session, every_job, NULL, true);
    stop_when_empty(worker);
}

static void fail(struct worker *worker, const struct error *error)
{
    if (worker->failure.kind == ERROR_NONE) {
        worker->failure = *error;
        log_event(LOG_ERROR, "worker_failed", "reason=%s", error->message);
    }
    drain(worker, 0);
}

/* Session. */
static void on_outcome(void *context, struct job *job)
{
    struct worker *worker = context;
    const struct partition *partition = job->end;
    // What nobody waits for any more is not published: the partition's next owner does it again.
    if (job->outcome == OUTCOME_DROPPED || !partition->is_assigned) {
        drop_job(worker, job);
        return;
    }
    publisher_add(worker->publisher, job);
}

static void on_room(void *context)
{
    struct worker *worker = context;
    consumer_resume(worker->consumer);
}

static void on_fatal(void *context, const struct error *error)
{
    fail(context, error);
}

/* Publisher. */
static void on_published(void *context, struct job *job, bool is_published)
{
    struct worker *worker = context;
    if (!is_published) {
        job->outcome = OUTCOME_DROPPED;
    }
    observe_outcome(job);
    end_job(worker, job);
    stop_when_empty(worker);
}

static void on_finished(void *context)
{
    stop_when_empty(context);
}

/* Gate. */
static void give_up(struct worker *worker, struct job *job)
{
    const struct partition *partition = job->end;
    failure_exhaust(job, offsets_attempts(partition->offsets, job->source.offset));
    log_event(LOG_ERROR, "record_ends_workers",
              "topic=%s partition=%d offset=%" PRId64 " reason=%s", partition->topic,
              (int)partition->number, job->source.offset, job->error.message);
    on_outcome(worker, job);
}

static void on_turn(void *context, struct job *job, enum offsets_turn turn)
{
    struct worker *worker = context;
    if (turn == OFFSETS_STALE) {
        drop_job(worker, job);
    } else if (turn == OFFSETS_EXHAUSTED) {
        give_up(worker, job);
    } else if (job->outcome == OUTCOME_NONE) {
        session_intake(worker->session, job);
    } else {
        on_outcome(worker, job);
    }
}

/* Consumer. */
static enum intake_result on_record(void *context, struct partition *partition,
                                    const rd_kafka_message_t *message)
{
    struct worker *worker = context;
    struct job *job;
    size_t bytes = intake_bytes(message);
    if (!partition_has_share(partition, intake_credit(&worker->intake, bytes))) {
        return INTAKE_BLOCKED;
    }
    enum intake_result result = intake_take(&worker->intake, message, bytes, &job);
    if (result != INTAKE_TAKEN) {
        return result;
    }
    job->epoch = offsets_epoch(partition->offsets);
    job->end = partition;
    partition_reference(partition);
    partition_take_share(partition, job->credit_bytes);
    gate_add(&worker->gate, job);
    return INTAKE_TAKEN;
}

static void on_step(void *context)
{
    struct worker *worker = context;
    gate_step(&worker->gate, consumer_assignment(worker->consumer));
    if (worker->gate.waiting > 0) {
        publisher_nudge(worker->publisher); // for the commit that lets them go
    }
}

static bool has_ample_room(void *context)
{
    struct worker *worker = context;
    const struct config *config = worker->config;
    return session_jobs(worker->session) <= (size_t)config->intake_records_max * 3 / 4 &&
           session_has_room(worker->session, (size_t)config->record_bytes_max);
}

static bool is_of_partition(const struct job *job, void *context)
{
    return job->end == context;
}

static void on_revoke(void *context, struct partition *partition)
{
    struct worker *worker = context;
    publisher_take(worker->publisher);
    gate_drop(&worker->gate, partition);
    // Its jobs come back as dropped.
    session_cancel(worker->session, is_of_partition, partition, false);
    publisher_nudge(worker->publisher); // of its last commit
}

/* Registry. */
static void on_schema(void *context)
{
    struct worker *worker = context;
    consumer_resume(worker->consumer);
}

/* Start and stop. */
static void on_stop(uv_async_t *handle)
{
    struct worker *worker = handle->data;
    drain(worker, (uint64_t)worker->config->drain_timeout_ms);
}

static void look_at_availability(struct worker *worker, uint64_t engine_steps)
{
    struct buffer reason;
    buffer_init(&reason, REASON_BYTES_MAX);
    struct availability *availability = &worker->availability;
    availability_look(availability, uv_now(worker->loop), worker_is_ready(worker, &reason),
                      session_jobs(worker->session) > 0, worker->ended_count + engine_steps);
    buffer_close(&reason);
    metrics_set_total(METRIC_UPTIME, 0, (int64_t)(availability->up_ms / 1000));
    metrics_set_total(METRIC_AVAILABLE, 0, (int64_t)(availability->available_ms / 1000));
}

static void on_tick(uv_timer_t *handle)
{
    struct worker *worker = handle->data;
    struct engine_stats stats = {0};
    if (session_engine_stats(worker->session, &stats)) {
        observe_engine(&stats);
    }
    look_at_availability(worker, (uint64_t)stats.steps_total);
    metrics_set(METRIC_RECORDS_INSIDE, 0, (double)session_jobs(worker->session));
    metrics_set(METRIC_INTAKE_BYTES, 0, (double)session_bytes(worker->session));
    metrics_set(METRIC_BROKER_UP, 0, consumer_has_broker(worker->consumer) ? 1 : 0);
    metrics_set(METRIC_PARTITIONS, METRIC_PARTITIONS_ASSIGNED,
                (double)consumer_partitions(worker->consumer));
    metrics_set(METRIC_PARTITIONS, METRIC_PARTITIONS_PAUSED,
                (double)consumer_partitions_paused(worker->consumer));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct worker *worker = handle->data;
    worker->handles_open--;
}

static void open_handles(struct worker *worker)
{
    CHECK(uv_async_init(worker->loop, &worker->stop, on_stop) == 0);
    CHECK(uv_timer_init(worker->loop, &worker->deadline) == 0);
    worker->stop.data = worker;
    CHECK(uv_timer_init(worker->loop, &worker->tick) == 0);
    worker->deadline.data = worker;
    worker->tick.data = worker;
    worker->handles_open = 3;
}

static bool check_topic(struct worker *worker, const char *topic, int32_t *count_out,
                        struct error *error)
{
    struct error last = {0};
    for (int waited_ms = 0; waited_ms < START_TIMEOUT_MS; waited_ms += METADATA_TIMEOUT_MS) {
        last = (struct error){0};
        if (kafka_client_partitions(consumer_client(worker->consumer), topic, METADATA_TIMEOUT_MS,
                                    count_out, &last)) {
            return true;
        }
        if (last.kind != ERROR_BUSY) {
            break;
        }
        log_event(LOG_WARN, "broker_not_reached", "reason=%s", last.message);
    }
    *error = last;
    return false;
}

/* Unlike an output topic, it may come later; *count_out is 0 meanwhile. */
static bool check_request_topic(struct worker *worker, const char *topic, int32_t *count_out,
                                struct error *error)
{
    if (check_topic(worker, topic, count_out, error)) {
        return true;
    }
    if (error->kind != ERROR_NOT_FOUND) {
        return false;
    }
    *count_out = 0;
    log_event(LOG_WARN, "request_topic_missing", "topic=%s reason=%s", topic, error->message);
    *error = (struct error){0};
    return true;
}

static bool check_topics(struct worker *worker, struct error *error)
{
    const struct config_names *inputs = config_inputs(worker->config);
    struct delivery_setting *setting = &worker->setting;
    bool ok = check_topic(worker, setting->results, &setting->results_count, error) &&
              check_topic(worker, worker->config->topics.dead_letters, &setting->dead_letters_count,
                          error);
    for (size_t i = 0; ok && i < inputs->count; i++) {
        ok = check_request_topic(worker, inputs->items[i], &setting->inputs_counts[i], error);
    }
    if (!ok) {
        error->kind = ERROR_FATAL;
    }
    return ok;
}

static bool register_schema(struct worker *worker, struct error *error)
{
    const struct config *config = worker->config;
    enum record_kind kind = config->mode == MODE_COMPARE ? RECORD_COMPARISON : RECORD_RESPONSE;
    return config->output_format != FORMAT_CONFLUENT ||
           registry_register_values(config, "output.format", worker->setting.results, kind,
                                    &worker->setting.schema_id, error);
}

static bool open_codec(struct worker *worker, struct error *error)
{
    const struct config *config = worker->config;
    struct record_codec_options options = {
        .body_bytes_max = (size_t)config->record_bytes_max,
        .borrows_values = true, // intake puts the value into the job's arena
    };
    worker->codec = record_codec_open(&options, error);
    if (worker->codec == NULL) {
        return false;
    }
    struct registry_end end = {on_schema, worker};
    return config->registry_url[0] == '\0' ||
           registry_open(worker->loop, config->registry_url, worker->codec, end, &worker->registry,
                         error);
}

static bool open_kafka(struct worker *worker, struct error *error)
{
    worker->setting.codec = worker->codec;
    const struct config *config = worker->config;
    struct consumer_end end = {on_record, on_step, has_ample_room, on_revoke, on_fatal, worker};
    struct publisher_end published = {on_published, on_finished, on_fatal, worker};
    return consumer_open(worker->loop, config, &end, &worker->consumer, error) &&
           check_topics(worker, error) && register_schema(worker, error) &&
           publisher_open(worker->loop, &worker->setting, worker->consumer, &published,
                          &worker->publisher, error);
}

static bool start(struct worker *worker, struct error *error)
{
    struct session_end end = {on_outcome, on_room, on_fatal, worker};
    worker->setting.config = worker->config;
    worker->setting.group = kafka_client_group(worker->config);
    worker->setting.results = worker->config->mode == MODE_COMPARE
                                  ? worker->config->topics.comparisons
                                  : worker->config->topics.responses;
    // Models first: a mistake in the configuration is told without a broker.
    if (!open_codec(worker, error) ||
        !session_open(worker->loop, worker->config, &end, &worker->session, error) ||
        !open_kafka(worker, error)) {
        return false;
    }
    struct gate_end gate_end = {on_turn, worker};
    gate_init(&worker->gate, (int)worker->config->attempts_max, &gate_end);
    worker->intake =
        (struct intake){worker->config, worker->session, worker->codec, worker->registry};
    return consumer_start(worker->consumer, error);
}

bool worker_open(uv_loop_t *loop, const struct config *config, struct worker **worker_out,
                 struct error *error)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the worker");
    }
    worker->loop = loop;
    worker->config = config;
    availability_init(&worker->availability, uv_now(loop));
    open_handles(worker);
    if (!start(worker, error)) {
        (void)worker_close(worker);
        return false;
    }
    worker->state = WORKER_RUNNING;
    CHECK(uv_timer_start(&worker->tick, on_tick, 0, TICK_MS) == 0);
    *worker_out = worker;
    return true;
}

bool worker_run(struct worker *worker, struct error *error)
{
    if (worker->state != WORKER_STOPPED) {
        (void)uv_run(worker->loop, UV_RUN_DEFAULT);
    }
    CHECK(worker->state == WORKER_STOPPED);
    if (worker->failure.kind != ERROR_NONE) {
        *error = worker->failure;
        return false;
    }
    return true;
}

bool worker_close(struct worker *worker)
{
    if (worker == NULL) {
        return true;
    }
    worker->state = WORKER_STOPPED;
    // The loop still turns while parts close: nothing may look at them any more.
    CHECK(uv_timer_stop(&worker->tick) == 0 && uv_timer_stop(&worker->deadline) == 0);
    publisher_close(worker->publisher);
    worker->publisher = NULL;
    // At least once, leaving the group commits what is finished.
    bool is_closed = consumer_close(worker->consumer, CLOSE_TIMEOUT_MS);
    worker->consumer = NULL;
    session_close(worker->session);
    registry_close(worker->registry);
    uv_close((uv_handle_t *)&worker->stop, on_handle_closed);
    uv_close((uv_handle_t *)&worker->deadline, on_handle_closed);
    uv_close((uv_handle_t *)&worker->tick, on_handle_closed);
    (void)uv_run(worker->loop, UV_RUN_DEFAULT); // until every handle of every part is closed
    CHECK(worker->handles_open == 0);
    record_codec_close(worker->codec);
    free(worker);
    return is_closed;
}

void worker_stop(struct worker *worker)
{
    (void)uv_async_send(&worker->stop);
}

bool worker_is_ready(const struct worker *worker, struct buffer *reason)
{
    if (worker->state != WORKER_RUNNING) {
        buffer_append_text(reason, "the worker stops");
        return false;
    }
    if (!consumer_is_assigned(worker->consumer)) {
        buffer_append_text(reason, "the group has not answered yet");
        return false;
    }
    if (!consumer_has_broker(worker->consumer)) {
        buffer_append_text(reason, "no broker can be reached");
        return false;
    }
    if (publisher_is_stuck(worker->publisher)) {
        buffer_append_text(reason, "results wait: no broker takes them");
        return false;
    }
    return true;
}
