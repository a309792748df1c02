/* fuzz_schema: two lines, a schema and a value; a refusal must say why, and the scores of the two
 * lines as texts must be numbers. */
#include "pipeline/compare/schema.h"

#include <math.h>
#include <string.h>

#include "pipeline/compare/answer_json.h"
#include "pipeline/compare/score.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES_MAX = 256 << 20 };

static void check_value(const struct schema *schema, struct bytes text)
{
    json_t *value = NULL;
    bool is_valid = false;
    char reason[200];
    struct error error = {0};
    if (!answer_json_parse(text, &value, &error)) {
        CHECK(error.message[0] != '\0');
        return;
    }
    if (schema_check(schema, value, &is_valid, reason, sizeof reason, &error)) {
        CHECK(is_valid == (reason[0] == '\0'));
    } else {
        CHECK(error.kind == ERROR_TOO_LARGE && error.message[0] != '\0');
    }
    json_decref(value);
}

static void check_scores(struct bytes reference, struct bytes candidate)
{
    static struct scorer *scorer; // opened once, which takes longer than most scores
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct score_pair pair = {.reference = {.text = reference}, .candidate = {.text = candidate}};
    struct score_result result;
    CHECK(arena != NULL && (scorer != NULL || scorer_open(&scorer, NULL)));
    if (scorer_run(scorer, &pair, arena, &result, NULL)) {
        for (int i = 0; i < SCORES_COUNT; i++) {
            CHECK(!result.has[i] || isfinite(result.values[i]));
        }
    }
    arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size == 0 ? NULL : memchr(data, '\n', size);
    if (newline == NULL) {
        return 0;
    }
    struct bytes first = {(const char *)data, (size_t)(newline - data)};
    struct bytes second = {(const char *)newline + 1, size - first.size - 1};
    json_t *document = NULL;
    struct schema *schema = NULL;
    struct error error = {0};
    if (answer_json_parse(first, &document, &error)) {
        if (schema_open(document, &schema, &error)) {
            check_value(schema, second);
        }
        schema_close(schema);
        json_decref(document);
    }
    CHECK(schema != NULL || error.message[0] != '\0');
    if (utf8_is_valid(first) && utf8_is_valid(second)) {
        check_scores(first, second);
    }
    return 0;
}
