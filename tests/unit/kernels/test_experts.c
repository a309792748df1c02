/* Mixture layers: who is chosen, where the rows go, what comes back, and that no row knows of the
 * others. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum { ROWS = 53, EXPERTS_MAX = 64, TOP_K_MAX = 8, INPUTS = 37, OUTPUTS = 21 };

static const struct expert_routing routings[] = {
    {.experts = 4, .top_k = 2, .normalizes = true, .scale = 1, .groups = 1, .groups_top = 1},
    {.experts = 1, .top_k = 1, .scale = 1, .groups = 1, .groups_top = 1},
    {.experts = 64, .top_k = 6, .scale = 16, .groups = 8, .groups_top = 3},
    {.experts = 32,
     .top_k = 8,
     .is_sigmoid = true,
     .normalizes = true,
     .scale = 2.5f,
     .groups = 8,
     .groups_top = 4,
     .is_pair_sum = true},
};
enum { ROUTINGS = sizeof(routings) / sizeof(routings[0]) };

/* The device's side of a step. */
struct mixture {
    struct backend *backend;
    const struct expert_routing *routing;
    struct expert_slots slots;
    struct weight *weights[EXPERTS_MAX];
    float matrices[EXPERTS_MAX][OUTPUTS * INPUTS];
    float bias[EXPERTS_MAX];
    struct device_buffer *bias_buffer;
};

/* What came back of one. */
struct outcome {
    int32_t slots[ROWS * TOP_K_MAX];
    int32_t rows[ROWS * TOP_K_MAX];
    float weights[ROWS * TOP_K_MAX];
    int32_t starts[EXPERTS_MAX + 1];
    float output[ROWS * OUTPUTS];
};

static void mixture_open(struct mixture *mixture, struct noise *noise)
{
    struct backend *backend = mixture->backend;
    int experts = mixture->routing->experts;
    mixture->slots = fixture_slots(backend, ROWS * TOP_K_MAX, EXPERTS_MAX);
    noise_fill(noise, mixture->bias, (size_t)experts);
    mixture->bias_buffer = fixture_upload(backend, mixture->bias, sizeof(mixture->bias));
    for (int e = 0; e < experts; e++) {
        noise_fill(noise, mixture->matrices[e], OUTPUTS * INPUTS);
        mixture->weights[e] = fixture_weight(backend, mixture->matrices[e], NULL, OUTPUTS, INPUTS);
    }
}

static void mixture_close(struct mixture *mixture)
{
    const struct backend_operations *ops = mixture->backend->ops;
    fixture_slots_close(mixture->backend, &mixture->slots);
    ops->buffer_close(mixture->backend, mixture->bias_buffer);
    for (int e = 0; e < mixture->routing->experts; e++) {
        ops->weight_close(mixture->backend, mixture->weights[e]);
    }
}

static void run(const struct mixture *mixture, const float *logits, const float *input, int rows,
                struct outcome *outcome)
{
    struct backend *backend = mixture->backend;
    const struct backend_operations *ops = backend->ops;
    size_t count = (size_t)rows * (size_t)mixture->routing->top_k;
    size_t experts = (size_t)mixture->routing->experts;
    struct device_buffer *scores =
        fixture_upload(backend, logits, (size_t)rows * experts * sizeof(float));
    struct device_buffer *x = fixture_upload(backend, input, (size_t)rows * INPUTS * sizeof(float));
    struct device_buffer *gathered = fixture_buffer(backend, count * INPUTS * sizeof(float));
    struct device_buffer *products = fixture_buffer(backend, count * OUTPUTS * sizeof(float));
    struct device_buffer *output = fixture_buffer(backend, (size_t)rows * OUTPUTS * sizeof(float));
    struct expert_route_args route = {.logits = scores,
                                      .bias = mixture->bias_buffer,
                                      .routing = *mixture->routing,
                                      .slots = &mixture->slots,
                                      .rows = rows};
    struct gather_args gather = {.indices = mixture->slots.rows,
                                 .input = x,
                                 .output = gathered,
                                 .count = (int)count,
                                 .width = INPUTS};
    struct expert_linear_args linear = {.weights = mixture->weights,
                                        .count = rows * mixture->routing->top_k,
                                        .experts = (int)experts,
                                        .slots = &mixture->slots,
                                        .input = gathered,
                                        .output = products};
    struct expert_combine_args combine = {.slots = &mixture->slots,
                                          .top_k = mixture->routing->top_k,
                                          .input = products,
                                          .output = output,
                                          .is_first = true,
                                          .rows = rows,
                                          .width = OUTPUTS};
    assert_status(ops->expert_route(backend, &route));
    assert_status(ops->gather_rows(backend, &gather));
    assert_status(ops->expert_linear(backend, &linear));
    assert_status(ops->expert_combine(backend, &combine));
    fixture_download(backend, outcome->slots, mixture->slots.slots, count * sizeof(int32_t));
    fixture_download(backend, outcome->rows, mixture->slots.rows, count * sizeof(int32_t));
    fixture_download(backend, outcome->weights, mixture->slots.weights, count * sizeof(float));
    fixture_download(backend, outcome->starts, mixture->slots.starts,
                     (experts + 1) * sizeof(int32_t));
    fixture_download(backend, outcome->output, output, (size_t)rows * OUTPUTS * sizeof(float));
    struct device_buffer *const all[] = {scores, x, gathered, products, output};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ops->buffer_close(backend, all[i]);
    }
}

