/* config: every setting of Millrace, from one YAML file, --set key=value and MILLRACE_KEY.
 *
 * One table (config_table.c) holds each setting's name, type, default, bounds and help; the
 * reference page is generated from it. Keys may be nested or dotted. Unknown keys are errors that
 * name the nearest known key. Filled at start, read-only afterwards: any thread may read.
 */
#ifndef WORKER_CONFIG_H
#define WORKER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

enum {
    CONFIG_MODELS_MAX = 16,
    CONFIG_ALIASES_MAX = 32,
    CONFIG_KAFKA_PROPERTIES_MAX = 128,
    CONFIG_NAMES_MAX = 64,
};

/* As written in output.format; the same values as records' enum wire_format. */
enum config_format { FORMAT_JSON, FORMAT_AVRO, FORMAT_CONFLUENT };
enum config_mode { MODE_ANSWER, MODE_COMPARE };
enum config_guarantee { GUARANTEE_AUTO, GUARANTEE_EXACTLY_ONCE, GUARANTEE_AT_LEAST_ONCE };
enum config_device { CONFIG_DEVICE_AUTO, CONFIG_DEVICE_CPU };
enum config_weights {
    CONFIG_WEIGHTS_AUTO,
    CONFIG_WEIGHTS_F32,
    CONFIG_WEIGHTS_BF16,
    CONFIG_WEIGHTS_INT8
};
enum config_kv_cache_dtype {
    CONFIG_KV_CACHE_AUTO,
    CONFIG_KV_CACHE_F32,
    CONFIG_KV_CACHE_BF16,
    CONFIG_KV_CACHE_INT8
};
enum config_isa {
    CONFIG_ISA_AUTO,
    CONFIG_ISA_AMX,
    CONFIG_ISA_AVX512_VNNI,
    CONFIG_ISA_AVX512,
    CONFIG_ISA_AVX2,
    CONFIG_ISA_PORTABLE
};
enum config_generator { GENERATOR_LOCAL, GENERATOR_SCRIPTED };

struct config_property { // one librdkafka property, untouched
    char *name;
    char *value;
};

struct config_names { // one or more, each once
    char *items[CONFIG_NAMES_MAX];
    size_t count;
};

struct config_topics {
    struct config_names requests;
    char *responses;
    char *comparisons;
    char *replay;
    char *dead_letters;
    char *control;
    char *runs;
};

struct config_engine {
    enum config_device device;
    enum config_weights weights;
    enum config_kv_cache_dtype kv_cache_dtype;
    enum config_isa isa; // of the CPU
    int64_t threads;     // CPU threads of the device; 0 = one per core
    int64_t max_num_seqs;
    int64_t max_num_batched_tokens;
    int64_t max_model_len;  // 0 = the model's own
    int64_t kv_cache_bytes; // 0 = 1 GiB
    bool enable_prefix_caching;
};

enum config_max_tokens { CONFIG_MAX_TOKENS_AS_IS, CONFIG_MAX_TOKENS, CONFIG_MAX_COMPLETION_TOKENS };

struct config_model {
    char *name;
    char *path;     // a folder, relative to the current directory; "" = an endpoint answers
    char *adapter;  // "" = none
    char *endpoint; // its base URL, "" = a folder

    // Of an endpoint.
    char *model; // as it calls the model; "" = name
    char *api_key_file, *api_key_env, *ca_file, *proxy;
    int64_t concurrency_max;
    int64_t attempts_max;
    int64_t timeout_ms;
    int64_t connect_timeout_ms;
    int64_t answer_bytes_max;
    bool stream;
    enum config_max_tokens max_tokens_parameter;
    double price_in, price_cached, price_out; // USD per million tokens; price_cached < 0: price_in
    double spend_daily_max;                   // USD, 0 = none

    char *aliases[CONFIG_ALIASES_MAX];
    size_t aliases_count;
    double kv_share; // 0 = an equal share
};

struct config {
    struct arena *arena; // owns every text below
    struct config_property kafka[CONFIG_KAFKA_PROPERTIES_MAX];
    size_t kafka_count;
    struct config_topics topics;
    enum config_mode mode;
    struct config_names replay_only; // topics.replay, as a list
    enum config_format output_format;
    enum config_guarantee delivery_guarantee;
    char *worker_id;          // unique per process by default
    bool worker_id_is_unique; // nobody has set it
    char *registry_url;       // "" = none
    int64_t drain_timeout_ms;
    int64_t transaction_records_max;
    int64_t transaction_bytes_max;
    int64_t transaction_interval_ms;
    int64_t attempts_max;
    int64_t intake_bytes_max; // credits: memory of the records inside
    int64_t intake_records_max;
    int64_t record_bytes_max; // a larger value is a dead letter
    int64_t pool_threads;     // 0 = one per core
    struct config_engine engine;
    struct config_model models[CONFIG_MODELS_MAX];
    size_t models_count;
    char *http_host;
    int64_t http_port; // 0 = none
    bool http_port_is_default;
    char *log_level;                 // debug | info | warn | error
    enum config_generator generator; // scripted: answers without a model, for measuring
    int64_t scripted_latency_ms;
};

/* Loads defaults, then `path` (NULL: none), then MILLRACE_* of the environment, then `sets`
 * ("key=value" each, later ones win). Errors name the file, the line and the key. */
MUST_CHECK bool config_open(const char *path, const char *const *sets, size_t sets_count,
                            struct config **config_out, struct error *error);
void config_close(struct config *config); // accepts NULL

/* Adds the model in the folder `path`, named like it, that answers whatever model a request names.
 * Not while others read. */
MUST_CHECK bool config_add_model(struct config *config, const char *path, struct error *error);

/* The topics that a worker consumes in its mode. */
const struct config_names *config_inputs(const struct config *config);

/* The value of a librdkafka property, or NULL. */
const char *config_kafka(const struct config *config, const char *name);

/* As they may be set: with commas between them. */
struct buffer;
void config_write_names(const struct config_names *names, struct buffer *out);

/* A JSON array of every setting with its value here, without `kafka` and `models`. */
void config_write_json(const struct config *config, struct buffer *out);

/* The reference page of all settings, Markdown, for deploy/SETTINGS.md. */
void config_write_reference(struct buffer *out);

#endif
