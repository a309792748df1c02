/* layout: the tables, one line per field. */
#include "schemas/records/layout.h"

#include <string.h>

#include "schemas/base/check.h"
#include "schemas/base/records.h"

_Static_assert(offsetof(struct label, value) == PAIR_VALUE_OFFSET, "a label is a pair");
_Static_assert(offsetof(struct threshold, value) == PAIR_VALUE_OFFSET, "a threshold is a pair");
_Static_assert(sizeof(struct labels) == sizeof(struct list), "labels are a list");
_Static_assert(sizeof(enum body_encoding) == sizeof(int), "an enum is stored as an int");

static const struct type type_text = {.kind = TYPE_TEXT, .size = sizeof(struct bytes)};
static const struct type type_object = {.kind = TYPE_OBJECT, .size = sizeof(struct bytes)};
static const struct type type_int = {.kind = TYPE_INT, .size = sizeof(int32_t)};
static const struct type type_long = {.kind = TYPE_LONG, .size = sizeof(int64_t)};
static const struct type type_double = {.kind = TYPE_DOUBLE, .size = sizeof(double)};
static const struct type type_boolean = {.kind = TYPE_BOOLEAN, .size = sizeof(bool)};
static const char *const body_encodings[] = {"identity", "zstd", NULL};
static const struct type type_body_encoding = {
    .kind = TYPE_ENUM, .size = sizeof(enum body_encoding), .symbols = body_encodings};
static const struct type type_names = {
    .kind = TYPE_LIST, .size = sizeof(struct list), .item = &type_text};
static const struct type type_labels = {
    .kind = TYPE_MAP, .size = sizeof(struct list), .item = &type_text};
static const struct type type_thresholds = {
    .kind = TYPE_MAP, .size = sizeof(struct list), .item = &type_double};

/* The last arguments set is_required, is_optional and the like where they hold. */
#define FIELD(structure, member, type_of_it, ...)                                                  \
    {                                                                                              \
        .name = #member, .type = &(type_of_it), .offset = offsetof(struct structure, member),      \
        __VA_ARGS__                                                                                \
    }
