/* score: the comparison scores for pairs of texts, as JSON lines. */
#include "worker/command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/compare/schema.h"
#include "pipeline/compare/score.h"
#include "pipeline/text/utf8.h"
#include "worker/model_lines.h"
#include "worker/options.h"
#include "worker/progress.h"

struct scoring {
    struct scorer *scorer;
    struct progress progress;
    int64_t done;
};

static struct bytes text_of(const json_t *string)
{
    return (struct bytes){json_string_value(string), json_string_length(string)};
}

/* A side: a text, or the message of an OpenAI response. Absent and null are no answer. */
static bool read_answer(const json_t *line, const char *name, struct score_answer *answer_out,
                        struct error *error)
{
    const json_t *side = json_object_get(line, name);
    const json_t *content = json_object_get(side, "content");
    const json_t *refusal = json_object_get(side, "refusal");
    const json_t *calls = json_object_get(side, "tool_calls");
    bool is_message = content != NULL || refusal != NULL || calls != NULL;
    *answer_out = (struct score_answer){0};
    if (side == NULL || json_is_null(side)) {
        return true;
    }
    answer_out->text = text_of(json_is_string(side) ? side : content);
    answer_out->refusal = text_of(refusal);
    answer_out->tool_calls = json_is_array(calls) ? calls : NULL;
    return json_is_string(side) || (is_message && !json_is_array(content)) ||
           error_set(error, ERROR_INVALID, NULL, NULL,
                     "%s must be a text, or a message with a text in content, refusal or "
                     "tool_calls",
                     name);
}

static bool read_pair(const json_t *line, struct score_pair *pair_out, struct error *error)
{
    const json_t *labels = json_object_get(line, "labels");
    const json_t *finish_reason = json_object_get(line, "finish_reason");
    *pair_out = (struct score_pair){.labels = json_is_null(labels) ? NULL : labels};
    if (pair_out->labels != NULL && !json_is_array(labels)) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "labels must be an array of texts");
    }
    if (!read_answer(line, "reference", &pair_out->reference, error) ||
        !read_answer(line, "candidate", &pair_out->candidate, error)) {
        return false;
    }
    pair_out->candidate.finish_reason = text_of(finish_reason);
    bool has_candidate = json_is_string(json_object_get(line, "candidate")) ||
                         json_is_object(json_object_get(line, "candidate"));
    return has_candidate || error_set(error, ERROR_INVALID, NULL, NULL, "candidate is missing");
}

/* A reason as JSON, whose quote from the input may have been cut within a character. */
static json_t *reason_of(const struct score_verdict *verdict)
{
    struct buffer text;
    buffer_init(&text, 3 * sizeof verdict->reason);
    (void)utf8_append_repaired(&text, bytes_of(verdict->reason), true);
    json_t *reason = json_stringn(buffer_bytes(&text).data, text.size);
    buffer_close(&text);
    return reason;
}

static json_t *unknown_of(const struct schema *schema)
{
    json_t *names = json_array();
    for (size_t i = 0; schema != NULL && schema_unknown(schema, i) != NULL; i++) {
        (void)json_array_append_new(names, json_string(schema_unknown(schema, i)));
    }
    return names;
}

/* Adds `value` where it holds something. */
static void set_unless_empty(json_t *out, const char *name, json_t *value)
{
    if (json_object_size(value) > 0 || json_array_size(value) > 0) {
        (void)json_object_set(out, name, value);
    }
    json_decref(value);
}

static json_t *write_result(const struct score_result *result, const struct schema *schema)
{
    json_t *scores = json_object();
    json_t *verdicts = json_object();
    json_t *reasons = json_object();
    json_t *too_long = json_array();
    for (int i = 0; i < SCORES_COUNT; i++) {
        const char *name = score_name((enum score_id)i);
        if (result->has[i]) {
            (void)json_object_set_new(scores, name, json_real(result->values[i]));
        } else if (result->is_too_long[i]) {
            (void)json_array_append_new(too_long, json_string(name));
        }
    }
    for (int i = 0; i < VERDICTS_COUNT; i++) {
        const struct score_verdict *verdict = &result->verdicts[i];
        const char *name = score_verdict_name((enum score_verdict_id)i);
        if (verdict->is_given) {
            (void)json_object_set_new(verdicts, name, json_boolean(verdict->has_passed));
        }
        if (verdict->reason[0] != '\0') {
            (void)json_object_set_new(reasons, name, reason_of(verdict));
        }
    }
    json_t *out = json_pack("{s:o, s:o}", "scores", scores, "verdicts", verdicts);
    set_unless_empty(out, "reasons", reasons);
    set_unless_empty(out, "too_long", too_long);
    set_unless_empty(out, "unknown_keywords", unknown_of(schema));
    return out;
}

static json_t *score_line(void *context, json_t *line, struct arena *arena, struct error *error)
{
    struct scoring *scoring = context;
    struct score_pair pair;
    struct score_result result;
    struct schema *schema = NULL;
    json_t *document = json_object_get(line, "schema");
    bool has_schema = document != NULL && !json_is_null(document);
    json_t *out = NULL;
    progress_show(&scoring->progress, ++scoring->done, 0, -1);
    if (read_pair(line, &pair, error) && (!has_schema || schema_open(document, &schema, error))) {
        pair.schema = schema;
        if (scorer_run(scoring->scorer, &pair, arena, &result, error)) {
            out = write_result(&result, schema);
        }
    }
    schema_close(schema);
    return out;
}

static bool run(struct error *error)
{
    struct scoring scoring = {.done = 0};
    if (!scorer_open(&scoring.scorer, error)) {
        return false;
    }
    progress_start(&scoring.progress, "pairs", isatty(STDERR_FILENO) == 0);
    struct model_lines lines = {score_line, &scoring};
    bool is_done = model_lines_run(&lines, error);
    progress_stop(&scoring.progress);
    scorer_close(scoring.scorer);
    return is_done;
}

int command_score(int argc, char **argv)
{
    struct options options = {
        .name = "score",
        .arguments = "",
        .about =
            "Scores pairs of texts: JSON lines on stdin, a line on stdout for each, in order:\n"
            "  {\"reference\", \"candidate\", \"schema\", \"labels\", \"finish_reason\"}\n"
            "    -> {\"scores\": {\"rouge1\", ...}, \"verdicts\": {\"json\", ...}, \"reasons\"}\n"
            "Only candidate is required. Reference and candidate are texts, or messages of\n"
            "an OpenAI response (content, refusal, tool_calls). labels are the classes that\n"
            "there are. deploy/SCORES.md and millrace settings --scores define each score.\n"
            "A bad line gives {\"error\"}. Exit code: 0, or 1 where stdin or stdout fail.\n",
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct error error = {0};
    if (!run(&error)) {
        options_complain(&options, "%s", error.message);
        return options_exit_code(&error);
    }
    return EXIT_CODE_OK;
}
