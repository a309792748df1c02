/* manifest: to JSON and back. */
#include "worker/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096 };

struct manifest *manifest_open(void)
{
    return calloc(1, sizeof(struct manifest));
}

void manifest_close(struct manifest *manifest)
{
    free(manifest);
}

static json_t *offsets_json(const struct manifest_offsets *offsets)
{
    json_t *array = json_array();
    for (size_t i = 0; i < offsets->count; i++) {
        (void)json_array_append_new(array, json_integer(offsets->items[i]));
    }
    return array;
}

json_t *manifest_json(const struct manifest *manifest)
{
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:b, s:I, s:{s:o, s:o, s:o}}", "run_id", manifest->run_id,
        "topic", manifest->topic, "records", (json_int_t)manifest->records, "duplicates",
        (json_int_t)manifest->duplicates, "ids_digest", manifest->digest, "complete",
        (int)manifest->is_complete, "started_ms", (json_int_t)manifest->started_ms, "from",
        "requests", offsets_json(&manifest->requests), "responses",
        offsets_json(&manifest->responses), "dead_letters", offsets_json(&manifest->dead_letters));
}

/* Copies a text of at most size_max bytes. */
static bool read_text(const json_t *value, const char *key, size_t size_max, char *text_out)
{
    const json_t *text = json_object_get(value, key);
    size_t size = json_string_length(text);
    if (!json_is_string(text) || size > size_max || strlen(json_string_value(text)) != size) {
        return false;
    }
    memcpy(text_out, json_string_value(text), size + 1);
    return true;
}

/* Absent is 0. */
static bool read_count(const json_t *value, const char *key, int64_t *count_out)
{
    const json_t *number = json_object_get(value, key);
    *count_out = json_integer_value(number);
    return number == NULL || (json_is_integer(number) && *count_out >= 0);
}

static bool read_offsets(const json_t *value, const char *key, struct manifest_offsets *out)
{
    const json_t *array = json_object_get(value, key);
    out->count = 0;
    if (array == NULL) {
        return true;
    }
    if (!json_is_array(array) || json_array_size(array) > TOPIC_PARTITIONS_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *offset = json_array_get(array, i);
        if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
            return false;
        }
        out->items[out->count++] = json_integer_value(offset);
    }
    return true;
}

static bool read_all(const json_t *value, struct manifest *manifest)
{
    const json_t *complete = json_object_get(value, "complete");
    const json_t *from = json_object_get(value, "from");
    const json_t *topic = json_object_get(value, "topic");
    manifest->is_complete = complete == NULL || json_is_true(complete);
    manifest->topic[0] = '\0';
    return read_text(value, "run_id", RUN_ID_BYTES_MAX, manifest->run_id) &&
           manifest->run_id[0] != '\0' && json_is_integer(json_object_get(value, "records")) &&
           read_count(value, "records", &manifest->records) &&
           read_count(value, "duplicates", &manifest->duplicates) &&
           read_count(value, "started_ms", &manifest->started_ms) &&
           read_text(value, "ids_digest", ID_SET_DIGEST_SIZE - 1, manifest->digest) &&
           (topic == NULL ||
            read_text(value, "topic", MANIFEST_TOPIC_BYTES_MAX, manifest->topic)) &&
           read_offsets(from, "requests", &manifest->requests) &&
           read_offsets(from, "responses", &manifest->responses) &&
           read_offsets(from, "dead_letters", &manifest->dead_letters);
}

bool manifest_parse(const json_t *value, struct manifest *manifest, struct error *error)
{
    return read_all(value, manifest) ||
           error_set(error, ERROR_INVALID, NULL, NULL,
                     "no manifest of `produce`: run_id, records and ids_digest are needed, and "
                     "what is there must have its type");
}

bool manifest_load(const char *path, struct manifest *manifest, struct error *error)
{
    json_error_t reason;
    json_t *value = json_load_file(path, 0, &reason);
    bool ok = value != NULL ? manifest_parse(value, manifest, error)
                            : error_set(error, ERROR_CONFIG, NULL, NULL,
                                        "no manifest of `produce`: %s", reason.text);
    json_decref(value);
    return ok || error_prefix(error, "%s", path);
}

bool manifest_save(const struct manifest *manifest, const char *path, struct error *error)
{
    char partial[PATH_BYTES_MAX];
    int size = snprintf(partial, sizeof partial, "%s.partial", path);
    json_t *value = manifest_json(manifest);
    bool ok = value != NULL && size > 0 && (size_t)size < sizeof partial &&
              json_dump_file(value, partial, JSON_INDENT(2)) == 0 && rename(partial, path) == 0;
    json_decref(value);
    return ok || error_set(error, ERROR_CONFIG, NULL, NULL, "%s cannot be written: %s", path,
                           strerror(errno));
}
