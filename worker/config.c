/* config: the sources in their order, librdkafka's properties, and what spans several settings. */
#include "worker/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "schemas/base/buffer.h"
#include "worker/config_internal.h"

enum { ARENA_BYTES_MAX = 16 << 20 };

extern char **environ; // not in a header under _POSIX_C_SOURCE

static const char kafka_prefix[] = "kafka.";

static const struct {
    const char *name, *value;
} kafka_defaults[] = {
    {"bootstrap.servers", "localhost:9092"},
    {"group.id", "millrace"},
};

/* Millrace's guarantees hang on these. */
static const struct {
    const char *name, *reason;
} kafka_owned[] = {
    {"enable.auto.commit", "offsets are committed with their results"},
    {"enable.auto.offset.store", "an offset is done when its result is committed"},
    {"isolation.level", "aborted requests must not be answered"},
    {"enable.idempotence", "a retried send must not publish a result twice"},
    {"transactional.id", "it is made of group.id and worker.id"},
    {"partition.assignment.strategy", "rebalancing must not take partitions that stay"},
};

bool config_fail(struct config_builder *builder, const struct config_place *place,
                 const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (place->line == 0) {
        return error_set(builder->error, ERROR_CONFIG, NULL, NULL, "%s: %s", place->source, text);
    }
    return error_set(builder->error, ERROR_CONFIG, NULL, NULL, "%s:%zu:%zu: %s", place->source,
                     place->line, place->column, text);
}

