/* score: the table, and each score from the modules around it. */
#include "pipeline/compare/score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/compare/answer_json.h"
#include "pipeline/compare/fields.h"
#include "pipeline/compare/label.h"
#include "pipeline/compare/refusal.h"
#include "pipeline/compare/rouge.h"
#include "pipeline/compare/schema.h"
#include "pipeline/compare/tool_calls.h"

struct scorer {
    struct words_cutter cutter;
};

static const struct definition {
    const char *name;
    const char *version;
    const char *text;
} definitions[SCORES_COUNT] = {
#define X(id, name, version, definition) {name, version, definition},
    SCORES(X)
#undef X
};

static const struct definition verdicts[VERDICTS_COUNT] = {
#define X(id, name, definition) {name, NULL, definition},
    SCORE_VERDICTS(X)
#undef X
};

static const char notes[] =
    "\n## Words\n\n"
    "- ROUGE is what Google's rouge-score 0.1.2 computes: lower case, words are runs of a-z and "
    "0-9. "
    "Other letters\n  separate words, so that text in other scripts scores near 0: use the "
    "`_unicode` scores there.\n"
    "- `_stem`: words of more than three characters are stemmed by NLTK's Porter stemmer with its "
    "extensions, as\n  rouge-score does.\n"
    "- `_unicode`: NFKC, lower case, words are runs of letters, marks and numbers of any script; "
    "each letter of Han,\n  Kana, Thai, Lao, Khmer and Burmese is a word of its own.\n"
    "- SQuAD's normalization: lower case, ASCII punctuation removed, the words a, an and the "
    "removed, white space\n  collapsed. A final sigma counts as a sigma.\n\n"
    "## Limits\n\n"
    "- A text may have 1,048,576 bytes.\n"
    "- rougeL and rougeLsum are absent where the longest common subsequences would take over "
    "4,194,304 steps: the sum\n  over all pairs of sentences (texts, for rougeL) of the words of "
    "the reference's times a 64th of those of the\n  candidate's. Two texts of 16,000 words take "
    "that.\n"
    "- A message may have 128 tool calls; fields are compared to a depth of 64.\n\n"
    "## JSON Schema\n\n"
    "Draft 2020-12; draft 7 where `$schema` names draft 4, 6 or 7. `$ref` and `$dynamicRef` reach "
    "what is within the\nschema; nothing is fetched. `format` and content keywords annotate only. "
    "Patterns are searched by PCRE2, in at\nmost two million steps and texts of 65,536 bytes. A "
    "schema may have 20,000 subschemas, 256 levels and 1,024\npatterns, a check takes at most "
    "10,000,000 steps; past a limit there is no verdict, and a reason. Keywords that\nnothing "
    "knows are ignored and named.\n\n"
    "## Labels and refusals\n\n"
    "- A label is the first line without quotes and punctuation around it and without `Label:`, "
    "`Category:`, `Class:`,\n  `Classification:` or `Answer:` before it, in lower case, of at most "
    "64 bytes; or the member `label`, `category` or\n  `class`, or the only member, of a JSON "
    "object. Where the labels are given, it is the only one of them that stands\n  in the text, "
    "if it is not the first line.\n"
    "- A refusal begins with one of some seventy openings in eleven languages. This is a "
    "heuristic.\n";

const char *score_name(enum score_id id)
{
    return definitions[id].name;
}

const char *score_version(enum score_id id)
{
    return definitions[id].version;
}

const char *score_verdict_name(enum score_verdict_id id)
{
    return verdicts[id].name;
}

bool scorer_open(struct scorer **scorer_out, struct error *error)
{
    struct scorer *scorer = calloc(1, sizeof *scorer);
    if (scorer == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a scorer");
    }
    words_cutter_init(&scorer->cutter);
    *scorer_out = scorer;
    return true;
}

void scorer_close(struct scorer *scorer)
{
    free(scorer);
}

/* --- Texts --- */

static void put(struct score_result *result, enum score_id id, double value)
{
    result->values[id] = value;
    result->has[id] = true;
}

