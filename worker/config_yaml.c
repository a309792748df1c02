/* config_yaml: a configuration file, by libyaml's events.
 *
 * Bounded in depth, events and (by the caller) bytes; anchors and aliases are refused, since they
 * let a small file grow without end, and so are a second document and a repeated key.
 */
#include "worker/config_internal.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "schemas/base/buffer.h"

enum { DEPTH_MAX = 16, EVENTS_MAX = 20000 };

struct reader {
    yaml_parser_t parser;
    struct config_builder *builder;
    const char *source;
    int events_count;
    int depth;
};

static struct config_place place_of(const struct reader *reader, yaml_mark_t mark)
{
    return (struct config_place){reader->source, mark.line + 1, mark.column + 1};
}

/* The next event; the caller deletes it after true. */
static bool next(struct reader *reader, yaml_event_t *event)
{
    if (!yaml_parser_parse(&reader->parser, event)) {
        const yaml_parser_t *parser = &reader->parser;
        struct config_place place = place_of(reader, parser->problem_mark);
        return config_fail(reader->builder, &place, "not YAML: %s%s%s",
                           parser->problem == NULL ? "no memory" : parser->problem,
                           parser->context == NULL ? "" : " ",
                           parser->context == NULL ? "" : parser->context);
    }
    struct config_place place = place_of(reader, event->start_mark);
    const char *fault = NULL;
    if (++reader->events_count > EVENTS_MAX) {
        fault = "the file has too many values";
    } else if (event->type == YAML_ALIAS_EVENT ||
               (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor != NULL) ||
               (event->type == YAML_MAPPING_START_EVENT &&
                event->data.mapping_start.anchor != NULL) ||
               (event->type == YAML_SEQUENCE_START_EVENT &&
                event->data.sequence_start.anchor != NULL)) {
        fault = "anchors and aliases are not supported";
    } else if (event->type == YAML_SCALAR_EVENT &&
               memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL) {
        fault = "a value has a NUL byte";
    }
    if (fault == NULL) {
        return true;
    }
    yaml_event_delete(event);
    return config_fail(reader->builder, &place, "%s", fault);
}

static const char *scalar(const yaml_event_t *event)
{
    return (const char *)event->data.scalar.value;
}

/* What a value of the wrong shape is. */
static const char *shape(const yaml_event_t *event)
{
    return event->type == YAML_MAPPING_START_EVENT    ? "a mapping"
           : event->type == YAML_SEQUENCE_START_EVENT ? "a list"
                                                      : "a value";
}

/* The keys of one mapping so far, copied to the arena. */
struct seen {
    const char *keys[256];
    size_t count;
};

/* Reads the next key of a mapping. At the mapping's end *key is "". */
static bool next_key(struct reader *reader, struct seen *seen, char *key, size_t size,
                     struct config_place *place_out)
{
    yaml_event_t event;
    if (!next(reader, &event)) {
        return false;
    }
    *place_out = place_of(reader, event.start_mark);
    struct config_builder *builder = reader->builder;
    bool ok = true;
    key[0] = '\0';
    if (event.type == YAML_MAPPING_END_EVENT) {
        goto out;
    }
    if (event.type != YAML_SCALAR_EVENT || event.data.scalar.length == 0 ||
        event.data.scalar.length >= size) {
        ok = config_fail(builder, place_out, "a key must be text of 1 to %zu bytes", size - 1);
        goto out;
    }
    memcpy(key, scalar(&event), event.data.scalar.length + 1);
    for (size_t i = 0; ok && i < seen->count; i++) {
        ok = strcmp(seen->keys[i], key) != 0 ||
             config_fail(builder, place_out, "%s is there twice", key);
    }
    const char *copy = arena_copy(builder->config->arena, bytes_of(key)).data;
    if (ok && (copy == NULL || seen->count == sizeof seen->keys / sizeof seen->keys[0])) {
        ok = config_fail(builder, place_out, "a mapping has more than %zu keys", seen->count);
    }
    if (ok) {
        seen->keys[seen->count++] = copy;
    }
out:
    yaml_event_delete(&event);
    return ok;
}

/* After a list's start: gives each entry to `read`, which checks what it is. */
static bool read_entries(struct reader *reader,
                         bool (*read)(struct reader *reader, const yaml_event_t *event,
                                      void *context),
                         void *context)
{
    bool ok = true;
    bool is_end = false;
    while (ok && !is_end) {
        yaml_event_t event;
        if (!next(reader, &event)) {
            return false;
        }
        is_end = event.type == YAML_SEQUENCE_END_EVENT;
        ok = is_end || read(reader, &event, context);
        yaml_event_delete(&event);
    }
    return ok;
}

