/* post_processor: only what is done to a single text; pairs of texts are not used here. */
#include "pipeline/text/post_processor.h"

#include "pipeline/text/tokenizer_json.h"

/* A template being read. */
struct reading {
    struct post_processor *post_processor;
    size_t ids_count;
    bool has_template;
};

static bool add_id(const struct reading *reading, struct special_ids *special, const json_t *id,
                   struct error *error)
{
    json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
    if (value < 0 || (size_t)value >= reading->ids_count) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a special token of the post_processor has no id below %zu",
                         reading->ids_count);
    }
    if (special->count == TEMPLATE_IDS_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "the post_processor adds more than %d tokens on one side",
                         TEMPLATE_IDS_MAX);
    }
    special->ids[special->count++] = (int32_t)value;
    return true;
}

/* {"SpecialToken": {"id": NAME}}, whose ids are special_tokens[NAME].ids */
static bool add_special(const struct reading *reading, struct special_ids *special,
                        const json_t *item, const json_t *table, struct error *error)
{
    struct bytes name = {NULL, 0};
    const json_t *ids = NULL;
    if (!member_text(json_object_get(item, "SpecialToken"), "id", &name, error) ||
        !member_array(json_object_get(table, name.data), "ids", &ids, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        if (!add_id(reading, special, json_array_get(ids, i), error)) {
            return false;
        }
    }
    return true;
}

static bool read_template(struct reading *reading, const json_t *json, struct error *error)
{
    const json_t *items = NULL;
    const json_t *table = json_object_get(json, "special_tokens");
    size_t texts = 0;
    if (reading->has_template) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "more than one template in the post_processor is not supported");
    }
    reading->has_template = true;
    if (!member_array(json, "single", &items, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (json_object_get(item, "Sequence") != NULL) {
            texts++;
            continue;
        }
        struct special_ids *special =
            texts == 0 ? &reading->post_processor->before : &reading->post_processor->after;
        if (!add_special(reading, special, item, table, error)) {
            return false;
        }
    }
    return texts == 1 || error_set(error, ERROR_INVALID, NULL, NULL,
                                   "\"single\" of the post_processor has the text %zu times, must "
                                   "have it once",
                                   texts);
}

/* {"cls": [NAME, ID], "sep": [NAME, ID]} */
static bool read_pair(struct reading *reading, const json_t *json, struct error *error)
{
    const json_t *cls = json_object_get(json, "cls");
    const json_t *sep = json_object_get(json, "sep");
    if (reading->has_template) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "more than one template in the post_processor is not supported");
    }
    reading->has_template = true;
    return add_id(reading, &reading->post_processor->before, json_array_get(cls, 1), error) &&
           add_id(reading, &reading->post_processor->after, json_array_get(sep, 1), error);
}

/* Recursion is bounded by JSON's own depth limit. */
static bool read_any(struct reading *reading, const json_t *json, struct error *error)
{
    struct bytes type = {NULL, 0};
    if (!member_text(json, "type", &type, error)) {
        return false;
    }
    if (bytes_equal_text(type, "TemplateProcessing")) {
        return read_template(reading, json, error);
    }
    if (bytes_equal_text(type, "RobertaProcessing") || bytes_equal_text(type, "BertProcessing")) {
        return read_pair(reading, json, error);
    }
    if (bytes_equal_text(type, "ByteLevel")) {
        return true; // changes offsets only
    }
    if (!bytes_equal_text(type, "Sequence")) {
        return refuse_type("post_processor", type, error);
    }
    const json_t *parts = NULL;
    if (!member_array(json, "processors", &parts, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        if (!read_any(reading, json_array_get(parts, i), error)) {
            return false;
        }
    }
    return true;
}

bool post_processor_init(struct post_processor *post_processor, const json_t *json,
                         size_t ids_count, struct error *error)
{
    *post_processor = (struct post_processor){0};
    struct reading reading = {.post_processor = post_processor, .ids_count = ids_count};
    return json == NULL || json_is_null(json) || read_any(&reading, json, error);
}
