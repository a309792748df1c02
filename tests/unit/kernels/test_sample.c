/* Sampling: from logits to tokens. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum { VOCABULARY = 50, DRAWS = 20000 };

/* Samples one row of VOCABULARY logits `draws` times at positions 0, 1, ... into counts. */
static void draw(struct backend *backend, const float *logits, struct sample_params params,
                 int *counts, int draws)
{
    float *rows = malloc((size_t)draws * VOCABULARY * sizeof(float));
    struct sample_params *all = malloc((size_t)draws * sizeof(*all));
    int32_t *tokens = malloc((size_t)draws * sizeof(int32_t));
    assert_true(rows != NULL && all != NULL && tokens != NULL);
    for (int i = 0; i < draws; i++) {
        memcpy(rows + (size_t)i * VOCABULARY, logits, VOCABULARY * sizeof(float));
        all[i] = params;
        all[i].position = (uint32_t)i;
    }
    struct sample_args args = {
        .logits = fixture_upload(backend, rows, (size_t)draws * VOCABULARY * sizeof(float)),
        .rows = draws,
        .vocabulary = VOCABULARY,
        .params = all,
        .tokens = fixture_buffer(backend, (size_t)draws * sizeof(int32_t)),
    };
    assert_status(backend->ops->sample(backend, &args));
    fixture_download(backend, tokens, args.tokens, (size_t)draws * sizeof(int32_t));
    memset(counts, 0, VOCABULARY * sizeof(int));
    for (int i = 0; i < draws; i++) {
        assert_true(tokens[i] >= 0 && tokens[i] < VOCABULARY);
        counts[tokens[i]]++;
    }
    struct device_buffer *logits_buffer = NULL;
    memcpy(&logits_buffer, &args.logits, sizeof(logits_buffer)); // drops the const
    backend->ops->buffer_close(backend, logits_buffer);
    backend->ops->buffer_close(backend, args.tokens);
    free(rows);
    free(all);
    free(tokens);
}

static void some_logits(float *logits)
{
    struct noise noise = noise_open(41);
    noise_fill(&noise, logits, VOCABULARY);
    for (int i = 0; i < VOCABULARY; i++) {
        logits[i] *= 2.0f;
    }
}

/* Pearson's statistic against `weights` (not normalised); tokens of weight 0 must not come. */
static void assert_distribution(const int *counts, const double *weights, int draws)
{
    double total = 0;
    double statistic = 0;
    int kinds = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        total += weights[i];
    }
    for (int i = 0; i < VOCABULARY; i++) {
        double expected = weights[i] / total * draws;
        if (weights[i] == 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
        kinds++;
    }
    // Mean kinds - 1, variance 2 (kinds - 1): five deviations are one in a million, seeds are
    // fixed.
    double limit = kinds - 1 + 5 * sqrt(2.0 * (kinds > 1 ? kinds - 1 : 1));
    if (!(statistic < limit)) {
        fail_msg("chi-square is %g over %d tokens, at most %g", statistic, kinds, limit);
    }
}

static void softmax_weights(const float *logits, double temperature, double *weights)
{
    for (int i = 0; i < VOCABULARY; i++) {
        weights[i] = exp((double)logits[i] / temperature);
    }
}

/* Sets the weight of all but the `keep` heaviest tokens to 0. */
static void keep_heaviest(double *weights, int keep)
{
    for (;;) {
        int lightest = -1;
        int left = 0;
        for (int i = 0; i < VOCABULARY; i++) {
            left += weights[i] > 0 ? 1 : 0;
            if (weights[i] > 0 && (lightest < 0 || weights[i] <= weights[lightest])) {
                lightest = i;
            }
        }
        if (left <= keep) {
            return;
        }
        weights[lightest] = 0;
    }
}

/* The smallest number of heaviest tokens that weigh `share` of all. */
static int nucleus_size(const double *weights, double share)
{
    double total = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        total += weights[i];
    }
    for (int keep = 1; keep <= VOCABULARY; keep++) {
        double copy[VOCABULARY];
        double kept = 0;
        memcpy(copy, weights, sizeof(copy));
        keep_heaviest(copy, keep);
        for (int i = 0; i < VOCABULARY; i++) {
            kept += copy[i];
        }
        if (kept >= share * total) {
            return keep;
        }
    }
    return VOCABULARY;
}

static void check_temperature(struct backend *backend)
{
    static const float temperatures[] = {0.5f, 1.0f, 1.7f};
    float logits[VOCABULARY];
    double weights[VOCABULARY];
    int counts[VOCABULARY];
    some_logits(logits);
    for (int i = 0; i < 3; i++) {
        struct sample_params params = {.temperature = temperatures[i], .seed = 7};
        softmax_weights(logits, (double)temperatures[i], weights);
        draw(backend, logits, params, counts, DRAWS);
        assert_distribution(counts, weights, DRAWS);
    }
}