static bool read_alias(struct reader *reader, const yaml_event_t *event, void *context)
{
    struct config_model *model = context;
    static const struct setting alias = {"aliases", SETTING_TEXT, 0, NULL, NULL, 1, 256, ""};
    struct config_place place = place_of(reader, event->start_mark);
    if (event->type != YAML_SCALAR_EVENT || model->aliases_count == CONFIG_ALIASES_MAX) {
        return config_fail(reader->builder, &place, "aliases must be a list of at most %d names",
                           CONFIG_ALIASES_MAX);
    }
    char **member = &model->aliases[model->aliases_count++];
    return config_assign(reader->builder, &place, member, &alias, scalar(event));
}

static bool read_model_value(struct reader *reader, const char *key,
                             const struct config_place *place, struct config_model *model)
{
    struct config_builder *builder = reader->builder;
    const struct setting *setting =
        config_find(config_model_settings, config_model_settings_count, key);
    bool is_aliases = strcmp(key, "aliases") == 0;
    if (setting == NULL && !is_aliases) {
        return config_fail(builder, place, "no such setting of a model: %.80s, the nearest is %s",
                           key,
                           config_nearest(config_model_settings, config_model_settings_count, key));
    }
    yaml_event_t event;
    if (!next(reader, &event)) {
        return false;
    }
    bool ok;
    if (is_aliases && event.type == YAML_SEQUENCE_START_EVENT) {
        ok = read_entries(reader, read_alias, model);
    } else if (is_aliases) {
        ok = config_fail(builder, place, "aliases is %s, must be a list", shape(&event));
    } else if (event.type != YAML_SCALAR_EVENT) {
        ok = config_fail(builder, place, "%s is %s, must be a value", key, shape(&event));
    } else {
        struct config_place at = place_of(reader, event.start_mark);
        ok = config_assign(builder, &at, model, setting, scalar(&event));
    }
    yaml_event_delete(&event);
    return ok;
}

/* After the start of its mapping. */
static bool read_model(struct reader *reader, const struct config_place *start)
{
    struct config *config = reader->builder->config;
    if (config->models_count == CONFIG_MODELS_MAX) {
        return config_fail(reader->builder, start, "models has more than %d entries",
                           CONFIG_MODELS_MAX);
    }
    struct config_model *model = &config->models[config->models_count++];
    if (!config_fill_model(reader->builder, start, model)) {
        return false;
    }
    struct seen seen = {.count = 0};
    char key[CONFIG_NAME_BYTES_MAX];
    struct config_place place;
    while (next_key(reader, &seen, key, sizeof key, &place)) {
        if (key[0] == '\0') {
            return config_check_model(reader->builder, start, model);
        }
        if (!read_model_value(reader, key, &place, model)) {
            return false;
        }
    }
    return false;
}

static bool read_model_entry(struct reader *reader, const yaml_event_t *event, void *context)
{
    (void)context;
    struct config_place place = place_of(reader, event->start_mark);
    return event->type == YAML_MAPPING_START_EVENT
               ? read_model(reader, &place)
               : config_fail(reader->builder, &place, "an entry of models is %s, must be a mapping",
                             shape(event));
}

/* Replaces the models of an earlier source. */
static bool read_models(struct reader *reader)
{
    struct config *config = reader->builder->config;
    memset(config->models, 0, sizeof config->models);
    config->models_count = 0;
    return read_entries(reader, read_model_entry, NULL);
}

/* The names, with commas between them. */
static bool read_name(struct reader *reader, const yaml_event_t *event, void *context)
{
    if (event->type != YAML_SCALAR_EVENT) {
        struct config_place place = place_of(reader, event->start_mark);
        return config_fail(reader->builder, &place, "an entry of the list is %s, must be a value",
                           shape(event));
    }
    struct buffer *names = context;
    buffer_append_text(names, names->size == 0 ? "" : ",");
    buffer_append_text(names, scalar(event));
    return true;
}

static bool read_list(struct reader *reader, const char *key, const struct config_place *place)
{
    struct buffer names;
    buffer_init(&names, CONFIG_BYTES_MAX);
    bool ok = read_entries(reader, read_name, &names);
    buffer_append_char(&names, '\0');
    if (ok && buffer_failed(&names)) {
        ok = config_fail(reader->builder, place, "no memory for the list");
    }
    ok = ok && config_assign_key(reader->builder, place, key, buffer_bytes(&names).data);
    buffer_close(&names);
    return ok;
}

