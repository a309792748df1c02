/* rouge: counts of n-grams, and longest common subsequences over sentences. */
#include "pipeline/compare/rouge.h"

#include "pipeline/compare/lcs.h"
#include "pipeline/compare/word_table.h"
#include "schemas/base/shortage.h"

static bool refuse(struct error *error)
{
    return shortage_take() ? error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for ROUGE")
                           : error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                                       "ROUGE of these texts needs more memory than it may have");
}

struct rouge rouge_of(size_t overlap, size_t reference_count, size_t candidate_count)
{
    struct rouge rouge = {
        .precision = candidate_count == 0 ? 0 : (double)overlap / (double)candidate_count,
        .recall = reference_count == 0 ? 0 : (double)overlap / (double)reference_count,
    };
    double sum = rouge.precision + rouge.recall;
    rouge.f = sum > 0 ? 2 * rouge.precision * rouge.recall / sum : 0;
    return rouge;
}

/* --- N-grams --- */

static bool count_overlap(struct lcs_list reference, struct lcs_list candidate,
                          size_t distinct_count, struct arena *arena, size_t *overlap_out)
{
    uint32_t *left = arena_alloc_array(arena, distinct_count, sizeof *left);
    if (left == NULL) {
        return false;
    }
    for (size_t i = 0; i < reference.count; i++) {
        left[reference.numbers[i]]++;
    }
    *overlap_out = 0;
    for (size_t i = 0; i < candidate.count; i++) {
        if (left[candidate.numbers[i]] > 0) {
            left[candidate.numbers[i]]--;
            (*overlap_out)++;
        }
    }
    return true;
}

bool rouge_overlap(const struct words_pair *pair, struct arena *arena, size_t *overlap_out,
                   struct error *error)
{
    struct lcs_list reference = {pair->reference.numbers, pair->reference.count};
    struct lcs_list candidate = {pair->candidate.numbers, pair->candidate.count};
    return count_overlap(reference, candidate, pair->distinct_count, arena, overlap_out) ||
           refuse(error);
}

/* Pairs of neighbours as numbers. Two numbers in memory are the bytes that the table compares. */
static bool number_bigrams(const struct words *words, struct word_table *table, struct arena *arena,
                           struct lcs_list *bigrams_out)
{
    size_t count = words->count == 0 ? 0 : words->count - 1;
    uint32_t *numbers = arena_alloc_array(arena, count, sizeof *numbers);
    if (numbers == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct bytes bigram = {(const char *)&words->numbers[i], 2 * sizeof *words->numbers};
        if (!word_table_add(table, bigram, &numbers[i])) {
            return false;
        }
    }
    *bigrams_out = (struct lcs_list){numbers, count};
    return true;
}

static bool compute_bigrams(const struct words_pair *pair, struct arena *arena,
                            struct rouge *rouge_out)
{
    struct word_table table;
    struct lcs_list reference = {0};
    struct lcs_list candidate = {0};
    size_t overlap = 0;
    bool is_done = word_table_init(&table, pair->reference.count + pair->candidate.count, arena) &&
                   number_bigrams(&pair->reference, &table, arena, &reference) &&
                   number_bigrams(&pair->candidate, &table, arena, &candidate) &&
                   count_overlap(reference, candidate, table.count, arena, &overlap);
    *rouge_out = rouge_of(overlap, reference.count, candidate.count);
    return is_done;
}

/* --- Longest common subsequences --- */

static bool compute_l(const struct words_pair *pair, struct arena *arena, struct rouges *rouges)
{
    struct lcs_list reference = {pair->reference.numbers, pair->reference.count};
    struct lcs_list candidate = {pair->candidate.numbers, pair->candidate.count};
    rouges->has_l = lcs_steps(reference.count, candidate.count) <= ROUGE_STEPS_MAX;
    if (!rouges->has_l) {
        return true;
    }
    struct lcs lcs;
    if (!lcs_init(&lcs, reference.count, candidate.count, pair->distinct_count, false, arena)) {
        return false;
    }
    size_t length = lcs_length(&lcs, reference, candidate);
    rouges->l = rouge_of(length, reference.count, candidate.count);
    return true;
}

static struct lcs_list sentence(const struct words *words, size_t index)
{
    size_t start = index == 0 ? 0 : words->ends[index - 1];
    return (struct lcs_list){words->numbers + start, words->ends[index] - start};
}