static void test_temperature_gives_the_softmax_distribution(void **state)
{
    (void)state;
    each_backend(2, check_temperature);
}

static void check_filters(struct backend *backend)
{
    float logits[VOCABULARY];
    double weights[VOCABULARY];
    int counts[VOCABULARY];
    some_logits(logits);

    struct sample_params top_k = {.temperature = 1, .seed = 8, .top_k = 5};
    softmax_weights(logits, 1, weights);
    keep_heaviest(weights, 5);
    draw(backend, logits, top_k, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);

    struct sample_params top_p = {.temperature = 1, .seed = 9, .top_p = 0.7f};
    softmax_weights(logits, 1, weights);
    int nucleus = nucleus_size(weights, 0.7);
    assert_true(nucleus > 1 && nucleus < VOCABULARY);
    keep_heaviest(weights, nucleus);
    draw(backend, logits, top_p, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);

    struct sample_params both = {.temperature = 1, .seed = 10, .top_p = 0.6f, .top_k = 12};
    softmax_weights(logits, 1, weights);
    keep_heaviest(weights, 12);
    keep_heaviest(weights, nucleus_size(weights, 0.6));
    draw(backend, logits, both, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);

    struct sample_params min_p = {.temperature = 1, .seed = 11, .min_p = 0.3f};
    double heaviest = 0;
    softmax_weights(logits, 1, weights);
    for (int i = 0; i < VOCABULARY; i++) {
        heaviest = weights[i] > heaviest ? weights[i] : heaviest;
    }
    for (int i = 0; i < VOCABULARY; i++) {
        weights[i] = weights[i] >= 0.3 * heaviest ? weights[i] : 0;
    }
    draw(backend, logits, min_p, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);
}

static void test_top_k_top_p_and_min_p_cut_the_tail(void **state)
{
    (void)state;
    each_backend(1, check_filters);
}

static void check_nucleus_of_one(struct backend *backend)
{
    float logits[VOCABULARY];
    int counts[VOCABULARY];
    some_logits(logits);
    struct sample_params params = {.temperature = 1, .seed = 3, .top_p = 1e-6f};
    draw(backend, logits, params, counts, 100);
    int best = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    assert_int_equal(counts[best], 100);
    memset(logits, 0, sizeof(logits)); // all equal: top_k keeps the lowest ids
    struct sample_params flat = {.temperature = 1, .seed = 3, .top_k = 4};
    draw(backend, logits, flat, counts, 400);
    assert_int_equal(counts[0] + counts[1] + counts[2] + counts[3], 400);
}

static void test_a_tiny_top_p_is_greedy_and_equals_go_by_id(void **state)
{
    (void)state;
    each_backend(1, check_nucleus_of_one);
}

/* Samples three-token rows; gives the tokens and, if wanted, log probabilities. */
static void sample_rows(struct backend *backend, const float *logits, int rows,
                        const struct sample_params *params, int32_t *tokens, float *logprobs)
{
    struct device_buffer *device_logits =
        fixture_upload(backend, logits, (size_t)rows * VOCABULARY * sizeof(float));
    struct sample_args args = {
        .logits = device_logits,
        .rows = rows,
        .vocabulary = VOCABULARY,
        .params = params,
        .tokens = fixture_buffer(backend, (size_t)rows * sizeof(int32_t)),
        .logprobs = logprobs == NULL ? NULL : fixture_buffer(backend, (size_t)rows * sizeof(float)),
    };
    assert_status(backend->ops->sample(backend, &args));
    fixture_download(backend, tokens, args.tokens, (size_t)rows * sizeof(int32_t));
    if (logprobs != NULL) {
        fixture_download(backend, logprobs, args.logprobs, (size_t)rows * sizeof(float));
    }
    float after[8 * VOCABULARY];
    assert_true(rows <= 8);
    fixture_download(backend, after, device_logits, (size_t)rows * VOCABULARY * sizeof(float));
    assert_memory_equal(after, logits, (size_t)rows * VOCABULARY * sizeof(float));
    backend->ops->buffer_close(backend, device_logits);
    backend->ops->buffer_close(backend, args.tokens);
    backend->ops->buffer_close(backend, args.logprobs);
}

static void check_greedy(struct backend *backend)
{
    float logits[VOCABULARY] = {0};
    float logprob = 0;
    int32_t token = 0;
    struct sample_params params = {0};
    logits[17] = 3.0f;
    logits[49] = 3.0f;
    sample_rows(backend, logits, 1, &params, &token, &logprob);
    assert_int_equal(token, 17);
    double expected = 3.0 - log(48.0 + 2 * exp(3.0));
    assert_close(&logprob, &expected, 1, 1e-5);
    logits[49] = 3.5f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 49);
}

static void test_greedy_takes_the_best_and_the_lowest_of_equals(void **state)
{
    (void)state;
    each_backend(1, check_greedy);
}