#define NUMBER_OR_NULL(structure, member, type_of_it)                                              \
    FIELD(structure, member, type_of_it, .is_optional = true,                                      \
          .has_offset = offsetof(struct structure, has_##member))
#define REQUIRED .is_required = true
#define DEFAULTED .is_required = false
#define OPTIONAL .is_optional = true
#define LINE .is_in_line = true

#define LAYOUT(structure, record_name, table)                                                      \
    {                                                                                              \
        .name = (record_name), .size = sizeof(struct structure), .fields = (table),                \
        .count = sizeof(table) / sizeof(table)[0]                                                  \
    }
#define RECORD_TYPE(structure, of)                                                                 \
    {                                                                                              \
        .kind = TYPE_RECORD, .size = sizeof(struct structure), .layout = &(of)                     \
    }

static const struct field answer_fields[] = {
    FIELD(answer, status_code, type_int, DEFAULTED),
    FIELD(answer, body, type_object, OPTIONAL),
    FIELD(answer, model, type_text, OPTIONAL),
    NUMBER_OR_NULL(answer, latency_ms, type_double),
    NUMBER_OR_NULL(answer, first_token_ms, type_double),
    NUMBER_OR_NULL(answer, cost_usd, type_double),
    NUMBER_OR_NULL(answer, prompt_tokens, type_long),
    NUMBER_OR_NULL(answer, completion_tokens, type_long),
};
static const struct layout layout_answer = LAYOUT(answer, "Answer", answer_fields);
static const struct type type_answer = RECORD_TYPE(answer, layout_answer);

static const struct field request_fields[] = {
    FIELD(inference_request, custom_id, type_text, REQUIRED, LINE),
    FIELD(inference_request, run_id, type_text, OPTIONAL),
    FIELD(inference_request, url, type_text, REQUIRED, LINE),
    FIELD(inference_request, body, type_object, REQUIRED, LINE),
    FIELD(inference_request, body_encoding, type_body_encoding, DEFAULTED, LINE),
    NUMBER_OR_NULL(inference_request, deadline_ms, type_long),
    FIELD(inference_request, priority, type_int, DEFAULTED),
    FIELD(inference_request, labels, type_labels, DEFAULTED),
    FIELD(inference_request, reference, type_text, OPTIONAL),
    FIELD(inference_request, incumbent, type_answer, OPTIONAL),
};
const struct layout layout_request = LAYOUT(inference_request, "InferenceRequest", request_fields);

static const struct field source_fields[] = {
    FIELD(source, topic, type_text, REQUIRED),
    FIELD(source, partition, type_int, REQUIRED),
    FIELD(source, offset, type_long, REQUIRED),
};
static const struct layout layout_source = LAYOUT(source, "Source", source_fields);
static const struct type type_source = RECORD_TYPE(source, layout_source);

static const struct field failure_fields[] = {
    FIELD(failure, code, type_text, REQUIRED),
    FIELD(failure, message, type_text, REQUIRED),
};
static const struct layout layout_failure = LAYOUT(failure, "Failure", failure_fields);
static const struct type type_failure = RECORD_TYPE(failure, layout_failure);

static const struct field served_by_fields[] = {
    FIELD(served_by, kind, type_text, REQUIRED),
    FIELD(served_by, endpoint, type_text, OPTIONAL),
    FIELD(served_by, model, type_text, OPTIONAL),
    FIELD(served_by, weights_hash, type_text, OPTIONAL),
    FIELD(served_by, weights_format, type_text, OPTIONAL),
    FIELD(served_by, template_hash, type_text, OPTIONAL),
    FIELD(served_by, backend, type_text, OPTIONAL),
    FIELD(served_by, device, type_text, OPTIONAL),
    FIELD(served_by, rollout_phase, type_text, OPTIONAL),
    FIELD(served_by, version, type_text, OPTIONAL),
};
static const struct layout layout_served_by = LAYOUT(served_by, "ServedBy", served_by_fields);
static const struct type type_served_by = RECORD_TYPE(served_by, layout_served_by);

static const struct field usage_fields[] = {
    FIELD(usage, prompt_tokens, type_long, REQUIRED),
    FIELD(usage, cached_tokens, type_long, DEFAULTED),
    FIELD(usage, completion_tokens, type_long, REQUIRED),
};
static const struct layout layout_usage = LAYOUT(usage, "Usage", usage_fields);
static const struct type type_usage = RECORD_TYPE(usage, layout_usage);

static const struct field timing_fields[] = {
    FIELD(timing, queued_ms, type_double, DEFAULTED),
    FIELD(timing, prefill_ms, type_double, DEFAULTED),
    FIELD(timing, decode_ms, type_double, DEFAULTED),
    FIELD(timing, total_ms, type_double, REQUIRED),
    NUMBER_OR_NULL(timing, first_token_ms, type_double),
};
static const struct layout layout_timing = LAYOUT(timing, "Timing", timing_fields);
static const struct type type_timing = RECORD_TYPE(timing, layout_timing);

static const struct field response_fields[] = {
    FIELD(inference_response, custom_id, type_text, REQUIRED, LINE),
    FIELD(inference_response, run_id, type_text, OPTIONAL),
    FIELD(inference_response, source, type_source, REQUIRED),
    FIELD(inference_response, status_code, type_int, DEFAULTED, LINE),
    FIELD(inference_response, body, type_object, OPTIONAL, LINE),
    FIELD(inference_response, error, type_failure, OPTIONAL, LINE),
    FIELD(inference_response, served_by, type_served_by, OPTIONAL),
    FIELD(inference_response, prompt_template, type_text, OPTIONAL),
    FIELD(inference_response, prompt_variant, type_text, OPTIONAL),
    FIELD(inference_response, changed, type_names, DEFAULTED),
    FIELD(inference_response, dropped, type_names, DEFAULTED),
    FIELD(inference_response, usage, type_usage, OPTIONAL),
    FIELD(inference_response, timing, type_timing, OPTIONAL),
    FIELD(inference_response, attempt, type_int, REQUIRED),
};
const struct layout layout_response =
    LAYOUT(inference_response, "InferenceResponse", response_fields);

static const struct field score_fields[] = {
    FIELD(score, name, type_text, REQUIRED),
    FIELD(score, value, type_double, REQUIRED),
    FIELD(score, version, type_text, OPTIONAL),
    FIELD(score, against, type_text, OPTIONAL),
};
static const struct layout layout_score = LAYOUT(score, "Score", score_fields);
static const struct type type_score = RECORD_TYPE(score, layout_score);
static const struct type type_scores = {
    .kind = TYPE_LIST, .size = sizeof(struct list), .item = &type_score};

static const struct field verdict_fields[] = {
    FIELD(verdict, name, type_text, REQUIRED),
    FIELD(verdict, passed, type_boolean, REQUIRED),
    FIELD(verdict, reason, type_text, OPTIONAL),
};
static const struct layout layout_verdict = LAYOUT(verdict, "Verdict", verdict_fields);
static const struct type type_verdict = RECORD_TYPE(verdict, layout_verdict);
static const struct type type_verdicts = {
    .kind = TYPE_LIST, .size = sizeof(struct list), .item = &type_verdict};

static const struct field comparison_fields[] = {
    FIELD(comparison, custom_id, type_text, REQUIRED),
    FIELD(comparison, run_id, type_text, OPTIONAL),
    FIELD(comparison, source, type_source, REQUIRED),
    FIELD(comparison, labels, type_labels, DEFAULTED),
    FIELD(comparison, reference, type_text, OPTIONAL),
    FIELD(comparison, prompt_template, type_text, OPTIONAL),
    FIELD(comparison, prompt_variant, type_text, OPTIONAL),
    FIELD(comparison, incumbent, type_answer, OPTIONAL),
    FIELD(comparison, candidate, type_answer, OPTIONAL),
    FIELD(comparison, served_by, type_served_by, OPTIONAL),
    FIELD(comparison, error, type_failure, OPTIONAL),
    FIELD(comparison, changed, type_names, DEFAULTED),
    FIELD(comparison, dropped, type_names, DEFAULTED),
    FIELD(comparison, scores, type_scores, DEFAULTED),
    FIELD(comparison, verdicts, type_verdicts, DEFAULTED),
    FIELD(comparison, noise, type_scores, DEFAULTED),
};
const struct layout layout_comparison = LAYOUT(comparison, "Comparison", comparison_fields);

static const struct field control_fields[] = {
    FIELD(control, route, type_text, REQUIRED),
    FIELD(control, phase, type_text, REQUIRED),
    FIELD(control, percent, type_double, DEFAULTED),
    FIELD(control, salt, type_text, OPTIONAL),
    FIELD(control, thresholds, type_thresholds, DEFAULTED),
    FIELD(control, decided_by, type_text, OPTIONAL),
    FIELD(control, reason, type_text, OPTIONAL),
    NUMBER_OR_NULL(control, decided_at_ms, type_long),
    FIELD(control, version, type_long, REQUIRED),
};
const struct layout layout_control = LAYOUT(control, "Control", control_fields);

const struct field *layout_field(const struct layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->count; i++) {
        if (strcmp(layout->fields[i].name, name) == 0) {
            return &layout->fields[i];
        }
    }
    return NULL;
}

bool field_is_absent(const struct field *field, const void *record)
{
    const char *at = (const char *)record + field->offset;
    switch (field->type->kind) {
    case TYPE_TEXT:
    case TYPE_OBJECT:
        return ((const struct bytes *)(const void *)at)->data == NULL;
    case TYPE_RECORD:
        return field->is_optional && field_value(field, record) == NULL;
    case TYPE_LIST:
    case TYPE_MAP: {
        struct list list;
        memcpy(&list, at, sizeof list);
        return list.count == 0;
    }
    case TYPE_INT:
    case TYPE_LONG:
    case TYPE_DOUBLE:
    case TYPE_BOOLEAN:
    case TYPE_ENUM:
        return field->is_optional && !*(const bool *)((const char *)record + field->has_offset);
    }
    CHECK(false && "a type's kind");
    return true;
}

const void *field_value(const struct field *field, const void *record)
{
    const char *at = (const char *)record + field->offset;
    if (field->type->kind == TYPE_RECORD && field->is_optional) {
        const void *pointer;
        memcpy(&pointer, at, sizeof pointer);
        return pointer;
    }
    return at;
}

size_t type_item_size(const struct type *type)
{
    size_t value = type->item->size;
    return type->kind == TYPE_MAP ? PAIR_VALUE_OFFSET + value : value;
}