static char *copy_text(struct config *config, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = arena_alloc(config->arena, size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

static bool assign_kafka(struct config_builder *builder, const struct config_place *place,
                         const char *name, const char *value)
{
    struct config *config = builder->config;
    for (size_t i = 0; i < sizeof kafka_owned / sizeof kafka_owned[0]; i++) {
        if (strcmp(kafka_owned[i].name, name) == 0) {
            return config_fail(builder, place, "kafka.%s is Millrace's own: %s", name,
                               kafka_owned[i].reason);
        }
    }
    size_t i = 0;
    while (i < config->kafka_count && strcmp(config->kafka[i].name, name) != 0) {
        i++;
    }
    if (name[0] == '\0' || i == CONFIG_KAFKA_PROPERTIES_MAX) {
        return config_fail(builder, place, "kafka has no name or more than %d properties",
                           CONFIG_KAFKA_PROPERTIES_MAX);
    }
    struct config_property *property = &config->kafka[i];
    property->name = copy_text(config, name);
    property->value = copy_text(config, value);
    if (property->name == NULL || property->value == NULL) {
        return config_fail(builder, place, "the configuration needs more than %d bytes",
                           ARENA_BYTES_MAX);
    }
    config->kafka_count += i == config->kafka_count;
    return true;
}

static bool is_section(const char *key)
{
    size_t size = strlen(key);
    for (size_t i = 0; i < config_settings_count; i++) {
        const char *name = config_settings[i].name;
        if (strncmp(name, key, size) == 0 && name[size] == '.') {
            return true;
        }
    }
    return strcmp(key, "kafka") == 0;
}

bool config_assign_key(struct config_builder *builder, const struct config_place *place,
                       const char *key, const char *value)
{
    if (strncmp(key, kafka_prefix, sizeof kafka_prefix - 1) == 0) {
        return assign_kafka(builder, place, key + sizeof kafka_prefix - 1, value);
    }
    const struct setting *setting = config_find(config_settings, config_settings_count, key);
    if (setting != NULL) {
        builder->is_port_set |= strcmp(key, "http.port") == 0;
        return config_assign(builder, place, builder->config, setting, value);
    }
    if (is_section(key)) {
        // A section without anything in it is how YAML writes an empty mapping.
        return value[0] == '\0' ||
               config_fail(builder, place, "%s is a section of settings and has no value", key);
    }
    return config_fail(builder, place, "no such setting: %.80s, the nearest is %s", key,
                       config_nearest(config_settings, config_settings_count, key));
}

static bool set_defaults(struct config_builder *builder)
{
    const struct config_place place = {.source = "defaults"};
    for (size_t i = 0; i < config_settings_count; i++) {
        if (!config_assign(builder, &place, builder->config, &config_settings[i],
                           config_settings[i].fallback)) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof kafka_defaults / sizeof kafka_defaults[0]; i++) {
        if (!assign_kafka(builder, &place, kafka_defaults[i].name, kafka_defaults[i].value)) {
            return false;
        }
    }
    return true;
}

static bool read_file(struct config_builder *builder, const char *path)
{
    const struct config_place place = {.source = path};
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return config_fail(builder, &place, "%s", strerror(errno));
    }
    struct buffer text;
    buffer_init(&text, CONFIG_BYTES_MAX);
    char chunk[4096];
    size_t size;
    while (!buffer_failed(&text) && (size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(&text, chunk, size);
    }
    bool ok = true;
    if (ferror(file)) {
        ok = config_fail(builder, &place, "cannot be read: %s", strerror(errno));
    } else if (buffer_failed(&text)) {
        ok = config_fail(builder, &place, "is larger than %d bytes", CONFIG_BYTES_MAX);
    }
    ok = ok && config_read_yaml(builder, path, buffer_bytes(&text));
    buffer_close(&text);
    (void)fclose(file);
    return ok;
}

/* ASCII only, whatever the locale. */
static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "output.format" -> "MILLRACE_OUTPUT_FORMAT". */
static void environment_name(const char *key, char *out, size_t size)
{
    (void)snprintf(out, size, "MILLRACE_%s", key);
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == '.' ? '_' : to_upper(*c);
    }
}

/* What Kubernetes gives every container for a service called millrace-kafka. */
static bool is_service_link(const char *key)
{
    return strcmp(key, "port") == 0 || strncmp(key, "port.", 5) == 0 ||
           strncmp(key, "service.", 8) == 0;
}

/* MILLRACE_KAFKA_GROUP_ID -> kafka.group.id; librdkafka's names have dots and no underscores. */
static bool read_kafka_variable(struct config_builder *builder, const char *variable)
{
    static const char prefix[] = "MILLRACE_KAFKA_";
    const char *value = strchr(variable, '=');
    if (value == NULL || strncmp(variable, prefix, sizeof prefix - 1) != 0) {
        return true;
    }
    char name[CONFIG_NAME_BYTES_MAX];
    char key[CONFIG_NAME_BYTES_MAX];
    (void)snprintf(name, sizeof name, "%.*s", (int)(value - variable), variable);
    (void)snprintf(key, sizeof key, "%s", name + sizeof prefix - 1);
    for (char *c = key; *c != '\0'; c++) {
        *c = *c == '_' ? '.' : to_lower(*c);
    }
    const struct config_place place = {.source = name};
    return is_service_link(key) || assign_kafka(builder, &place, key, value + 1);
}

static bool read_environment(struct config_builder *builder)
{
    char name[CONFIG_NAME_BYTES_MAX];
    const struct config_place place = {.source = name};
    for (size_t i = 0; i < config_settings_count; i++) {
        environment_name(config_settings[i].name, name, sizeof name);
        const char *value = getenv(name);
        if (value != NULL && !config_assign_key(builder, &place, config_settings[i].name, value)) {
            return false;
        }
    }
    for (char **variable = environ; *variable != NULL; variable++) {
        if (!read_kafka_variable(builder, *variable)) {
            return false;
        }
    }
    const char *models = getenv("MILLRACE_MODELS");
    return models == NULL || config_read_models(builder, "MILLRACE_MODELS", bytes_of(models));
}

static bool read_set(struct config_builder *builder, const char *text)
{
    const struct config_place place = {.source = "--set"};
    char key[CONFIG_NAME_BYTES_MAX];
    size_t size = strcspn(text, "=");
    if (text[size] == '\0' || size == 0 || size >= sizeof key) {
        return config_fail(builder, &place, "'%.80s' is not key=value", text);
    }
    memcpy(key, text, size);
    key[size] = '\0';
    const char *value = text + size + 1;
    if (strcmp(key, "models") == 0) {
        return config_read_models(builder, "--set models", bytes_of(value));
    }
    return config_assign_key(builder, &place, key, value);
}

/* Host and process alone are not enough: containers share both. */
static bool fill_worker_id(struct config_builder *builder)
{
    char host[128] = "host";
    char id[200];
    struct timespec now;
    struct config *config = builder->config;
    if (config->worker_id[0] != '\0') {
        return true;
    }
    (void)gethostname(host, sizeof host - 1);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t mixed = ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) *
                     UINT64_C(0x9E3779B97F4A7C15); // the golden ratio spreads the low bits
    (void)snprintf(id, sizeof id, "%s-%ld-%08" PRIx64, host, (long)getpid(), mixed >> 32);
    config->worker_id = copy_text(config, id);
    config->worker_id_is_unique = true;
    const struct config_place place = {.source = "worker.id"};
    return config->worker_id != NULL || config_fail(builder, &place, "no memory");
}

