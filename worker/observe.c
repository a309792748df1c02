/* observe: the one place that knows which metrics a job counts in. */
#include "worker/observe.h"

#include <stdio.h>

#include "pipeline/comparison.h"
#include "pipeline/engine/engine.h"
#include "pipeline/job.h"
#include "pipeline/route/route.h"
#include "worker/metrics.h"

enum { MODEL_BYTES_MAX = 128, STATUS_REFUSED_MIN = 400 };

static enum metric_outcome outcome_of(const struct job *job)
{
    const struct inference_response *response = &job->response;
    if (job->outcome == OUTCOME_DEAD_LETTER) {
        return METRIC_OUTCOME_DEAD_LETTER;
    }
    if (job->outcome == OUTCOME_COMPARISON) {
        return METRIC_OUTCOME_COMPARISON;
    }
    if (job->outcome != OUTCOME_RESPONSE) {
        return METRIC_OUTCOME_DROPPED;
    }
    if (response->error == NULL) {
        return response->status_code >= STATUS_REFUSED_MIN ? METRIC_OUTCOME_ERROR
                                                           : METRIC_OUTCOME_RESPONSE;
    }
    return bytes_equal_text(response->error->code, "deadline_exceeded") ? METRIC_OUTCOME_EXPIRED
                                                                        : METRIC_OUTCOME_ERROR;
}

static enum metric_comparison candidate_outcome_of(const struct comparison *comparison)
{
    switch (comparison_class(comparison)) {
    case COMPARISON_ANSWERED:
        return METRIC_ANSWERED;
    case COMPARISON_UNSUPPORTED:
        return METRIC_UNSUPPORTED;
    case COMPARISON_FAILED:
        return METRIC_CANDIDATE_FAILED;
    }
    return METRIC_CANDIDATE_FAILED;
}

/* A remote endpoint may name itself anew each time: what the configuration calls it counts. */
static const struct served_by *served_by_of(const struct job *job)
{
    bool has_route = job->calls_count > 0 && job->calls->route != NULL;
    return has_route ? &job->calls->route->served_by : job->response.served_by;
}

static int model_of(const struct job *job)
{
    char name[MODEL_BYTES_MAX];
    const struct served_by *served_by = served_by_of(job);
    if (served_by == NULL || served_by->model.data == NULL) {
        return metrics_model(NULL);
    }
    struct bytes model = served_by->model;
    int size = model.size < sizeof name ? (int)model.size : (int)sizeof name - 1;
    (void)snprintf(name, sizeof name, "%.*s", size, model.data);
    return metrics_model(name);
}

static void observe_answer(const struct job *job)
{
    int model = model_of(job);
    const struct inference_response *response = &job->response;
    const struct usage *usage = response->usage;
    const struct timing *timing = response->timing;
    if (usage != NULL) {
        metrics_add(METRIC_PROMPT_TOKENS, model, usage->prompt_tokens);
        metrics_add(METRIC_GENERATION_TOKENS, model, usage->completion_tokens);
    }
    if (timing != NULL) {
        metrics_observe(METRIC_LATENCY, model, timing->total_ms / 1000);
        metrics_observe(METRIC_QUEUE, model, timing->queued_ms / 1000);
        if (timing->has_first_token_ms) {
            metrics_observe(METRIC_FIRST_TOKEN, model, timing->first_token_ms / 1000);
        }
    }
}

void observe_outcome(const struct job *job)
{
    enum metric_outcome outcome = outcome_of(job);
    metrics_add(METRIC_RECORDS, (int)outcome, 1);
    metrics_add(METRIC_RETRIES, 0, job->attempt > 1 ? job->attempt - 1 : 0);
    if (outcome == METRIC_OUTCOME_COMPARISON) {
        metrics_add(METRIC_COMPARISONS, (int)candidate_outcome_of(&job->comparison), 1);
    }
    if (outcome == METRIC_OUTCOME_RESPONSE ||
        (outcome == METRIC_OUTCOME_COMPARISON && job->comparison.error == NULL)) {
        observe_answer(job);
    }
}

void observe_engine(const struct engine_stats *stats)
{
    metrics_set(METRIC_RUNNING, 0, (double)stats->running);
    metrics_set(METRIC_WAITING, 0, (double)stats->waiting);
    metrics_set(METRIC_KV_USAGE, 0,
                stats->kv_blocks_total == 0
                    ? 0
                    : (double)stats->kv_blocks_used / (double)stats->kv_blocks_total);
    metrics_set_total(METRIC_STEPS, 0, stats->steps_total);
    metrics_set_total(METRIC_PREFIX_QUERIES, 0,
                      stats->prompt_tokens_total + stats->cached_tokens_total);
    metrics_set_total(METRIC_PREFIX_HITS, 0, stats->cached_tokens_total);
    metrics_set_total(METRIC_PREEMPTIONS, 0, stats->preemptions_total);
}
