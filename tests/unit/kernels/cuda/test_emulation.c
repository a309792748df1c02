/* The emulation of CUDA kernels: sound ones run the same in every order, and each mistake is found.
 */
#include "tests/support/cuda/emulation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/dtype.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/unit/kernels/cuda/emulation_cases.h"

enum { BLOCKS = 5, THREADS = 64, COUNT = BLOCKS * THREADS };

static const struct emulation_dim grid = {BLOCKS, 1, 1};
static const struct emulation_dim block = {THREADS, 1, 1};
static const struct emulation_dim warp = {32, 1, 1};

static void in_each_order(void (*check)(void))
{
    for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        emulation_set_order(order, 17);
        check();
    }
    emulation_set_order(EMULATION_FORWARD, 0);
}

/* Whether the kernel with this mistake reverses what it is given, in this order. */
static bool reverses(int mistake, enum emulation_order order, bool *launched_out)
{
    int input[COUNT];
    int output[COUNT] = {0};
    struct reverse_args args = {input, output, mistake};
    for (int i = 0; i < COUNT; i++) {
        input[i] = i;
    }
    emulation_set_order(order, 17);
    *launched_out = emulation_launch(reverse, grid, block, THREADS * sizeof(int), &args);
    bool is_right = true;
    for (int i = 0; i < COUNT; i++) {
        is_right = is_right && output[i] == i / THREADS * THREADS + THREADS - 1 - i % THREADS;
    }
    return is_right;
}

static void test_a_sound_kernel_runs_in_every_order(void **state)
{
    (void)state;
    for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        bool launched = false;
        assert_true(reverses(CASE_NONE, order, &launched));
        assert_true(launched);
    }
}

static void test_a_missing_barrier_shows_in_the_result(void **state)
{
    (void)state;
    int wrong = 0;
    for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        bool launched = false;
        wrong += !reverses(CASE_WITHOUT_BARRIER, order, &launched);
        assert_true(launched);
    }
    assert_int_equal(wrong, 3);
}

static void refuse(int mistake, const char *reason)
{
    bool launched = true;
    (void)reverses(mistake, EMULATION_RANDOM, &launched);
    assert_false(launched);
    if (strstr(emulation_message(), reason) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", emulation_message(), reason);
    }
}

static void test_a_barrier_that_some_threads_do_not_reach_is_refused(void **state)
{
    (void)state;
    refuse(CASE_BARRIER_IN_BRANCH, "waits at the barrier at");
    refuse(CASE_BARRIERS_APART, "while others wait at");
    refuse(CASE_EARLY_RETURN, "thread 7 has returned");
    bool launched = false;
    assert_true(reverses(CASE_NONE, EMULATION_FORWARD, &launched)); // and the next launch is sound
}

static void check_sums(void)
{
    float input[COUNT];
    float output[BLOCKS] = {0};
    struct sum_args args = {input, output, CASE_NONE};
    for (int i = 0; i < COUNT; i++) {
        input[i] = (float)i;
    }
    assert_true(emulation_launch(sum, grid, block, 0, &args));
    for (int i = 0; i < BLOCKS; i++) {
        assert_float_equal(output[i], (float)(THREADS * THREADS * i + THREADS * (THREADS - 1) / 2),
                           0);
    }
    args.mistake = CASE_WITHOUT_LANE;
    assert_false(emulation_launch(sum, grid, block, 0, &args));
    assert_non_null(strstr(emulation_message(), "waits for its warp"));
}

static void test_lanes_of_a_warp_exchange_and_wait_for_each_other(void **state)
{
    (void)state;
    in_each_order(check_sums);
}

/* Whether the staged sums are right. */
static bool stages(int mistake, enum emulation_order order)
{
    float input[2 * COUNT];
    float output[COUNT] = {0};
    struct stage_args args = {input, output, mistake};
    for (int i = 0; i < 2 * COUNT; i++) {
        input[i] = (float)i;
    }
    float *aligned = NULL;
    assert_int_equal(posix_memalign((void **)&aligned, 16, sizeof(input)), 0);
    memcpy(aligned, input, sizeof(input));
    args.input = aligned;
    emulation_set_order(order, 17);
    size_t shared = (mistake == CASE_OVERWRITES ? 1u : 2u) * THREADS * sizeof(float);
    bool is_right = emulation_launch(stage, grid, block, shared, &args);
    for (int i = 0; i < COUNT; i++) {
        int first = i / THREADS * 2 * THREADS + (i + 1) % THREADS;
        is_right = is_right && output[i] == input[first] + input[first + THREADS];
    }
    free(aligned);
    return is_right;
}

static void test_asynchronous_copies_arrive_when_they_are_waited_for(void **state)
{
    (void)state;
    int overwritten = 0;
    for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        assert_true(stages(CASE_NONE, order));
        assert_false(stages(CASE_WITHOUT_WAIT, order));
        assert_false(stages(CASE_COPY_LEFT, order));
        overwritten += !stages(CASE_OVERWRITES, order);
    }
    assert_true(overwritten > 0);
}