static void check_penalties(struct backend *backend)
{
    float logits[VOCABULARY] = {0};
    int32_t token = 0;
    logits[5] = 2.0f;
    logits[6] = 1.5f;
    struct token_count seen[] = {{5, 3}, {40, 0}, {-1, 2}, {VOCABULARY, 2}};
    struct sample_params params = {.output_counts = seen, .output_counts_count = 4};
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 5); // seen, but nothing penalises it
    params.frequency_penalty = 0.1f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 5); // 2 - 0.3
    params.frequency_penalty = 0.2f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 6); // 2 - 0.6
    params.frequency_penalty = 0;
    params.presence_penalty = 0.6f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 6); // 2 - 0.6, whatever the count
    params.presence_penalty = 0.4f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 5);
    params.presence_penalty = 0;
    params.repetition_penalty = 1.5f;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 6); // 2 / 1.5
    params.repetition_penalty = 0;
    params.presence_penalty = -1.0f; // may also encourage
    seen[0].token = 6;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, 6);
}

static void test_penalties_move_the_choice(void **state)
{
    (void)state;
    each_backend(1, check_penalties);
}

static void check_mask(struct backend *backend)
{
    float logits[VOCABULARY];
    double weights[VOCABULARY];
    int counts[VOCABULARY];
    uint32_t allowed[2] = {0};
    int32_t token = 0;
    some_logits(logits);
    allowed[0] = 1u << 3 | 1u << 31;
    allowed[1] = 1u << (44 - 32);
    softmax_weights(logits, 1, weights);
    for (int i = 0; i < VOCABULARY; i++) {
        weights[i] = i == 3 || i == 31 || i == 44 ? weights[i] : 0;
    }
    struct sample_params params = {.temperature = 1, .seed = 5, .allowed = allowed};
    draw(backend, logits, params, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);
    params.top_p = 0.999f;
    draw(backend, logits, params, counts, DRAWS);
    assert_distribution(counts, weights, DRAWS);
    params.temperature = 0;
    draw(backend, logits, params, counts, 10);
    assert_int_equal(counts[3] + counts[31] + counts[44], 10);
    allowed[0] = 0;
    allowed[1] = 0;
    sample_rows(backend, logits, 1, &params, &token, NULL);
    assert_int_equal(token, -1);
}

static void test_a_mask_allows_only_its_tokens(void **state)
{
    (void)state;
    each_backend(1, check_mask);
}

static void check_not_finite(struct backend *backend)
{
    enum { ROWS = 6 };
    float logits[ROWS * VOCABULARY];
    struct sample_params params[ROWS] = {{0}};
    int32_t tokens[ROWS];
    float logprobs[ROWS];
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < VOCABULARY; i++) {
            logits[r * VOCABULARY + i] = i == 10 + r ? 1.0f : 0.0f;
        }
        params[r].temperature = r % 2 == 0 ? 0.0f : 1e-3f;
    }
    logits[1 * VOCABULARY + 2] = NAN;
    logits[2 * VOCABULARY + 49] = NAN; // past the last whole vector
    logits[3 * VOCABULARY + 0] = INFINITY;
    logits[4 * VOCABULARY + 48] = -INFINITY;
    sample_rows(backend, logits, ROWS, params, tokens, logprobs);
    const int32_t expected[] = {10, -1, -1, -1, -1, 15};
    assert_memory_equal(tokens, expected, sizeof(expected));
    for (int r = 0; r < ROWS; r++) {
        assert_true(isfinite(logprobs[r]));
    }
}

static void test_a_row_that_is_not_finite_fails_alone(void **state)
{
    (void)state;
    each_backend(2, check_not_finite);
}

static void check_seeds(struct backend *backend)
{
    float logits[VOCABULARY];
    int first[VOCABULARY];
    int again[VOCABULARY];
    int other[VOCABULARY];
    some_logits(logits);
    struct sample_params params = {.temperature = 1, .seed = 77, .top_p = 0.95f};
    draw(backend, logits, params, first, 500);
    draw(backend, logits, params, again, 500);
    params.seed = 78;
    draw(backend, logits, params, other, 500);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
}

static void test_the_seed_decides(void **state)
{
    (void)state;
    each_backend(1, check_seeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_temperature_gives_the_softmax_distribution),
        cmocka_unit_test(test_top_k_top_p_and_min_p_cut_the_tail),
        cmocka_unit_test(test_a_tiny_top_p_is_greedy_and_equals_go_by_id),
        cmocka_unit_test(test_greedy_takes_the_best_and_the_lowest_of_equals),
        cmocka_unit_test(test_penalties_move_the_choice),
        cmocka_unit_test(test_a_mask_allows_only_its_tokens),
        cmocka_unit_test(test_a_row_that_is_not_finite_fails_alone),
        cmocka_unit_test(test_the_seed_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
