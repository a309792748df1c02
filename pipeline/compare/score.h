/* score: all scores of two answers to one request.
 *
 * Each score has a name, a version that changes with its definition, and a definition, from which
 * the page in deploy/ is made. Most compare the candidate's answer with a reference: a labelled
 * right answer, or what another model said; the caller knows which and names it. A score that does
 * not apply is absent, not 0. Thread: any; a scorer is immutable, a pair belongs to whoever scores
 * it.
 */
#ifndef PIPELINE_COMPARE_SCORE_H
#define PIPELINE_COMPARE_SCORE_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

#define SCORES(X)                                                                                  \
    X(IDENTICAL, "identical", "1", "1 where both texts are the same bytes, else 0")                \
    X(EXACT_MATCH, "exact_match", "1",                                                             \
      "1 where both texts are the same words after SQuAD's normalization, else 0")                 \
    X(TOKEN_F1, "token_f1", "1",                                                                   \
      "SQuAD's F1: harmonic mean of precision and recall of the words that both have, after "      \
      "SQuAD's normalization; where a text has no words, 1 if neither has, else 0")                \
    X(ROUGE1, "rouge1", "1", "ROUGE-1, F measure: words that both have")                           \
    X(ROUGE2, "rouge2", "1", "ROUGE-2, F measure: pairs of neighbouring words that both have")     \
    X(ROUGEL, "rougeL", "1",                                                                       \
      "ROUGE-L, F measure: the longest common subsequence of words over the whole texts")          \
    X(ROUGELSUM, "rougeLsum", "1",                                                                 \
      "ROUGE-L of summaries, F measure: for each line of the reference the union of its longest "  \
      "common subsequences with all lines of the candidate")                                       \
    X(ROUGE1_STEM, "rouge1_stem", "1", "rouge1 of stemmed words")                                  \
    X(ROUGE2_STEM, "rouge2_stem", "1", "rouge2 of stemmed words")                                  \
    X(ROUGEL_STEM, "rougeL_stem", "1", "rougeL of stemmed words")                                  \
    X(ROUGELSUM_STEM, "rougeLsum_stem", "1", "rougeLsum of stemmed words")                         \
    X(ROUGE1_UNICODE, "rouge1_unicode", "1", "rouge1 of words of any script")                      \
    X(ROUGE2_UNICODE, "rouge2_unicode", "1", "rouge2 of words of any script")                      \
    X(ROUGEL_UNICODE, "rougeL_unicode", "1", "rougeL of words of any script")                      \
    X(ROUGELSUM_UNICODE, "rougeLsum_unicode", "1", "rougeLsum of words of any script")             \
    X(LENGTH_RATIO, "length_ratio", "1",                                                           \
      "characters of the candidate's text by characters of the reference's; absent where that "    \
      "is empty")                                                                                  \
    X(LABEL_MATCH, "label_match", "1",                                                             \
      "1 where both answers name the same label, else 0; absent where the reference names none")   \
    X(REFUSAL, "refusal", "1",                                                                     \
      "1 where the candidate's message has a refusal or its text begins as refusals do, else 0")   \
    X(TRUNCATED, "truncated", "1",                                                                 \
      "1 where the candidate's finish_reason is length, else 0; absent where none is given")       \
    X(FIELD_ACCURACY, "field_accuracy", "1",                                                       \
      "of all paths to a value in either JSON text, the part at which both have the same value; "  \
      "absent where the reference is not a JSON object or array")                                  \
    X(TOOL_NAMES, "tool_names", "1",                                                               \
      "F1 of the names of the called functions; absent where neither calls one")                   \
    X(TOOL_ARGUMENTS, "tool_arguments", "1",                                                       \
      "field accuracy of the arguments, mean over the calls of whoever calls more; calls are "     \
      "paired by name in their order, one without a partner counts 0; absent where neither calls")

#define SCORE_VERDICTS(X)                                                                          \
    X(JSON, "json", "The candidate's text is JSON, without anything around it")                    \
    X(SCHEMA, "schema", "The candidate's text is JSON that the schema allows; only with a schema") \
    X(FIELDS, "fields",                                                                            \
      "The candidate's fields are those of the reference; only where that is JSON")                \
    X(TOOL_CALLS, "tool_calls",                                                                    \
      "The candidate calls the functions that the reference calls, with the same arguments; only " \
      "where "                                                                                     \
      "either calls one")

enum score_id {
#define X(id, name, version, definition) SCORE_##id,
    SCORES(X)
#undef X
        SCORES_COUNT
};

enum score_verdict_id {
#define X(id, name, definition) VERDICT_##id,
    SCORE_VERDICTS(X)
#undef X
        VERDICTS_COUNT
};

/* What one side said. Texts are valid UTF-8. */
struct score_answer {
    struct bytes text;          // a reference without text has none of the scores against it
    struct bytes refusal;       // the message's, absent mostly
    struct bytes finish_reason; // absent where it is not known
    const json_t *tool_calls;   // the message's array, or NULL
};

struct schema;

struct score_pair {
    struct score_answer reference;
    struct score_answer candidate;
    const struct schema *schema; // NULL: none
    const json_t *labels;        // array of strings, or NULL: label.h
};

struct score_verdict {
    bool is_given;
    bool has_passed;
    char reason[200]; // why not; where it is not given, why there is none, or empty
};

struct score_result {
    double values[SCORES_COUNT];
    bool has[SCORES_COUNT];
    bool is_too_long[SCORES_COUNT]; // absent because it would take too many steps (rouge.h)
    struct score_verdict verdicts[VERDICTS_COUNT];
};

struct scorer;

MUST_CHECK bool scorer_open(struct scorer **scorer_out, struct error *error);
void scorer_close(struct scorer *scorer); // accepts NULL

/* Fails where a text is larger than WORDS_TEXT_BYTES_MAX (words.h) or the arena has no room: an
 * answer of some kilobytes takes 100 times its size, hostile ones of a megabyte up to 500 MB. */
MUST_CHECK bool scorer_run(const struct scorer *scorer, const struct score_pair *pair,
                           struct arena *arena, struct score_result *result_out,
                           struct error *error);

const char *score_name(enum score_id id);
const char *score_version(enum score_id id);
const char *score_verdict_name(enum score_verdict_id id);

/* The page that deploy/SCORES.md is. */
void score_write_reference(struct buffer *page);

#endif
