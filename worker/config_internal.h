/* config_internal: what the files of config share: the table, and the configuration while it grows.
 *
 * Sources come in order, each overrides the ones before it: defaults, file, environment, --set.
 */
#ifndef WORKER_CONFIG_INTERNAL_H
#define WORKER_CONFIG_INTERNAL_H

#include "worker/config.h"

#include "schemas/base/arena.h"

enum {
    CONFIG_BYTES_MAX = 1 << 20, // of a file, or of the value of one setting
    CONFIG_NAME_BYTES_MAX = 256,
};

enum setting_type {
    SETTING_TEXT,   // char *
    SETTING_NAMES,  // struct config_names: topics, with commas between them
    SETTING_WORD,   // char *, one of `words`
    SETTING_CHOICE, // an enum that counts the `words` from 0
    SETTING_BOOL,   // bool
    SETTING_INT,    // int64_t within [min, max]
    SETTING_BYTES,  // as SETTING_INT, and may be written with KiB, MiB or GiB
    SETTING_NUMBER, // double within [min, max]
};

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;        // in struct config, or in struct config_model
    const char *fallback; // as it would be written; NULL = required
    const char *words;    // "json|avro|confluent"
    double min, max;
    const char *help;
};

extern const struct setting config_settings[];
extern const size_t config_settings_count;
extern const struct setting config_model_settings[]; // of one entry of models
extern const size_t config_model_settings_count;

/* Where a value stands, for messages: "worker.yaml:3:5" or "--set" or "MILLRACE_HTTP_PORT". */
struct config_place {
    const char *source;
    size_t line, column; // from 1; line 0 = the source has none
};

struct config_builder {
    struct config *config;
    struct error *error;
    bool is_port_set;
};

/* Sets *error to "<place>: <message>"; returns false. */
bool config_fail(struct config_builder *builder, const struct config_place *place,
                 const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts `value` into the member of `base` (a struct config or struct config_model). */
bool config_assign(struct config_builder *builder, const struct config_place *place, void *base,
                   const struct setting *setting, const char *value);
/* The defaults of an entry of models, and what an entry must have. */
bool config_fill_model(struct config_builder *builder, const struct config_place *place,
                       struct config_model *model);
bool config_check_model(struct config_builder *builder, const struct config_place *place,
                        const struct config_model *model);
/* Any key but models: a setting, or a property of librdkafka after "kafka.". */
bool config_assign_key(struct config_builder *builder, const struct config_place *place,
                       const char *key, const char *value);
const struct setting *config_find(const struct setting *settings, size_t count, const char *name);
/* The known key that is the fewest edits away. */
const char *config_nearest(const struct setting *settings, size_t count, const char *name);

struct buffer;
void config_write_kafka_reference(struct buffer *out);

/* A whole configuration file. `text` is YAML in UTF-8. */
bool config_read_yaml(struct config_builder *builder, const char *source, struct bytes text);
/* The value of models alone, from --set or the environment. */
bool config_read_models(struct config_builder *builder, const char *source, struct bytes text);

#endif