static void put_rouges(struct score_result *result, enum score_id first,
                       const struct rouges *rouges)
{
    put(result, first, rouges->n1.f);
    put(result, first + 1, rouges->n2.f);
    result->values[first + 2] = rouges->l.f;
    result->has[first + 2] = rouges->has_l;
    result->is_too_long[first + 2] = !rouges->has_l;
    result->values[first + 3] = rouges->lsum.f;
    result->has[first + 3] = rouges->has_lsum;
    result->is_too_long[first + 3] = !rouges->has_lsum;
}

static bool is_ascii(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((text.data[i] & 0x80) != 0) {
            return false;
        }
    }
    return true;
}

static bool score_rouge(const struct scorer *scorer, const struct bytes texts[2],
                        struct arena *arena, struct score_result *result, struct error *error)
{
    static const struct {
        enum words_mode mode;
        enum score_id first;
    } modes[] = {
        {WORDS_ROUGE, SCORE_ROUGE1},
        {WORDS_STEM, SCORE_ROUGE1_STEM},
        {WORDS_UNICODE, SCORE_ROUGE1_UNICODE},
    };
    struct rouges plain = {0};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct words_pair pair;
        struct rouges rouges = plain;
        // In ASCII the Unicode mode has the same words as the plain one.
        bool is_known = modes[i].mode == WORDS_UNICODE && is_ascii(texts[0]) && is_ascii(texts[1]);
        if (!is_known && (!words_cut(&scorer->cutter, modes[i].mode, texts, arena, &pair, error) ||
                          !rouge_compute(&pair, arena, &rouges, error))) {
            return false;
        }
        put_rouges(result, modes[i].first, &rouges);
        plain = i == 0 ? rouges : plain;
    }
    return true;
}

static bool score_squad(const struct scorer *scorer, const struct bytes texts[2],
                        struct arena *arena, struct score_result *result, struct error *error)
{
    struct words_pair pair;
    size_t overlap = 0;
    if (!words_cut(&scorer->cutter, WORDS_SQUAD, texts, arena, &pair, error) ||
        !rouge_overlap(&pair, arena, &overlap, error)) {
        return false;
    }
    const struct words *reference = &pair.reference;
    const struct words *candidate = &pair.candidate;
    bool is_equal = reference->count == candidate->count &&
                    memcmp(reference->numbers, candidate->numbers,
                           reference->count * sizeof *reference->numbers) == 0;
    bool is_empty = reference->count == 0 || candidate->count == 0;
    put(result, SCORE_EXACT_MATCH, is_equal);
    put(result, SCORE_TOKEN_F1,
        is_empty ? is_equal : rouge_of(overlap, reference->count, candidate->count).f);
    return true;
}

static size_t count_characters(struct bytes text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80; // not a UTF-8 continuation byte
    }
    return count;
}

static void score_agreement(const struct score_pair *pair, struct score_result *result)
{
    struct bytes reference = pair->reference.text;
    struct bytes candidate = pair->candidate.text;
    put(result, SCORE_IDENTICAL, bytes_equal(reference, candidate));
    if (reference.size > 0) {
        put(result, SCORE_LENGTH_RATIO,
            (double)count_characters(candidate) / (double)count_characters(reference));
    }
    struct label expected = label_of(reference, pair->labels);
    if (expected.size > 0) {
        struct label given = label_of(candidate, pair->labels);
        put(result, SCORE_LABEL_MATCH, label_equal(&expected, &given));
    }
}

static void score_candidate(const struct score_answer *candidate, struct score_result *result)
{
    put(result, SCORE_REFUSAL, candidate->refusal.size > 0 || refusal_is_likely(candidate->text));
    if (candidate->finish_reason.size > 0) {
        put(result, SCORE_TRUNCATED, bytes_equal_text(candidate->finish_reason, "length"));
    }
}

/* --- Structures --- */

static void give(struct score_result *result, enum score_verdict_id id, bool has_passed,
                 const char *reason)
{
    struct score_verdict *verdict = &result->verdicts[id];
    verdict->is_given = true;
    verdict->has_passed = has_passed;
    (void)snprintf(verdict->reason, sizeof verdict->reason, "%.199s", has_passed ? "" : reason);
}