static size_t longest_sentence(const struct words *words)
{
    size_t longest = 0;
    for (size_t i = 0; i < words->sentences_count; i++) {
        size_t count = sentence(words, i).count;
        longest = count > longest ? count : longest;
    }
    return longest;
}

/* The steps of all pairs of sentences, or a little more than the limit. */
static size_t steps_of_sentences(const struct words *reference, const struct words *candidate)
{
    size_t steps = 0;
    for (size_t i = 0; i < reference->sentences_count; i++) {
        for (size_t j = 0; j < candidate->sentences_count && steps <= ROUGE_STEPS_MAX; j++) {
            steps += lcs_steps(sentence(reference, i).count, sentence(candidate, j).count);
        }
    }
    return steps;
}

struct lsum {
    struct lcs lcs;
    bool *marks;              // [longest sentence of the reference] in the union
    uint32_t *reference_left; // [distinct] occurrences that no hit has used up
    uint32_t *candidate_left;
};

static bool open_lsum(const struct words_pair *pair, struct arena *arena, struct lsum *lsum)
{
    size_t rows = longest_sentence(&pair->reference);
    size_t columns = longest_sentence(&pair->candidate);
    lsum->marks = arena_alloc_array(arena, rows, sizeof *lsum->marks);
    lsum->reference_left =
        arena_alloc_array(arena, pair->distinct_count, sizeof *lsum->reference_left);
    lsum->candidate_left =
        arena_alloc_array(arena, pair->distinct_count, sizeof *lsum->candidate_left);
    if (lsum->marks == NULL || lsum->reference_left == NULL || lsum->candidate_left == NULL ||
        !lcs_init(&lsum->lcs, rows, columns, pair->distinct_count, true, arena)) {
        return false;
    }
    for (size_t i = 0; i < pair->reference.count; i++) {
        lsum->reference_left[pair->reference.numbers[i]]++;
    }
    for (size_t i = 0; i < pair->candidate.count; i++) {
        lsum->candidate_left[pair->candidate.numbers[i]]++;
    }
    return true;
}

/* Hits of one sentence of the reference: words in the union of its subsequences with all sentences
 * of the candidate, no word more often than either text has it. */
static size_t count_hits(struct lsum *lsum, struct lcs_list row, const struct words *candidate)
{
    size_t hits = 0;
    memset(lsum->marks, 0, row.count * sizeof *lsum->marks);
    for (size_t j = 0; j < candidate->sentences_count; j++) {
        lcs_mark(&lsum->lcs, row, sentence(candidate, j), lsum->marks);
    }
    for (size_t i = 0; i < row.count; i++) {
        uint32_t *reference_left = &lsum->reference_left[row.numbers[i]];
        uint32_t *candidate_left = &lsum->candidate_left[row.numbers[i]];
        if (lsum->marks[i] && *reference_left > 0 && *candidate_left > 0) {
            (*reference_left)--;
            (*candidate_left)--;
            hits++;
        }
    }
    return hits;
}

static bool compute_lsum(const struct words_pair *pair, struct arena *arena, struct rouges *rouges)
{
    const struct words *reference = &pair->reference;
    rouges->has_lsum = steps_of_sentences(reference, &pair->candidate) <= ROUGE_STEPS_MAX;
    if (!rouges->has_lsum) {
        return true;
    }
    struct lsum lsum;
    if (!open_lsum(pair, arena, &lsum)) {
        return false;
    }
    size_t hits = 0;
    for (size_t i = 0; i < reference->sentences_count; i++) {
        hits += count_hits(&lsum, sentence(reference, i), &pair->candidate);
    }
    rouges->lsum = rouge_of(hits, reference->count, pair->candidate.count);
    return true;
}

bool rouge_compute(const struct words_pair *pair, struct arena *arena, struct rouges *rouges_out,
                   struct error *error)
{
    *rouges_out = (struct rouges){0};
    size_t overlap = 0;
    if (!rouge_overlap(pair, arena, &overlap, error)) {
        return false;
    }
    rouges_out->n1 = rouge_of(overlap, pair->reference.count, pair->candidate.count);
    return (compute_bigrams(pair, arena, &rouges_out->n2) && compute_l(pair, arena, rouges_out) &&
            compute_lsum(pair, arena, rouges_out)) ||
           refuse(error);
}