/* The model that has this public name, other than through `except`. */
static bool is_name_taken(const struct config *config, const char *name, const char *except)
{
    for (size_t i = 0; i < config->models_count; i++) {
        const struct config_model *model = &config->models[i];
        if (model->name != except && strcmp(model->name, name) == 0) {
            return true;
        }
        for (size_t j = 0; j < model->aliases_count; j++) {
            if (model->aliases[j] != except && strcmp(model->aliases[j], name) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool config_fill_model(struct config_builder *builder, const struct config_place *place,
                       struct config_model *model)
{
    for (size_t i = 0; i < config_model_settings_count; i++) {
        const struct setting *setting = &config_model_settings[i];
        if (setting->fallback != NULL &&
            !config_assign(builder, place, model, setting, setting->fallback)) {
            return false;
        }
    }
    return true;
}

bool config_check_model(struct config_builder *builder, const struct config_place *place,
                        const struct config_model *model)
{
    if (model->name == NULL) {
        return config_fail(builder, place, "a model has no name, it is required");
    }
    bool has_path = model->path[0] != '\0';
    bool has_endpoint = model->endpoint[0] != '\0';
    if (has_path == has_endpoint) {
        return config_fail(builder, place, "model %s has %s, it needs one of them", model->name,
                           has_path ? "a path and an endpoint" : "no path and no endpoint");
    }
    if (has_endpoint && strncmp(model->endpoint, "http://", 7) != 0 &&
        strncmp(model->endpoint, "https://", 8) != 0) {
        return config_fail(builder, place,
                           "the endpoint of model %s is '%.80s', must begin with http:// or "
                           "https://",
                           model->name, model->endpoint);
    }
    if (model->api_key_file[0] != '\0' && model->api_key_env[0] != '\0') {
        return config_fail(builder, place,
                           "model %s has api_key_file and api_key_env, only one may be set",
                           model->name);
    }
    return true;
}

static bool check_models(struct config_builder *builder)
{
    const struct config *config = builder->config;
    const struct config_place place = {.source = "models"};
    double share = 0;
    for (size_t i = 0; i < config->models_count; i++) {
        const struct config_model *model = &config->models[i];
        share += model->kv_share;
        if (is_name_taken(config, model->name, model->name)) {
            return config_fail(builder, &place, "the name %s is used twice", model->name);
        }
        for (size_t j = 0; j < model->aliases_count; j++) {
            if (is_name_taken(config, model->aliases[j], model->aliases[j])) {
                return config_fail(builder, &place, "the name %s is used twice", model->aliases[j]);
            }
        }
    }
    if (share > 1 + 1e-9) {
        return config_fail(builder, &place, "the kv_share of all is %g, must be at most 1", share);
    }
    return true;
}

/* A worker would read its own results, without end. */
static bool check_topics(struct config_builder *builder)
{
    const struct config_topics *topics = &builder->config->topics;
    const struct config_place place = {.source = "topics"};
    const char *others[] = {topics->responses, topics->dead_letters, topics->runs, topics->replay,
                            topics->comparisons};
    static const char *const names[] = {"responses", "dead_letters", "runs", "replay",
                                        "comparisons"};
    size_t count = sizeof others / sizeof others[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < topics->requests.count; j++) {
            if (strcmp(others[i], topics->requests.items[j]) == 0) {
                return config_fail(builder, &place, "requests and %s are %s: they must differ",
                                   names[i], others[i]);
            }
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(others[i], others[j]) == 0) {
                return config_fail(builder, &place, "%s and %s are %s: they must differ", names[j],
                                   names[i], others[i]);
            }
        }
    }
    return true;
}

static bool check_sizes(struct config_builder *builder)
{
    const struct config *config = builder->config;
    const struct config_place place = {.source = "record.bytes.max"};
    if (config->record_bytes_max > config->intake_bytes_max) {
        return config_fail(builder, &place,
                           "is %" PRId64 ", must be at most intake.bytes.max, %" PRId64,
                           config->record_bytes_max, config->intake_bytes_max);
    }
    return true;
}

static bool read_sources(struct config_builder *builder, const char *path, const char *const *sets,
                         size_t sets_count)
{
    if (!set_defaults(builder) || (path != NULL && !read_file(builder, path)) ||
        !read_environment(builder)) {
        return false;
    }
    for (size_t i = 0; i < sets_count; i++) {
        if (!read_set(builder, sets[i])) {
            return false;
        }
    }
    return check_models(builder) && check_topics(builder) && check_sizes(builder) &&
           fill_worker_id(builder);
}

bool config_open(const char *path, const char *const *sets, size_t sets_count,
                 struct config **config_out, struct error *error)
{
    struct config *config = calloc(1, sizeof *config);
    if (config == NULL || (config->arena = arena_open(ARENA_BYTES_MAX)) == NULL) {
        free(config);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "no memory for the configuration");
    }
    struct config_builder builder = {.config = config, .error = error};
    if (!read_sources(&builder, path, sets, sets_count)) {
        config_close(config);
        return false;
    }
    config->http_port_is_default = !builder.is_port_set;
    config->replay_only = (struct config_names){.items = {config->topics.replay}, .count = 1};
    *config_out = config;
    return true;
}

void config_close(struct config *config)
{
    if (config != NULL) {
        arena_close(config->arena);
        free(config);
    }
}

/* The last part of a path, as a model is called by its folder. */
static char *copy_folder_name(struct config *config, const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    char *name = copy_text(config, path + start);
    if (name != NULL) {
        name[end - start] = '\0';
    }
    return name;
}

bool config_add_model(struct config *config, const char *path, struct error *error)
{
    if (config->models_count > 0) {
        return error_set(error, ERROR_CONFIG, NULL, "models",
                         "--model %s cannot be given beside the models of the configuration", path);
    }
    struct config_model *model = &config->models[0];
    struct config_builder builder = {.config = config, .error = error};
    if (!config_fill_model(&builder, &(struct config_place){.source = "--model"}, model)) {
        return false;
    }
    model->name = copy_folder_name(config, path);
    model->path = copy_text(config, path);
    model->aliases[0] = copy_text(config, "*");
    if (model->name == NULL || model->path == NULL || model->aliases[0] == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "no memory for the configuration");
    }
    model->aliases_count = 1;
    config->models_count = 1;
    return true;
}

