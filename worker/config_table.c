/* config_table: every setting, how a value is read, and the reference page. */
#include "worker/config_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/openai/quote.h"
#include "schemas/base/buffer.h"

#define AT(member) offsetof(struct config, member)
#define IN_MODEL(member) offsetof(struct config_model, member)
#define MIB 1048576.0
#define TIB 1099511627776.0

enum { TOPIC_BYTES_MAX = 249 }; // Kafka's limit for the name of a topic

const struct setting config_settings[] = {
    {"topics.requests", SETTING_NAMES, AT(topics.requests), "llm.requests.v1", NULL, 1,
     TOPIC_BYTES_MAX,
     "Requests come from here. Of several, "
     "produce writes to the first unless it is told."},
    {"topics.responses", SETTING_TEXT, AT(topics.responses), "llm.responses.v1", NULL, 1,
     TOPIC_BYTES_MAX, "Responses go here."},
    {"topics.comparisons", SETTING_TEXT, AT(topics.comparisons), "llm.comparisons.v1", NULL, 1,
     TOPIC_BYTES_MAX, "Comparisons go here."},
    {"topics.replay", SETTING_TEXT, AT(topics.replay), "llm.replay.v1", NULL, 1, TOPIC_BYTES_MAX,
     "Requests with their incumbent's answer."},
    {"topics.dead_letters", SETTING_TEXT, AT(topics.dead_letters), "llm.requests.v1.dlq", NULL, 1,
     TOPIC_BYTES_MAX, "Values that could not be decoded, or failed again and again, go here."},
    {"topics.control", SETTING_TEXT, AT(topics.control), "llm.control.v1", NULL, 1, TOPIC_BYTES_MAX,
     "State of the routes (compacted)."},
    {"topics.runs", SETTING_TEXT, AT(topics.runs), "llm.runs.v1", NULL, 1, TOPIC_BYTES_MAX,
     "What each run consists of, for collect, produce --missing and replay (compacted; created by "
     "them)."},
    {"mode", SETTING_CHOICE, AT(mode), "answer", "answer|compare", 0, 0,
     "What a worker makes of a record: answer turns topics.requests into topics.responses; compare "
     "answers what is on topics.replay and puts both answers on topics.comparisons. Workers of "
     "different modes need different groups."},
    {"output.format", SETTING_CHOICE, AT(output_format), "json", "json|avro|confluent", 0, 0,
     "Form of what is written: OpenAI's JSON line, Avro single objects, or Avro with a registry's "
     "schema id. What is read may have any of them."},
    {"delivery.guarantee", SETTING_CHOICE, AT(delivery_guarantee), "auto",
     "auto|exactly_once|at_least_once", 0, 0,
     "What read_committed readers of the result topics may rely on; auto is exactly_once, and "
     "at_least_once where the broker has no transactions."},
    {"transaction.records.max", SETTING_INT, AT(transaction_records_max), "2000", NULL, 1, 100000,
     "Results that go into one transaction."},
    {"transaction.bytes.max", SETTING_BYTES, AT(transaction_bytes_max), "32MiB", NULL, 1024, TIB,
     "Likewise, in bytes of keys and values; a larger result goes alone."},
    {"transaction.interval.ms", SETTING_INT, AT(transaction_interval_ms), "100", NULL, 0, 60000,
     "How long a result waits for others to share its transaction."},
    {"registry.url", SETTING_TEXT, AT(registry_url), "", NULL, 0, 2000,
     "Schema registry (Confluent's REST API); empty for none."},
    {"worker.id", SETTING_TEXT, AT(worker_id), "", NULL, 0, 200,
     "Name of this process in results and transactions; empty for host, process and a random part. "
     "Fixed per replica, a restart fences its predecessor at once."},
    {"drain.timeout.ms", SETTING_INT, AT(drain_timeout_ms), "20000", NULL, 0, 3600000,
     "After SIGTERM, how long running requests may go on."},
    {"attempts.max", SETTING_INT, AT(attempts_max), "3", NULL, 1, 100,
     "Tries of a record that makes the engine fail, or the worker end, before it is a dead "
     "letter."},
    {"intake.bytes.max", SETTING_BYTES, AT(intake_bytes_max), "256MiB", NULL, MIB, TIB,
     "Memory of the records inside; intake pauses at it."},
    {"intake.records.max", SETTING_INT, AT(intake_records_max), "4096", NULL, 1, 1000000,
     "Records inside; intake pauses at it."},
    {"record.bytes.max", SETTING_BYTES, AT(record_bytes_max), "8MiB", NULL, 1024, 1024 * MIB,
     "A larger value is a dead letter."},
    {"pool.threads", SETTING_INT, AT(pool_threads), "0", NULL, 0, 256,
     "Threads for JSON, templates and tokens; 0 for one per core."},
    {"engine.device", SETTING_CHOICE, AT(engine.device), "auto", "auto|cpu", 0, 0,
     "Where models run."},
    {"engine.weights", SETTING_CHOICE, AT(engine.weights), "auto", "auto|f32|bf16|int8", 0, 0,
     "Format of weights in memory; auto takes the one that the CPU is fast with: bf16 with AMX, "
     "else int8 with VNNI, else f32."},
    {"engine.kv_cache_dtype", SETTING_CHOICE, AT(engine.kv_cache_dtype), "auto",
     "auto|f32|bf16|int8", 0, 0,
     "Format of keys and values; auto is f32 beside weights in f32, else bf16. int8 has a scale "
     "per token and head."},
    {"engine.isa", SETTING_CHOICE, AT(engine.isa), "auto",
     "auto|amx|avx512_vnni|avx512|avx2|portable", 0, 0,
     "Instruction set of the CPU; auto takes the best there is."},
    {"engine.threads", SETTING_INT, AT(engine.threads), "0", NULL, 0, 256,
     "CPU threads of the engine; 0 for one per core."},
    {"engine.max_num_seqs", SETTING_INT, AT(engine.max_num_seqs), "256", NULL, 1, 65536,
     "Sequences that run at once."},
    {"engine.max_num_batched_tokens", SETTING_INT, AT(engine.max_num_batched_tokens), "2048", NULL,
     1, 1048576, "Tokens of one step."},
    {"engine.max_model_len", SETTING_INT, AT(engine.max_model_len), "0", NULL, 0, 16777216,
     "Longest prompt and answer together, in tokens; 0 for what each model allows."},
    {"engine.kv_cache_bytes", SETTING_BYTES, AT(engine.kv_cache_bytes), "0", NULL, 0, TIB,
     "Memory for keys and values of all models; 0 for 1 GiB."},
    {"engine.enable_prefix_caching", SETTING_BOOL, AT(engine.enable_prefix_caching), "true", NULL,
     0, 0, "Whether prompts that begin alike share their keys and values."},
    {"http.host", SETTING_TEXT, AT(http_host), "127.0.0.1", NULL, 1, 200,
     "Address of metrics, health and status."},
    {"http.port", SETTING_INT, AT(http_port), "9464", NULL, 0, 65535,
     "Port of metrics, health and status; 0 for none. When the default is taken another one is "
     "used, with a warning."},
    {"log.level", SETTING_WORD, AT(log_level), "info", "debug|info|warn|error", 0, 0,
     "Lines below this level are dropped."},
    {"generator", SETTING_CHOICE, AT(generator), "local", "local|scripted", 0, 0,
     "Who answers; scripted answers without a model, for measuring."},
    {"scripted.latency.ms", SETTING_INT, AT(scripted_latency_ms), "0", NULL, 0, 60000,
     "How long the scripted generator takes for an answer."},
};

