/* Conversions between number formats. */
#include "kernels/dtype.h"

#include <math.h>
#include <string.h>

#include "tests/support/cmocka.h"

static float read_one(uint16_t bits, enum dtype dtype)
{
    unsigned char bytes[] = {0xee, (unsigned char)(bits & 0xff), (unsigned char)(bits >> 8)};
    float value = 0;
    dtype_to_f32(&value, bytes + 1, dtype, 1); // not aligned, on purpose
    return value;
}

static void test_bf16_survives_the_way_there_and_back(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        float value = dtype_bf16_to_f32((uint16_t)bits);
        uint16_t back = dtype_f32_to_bf16(value);
        if (isnan(value)) {
            assert_true(isnan(dtype_bf16_to_f32(back)));
        } else {
            assert_int_equal(back, bits);
        }
    }
}

static void test_bf16_rounds_to_the_nearest_and_ties_to_even(void **state)
{
    (void)state;
    assert_int_equal(dtype_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);            // tie, even below
    assert_int_equal(dtype_f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);  // tie, even above
    assert_int_equal(dtype_f32_to_bf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81); // above the tie
    assert_int_equal(dtype_f32_to_bf16(3.4e38f), 0x7f80);                   // to infinity
}

static void test_f16_reads_zeros_subnormals_and_specials(void **state)
{
    (void)state;
    assert_true(read_one(0x0000, DTYPE_F16) == 0.0f);
    assert_true(signbit(read_one(0x8000, DTYPE_F16)) != 0);
    assert_true(read_one(0x0001, DTYPE_F16) == 0x1p-24f);
    assert_true(read_one(0x83ff, DTYPE_F16) == -1023.0f * 0x1p-24f);
    assert_true(read_one(0x0400, DTYPE_F16) == 0x1p-14f);
    assert_true(read_one(0x3c00, DTYPE_F16) == 1.0f);
    assert_true(read_one(0xc500, DTYPE_F16) == -5.0f);
    assert_true(read_one(0x7bff, DTYPE_F16) == 65504.0f);
    assert_true(read_one(0x7c00, DTYPE_F16) == INFINITY);
    assert_true(isnan(read_one(0x7e00, DTYPE_F16)));
}

static void test_f8_reads_zeros_subnormals_and_specials(void **state)
{
    (void)state;
    assert_true(read_one(0x00, DTYPE_F8_E4M3) == 0.0f);
    assert_true(signbit(read_one(0x80, DTYPE_F8_E4M3)) != 0);
    assert_true(read_one(0x01, DTYPE_F8_E4M3) == 0x1p-9f);
    assert_true(read_one(0x87, DTYPE_F8_E4M3) == -7 * 0x1p-9f);
    assert_true(read_one(0x08, DTYPE_F8_E4M3) == 0x1p-6f);
    assert_true(read_one(0x38, DTYPE_F8_E4M3) == 1.0f);
    assert_true(read_one(0xc5, DTYPE_F8_E4M3) == -3.25f);
    assert_true(read_one(0x7e, DTYPE_F8_E4M3) == 448.0f);
    assert_true(isnan(read_one(0x7f, DTYPE_F8_E4M3)) && isnan(read_one(0xff, DTYPE_F8_E4M3)));
    assert_true(read_one(0x01, DTYPE_F8_E5M2) == 0x1p-16f);
    assert_true(read_one(0xbe, DTYPE_F8_E5M2) == -1.5f);
    assert_true(read_one(0x7b, DTYPE_F8_E5M2) == 57344.0f);
    assert_true(read_one(0xfc, DTYPE_F8_E5M2) == -INFINITY);
    assert_true(isnan(read_one(0x7d, DTYPE_F8_E5M2)));
}

static void test_f32_is_copied_from_any_alignment(void **state)
{
    (void)state;
    unsigned char bytes[1 + 2 * sizeof(float)] = {0};
    float numbers[] = {1.5f, -2.25f};
    float read[2];
    memcpy(bytes + 1, numbers, sizeof(numbers));
    dtype_to_f32(read, bytes + 1, DTYPE_F32, 2);
    assert_memory_equal(read, numbers, sizeof(numbers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16_survives_the_way_there_and_back),
        cmocka_unit_test(test_bf16_rounds_to_the_nearest_and_ties_to_even),
        cmocka_unit_test(test_f16_reads_zeros_subnormals_and_specials),
        cmocka_unit_test(test_f8_reads_zeros_subnormals_and_specials),
        cmocka_unit_test(test_f32_is_copied_from_any_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
