/* metrics: what /metrics shows. One table declares each metric once, with its help and its label.
 *
 * Values are process-wide atomics. A label is one of a few words, or a model of the configuration;
 * an id or a tenant never is one, so the page cannot grow. Thread: any; only metrics_model locks.
 */
#ifndef WORKER_METRICS_H
#define WORKER_METRICS_H

#include <stdint.h>

struct buffer;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* id, type, name, label, its words ("" for none, "model" takes metrics_model's), help */
#define METRICS(X)                                                                                 \
    X(METRIC_BUILD, METRIC_GAUGE, "millrace_build_info", "version", MILLRACE_VERSION,              \
      "Always 1; the label says which version runs.")                                              \
    X(METRIC_START, METRIC_GAUGE, "millrace_start_time_seconds", "", "",                           \
      "Unix time at which the worker started.")                                                    \
    X(METRIC_RESIDENT, METRIC_GAUGE, "millrace_resident_memory_bytes", "", "",                     \
      "Memory of the process that is in RAM.")                                                     \
    X(METRIC_READY, METRIC_GAUGE, "millrace_ready", "", "", "1 while /readyz says so.")            \
    X(METRIC_UPTIME, METRIC_COUNTER, "millrace_uptime_seconds_total", "", "",                      \
      "Seconds since the start.")                                                                  \
    X(METRIC_AVAILABLE, METRIC_COUNTER, "millrace_available_seconds_total", "", "",                \
      "Those in which the worker was ready and got on: no record was inside, or one ended or "     \
      "the engine made a step within the last 10 seconds.")                                        \
    X(METRIC_RECORDS, METRIC_COUNTER, "millrace_records_total", "outcome",                         \
      "response|error|expired|comparison|dead_letter|dropped",                                     \
      "Records that ended, by outcome; error is a response with a status of 400 or more, dropped " \
      "ones stay on the topic.")                                                                   \
    X(METRIC_COMPARISONS, METRIC_COUNTER, "millrace_comparisons_total", "candidate",               \
      "answered|unsupported|failed",                                                               \
      "Comparisons by what the candidate did; unsupported requests are none of its failures.")     \
    X(METRIC_RECORDS_INSIDE, METRIC_GAUGE, "millrace_records_inside", "", "",                      \
      "Records taken in whose outcome is not committed yet.")                                      \
    X(METRIC_INTAKE_BYTES, METRIC_GAUGE, "millrace_intake_bytes", "", "",                          \
      "Memory credits that those records hold.")                                                   \
    X(METRIC_RETRIES, METRIC_COUNTER, "millrace_retries_total", "", "",                            \
      "Attempts after a record's first.")                                                          \
    X(METRIC_RUNNING, METRIC_GAUGE, "millrace_num_requests_running", "", "",                       \
      "Sequences in the engine's present step.")                                                   \
    X(METRIC_WAITING, METRIC_GAUGE, "millrace_num_requests_waiting", "", "",                       \
      "Sequences that the engine has and does not run yet.")                                       \
    X(METRIC_KV_USAGE, METRIC_GAUGE, "millrace_kv_cache_usage_ratio", "", "",                      \
      "Part of the KV blocks that is in use, 0 to 1.")                                             \
    X(METRIC_PREFIX_QUERIES, METRIC_COUNTER, "millrace_prefix_cache_queries_total", "", "",        \
      "Prompt tokens that were looked up in the prefix cache.")                                    \
    X(METRIC_PREFIX_HITS, METRIC_COUNTER, "millrace_prefix_cache_hits_total", "", "",              \
      "Prompt tokens that the prefix cache had.")                                                  \
    X(METRIC_PREEMPTIONS, METRIC_COUNTER, "millrace_num_preemptions_total", "", "",                \
      "Sequences that gave their KV blocks away and were computed again.")                         \
    X(METRIC_STEPS, METRIC_COUNTER, "millrace_engine_steps_total", "", "", "Steps of the engine.") \
    X(METRIC_PROMPT_TOKENS, METRIC_COUNTER, "millrace_prompt_tokens_total", "model", "model",      \
      "Prompt tokens of answered requests, cached ones too.")                                      \
    X(METRIC_GENERATION_TOKENS, METRIC_COUNTER, "millrace_generation_tokens_total", "model",       \
      "model", "Tokens in answers.")                                                               \
    X(METRIC_FIRST_TOKEN, METRIC_HISTOGRAM, "millrace_time_to_first_token_seconds", "model",       \
      "model", "From intake of a request to its first token.")                                     \
    X(METRIC_LATENCY, METRIC_HISTOGRAM, "millrace_e2e_request_latency_seconds", "model", "model",  \
      "From intake of a request to its whole answer.")                                             \
    X(METRIC_QUEUE, METRIC_HISTOGRAM, "millrace_request_queue_time_seconds", "model", "model",     \
      "From intake of a request to its first step.")                                               \
    X(METRIC_REMOTE_REQUESTS, METRIC_COUNTER, "millrace_remote_requests_total", "model", "model",  \
      "Requests that were sent to the endpoint of a model, retries too.")                          \
    X(METRIC_REMOTE_RETRIES, METRIC_COUNTER, "millrace_remote_retries_total", "model", "model",    \
      "Those after the first of a call.")                                                          \
    X(METRIC_REMOTE_RESULTS, METRIC_COUNTER, "millrace_remote_results_total", "result",            \
      "answered|refused|throttled|failed|broken|timed_out|unreached|too_large",                    \
      "What came of the requests to all endpoints; refused is an answer with a status of 4xx.")    \
    X(METRIC_REMOTE_LATENCY, METRIC_HISTOGRAM, "millrace_remote_request_duration_seconds",         \
      "model", "model",                                                                            \
      "From sending a request to its whole answer, of those that were answered.")                  \
    X(METRIC_REMOTE_IN_FLIGHT, METRIC_GAUGE, "millrace_remote_requests_in_flight", "model",        \
      "model", "Requests that the endpoint has.")                                                  \
    X(METRIC_REMOTE_WAITING, METRIC_GAUGE, "millrace_remote_requests_waiting", "model", "model",   \
      "Calls inside that the endpoint does not have now.")                                         \
    X(METRIC_REMOTE_LIMIT, METRIC_GAUGE, "millrace_remote_concurrency_limit", "model", "model",    \
      "Requests that the endpoint may have at once; adapts to it.")                                \
    X(METRIC_REMOTE_BREAKER, METRIC_GAUGE, "millrace_remote_breaker_state", "model", "model",      \
      "0 closed, 1 half open (one probe is out), 2 open (nothing is sent).")                       \
    X(METRIC_REMOTE_SPEND, METRIC_GAUGE, "millrace_remote_spend_usd", "model", "model",            \
      "What the answers cost by the configured prices, since the start.")                          \
    X(METRIC_REMOTE_CHANGES, METRIC_COUNTER, "millrace_remote_identity_changes_total", "model",    \
      "model",                                                                                     \
      "Answers whose model or system_fingerprint was another than that of the one before.")        \
    X(METRIC_BROKER_UP, METRIC_GAUGE, "millrace_broker_up", "", "",                                \
      "1 while a broker can be reached.")                                                          \
    X(METRIC_PARTITIONS, METRIC_GAUGE, "millrace_partitions", "state", "assigned|paused",          \
      "Partitions of the request topics that this worker has.")                                    \
    X(METRIC_REBALANCES, METRIC_COUNTER, "millrace_rebalances_total", "", "",                      \
      "Changes of the assignment.")                                                                \
    X(METRIC_COMMITS, METRIC_COUNTER, "millrace_commits_total", "result", "committed|aborted",     \
      "Commits of offsets, or transactions where there are any.")                                  \
    X(METRIC_COMMIT_TIME, METRIC_HISTOGRAM, "millrace_commit_duration_seconds", "", "",            \
      "From the start of a commit to its end.")                                                    \
    X(METRIC_FIRST_RESULT, METRIC_HISTOGRAM, "millrace_first_result_seconds", "former_owner",      \
      "unknown|left|died",                                                                         \
      "From the assignment of a partition on which records waited to its first committed result; " \
      "an owner that died made no last commit, and the group may take session.timeout.ms to see "  \
      "it; of unknown ones the group has no offset map.")                                          \
    X(METRIC_HTTP, METRIC_COUNTER, "millrace_http_requests_total", "code", "200|404|405|503",      \
      "Requests to this server.")

enum metric {
#define X(id, type, name, label, words, help) id,
    METRICS(X)
#undef X
        METRICS_COUNT
};

enum {
    METRICS_LABELS_MAX = 16, // of one metric
};

/* Indexes into the words of a label, in their order. */
enum metric_outcome {
    METRIC_OUTCOME_RESPONSE,
    METRIC_OUTCOME_ERROR,
    METRIC_OUTCOME_EXPIRED,
    METRIC_OUTCOME_COMPARISON,
    METRIC_OUTCOME_DEAD_LETTER,
    METRIC_OUTCOME_DROPPED,
};
enum metric_comparison { METRIC_ANSWERED, METRIC_UNSUPPORTED, METRIC_CANDIDATE_FAILED };
enum metric_partitions { METRIC_PARTITIONS_ASSIGNED, METRIC_PARTITIONS_PAUSED };
enum metric_former_owner { METRIC_FORMER_UNKNOWN, METRIC_FORMER_LEFT, METRIC_FORMER_DIED };
/* Those of remote results are worker/remote_internal.h's enum remote_result. */
enum metric_commit { METRIC_COMMITTED, METRIC_ABORTED };

/* The label of the model of this name, made when it is new; NULL asks for the one that all others
 * share once there are METRICS_LABELS_MAX - 1. */
int metrics_model(const char *name);

/* `label` is 0 for a metric without one. */
void metrics_add(enum metric metric, int label, int64_t count);       // counter
void metrics_set_total(enum metric metric, int label, int64_t total); // counter kept elsewhere
void metrics_set(enum metric metric, int label, double value);        // gauge
void metrics_observe(enum metric metric, int label, double seconds);  // histogram
double metrics_value(enum metric metric, int label);                  // of a counter or gauge

/* Prometheus text format 0.0.4. */
void metrics_write(struct buffer *out);
/* The reference page of all metrics, Markdown, for deploy/METRICS.md. */
void metrics_write_reference(struct buffer *out);

#endif