const size_t config_settings_count = sizeof config_settings / sizeof config_settings[0];

const struct setting config_model_settings[] = {
    {"name", SETTING_TEXT, IN_MODEL(name), NULL, NULL, 1, 256,
     "What requests call the model, and what served_by calls it."},
    {"path", SETTING_TEXT, IN_MODEL(path), "", NULL, 0, 4000,
     "Its folder, relative to the current directory; this or `endpoint`."},
    {"adapter", SETTING_TEXT, IN_MODEL(adapter), "", NULL, 0, 4000,
     "A PEFT LoRA folder that is merged into it at load; served_by calls it NAME+FOLDER."},
    {"kv_share", SETTING_NUMBER, IN_MODEL(kv_share), "0", NULL, 0, 1,
     "Its part of the KV cache; 0 for an equal part."},
    {"endpoint", SETTING_TEXT, IN_MODEL(endpoint), "", NULL, 0, 2000,
     "Base URL of an OpenAI-compatible server that answers instead of a folder, such as "
     "`https://api.openai.com/v1`. What follows is for endpoints only. No other server is ever "
     "asked, redirects are refused, certificates are verified."},
    {"model", SETTING_TEXT, IN_MODEL(model), "", NULL, 0, 256,
     "What the endpoint calls the model; empty for `name`."},
    {"api_key_file", SETTING_TEXT, IN_MODEL(api_key_file), "", NULL, 0, 4000,
     "File with the endpoint's key, read at the start; empty for none."},
    {"api_key_env", SETTING_TEXT, IN_MODEL(api_key_env), "", NULL, 0, 200,
     "Environment variable with the key, instead of a file."},
    {"ca_file", SETTING_TEXT, IN_MODEL(ca_file), "", NULL, 0, 4000,
     "Certificates that the endpoint's may be signed by (PEM); empty for the system's."},
    {"proxy", SETTING_TEXT, IN_MODEL(proxy), "", NULL, 0, 2000,
     "URL of a proxy; empty for none, whatever the environment says."},
    {"concurrency_max", SETTING_INT, IN_MODEL(concurrency_max), "64", NULL, 1, 1000,
     "Requests that the endpoint gets at once; fewer while it says that it is too busy."},
    {"attempts_max", SETTING_INT, IN_MODEL(attempts_max), "6", NULL, 1, 100,
     "Tries of a request before it is a dead letter; those that found no connection do not count."},
    {"timeout_ms", SETTING_INT, IN_MODEL(timeout_ms), "600000", NULL, 1, 3600000,
     "How long one try may take."},
    {"connect_timeout_ms", SETTING_INT, IN_MODEL(connect_timeout_ms), "10000", NULL, 1, 600000,
     "Likewise, until there is a connection."},
    {"answer_bytes_max", SETTING_BYTES, IN_MODEL(answer_bytes_max), "8MiB", NULL, 1024, 256 * MIB,
     "A larger answer makes the request a dead letter."},
    {"stream", SETTING_BOOL, IN_MODEL(stream), "false", NULL, 0, 0,
     "Whether to ask for a stream, which gives the time of the first token; it is put together "
     "again to a whole answer."},
    {"max_tokens_parameter", SETTING_CHOICE, IN_MODEL(max_tokens_parameter), "as_is",
     "as_is|max_tokens|max_completion_tokens", 0, 0,
     "Under which name the endpoint gets the limit of a chat's tokens; as_is for the request's."},
    {"price_in", SETTING_NUMBER, IN_MODEL(price_in), "0", NULL, 0, 1e6,
     "USD for a million prompt tokens."},
    {"price_cached", SETTING_NUMBER, IN_MODEL(price_cached), "-1", NULL, -1, 1e6,
     "Likewise, for those that the endpoint had cached; -1 for price_in."},
    {"price_out", SETTING_NUMBER, IN_MODEL(price_out), "0", NULL, 0, 1e6,
     "USD for a million tokens of answers."},
    {"spend_daily_max", SETTING_NUMBER, IN_MODEL(spend_daily_max), "0", NULL, 0, 1e9,
     "USD that this process spends at the endpoint in a day (UTC); then requests wait. A restart "
     "begins at 0, and what is under way comes on top. 0 for no cap."},
};

