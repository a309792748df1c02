/* Mixture layers by the CUDA kernels, emulated: the CPU back end's choices, places and sums. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_backend_internal.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulation.h"
#include "tests/support/cuda/kernel_fixture.h"

enum { ROWS = 150, EXPERTS_MAX = 64, TOP_K_MAX = 8, CHOICES_MAX = ROWS * TOP_K_MAX, WIDTH = 24 };

static const struct expert_routing routings[] = {
    {.experts = 3, .top_k = 2, .normalizes = true, .scale = 1, .groups = 1, .groups_top = 1},
    {.experts = 1, .top_k = 1, .scale = 1, .groups = 1, .groups_top = 1},
    {.experts = 64, .top_k = 6, .scale = 16, .groups = 8, .groups_top = 3},
    {.experts = 40,
     .top_k = 8,
     .is_sigmoid = true,
     .normalizes = true,
     .scale = 2.5f,
     .groups = 8,
     .groups_top = 4,
     .is_pair_sum = true},
};
enum { ROUTINGS = sizeof(routings) / sizeof(routings[0]) };

struct routed {
    int32_t rows[CHOICES_MAX];
    int32_t slots[CHOICES_MAX];
    float weights[CHOICES_MAX];
    int32_t starts[EXPERTS_MAX + 1];
};

static struct routed route(struct backend *backend, const struct expert_routing *routing,
                           const float *logits, const float *bias)
{
    static struct routed routed;
    struct expert_slots slots = fixture_slots(backend, CHOICES_MAX, EXPERTS_MAX);
    size_t experts = (size_t)routing->experts;
    struct device_buffer *logits_buffer =
        fixture_upload(backend, logits, ROWS * experts * sizeof(float));
    struct device_buffer *bias_buffer = fixture_upload(backend, bias, experts * sizeof(float));
    struct expert_route_args args = {.logits = logits_buffer,
                                     .bias = routing->is_sigmoid ? bias_buffer : NULL,
                                     .routing = *routing,
                                     .slots = &slots,
                                     .rows = ROWS};
    assert_status(backend->ops->expert_route(backend, &args));
    size_t choices = ROWS * (size_t)routing->top_k;
    fixture_download(backend, routed.rows, slots.rows, choices * sizeof(int32_t));
    fixture_download(backend, routed.slots, slots.slots, choices * sizeof(int32_t));
    fixture_download(backend, routed.weights, slots.weights, choices * sizeof(float));
    fixture_download(backend, routed.starts, slots.starts, (experts + 1) * sizeof(int32_t));
    backend->ops->buffer_close(backend, logits_buffer);
    backend->ops->buffer_close(backend, bias_buffer);
    fixture_slots_close(backend, &slots);
    backend->ops->close(backend);
    return routed;
}

static void test_rows_choose_and_stand_as_on_the_cpu(void **state)
{
    (void)state;
    struct noise noise = noise_open(41);
    static float logits[ROWS * EXPERTS_MAX];
    float bias[EXPERTS_MAX];
    for (int i = 0; i < ROUTINGS; i++) {
        const struct expert_routing *routing = &routings[i];
        size_t choices = ROWS * (size_t)routing->top_k;
        noise_fill(&noise, logits, ROWS * EXPERTS_MAX);
        noise_fill(&noise, bias, EXPERTS_MAX);
        for (int e = 0; e < routing->experts; e++) {
            logits[e] = 0.25f; // of the first row: all the same
        }
        struct routed expected = route(fixture_cpu(), routing, logits, bias);
        for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
            emulation_set_order(order, 3);
            struct routed actual = route(kernel_fixture_open(false), routing, logits, bias);
            assert_memory_equal(actual.starts, expected.starts,
                                (size_t)(routing->experts + 1) * sizeof(int32_t));
            assert_memory_equal(actual.slots, expected.slots, choices * sizeof(int32_t));
            assert_memory_equal(actual.rows, expected.rows, choices * sizeof(int32_t));
            for (size_t k = 0; k < choices; k++) {
                assert_float_equal(actual.weights[k], expected.weights[k], 1e-5f * routing->scale);
            }
        }
    }
}

/* Rows of logits that are no numbers still get experts that exist, each once. */
static void test_rows_that_are_not_finite_choose_as_many(void **state)
{
    (void)state;
    static float logits[ROWS * EXPERTS_MAX];
    float bias[EXPERTS_MAX] = {0};
    const struct expert_routing *routing = &routings[3];
    for (size_t i = 0; i < ROWS * EXPERTS_MAX; i++) {
        logits[i] = i % 3 == 0 ? NAN : -INFINITY;
    }
    struct routed routed = route(kernel_fixture_open(false), routing, logits, bias);
    bool is_taken[CHOICES_MAX] = {0};
    for (int k = 0; k < ROWS * routing->top_k; k++) {
        assert_in_range(routed.slots[k], 0, ROWS * routing->top_k - 1);
        assert_false(is_taken[routed.slots[k]]);
        is_taken[routed.slots[k]] = true;
    }
}