/* The straightforward way, in double: repeatedly the best of what is left. */
static int best_left(const double *values, const bool *is_left, int count)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        if (is_left[i] && (best < 0 || values[i] > values[best])) {
            best = i;
        }
    }
    return best;
}

static void keep_groups(const struct expert_routing *routing, const double *choice, bool *is_left)
{
    double scores[EXPERTS_MAX];
    bool is_group_left[EXPERTS_MAX];
    bool is_kept[EXPERTS_MAX] = {false};
    int size = routing->experts / routing->groups;
    for (int g = 0; g < routing->groups; g++) {
        bool rest[EXPERTS_MAX];
        memset(rest, 1, sizeof(rest));
        int first = best_left(choice + g * size, rest, size);
        rest[first] = false;
        scores[g] = choice[g * size + first];
        if (routing->is_pair_sum) {
            scores[g] += choice[g * size + best_left(choice + g * size, rest, size)];
        }
        is_group_left[g] = true;
    }
    for (int i = 0; i < routing->groups_top; i++) {
        int best = best_left(scores, is_group_left, routing->groups);
        is_group_left[best] = false;
        is_kept[best] = true;
    }
    for (int e = 0; e < routing->experts; e++) {
        is_left[e] = is_kept[e / size];
    }
}

/* weights_out: [experts], 0 for those who are not chosen. */
static void expected_weights(const struct mixture *mixture, const float *logits,
                             double *weights_out)
{
    const struct expert_routing *routing = mixture->routing;
    double scores[EXPERTS_MAX];
    double choice[EXPERTS_MAX];
    bool is_left[EXPERTS_MAX];
    double sum = 0;
    for (int e = 0; e < routing->experts; e++) {
        sum += exp((double)logits[e]);
    }
    for (int e = 0; e < routing->experts; e++) {
        double x = (double)logits[e];
        scores[e] = routing->is_sigmoid ? 1 / (1 + exp(-x)) : exp(x) / sum;
        choice[e] = scores[e] + (double)mixture->bias[e];
        weights_out[e] = 0;
    }
    keep_groups(routing, choice, is_left);
    double chosen = 0;
    for (int k = 0; k < routing->top_k; k++) {
        int best = best_left(choice, is_left, routing->experts);
        is_left[best] = false;
        weights_out[best] = scores[best] * (double)routing->scale;
        chosen += scores[best];
    }
    for (int e = 0; e < routing->experts && routing->normalizes; e++) {
        weights_out[e] /= chosen;
    }
}

static int expert_of(const struct outcome *outcome, int slot)
{
    int expert = 0;
    while (outcome->starts[expert + 1] <= slot) {
        expert++;
    }
    return expert;
}

static void check_row(const struct mixture *mixture, const struct outcome *outcome, int row,
                      const double *weights, const float *input)
{
    int top_k = mixture->routing->top_k;
    double expected[OUTPUTS] = {0};
    int expert_before = -1;
    for (int k = 0; k < top_k; k++) {
        int slot = outcome->slots[row * top_k + k];
        int expert = expert_of(outcome, slot);
        assert_int_equal(outcome->rows[slot], row);
        assert_true(expert > expert_before);
        expert_before = expert;
        assert_true(weights[expert] != 0);
        assert_true(fabs((double)outcome->weights[row * top_k + k] - weights[expert]) <
                    1e-5 * weights[expert]);
        for (int o = 0; o < OUTPUTS; o++) {
            for (int i = 0; i < INPUTS; i++) {
                expected[o] += weights[expert] * (double)input[i] *
                               (double)mixture->matrices[expert][o * INPUTS + i];
            }
        }
    }
    assert_close(outcome->output + (size_t)row * OUTPUTS, expected, OUTPUTS, 1e-3);
}

