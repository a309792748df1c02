/* Merging, short words and long ones, against a naive loop on random vocabularies. */
#include "pipeline/text/bpe.h"

#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

enum { LETTERS = 3, TOKENS_MAX = 40, WORD_SIZE_MAX = 200 };

/* A vocabulary of random merges over three letters. */
struct model {
    struct bpe bpe;
    int32_t left[TOKENS_MAX]; // of merge i, which makes token LETTERS + i
    int32_t right[TOKENS_MAX];
    char texts[TOKENS_MAX + LETTERS][WORD_SIZE_MAX];
    size_t merges;
};

static void add_word(struct model *model, int32_t id)
{
    struct error error = {0};
    assert_true(vocabulary_add(&model->bpe.words, id, bytes_of(model->texts[id]), true, &error));
}

static void add_random_merge(struct model *model)
{
    size_t known = LETTERS + model->merges;
    int32_t left = (int32_t)random_below(known);
    int32_t right = (int32_t)random_below(known);
    char text[2 * WORD_SIZE_MAX];
    (void)snprintf(text, sizeof text, "%s%s", model->texts[left], model->texts[right]);
    if (strlen(text) > 20 || vocabulary_find(&model->bpe.words, text, strlen(text)) >= 0) {
        return;
    }
    memcpy(model->texts[known], text, strlen(text) + 1);
    add_word(model, (int32_t)known);
    model->left[model->merges] = left;
    model->right[model->merges] = right;
    model->merges++;
}

static void model_open(struct model *model)
{
    struct error error = {0};
    *model = (struct model){0};
    assert_true(bpe_init(&model->bpe, LETTERS + TOKENS_MAX, TOKENS_MAX, &error));
    for (int32_t id = 0; id < LETTERS; id++) {
        model->texts[id][0] = (char)('a' + id);
        add_word(model, id);
    }
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        add_random_merge(model);
    }
    for (size_t i = 0; i < model->merges; i++) {
        struct bpe_merge merge = {(uint32_t)i, (int32_t)(LETTERS + i)};
        assert_true(bpe_add_merge(&model->bpe, model->left[i], model->right[i], merge, &error));
    }
    assert_true(bpe_finish(&model->bpe, &error));
}

/* The definition: merge the leftmost of the adjacent pairs of lowest rank until there is none. */
static size_t naive_encode(const struct model *model, struct bytes word, int32_t *ids)
{
    size_t count = word.size;
    for (size_t i = 0; i < count; i++) {
        ids[i] = word.data[i] - 'a';
    }
    for (;;) {
        size_t best = SIZE_MAX;
        size_t rank = model->merges;
        for (size_t i = 0; i + 1 < count; i++) {
            for (size_t k = 0; k < rank; k++) {
                if (model->left[k] == ids[i] && model->right[k] == ids[i + 1]) {
                    best = i;
                    rank = k;
                }
            }
        }
        if (best == SIZE_MAX) {
            return count;
        }
        ids[best] = (int32_t)(LETTERS + rank);
        count--;
        memmove(ids + best + 1, ids + best + 2, (count - best - 1) * sizeof *ids);
    }
}

static void check_random_word(const struct model *model, struct bpe_scratch *scratch)
{
    char text[WORD_SIZE_MAX];
    int32_t expected[WORD_SIZE_MAX];
    struct bytes word = {text, random_below(2) == 0 ? random_below(12) : random_below(200)};
    for (size_t i = 0; i < word.size; i++) {
        text[i] = (char)('a' + random_below(LETTERS));
    }
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, WORD_SIZE_MAX);
    assert_true(bpe_encode(&model->bpe, scratch, word, &list, &error));
    assert_int_equal(list.count, naive_encode(model, word, expected));
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.ids[i], expected[i]);
    }
    token_list_close(&list);
}

static void test_merges_as_the_definition_says(void **state)
{
    (void)state;
    seed_random();
    struct bpe_scratch scratch = {0};
    for (size_t i = 0; i < 60; i++) {
        struct model model;
        model_open(&model);
        for (size_t k = 0; k < 60; k++) {
            check_random_word(&model, &scratch);
        }
        bpe_close(&model.bpe);
    }
    bpe_scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_as_the_definition_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