/* E4M3 numbers that a test can do without: of 8 bits with a mantissa of 3. */
static float fp8_value(int bits)
{
    int exponent = bits >> 3 & 15;
    float value = exponent == 0 ? ldexpf((float)(bits & 7), -9)
                                : ldexpf((float)(8 + (bits & 7)), exponent - 10);
    return (bits & 0x80) != 0 ? -value : value;
}

/* Weights of one expert on the device, and as the floats that they stand for. */
struct expert {
    struct weight weight;
    float *matrix; // [columns, inputs]
};

static struct expert expert_open(struct backend *backend, struct noise *noise, bool is_fp8,
                                 int columns, int inputs)
{
    size_t count = (size_t)columns * (size_t)inputs;
    struct expert expert = {.weight = {.rows = columns, .columns = inputs}};
    float *scales = malloc((size_t)columns * sizeof(float));
    float *bias = malloc((size_t)columns * sizeof(float));
    uint8_t *bytes = malloc(count);
    expert.matrix = malloc(count * sizeof(float));
    assert_true(scales != NULL && bias != NULL && bytes != NULL && expert.matrix != NULL);
    noise_fill(noise, bias, (size_t)columns);
    noise_fill(noise, expert.matrix, count);
    for (size_t i = 0; i < count; i++) {
        float *scale = &scales[i / (size_t)inputs];
        *scale = 0.01f * (float)(1 + i / (size_t)inputs % 7);
        bytes[i] = (uint8_t)(noise_below(noise, 0x50) | noise_below(noise, 2) << 7);
        expert.matrix[i] =
            is_fp8 ? *scale * fp8_value(bytes[i]) : fixture_round_bf16(expert.matrix[i]);
    }
    expert.weight.bias = fixture_upload(backend, bias, (size_t)columns * sizeof(float));
    expert.weight.data = is_fp8 ? fixture_upload(backend, bytes, count)
                                : fixture_upload_bf16(backend, expert.matrix, count);
    expert.weight.scales =
        is_fp8 ? fixture_upload(backend, scales, (size_t)columns * sizeof(float)) : NULL;
    free(scales);
    free(bias);
    free(bytes);
    return expert;
}

static void expert_close(struct backend *backend, struct expert *expert)
{
    backend->ops->buffer_close(backend, expert->weight.data);
    backend->ops->buffer_close(backend, expert->weight.scales);
    backend->ops->buffer_close(backend, expert->weight.bias);
    free(expert->matrix);
}

static void check_products(struct noise *noise, bool is_fp8, int columns, int inputs)
{
    enum { EXPERTS = 4, SLOTS = 75 };
    const int32_t starts[EXPERTS + 1] = {0, 66, 66, 67, SLOTS}; // one has a tile and more, one none
    struct backend *backend = kernel_fixture_open(false);
    struct expert experts[EXPERTS];
    struct weight *weights[EXPERTS];
    for (int e = 0; e < EXPERTS; e++) {
        experts[e] = expert_open(backend, noise, is_fp8, columns, inputs);
        weights[e] = &experts[e].weight;
    }
    size_t inputs_count = SLOTS * (size_t)inputs;
    size_t outputs_count = SLOTS * (size_t)columns;
    float *input = malloc(inputs_count * sizeof(float));
    float *output = malloc(outputs_count * sizeof(float));
    assert_true(input != NULL && output != NULL);
    noise_fill(noise, input, inputs_count);
    for (size_t i = 0; i < inputs_count; i++) {
        input[i] = fixture_round_bf16(input[i]);
    }
    struct expert_slots slots = fixture_slots(backend, CHOICES_MAX, EXPERTS_MAX);
    assert_status(backend->ops->copy_in(backend, slots.starts, 0, starts, sizeof(starts)));
    struct device_buffer *from = fixture_upload_bf16(backend, input, inputs_count);
    struct device_buffer *to = fixture_buffer(backend, outputs_count * sizeof(uint16_t));
    struct expert_linear_args args = {weights, EXPERTS, &slots, SLOTS, from, to};
    assert_status(backend->ops->expert_linear(backend, &args));
    fixture_download_bf16(backend, output, to, outputs_count);
    for (int i = 0, e = 0; i < SLOTS * columns; i++) {
        int slot = i / columns;
        while (slot >= starts[e + 1]) {
            e++;
        }
        const float *row = experts[e].matrix + (size_t)(i % columns) * (size_t)inputs;
        float bias = 0;
        backend->ops->copy_out(backend, &bias, experts[e].weight.bias,
                               (size_t)(i % columns) * sizeof(float), sizeof(float));
        double expected = (double)bias;
        for (int k = 0; k < inputs; k++) {
            expected += (double)row[k] * (double)input[slot * inputs + k];
        }
        assert_float_equal(output[i], (float)expected, 0.01f + (float)fabs(expected) / 200);
    }
    for (int e = 0; e < EXPERTS; e++) {
        expert_close(backend, &experts[e]);
    }
    backend->ops->buffer_close(backend, from);
    backend->ops->buffer_close(backend, to);
    fixture_slots_close(backend, &slots);
    backend->ops->close(backend);
    free(input);
    free(output);
}