static void judge_schema(const struct score_pair *pair, json_t *value, struct score_result *result)
{
    struct score_verdict *verdict = &result->verdicts[VERDICT_SCHEMA];
    char reason[sizeof verdict->reason] = "not JSON";
    struct error error = {0};
    bool has_passed = false;
    if (pair->schema == NULL) {
        return;
    }
    if (value == NULL ||
        schema_check(pair->schema, value, &has_passed, reason, sizeof reason, &error)) {
        give(result, VERDICT_SCHEMA, has_passed, reason);
    } else {
        (void)snprintf(verdict->reason, sizeof verdict->reason, "%.199s", error.message);
    }
}

static void judge_fields(json_t *reference, json_t *candidate, struct score_result *result)
{
    struct fields fields = fields_compare(reference, candidate);
    char reason[FIELDS_PATH_SIZE + 64];
    (void)snprintf(reason, sizeof reason, "%zu of %zu fields differ, first %s",
                   fields.total - fields.equal, fields.total, fields.difference);
    put(result, SCORE_FIELD_ACCURACY, fields_accuracy(&fields));
    give(result, VERDICT_FIELDS, fields.equal == fields.total, reason);
}

static void score_json(const struct score_pair *pair, struct score_result *result)
{
    json_t *reference = NULL;
    json_t *candidate = NULL;
    struct error cause = {0};
    bool is_json = answer_json_parse(pair->candidate.text, &candidate, &cause);
    give(result, VERDICT_JSON, is_json, cause.message);
    judge_schema(pair, candidate, result);
    bool has_fields = answer_json_parse(pair->reference.text, &reference, NULL) &&
                      (json_is_object(reference) || json_is_array(reference));
    if (has_fields) {
        judge_fields(reference, candidate, result);
    }
    json_decref(reference);
    json_decref(candidate);
}

static bool score_tool_calls(const struct score_pair *pair, struct score_result *result,
                             struct error *error)
{
    struct tool_calls calls;
    if (!tool_calls_compare(pair->reference.tool_calls, pair->candidate.tool_calls, &calls,
                            error)) {
        return false;
    }
    if (calls.is_given) {
        put(result, SCORE_TOOL_NAMES, calls.names);
        put(result, SCORE_TOOL_ARGUMENTS, calls.arguments);
        give(result, VERDICT_TOOL_CALLS, calls.difference[0] == '\0', calls.difference);
    }
    return true;
}

bool scorer_run(const struct scorer *scorer, const struct score_pair *pair, struct arena *arena,
                struct score_result *result_out, struct error *error)
{
    const struct bytes texts[2] = {pair->reference.text, pair->candidate.text};
    *result_out = (struct score_result){0};
    score_candidate(&pair->candidate, result_out);
    score_json(pair, result_out);
    if (!score_tool_calls(pair, result_out, error)) {
        return false;
    }
    if (texts[0].data == NULL) {
        return true;
    }
    score_agreement(pair, result_out);
    return score_squad(scorer, texts, arena, result_out, error) &&
           score_rouge(scorer, texts, arena, result_out, error);
}

void score_write_reference(struct buffer *page)
{
    buffer_append_text(page, "# Scores\n\n"
                             "<!-- Generated: millrace settings --scores -->\n\n");
    buffer_append_text(
        page,
        "`millrace score` gives them for pairs of texts. Most compare the candidate's answer with "
        "a "
        "reference, which is\na labelled right answer or what another model said; a score against "
        "another model's answer is agreement, not\nquality. A version changes with the "
        "definition, so that numbers of one name and version can be compared.\n\n"
        "| Score | Version | Definition |\n| --- | --- | --- |\n");
    for (int i = 0; i < SCORES_COUNT; i++) {
        buffer_printf(page, "| `%s` | %s | %s |\n", definitions[i].name, definitions[i].version,
                      definitions[i].text);
    }
    buffer_append_text(page, "\n| Verdict | Passed when |\n| --- | --- |\n");
    for (int i = 0; i < VERDICTS_COUNT; i++) {
        buffer_printf(page, "| `%s` | %s |\n", verdicts[i].name, verdicts[i].text);
    }
    buffer_append_text(page, notes);
}