const struct config_names *config_inputs(const struct config *config)
{
    return config->mode == MODE_COMPARE ? &config->replay_only : &config->topics.requests;
}

const char *config_kafka(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->kafka_count; i++) {
        if (strcmp(config->kafka[i].name, name) == 0) {
            return config->kafka[i].value;
        }
    }
    return NULL;
}

void config_write_kafka_reference(struct buffer *out)
{
    buffer_printf(out,
                  "\n## kafka\n\n"
                  "Properties of librdkafka, at most %d, passed on untouched. In the environment,\n"
                  "`MILLRACE_KAFKA_GROUP_ID` is `kafka.group.id`. Without being set,",
                  CONFIG_KAFKA_PROPERTIES_MAX);
    for (size_t i = 0; i < sizeof kafka_defaults / sizeof kafka_defaults[0]; i++) {
        buffer_printf(out, "\n`%s` is `%s`,", kafka_defaults[i].name, kafka_defaults[i].value);
    }
    buffer_append_text(out, "\n`auto.offset.reset` is `earliest` and `transaction.timeout.ms` is "
                            "`15000`. Refused, because Millrace's\nguarantees hang on them:\n\n"
                            "| Property | Reason |\n| --- | --- |\n");
    for (size_t i = 0; i < sizeof kafka_owned / sizeof kafka_owned[0]; i++) {
        buffer_printf(out, "| `%s` | %s |\n", kafka_owned[i].name, kafka_owned[i].reason);
    }
}