static void check_mma(void)
{
    struct noise noise = noise_open(3);
    float a[16 * 16];
    float b[16 * 8];
    uint16_t a_bits[16 * 16];
    uint16_t b_bits[16 * 8];
    float d[16 * 8];
    noise_fill(&noise, a, 16 * 16);
    noise_fill(&noise, b, 16 * 8);
    for (int i = 0; i < 16 * 16; i++) {
        a_bits[i] = dtype_f32_to_bf16(a[i]);
    }
    for (int by_columns = 0; by_columns < 2; by_columns++) {
        for (int i = 0; i < 16 * 8; i++) {
            b_bits[by_columns ? i % 8 * 16 + i / 8 : i] = dtype_f32_to_bf16(b[i]);
        }
        struct mma_args args = {a_bits, b_bits, d, by_columns};
        assert_true(emulation_launch(mma, (struct emulation_dim){1, 1, 1}, warp,
                                     sizeof(a_bits) + sizeof(b_bits), &args));
        for (int i = 0; i < 16 * 8; i++) {
            double expected = 0;
            for (int k = 0; k < 16; k++) {
                expected += (double)a[i / 8 * 16 + k] * (double)b[k * 8 + i % 8];
            }
            assert_float_equal(d[i], (float)expected, 0.03f);
        }
    }
}

static void test_fragments_of_matrices_are_those_of_the_manual(void **state)
{
    (void)state;
    in_each_order(check_mma);
}

/* E4M3 by its definition. */
static double fp8_value(int bits)
{
    int exponent = bits >> 3 & 15;
    double mantissa = bits & 7;
    double value = exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
    return (bits & 0x80) != 0 ? -value : value;
}

static int fp8_nearest(double value)
{
    int best = 0;
    for (int bits = 0; bits < 0x7f; bits++) {
        double off = fabs(fabs(value) - fp8_value(bits));
        double best_off = fabs(fabs(value) - fp8_value(best));
        if (off < best_off || (off == best_off && bits % 2 == 0)) {
            best = bits;
        }
    }
    return value < 0 ? best | 0x80 : best;
}

static void test_numbers_of_8_and_16_bits_are_rounded_to_the_nearest(void **state)
{
    (void)state;
    enum { NUMBERS = 1500 };
    struct noise noise = noise_open(4);
    float input[NUMBERS];
    uint8_t fp8[NUMBERS];
    float from_fp8[NUMBERS];
    uint16_t bf16[NUMBERS];
    float from_bf16[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) {
        input[i] = (float)((noise_uniform(&noise) - 0.5) * ldexp(1, noise_below(&noise, 24) - 12));
        if (i < 2 * 126) { // each half way between two
            double middle = (fp8_value(i / 2) + fp8_value(i / 2 + 1)) / 2;
            input[i] = (float)(i % 2 == 0 ? middle : -middle);
        }
    }
    input[NUMBERS - 1] = 1e9f;
    struct convert_args args = {input, fp8, from_fp8, bf16, from_bf16, NUMBERS};
    assert_true(emulation_launch(convert, (struct emulation_dim){1, 1, 1}, warp, 0, &args));
    for (int i = 0; i < NUMBERS; i++) {
        int expected = fp8_nearest((double)input[i]);
        assert_int_equal(fp8[i] & 0x7f, expected & 0x7f);
        assert_float_equal(from_fp8[i], (float)fp8_value(fp8[i]), 0);
        assert_int_equal(bf16[i], dtype_f32_to_bf16(input[i]));
        assert_float_equal(from_bf16[i], input[i], fabsf(input[i]) / 256);
    }
}

static void test_launches_that_no_device_takes_are_refused(void **state)
{
    (void)state;
    struct sum_args args = {0};
    const struct emulation_dim odd = {33, 1, 1};
    const struct emulation_dim many = {128, 1, 1};
    const struct emulation_dim none = {0, 1, 1};
    assert_false(emulation_launch(sum, grid, odd, 0, &args));
    assert_false(emulation_launch(sum, none, block, 0, &args));
    assert_false(emulation_launch(sum, grid, block, 228 << 10, &args));
    assert_false(emulation_launch(sum, grid, many, 0, &args));
    assert_non_null(strstr(emulation_message(), "launch bound is 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_kernel_runs_in_every_order),
        cmocka_unit_test(test_a_missing_barrier_shows_in_the_result),
        cmocka_unit_test(test_a_barrier_that_some_threads_do_not_reach_is_refused),
        cmocka_unit_test(test_lanes_of_a_warp_exchange_and_wait_for_each_other),
        cmocka_unit_test(test_asynchronous_copies_arrive_when_they_are_waited_for),
        cmocka_unit_test(test_fragments_of_matrices_are_those_of_the_manual),
        cmocka_unit_test(test_numbers_of_8_and_16_bits_are_rounded_to_the_nearest),
        cmocka_unit_test(test_launches_that_no_device_takes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
