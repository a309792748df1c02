/* model_check: weights by the loader's own rules, then tokenizer and template. */
#include "worker/model_check.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/model/model_report.h"
#include "pipeline/text/chat_template.h"
#include "pipeline/text/tokenizer.h"

struct check {
    struct model_report report;
    struct tokenizer *tokenizer;
    struct chat_template *chat_template;
    bool has_no_template;
};

static bool open_check(struct check *check, const char *path, const char *adapter,
                       struct error *error)
{
    if (!model_report_make(path, adapter, &check->report, error) ||
        !tokenizer_open(path, &check->tokenizer, error) ||
        !tokenizer_check_ids(check->tokenizer, check->report.config.vocabulary, error)) {
        return false;
    }
    struct error cause = {0};
    if (chat_template_open(path, &check->chat_template, &cause)) {
        return true;
    }
    check->has_no_template = cause.kind == ERROR_NOT_FOUND;
    if (!check->has_no_template) {
        *error = cause;
        return false;
    }
    return true; // completions work without a template
}

static json_t *dtypes_of(const struct model_report *report)
{
    json_t *object = json_object();
    for (int i = 0; i < report->dtypes_count; i++) {
        (void)json_object_set_new(object, report->dtypes[i].name,
                                  json_integer(report->dtypes[i].parameters));
    }
    return object;
}

static json_t *stop_tokens_of(const struct check *check)
{
    json_t *array = json_array();
    const struct model_config *config = &check->report.config;
    for (int i = 0; i < config->stop_tokens_count; i++) {
        struct bytes token = tokenizer_token(check->tokenizer, config->stop_tokens[i]);
        json_t *text = token.data == NULL ? json_null() : json_stringn(token.data, token.size);
        (void)json_array_append_new(
            array, json_pack("{s:i, s:o}", "id", (int)config->stop_tokens[i], "token", text));
    }
    return array;
}

static json_t *unsupported_of(const struct check *check)
{
    json_t *array = json_array();
    if (check->report.config.encoder.is_encoder) {
        (void)json_array_append_new(
            array, json_string("/v1/chat/completions, /v1/completions: the model is an encoder"));
        return array;
    }
    if (check->has_no_template) {
        (void)json_array_append_new(
            array, json_string("/v1/chat/completions: the folder has no chat template"));
    }
    if (check->report.config.prediction_layers > 0) {
        (void)json_array_append_new(
            array, json_sprintf("the last %d layers, which predict further tokens, are not used",
                                check->report.config.prediction_layers));
    }
    return array;
}

/* Weights in each format of each back end; keys and values are those of the formats' defaults. */
static json_t *memory_of(const struct model_report *report)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "cpu_f32", (json_int_t)report->weights_bytes_f32,
        "cpu_bf16", (json_int_t)report->weights_bytes_bf16, "cpu_int8",
        (json_int_t)report->weights_bytes_int8, "cuda_bf16", (json_int_t)report->weights_bytes_bf16,
        "cuda_fp8", (json_int_t)report->weights_bytes_int8, "kv_per_token",
        (json_int_t)report->kv_bytes_per_token, "kv_per_token_bf16",
        (json_int_t)report->kv_bytes_per_token / 2);
}

static json_t *report_of(const struct check *check, const char *adapter)
{
    const struct model_report *report = &check->report;
    const struct model_config *config = &report->config;
    return json_pack("{s:s, s:I, s:I, s:o, s:s, s:s*, s:i, s:i, s:o, s:o, s:I, s:o}",
                     "architecture", config->architecture, "parameters",
                     (json_int_t)report->parameters, "tensors", (json_int_t)report->tensors,
                     "dtypes", dtypes_of(report), "quantization",
                     quantization_name(config->quantization.kind), "adapter", adapter, "context",
                     config->context, "vocabulary", config->vocabulary, "stop_tokens",
                     stop_tokens_of(check), "memory_bytes", memory_of(report), "file_bytes",
                     (json_int_t)report->file_bytes, "unsupported", unsupported_of(check));
}

/* The same facts, a line each. */
static void print_lines(json_t *report)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach (report, key, value) {
        (void)printf("%-14s ", key);
        (void)json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
        (void)putchar('\n');
    }
}

bool model_check_print(const char *path, const char *adapter, bool as_json, struct error *error)
{
    struct check check = {0};
    bool is_ok = open_check(&check, path, adapter, error);
    json_t *report = is_ok ? report_of(&check, adapter) : NULL;
    if (is_ok && report == NULL) {
        is_ok = error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the report");
    }
    if (report != NULL) {
        if (as_json) {
            (void)json_dumpf(report, stdout, JSON_COMPACT);
            (void)putchar('\n');
        } else {
            print_lines(report);
        }
        json_decref(report);
    }
    chat_template_close(check.chat_template);
    tokenizer_close(check.tokenizer);
    return is_ok;
}