static void test_each_row_is_multiplied_with_its_expert(void **state)
{
    (void)state;
    struct noise noise = noise_open(42);
    emulation_set_order(EMULATION_RANDOM, 7);
    check_products(&noise, false, 21, 40);
    check_products(&noise, true, 21, 80);
    emulation_set_order(EMULATION_REVERSE, 7);
    check_products(&noise, false, 131, 264); // more steps than stages, more than one tile
    check_products(&noise, true, 5, 272);
}

static void combine(struct backend *backend, bool is_first, const float *input, float *output)
{
    enum { TOP_K = 2 };
    struct expert_slots slots = fixture_slots(backend, CHOICES_MAX, EXPERTS_MAX);
    int32_t places[ROWS * TOP_K];
    float weights[ROWS * TOP_K];
    for (int i = 0; i < ROWS * TOP_K; i++) {
        places[i] = (i * 7) % (ROWS * TOP_K);
        weights[i] = 0.125f * (float)(i % 9);
    }
    assert_status(backend->ops->copy_in(backend, slots.slots, 0, places, sizeof(places)));
    assert_status(backend->ops->copy_in(backend, slots.weights, 0, weights, sizeof(weights)));
    bool is_bf16 = backend->activation_bytes == 2;
    size_t inputs = (size_t)ROWS * TOP_K * WIDTH;
    size_t outputs = (size_t)ROWS * WIDTH;
    struct device_buffer *from = is_bf16 ? fixture_upload_bf16(backend, input, inputs)
                                         : fixture_upload(backend, input, inputs * sizeof(float));
    struct device_buffer *to = is_bf16 ? fixture_upload_bf16(backend, output, outputs)
                                       : fixture_upload(backend, output, outputs * sizeof(float));
    struct expert_combine_args args = {.slots = &slots,
                                       .top_k = TOP_K,
                                       .input = from,
                                       .output = to,
                                       .is_first = is_first,
                                       .rows = ROWS,
                                       .width = WIDTH};
    assert_status(backend->ops->expert_combine(backend, &args));
    if (is_bf16) {
        fixture_download_bf16(backend, output, to, outputs);
    } else {
        fixture_download(backend, output, to, outputs * sizeof(float));
    }
    backend->ops->buffer_close(backend, from);
    backend->ops->buffer_close(backend, to);
    fixture_slots_close(backend, &slots);
    backend->ops->close(backend);
}

static void test_a_row_gets_its_experts_back(void **state)
{
    (void)state;
    struct noise noise = noise_open(43);
    static float input[ROWS * 2 * WIDTH];
    noise_fill(&noise, input, ROWS * 2 * WIDTH);
    for (size_t i = 0; i < ROWS * 2 * WIDTH; i++) {
        input[i] = fixture_round_bf16(input[i]);
    }
    for (int is_first = 0; is_first < 2; is_first++) {
        static float expected[ROWS * WIDTH];
        static float actual[ROWS * WIDTH];
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            expected[i] = actual[i] = 1;
        }
        combine(fixture_cpu(), is_first, input, expected);
        combine(kernel_fixture_open(false), is_first, input, actual);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            assert_float_equal(actual[i], expected[i], 0.005f + fabsf(expected[i]) / 256);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_choose_and_stand_as_on_the_cpu),
        cmocka_unit_test(test_rows_that_are_not_finite_choose_as_many),
        cmocka_unit_test(test_each_row_is_multiplied_with_its_expert),
        cmocka_unit_test(test_a_row_gets_its_experts_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
