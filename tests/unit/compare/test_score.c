/* All scores of a pair, what is absent when, and the page that documents them. */
#include "pipeline/compare/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/compare/schema.h"
#include "tests/support/cmocka.h"

enum { ARENA_BYTES_MAX = 64 << 20, LINE_BYTES_MAX = 1 << 16 };

static struct score_result score(const struct score_pair *pair)
{
    struct scorer *scorer = NULL;
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct score_result result;
    struct error error = {0};
    assert_true(scorer_open(&scorer, &error));
    if (!scorer_run(scorer, pair, arena, &result, &error)) {
        fail_msg("%s", error.message);
    }
    scorer_close(scorer);
    arena_close(arena);
    return result;
}

static struct score_result score_texts(const char *reference, const char *candidate)
{
    struct score_pair pair = {.reference = {.text = bytes_of(reference)},
                              .candidate = {.text = bytes_of(candidate)}};
    return score(&pair);
}

static struct bytes member(const json_t *line, const char *name)
{
    const json_t *text = json_object_get(line, name);
    return (struct bytes){json_string_value(text), json_string_length(text)};
}

static void test_agrees_with_the_references(void **state)
{
    (void)state;
    static char text[LINE_BYTES_MAX];
    static const enum score_id firsts[3] = {SCORE_ROUGE1, SCORE_ROUGE1_STEM, SCORE_ROUGE1_UNICODE};
    FILE *file = fopen(SOURCE_DIR "/tests/golden/compare/pairs.jsonl", "rb");
    assert_non_null(file);
    while (fgets(text, sizeof text, file) != NULL) {
        json_t *line = json_loads(text, JSON_ALLOW_NUL, NULL);
        struct score_pair pair = {.reference = {.text = member(line, "reference")},
                                  .candidate = {.text = member(line, "candidate")}};
        struct score_result result = score(&pair);
        const json_t *rouge = json_object_get(line, "rouge");
        for (size_t i = 0; i < 12; i++) {
            double wanted = json_number_value(json_array_get(rouge, 3 * i + 2));
            size_t id = firsts[i / 4] + i % 4;
            assert_true(result.has[id] && fabs(result.values[id] - wanted) <= 1e-6);
        }
        double exact = json_number_value(json_object_get(line, "exact"));
        double f1 = json_number_value(json_object_get(line, "f1"));
        assert_true(result.values[SCORE_EXACT_MATCH] == exact);
        assert_true(fabs(result.values[SCORE_TOKEN_F1] - f1) <= 1e-6);
        json_decref(line);
    }
    (void)fclose(file);
}

static void test_compares_texts(void **state)
{
    (void)state;
    struct score_result result = score_texts("The Cat.", "the cat");
    assert_true(result.values[SCORE_IDENTICAL] == 0 && result.has[SCORE_IDENTICAL]);
    assert_true(result.values[SCORE_EXACT_MATCH] == 1);
    assert_true(fabs(result.values[SCORE_LENGTH_RATIO] - 7.0 / 8) < 1e-12);
    assert_true(result.values[SCORE_LABEL_MATCH] == 1);
    assert_true(result.values[SCORE_REFUSAL] == 0);
    assert_false(result.has[SCORE_TRUNCATED] || result.has[SCORE_FIELD_ACCURACY]);
    assert_false(result.has[SCORE_TOOL_NAMES] || result.verdicts[VERDICT_SCHEMA].is_given);
    result = score_texts("", "x");
    assert_false(result.has[SCORE_LENGTH_RATIO] || result.has[SCORE_LABEL_MATCH]);
}

static void test_a_candidate_alone_is_judged(void **state)
{
    (void)state;
    struct score_pair pair = {
        .candidate = {.text = bytes_of("{\"a\": 1}"), .finish_reason = bytes_of("length")}};
    struct score_result result = score(&pair);
    assert_true(result.values[SCORE_TRUNCATED] == 1);
    assert_false(result.has[SCORE_ROUGE1] || result.has[SCORE_IDENTICAL]);
    assert_true(result.verdicts[VERDICT_JSON].has_passed);
    assert_false(result.verdicts[VERDICT_FIELDS].is_given);
    pair.candidate.refusal = bytes_of("no");
    assert_true(score(&pair).values[SCORE_REFUSAL] == 1);
}

static void test_compares_fields_of_json(void **state)
{
    (void)state;
    struct score_result result = score_texts("{\"a\": 1, \"b\": 2}", "{\"a\": 1, \"b\": 3}");
    assert_true(result.values[SCORE_FIELD_ACCURACY] == 0.5);
    assert_string_equal(result.verdicts[VERDICT_FIELDS].reason, "1 of 2 fields differ, first b");
    result = score_texts("{\"a\": 1}", "```json\n{\"a\": 1}\n```");
    assert_true(result.values[SCORE_FIELD_ACCURACY] == 0);
    assert_false(result.verdicts[VERDICT_JSON].has_passed);
    assert_non_null(strstr(result.verdicts[VERDICT_JSON].reason, "code fence"));
    assert_true(
        score_texts("", "123456789012345678901234567890").verdicts[VERDICT_JSON].has_passed);
}

static void test_judges_by_the_schema(void **state)
{
    (void)state;
    json_t *document = json_pack("{s:s}", "type", "array");
    struct schema *schema = NULL;
    struct error error = {0};
    assert_true(schema_open(document, &schema, &error));
    struct score_pair pair = {.candidate = {.text = bytes_of("[]")}, .schema = schema};
    assert_true(score(&pair).verdicts[VERDICT_SCHEMA].has_passed);
    pair.candidate.text = bytes_of("{}");
    assert_string_equal(score(&pair).verdicts[VERDICT_SCHEMA].reason, "(root): type array");
    pair.candidate.text = bytes_of("none");
    assert_string_equal(score(&pair).verdicts[VERDICT_SCHEMA].reason, "not JSON");
    schema_close(schema);
    json_decref(document);
}

static void test_every_score_is_documented_and_the_page_is_current(void **state)
{
    (void)state;
    struct buffer page;
    buffer_init(&page, 1 << 16);
    score_write_reference(&page);
    assert_false(buffer_failed(&page));
    for (int i = 0; i < SCORES_COUNT; i++) {
        char row[64];
        (void)snprintf(row, sizeof row, "| `%s` | %s |", score_name((enum score_id)i),
                       score_version((enum score_id)i));
        assert_non_null(strstr(page.data, row));
    }
    static char text[1 << 16];
    FILE *file = fopen(SOURCE_DIR "/deploy/SCORES.md", "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    if (strcmp(text, page.data) != 0) {
        fail_msg("deploy/SCORES.md is stale: run millrace settings --scores > deploy/SCORES.md");
    }
    buffer_close(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_references),
        cmocka_unit_test(test_compares_texts),
        cmocka_unit_test(test_a_candidate_alone_is_judged),
        cmocka_unit_test(test_compares_fields_of_json),
        cmocka_unit_test(test_judges_by_the_schema),
        cmocka_unit_test(test_every_score_is_documented_and_the_page_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