const size_t config_model_settings_count =
    sizeof config_model_settings / sizeof config_model_settings[0];

const struct setting *config_find(const struct setting *settings, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

/* Levenshtein's distance; what is beyond the bound of a name does not count. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 64 };
    size_t row[LENGTH_MAX + 1];
    size_t a_size = strnlen(a, LENGTH_MAX);
    size_t b_size = strnlen(b, LENGTH_MAX);
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            size_t shifted = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[b_size];
}

const char *config_nearest(const struct setting *settings, size_t count, const char *name)
{
    const char *nearest = "";
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, settings[i].name);
        if (distance < least) {
            least = distance;
            nearest = settings[i].name;
        }
    }
    return nearest;
}

/* The index of `value` among "a|b|c", or -1. */
static int word_index(const char *words, const char *value)
{
    int index = 0;
    for (const char *at = words; *at != '\0'; index++) {
        size_t size = strcspn(at, "|");
        if (strlen(value) == size && strncmp(at, value, size) == 0) {
            return index;
        }
        at += size + (at[size] == '|');
    }
    return -1;
}

static double unit_of(const char *suffix)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", MIB}, {"GiB", 1024 * MIB}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, suffix) == 0) {
            return units[i].bytes;
        }
    }
    return 0;
}

static bool parse_int(const struct setting *setting, const char *value, int64_t *number_out)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    double unit = setting->type == SETTING_BYTES ? unit_of(end) : *end == '\0';
    double product = (double)number * unit;
    if (errno != 0 || end == value || unit == 0 || product < setting->min ||
        product > setting->max) {
        return false;
    }
    *number_out = number * (int64_t)unit;
    return true;
}