static bool read_mapping(struct reader *reader, const char *prefix);

static bool read_value(struct reader *reader, const char *key, const struct config_place *place)
{
    yaml_event_t event;
    if (!next(reader, &event)) {
        return false;
    }
    struct config_place at = place_of(reader, event.start_mark);
    bool is_models = strcmp(key, "models") == 0;
    const struct setting *setting = config_find(config_settings, config_settings_count, key);
    bool ok;
    if (event.type == YAML_SEQUENCE_START_EVENT && is_models) {
        ok = read_models(reader);
    } else if (is_models) {
        ok = config_fail(reader->builder, place, "models is %s, must be a list", shape(&event));
    } else if (event.type == YAML_MAPPING_START_EVENT) {
        ok = read_mapping(reader, key);
    } else if (event.type == YAML_SCALAR_EVENT) {
        // A fault of the key is told where the key stands, one of the value where it stands.
        ok = config_assign_key(reader->builder, setting != NULL ? &at : place, key, scalar(&event));
    } else if (setting != NULL && setting->type == SETTING_NAMES) {
        ok = read_list(reader, key, &at);
    } else {
        ok = config_fail(reader->builder, place,
                         "%s is %s, which only topics.requests and models may be", key,
                         shape(&event));
    }
    yaml_event_delete(&event);
    return ok;
}

/* After the mapping's start. `prefix` is "" at the top. */
static bool read_mapping(struct reader *reader, const char *prefix)
{
    struct seen seen = {.count = 0};
    char key[CONFIG_NAME_BYTES_MAX];
    char whole[2 * CONFIG_NAME_BYTES_MAX];
    struct config_place place;
    reader->depth++;
    while (next_key(reader, &seen, key, sizeof key, &place)) {
        if (key[0] == '\0') {
            reader->depth--;
            return true;
        }
        (void)snprintf(whole, sizeof whole, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", key);
        if (strlen(whole) >= CONFIG_NAME_BYTES_MAX || reader->depth > DEPTH_MAX) {
            return config_fail(reader->builder, &place,
                               "a key is longer than %d bytes or deeper than %d levels",
                               CONFIG_NAME_BYTES_MAX - 1, DEPTH_MAX);
        }
        if (!read_value(reader, whole, &place)) {
            return false;
        }
    }
    return false;
}

/* The one value of a document, and nothing after it. */
static bool read_document(struct reader *reader, bool is_models)
{
    bool ok = true;
    int values_count = 0;
    bool is_end = false;
    while (ok && !is_end) {
        yaml_event_t event;
        if (!next(reader, &event)) {
            return false;
        }
        struct config_place place = place_of(reader, event.start_mark);
        is_end = event.type == YAML_STREAM_END_EVENT;
        bool is_mark = is_end || event.type == YAML_STREAM_START_EVENT ||
                       event.type == YAML_DOCUMENT_START_EVENT ||
                       event.type == YAML_DOCUMENT_END_EVENT;
        bool is_empty = event.type == YAML_SCALAR_EVENT && event.data.scalar.length == 0;
        if (!is_mark && values_count++ > 0) {
            ok = config_fail(reader->builder, &place, "there is a second document");
        } else if (event.type == YAML_SEQUENCE_START_EVENT && is_models) {
            ok = read_models(reader);
        } else if (event.type == YAML_MAPPING_START_EVENT && !is_models) {
            ok = read_mapping(reader, "");
        } else if (!is_mark && !(is_empty && !is_models)) {
            ok = config_fail(reader->builder, &place, "it is %s, must be %s", shape(&event),
                             is_models ? "a list" : "a mapping of settings");
        }
        yaml_event_delete(&event);
    }
    return ok;
}

static bool read_text(struct config_builder *builder, const char *source, struct bytes text,
                      bool is_models)
{
    struct reader reader = {.builder = builder, .source = source};
    struct config_place place = {.source = source};
    if (!yaml_parser_initialize(&reader.parser)) {
        return config_fail(builder, &place, "no memory to read YAML");
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text.data, text.size);
    bool ok = read_document(&reader, is_models);
    yaml_parser_delete(&reader.parser);
    return ok;
}

bool config_read_yaml(struct config_builder *builder, const char *source, struct bytes text)
{
    return read_text(builder, source, text, false);
}

bool config_read_models(struct config_builder *builder, const char *source, struct bytes text)
{
    if (text.size > CONFIG_BYTES_MAX) {
        const struct config_place place = {.source = source};
        return config_fail(builder, &place, "is larger than %d bytes", CONFIG_BYTES_MAX);
    }
    return read_text(builder, source, text, true);
}
