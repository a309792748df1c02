/* answers: from bodies to the pair that a scorer takes, and from its result to lists. */
#include "pipeline/answers.h"

#include "pipeline/compare/schema.h"
#include "pipeline/text/utf8.h"

enum { SCORING_BYTES_MAX = 256 << 20 }; // of memory for one pair, given back at once

static struct bytes text_of(const json_t *string)
{
    return (struct bytes){json_string_value(string), json_string_length(string)};
}

static struct score_answer answer_of(const json_t *body)
{
    const json_t *choice = json_array_get(json_object_get(body, "choices"), 0);
    const json_t *message = json_object_get(choice, "message");
    const json_t *calls = json_object_get(message, "tool_calls");
    const json_t *text =
        json_object_get(message == NULL ? choice : message, message == NULL ? "text" : "content");
    return (struct score_answer){
        .text = text_of(text),
        .refusal = text_of(json_object_get(message, "refusal")),
        .finish_reason = text_of(json_object_get(choice, "finish_reason")),
        .tool_calls = json_is_array(calls) ? calls : NULL,
    };
}

/* NULL where the request asks for no schema. */
static json_t *schema_of(const json_t *request)
{
    const json_t *format = json_object_get(request, "response_format");
    return json_object_get(json_object_get(format, "json_schema"), "schema");
}

static bool is_of_candidate_alone(enum score_id id)
{
    return id == SCORE_REFUSAL || id == SCORE_TRUNCATED;
}

static void append_scores(const struct score_result *result, const char *against,
                          struct scores *scores)
{
    for (int i = 0; i < SCORES_COUNT; i++) {
        enum score_id id = (enum score_id)i;
        if (result->has[i]) {
            scores->items[scores->count++] = (struct score){
                .name = bytes_of(score_name(id)),
                .value = result->values[i],
                .version = bytes_of(score_version(id)),
                .against = bytes_of(is_of_candidate_alone(id) ? NULL : against),
            };
        }
    }
}

/* What it quotes may have been cut within a character. */
static struct bytes reason_of(const struct score_verdict *verdict, struct arena *arena)
{
    struct buffer text;
    buffer_init(&text, 3 * sizeof verdict->reason);
    (void)utf8_append_repaired(&text, bytes_of(verdict->reason), true);
    struct bytes reason = arena_copy(arena, buffer_bytes(&text));
    buffer_close(&text);
    return reason;
}

static void append_verdicts(const struct score_result *result, struct arena *arena,
                            struct verdicts *verdicts)
{
    for (int i = 0; i < VERDICTS_COUNT; i++) {
        const struct score_verdict *given = &result->verdicts[i];
        if (given->is_given) {
            verdicts->items[verdicts->count++] = (struct verdict){
                .name = bytes_of(score_verdict_name((enum score_verdict_id)i)),
                .passed = given->has_passed,
                .reason = given->has_passed ? (struct bytes){0} : reason_of(given, arena),
            };
        }
    }
}

bool answers_score(const struct scorer *scorer, const struct answers *answers, struct arena *arena,
                   struct scores *scores, struct verdicts *verdicts, struct error *error)
{
    bool has_reference = answers->reference.data != NULL;
    struct score_pair pair = {.candidate = answer_of(answers->candidate)};
    pair.reference = has_reference ? (struct score_answer){.text = answers->reference}
                                   : answer_of(answers->incumbent);
    struct schema *schema = NULL;
    json_t *document = schema_of(answers->request);
    if (document != NULL && !schema_open(document, &schema, error)) {
        return error_prefix(error, "the schema in response_format");
    }
    pair.schema = schema;
    struct arena *scratch = arena_open(SCORING_BYTES_MAX);
    struct score_result result;
    bool ok = scratch != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    ok = ok && scorer_run(scorer, &pair, scratch, &result, error);
    if (ok) {
        append_scores(&result, has_reference ? "reference" : "incumbent", scores);
        append_verdicts(&result, arena, verdicts);
    }
    arena_close(scratch);
    schema_close(schema);
    return ok;
}