static bool parse_number(const struct setting *setting, const char *value, double *number_out)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= setting->min && number <= setting->max)) {
        return false;
    }
    *number_out = number;
    return true;
}

/* What a value must be, for messages and the reference. */
static void describe(const struct setting *setting, char *text, size_t size)
{
    switch (setting->type) {
    case SETTING_TEXT:
        (void)snprintf(text, size, "text of %.0f to %.0f bytes", setting->min, setting->max);
        break;
    case SETTING_NAMES:
        (void)snprintf(text, size,
                       "the name of a topic, of %.0f to %.0f bytes, or a list of at most %d "
                       "different ones",
                       setting->min, setting->max, CONFIG_NAMES_MAX);
        break;
    case SETTING_WORD:
    case SETTING_CHOICE:
        (void)snprintf(text, size, "one of %s", setting->words);
        break;
    case SETTING_BOOL:
        (void)snprintf(text, size, "true or false");
        break;
    case SETTING_INT:
        (void)snprintf(text, size, "an integer from %.0f to %.0f", setting->min, setting->max);
        break;
    case SETTING_BYTES:
        (void)snprintf(text, size, "bytes from %.0f to %.0f, or with KiB, MiB or GiB", setting->min,
                       setting->max);
        break;
    case SETTING_NUMBER:
        (void)snprintf(text, size, "a number from %g to %g", setting->min, setting->max);
        break;
    }
}

static bool assign_text(struct config_builder *builder, char **member, const char *value)
{
    struct bytes copy = arena_copy(builder->config->arena, bytes_of(value));
    // The arena gives writable memory; struct bytes only does not say so.
    memcpy(member, &copy.data, sizeof *member);
    return *member != NULL;
}

/* Kafka's rule for the names of topics; librdkafka would take one with ^ for a pattern. */
static bool is_topic(const char *name, size_t size, const struct setting *setting)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return (double)size >= setting->min && (double)size <= setting->max &&
           strspn(name, allowed) >= size;
}