static void check_routing(struct backend *backend, const struct expert_routing *routing)
{
    static struct mixture mixture;
    static struct outcome whole;
    static struct outcome alone;
    static float logits[ROWS * EXPERTS_MAX];
    static float input[ROWS * INPUTS];
    struct noise noise = noise_open(5);
    mixture = (struct mixture){.backend = backend, .routing = routing};
    mixture_open(&mixture, &noise);
    int experts = routing->experts;
    noise_fill(&noise, logits, (size_t)ROWS * (size_t)experts);
    noise_fill(&noise, input, sizeof(input) / sizeof(input[0]));
    run(&mixture, logits, input, ROWS, &whole);
    assert_int_equal(whole.starts[0], 0);
    assert_int_equal(whole.starts[experts], ROWS * routing->top_k);
    for (int r = 0; r < ROWS; r++) {
        double weights[EXPERTS_MAX];
        const float *row_logits = logits + (size_t)r * (size_t)experts;
        expected_weights(&mixture, row_logits, weights);
        check_row(&mixture, &whole, r, weights, input + (size_t)r * INPUTS);
        run(&mixture, row_logits, input + (size_t)r * INPUTS, 1, &alone);
        assert_memory_equal(alone.output, whole.output + (size_t)r * OUTPUTS,
                            OUTPUTS * sizeof(float));
    }
    mixture_close(&mixture);
}

static void check_routings(struct backend *backend)
{
    for (int i = 0; i < ROUTINGS; i++) {
        check_routing(backend, &routings[i]);
    }
}

static void test_rows_get_what_their_experts_give_whoever_shares_the_step(void **state)
{
    (void)state;
    each_backend(2, check_routings);
}

/* Every choice of a row without a finite score is still a slot inside the step. */
static void check_not_finite(struct backend *backend)
{
    static struct mixture mixture;
    static struct outcome clean;
    static struct outcome dirty;
    static float logits[ROWS * EXPERTS_MAX];
    static float input[ROWS * INPUTS];
    struct noise noise = noise_open(6);
    mixture = (struct mixture){.backend = backend, .routing = &routings[3]};
    mixture_open(&mixture, &noise);
    size_t experts = (size_t)routings[3].experts;
    noise_fill(&noise, logits, ROWS * experts);
    noise_fill(&noise, input, sizeof(input) / sizeof(input[0]));
    run(&mixture, logits, input, ROWS, &clean);
    for (size_t e = 0; e < experts; e++) {
        logits[7 * experts + e] = NAN;
    }
    logits[9 * experts + 3] = INFINITY;
    logits[10 * experts + 3] = -INFINITY;
    logits[11 * experts] = NAN;
    run(&mixture, logits, input, ROWS, &dirty);
    for (int r = 0; r < ROWS; r++) {
        const float *output = dirty.output + (size_t)r * OUTPUTS;
        if (r == 7) {
            assert_true(isnan(output[0]));
        } else if (r < 9 || r > 11) {
            assert_memory_equal(output, clean.output + (size_t)r * OUTPUTS,
                                OUTPUTS * sizeof(float));
        }
    }
    mixture_close(&mixture);
}

static void test_a_row_that_is_not_finite_costs_its_neighbours_nothing(void **state)
{
    (void)state;
    each_backend(2, check_not_finite);
}

static void check_bad(struct backend *backend)
{
    static const struct expert_routing bad[] = {
        {.experts = 0, .top_k = 1, .groups = 1, .groups_top = 1},
        {.experts = 4096, .top_k = 1, .groups = 1, .groups_top = 1},
        {.experts = 4, .top_k = 5, .groups = 1, .groups_top = 1},
        {.experts = 6, .top_k = 2, .groups = 4, .groups_top = 1},
        {.experts = 8, .top_k = 3, .groups = 4, .groups_top = 1},
        {.experts = 8, .top_k = 2, .groups = 4, .groups_top = 5},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct expert_route_args args = {.routing = bad[i], .rows = 1};
        assert_int_equal(backend->ops->expert_route(backend, &args), KERNEL_BAD_SHAPE);
    }
}

static void test_routings_that_cannot_be_are_refused(void **state)
{
    (void)state;
    each_backend(1, check_bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_get_what_their_experts_give_whoever_shares_the_step),
        cmocka_unit_test(test_a_row_that_is_not_finite_costs_its_neighbours_nothing),
        cmocka_unit_test(test_routings_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