static bool has_name(const struct config_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* One name, or several with commas and spaces between them. */
static bool assign_names(struct config_builder *builder, struct config_names *names,
                         const struct setting *setting, const char *value)
{
    static const char separators[] = ", ";
    *names = (struct config_names){0};
    for (const char *at = value;;) {
        at += strspn(at, " ");
        size_t size = strcspn(at, separators);
        struct bytes copy = arena_copy(builder->config->arena, (struct bytes){at, size});
        if (!is_topic(at, size, setting) || copy.data == NULL || has_name(names, copy.data) ||
            names->count == CONFIG_NAMES_MAX) {
            return false;
        }
        memcpy(&names->items[names->count++], &copy.data, sizeof names->items[0]);
        at += size;
        at += strspn(at, " ");
        if (*at == '\0') {
            return true;
        }
        if (*at++ != ',') {
            return false;
        }
    }
}

static bool assign(struct config_builder *builder, void *member, const struct setting *setting,
                   const char *value)
{
    int index;
    switch (setting->type) {
    case SETTING_TEXT:
        return strlen(value) >= setting->min && strlen(value) <= setting->max &&
               assign_text(builder, member, value);
    case SETTING_NAMES:
        return assign_names(builder, member, setting, value);
    case SETTING_WORD:
        return word_index(setting->words, value) >= 0 && assign_text(builder, member, value);
    case SETTING_CHOICE:
        index = word_index(setting->words, value);
        if (index >= 0) {
            memcpy(member, &index, sizeof index); // an enum of ours has the size of int
        }
        return index >= 0;
    case SETTING_BOOL:
        *(bool *)member = strcmp(value, "true") == 0;
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
    case SETTING_INT:
    case SETTING_BYTES:
        return parse_int(setting, value, member);
    case SETTING_NUMBER:
        return parse_number(setting, value, member);
    }
    return false;
}

bool config_assign(struct config_builder *builder, const struct config_place *place, void *base,
                   const struct setting *setting, const char *value)
{
    if (assign(builder, (char *)base + setting->offset, setting, value)) {
        return true;
    }
    char limit[160];
    describe(setting, limit, sizeof limit);
    return config_fail(builder, place, "%s is '%.80s', must be %s", setting->name, value, limit);
}

static void write_rows(struct buffer *out, const struct setting *settings, size_t count)
{
    buffer_append_text(out, "| Setting | Default | Value | Meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const struct setting *setting = &settings[i];
        char limit[160];
        describe(setting, limit, sizeof limit);
        const char *fallback = setting->fallback == NULL      ? "required"
                               : setting->fallback[0] == '\0' ? "empty"
                                                              : setting->fallback;
        buffer_printf(out, "| `%s` | %s | ", setting->name, fallback);
        for (const char *c = limit; *c != '\0'; c++) {
            if (*c == '|') {
                buffer_append_text(out, ", ");
            } else {
                buffer_append_char(out, *c);
            }
        }
        buffer_printf(out, " | %s |\n", setting->help);
    }
}

void config_write_reference(struct buffer *out)
{
    buffer_append_text(
        out, "# Settings\n\n"
             "`millrace settings` prints this page; it is made from the table in the code.\n\n"
             "A later source overrides an earlier one: defaults, the YAML file of `--config`, the\n"
             "environment, `--set key=value`. In the file, keys may be nested or dotted:\n"
             "`output.format: json` is `output: {format: json}`, and a list of names is\n"
             "`[a, b]` or `a,b`. In the environment, a key is in capitals after `MILLRACE_`,\n"
             "with `_` for each dot: `MILLRACE_OUTPUT_FORMAT`; variables that name no\n"
             "setting are ignored, since Kubernetes makes such. An unknown key in the file or in "
             "`--set`\n"
             "is an error that names the nearest known one.\n\n");
    write_rows(out, config_settings, config_settings_count);
    buffer_printf(out,
                  "\n## models\n\n"
                  "A list of at most %d entries; `--set` and the environment take it as YAML:\n"
                  "`--set 'models=[{name: scribe, path: deploy/demo/scribe}]'`.\n\n",
                  CONFIG_MODELS_MAX);
    write_rows(out, config_model_settings, config_model_settings_count);
    buffer_printf(out,
                  "| `aliases` | empty | a list of at most %d names | More names that requests may "
                  "use; unique among all models. |\n",
                  CONFIG_ALIASES_MAX);
    config_write_kafka_reference(out);
}

static void write_word(struct buffer *out, const struct setting *setting, const void *member)
{
    int index;
    memcpy(&index, member, sizeof index);
    const char *word = setting->words;
    for (int i = 0; i < index; i++) {
        word += strcspn(word, "|") + 1;
    }
    quote_json(out, (struct bytes){word, strcspn(word, "|")});
}

void config_write_names(const struct config_names *names, struct buffer *out)
{
    for (size_t i = 0; i < names->count; i++) {
        buffer_append_text(out, i == 0 ? "" : ",");
        buffer_append_text(out, names->items[i]);
    }
}

static void write_names(struct buffer *out, const struct config_names *names)
{
    buffer_append_char(out, '"'); // names of topics need no escapes
    config_write_names(names, out);
    buffer_append_char(out, '"');
}

static void write_value(struct buffer *out, const struct setting *setting, const void *member)
{
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_WORD:
        quote_json(out, bytes_of(*(char *const *)member));
        break;
    case SETTING_NAMES:
        write_names(out, member);
        break;
    case SETTING_CHOICE:
        write_word(out, setting, member);
        break;
    case SETTING_BOOL:
        buffer_append_text(out, *(const bool *)member ? "true" : "false");
        break;
    case SETTING_INT:
    case SETTING_BYTES:
        buffer_printf(out, "%" PRId64, *(const int64_t *)member);
        break;
    case SETTING_NUMBER:
        buffer_printf(out, "%.15g", *(const double *)member);
        break;
    }
}

void config_write_json(const struct config *config, struct buffer *out)
{
    for (size_t i = 0; i < config_settings_count; i++) {
        const struct setting *setting = &config_settings[i];
        buffer_append_text(out, i == 0 ? "[{\"name\":" : ",\n {\"name\":");
        quote_json(out, bytes_of(setting->name));
        buffer_append_text(out, ",\"value\":");
        write_value(out, setting, (const char *)config + setting->offset);
        buffer_append_text(out, ",\"default\":");
        quote_json(out, bytes_of(setting->fallback));
        buffer_append_text(out, ",\"help\":");
        quote_json(out, bytes_of(setting->help));
        buffer_append_char(out, '}');
    }
    buffer_append_text(out, "]\n");
}
