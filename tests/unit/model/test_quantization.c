/* quantization_config in the dialects of those who write it, and what is refused by name. */
#include "pipeline/model/quantization.h"

#include <string.h>

#include "tests/support/cmocka.h"

static bool read_text(const char *config, struct quantization *quantization, struct error *error)
{
    json_t *root =
        json_pack("{s:o}", "quantization_config", json_loads(config, JSON_DECODE_ANY, NULL));
    assert_non_null(root);
    bool is_ok = quantization_read(root, "config.json", quantization, error);
    json_decref(root);
    return is_ok;
}

static struct quantization read_or_fail(const char *config)
{
    struct quantization quantization;
    struct error error = {0};
    if (!read_text(config, &quantization, &error)) {
        fail_msg("%s: %s", config, error.message);
    }
    return quantization;
}

#define GROUPS(weights)                                                                            \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\",\"config_groups\":{"  \
    "\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{" weights "}}}}"
#define FLOAT8 "\"num_bits\":8,\"type\":\"float\",\"symmetric\":true,"

static void test_reads_the_fp8_dialects(void **state)
{
    (void)state;
    struct quantization deepseek =
        read_or_fail("{\"activation_scheme\":\"dynamic\",\"fmt\":\"e4m3\",\"quant_method\":\"fp8\","
                     "\"weight_block_size\":[128,64]}");
    assert_int_equal(deepseek.kind, QUANTIZATION_FP8);
    assert_int_equal(deepseek.block_rows, 128);
    assert_int_equal(deepseek.block_columns, 64);
    static const char *const unblocked[] = {
        "{\"quant_method\":\"fp8\",\"activation_scheme\":\"static\",\"weight_block_size\":null}",
        "{\"quant_method\":\"fbgemm_fp8\",\"activation_scale_ub\":1200.0}",
        GROUPS(FLOAT8 "\"strategy\":\"tensor\""),
        GROUPS(FLOAT8 "\"strategy\":\"channel\",\"block_structure\":null"),
    };
    for (size_t i = 0; i < sizeof(unblocked) / sizeof(unblocked[0]); i++) {
        struct quantization quantization = read_or_fail(unblocked[i]);
        assert_int_equal(quantization.kind, QUANTIZATION_FP8);
        assert_int_equal(quantization.block_rows, 0);
    }
    struct quantization blocks =
        read_or_fail(GROUPS(FLOAT8 "\"strategy\":\"block\",\"block_structure\":[128,128]"));
    assert_int_equal(blocks.block_rows, 128);
    assert_int_equal(read_or_fail("null").kind, QUANTIZATION_NONE);
}

static void test_reads_awq_and_gptq(void **state)
{
    (void)state;
    struct quantization awq = read_or_fail(
        "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,\"version\":\"GEMM\"}");
    assert_int_equal(awq.kind, QUANTIZATION_AWQ);
    assert_int_equal(awq.bits, 4);
    assert_int_equal(awq.group, 128);
    assert_false(awq.is_less_one);
    struct quantization gptq =
        read_or_fail("{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"desc_act\":true,"
                     "\"dynamic\":{\"-:.*lm_head\":{}}}");
    assert_int_equal(gptq.kind, QUANTIZATION_GPTQ);
    assert_int_equal(gptq.bits, 8);
    assert_int_equal(gptq.group, 0);
    assert_true(gptq.is_less_one && gptq.is_reordered);
    struct quantization second =
        read_or_fail("{\"quant_method\":\"gptq\",\"bits\":4,"
                     "\"group_size\":64,\"checkpoint_format\":\"gptq_v2\"}");
    assert_false(second.is_less_one || second.is_reordered);
}

#define AWQ "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128"
#define GPTQ "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128"

static void test_refuses_by_name_what_is_packed_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        const char *message;
    } cases[] = {
        {"{}", "quantization of an unknown kind is not supported"},
        {"[]", "quantization of an unknown kind is not supported"},
        {"{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}", "quantization bitsandbytes"},
        {"{\"quant_method\":\"mxfp4\"}", "quantization mxfp4 is not supported"},
        {"{\"quant_method\":\"fp8\",\"fmt\":\"e3m4\"}", "fmt e3m4 is not supported"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128]}", "must be two sizes"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128,0]}", "must be two sizes"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128,1e3]}", "must be two sizes"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"}",
         "format pack-quantized is not supported"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\"}",
         "without config_groups"},
        {GROUPS("\"num_bits\":4,\"type\":\"float\""), "num_bits is 4"},
        {GROUPS("\"num_bits\":8,\"type\":\"int\""), "type int is not supported"},
        {GROUPS(FLOAT8 "\"strategy\":\"group\""), "strategy group is not supported"},
        {GROUPS(FLOAT8 "\"strategy\":\"block\""), "in blocks of no size"},
        {GROUPS("\"num_bits\":8,\"type\":\"float\",\"symmetric\":false"), "with zero points"},
        {AWQ ",\"version\":\"gemv\"}", "version gemv is not supported"},
        {AWQ ",\"zero_point\":false}", "awq without zero_point is not supported"},
        {"{\"quant_method\":\"awq\",\"bits\":8,\"group_size\":128}",
         "bits is 8, must be from 4 to 4"},
        {"{\"quant_method\":\"awq\",\"bits\":4}", "group_size is missing"},
        {"{\"quant_method\":\"gptq\",\"bits\":5,\"group_size\":128}", "bits is 5, must be 4 or 8"},
        {"{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0}", "group_size is 0"},
        {GPTQ ",\"checkpoint_format\":\"marlin\"}", "checkpoint_format marlin is not supported"},
        {GPTQ ",\"is_marlin_format\":true}", "gptq in marlin format is not supported"},
        {GPTQ ",\"pack_dtype\":\"int16\"}", "pack_dtype int16 is not supported"},
        {GPTQ ",\"dynamic\":{\"+:.*q_proj\":{\"bits\":8}}}", "dynamic quantization of +:.*q_proj"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct quantization quantization;
        struct error error = {0};
        assert_false(read_text(cases[i].config, &quantization, &error));
        assert_int_equal(error.kind, ERROR_CONFIG);
        if (strstr(error.message, cases[i].message) == NULL) {
            fail_msg("\"%s\" does not hold \"%s\"", error.message, cases[i].message);
        }
    }
}

static void test_every_kind_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(quantization_name(QUANTIZATION_NONE), "none");
    assert_string_equal(quantization_name(QUANTIZATION_FP8), "fp8");
    assert_string_equal(quantization_name(QUANTIZATION_AWQ), "awq");
    assert_string_equal(quantization_name(QUANTIZATION_GPTQ), "gptq");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_the_fp8_dialects),
        cmocka_unit_test(test_reads_awq_and_gptq),
        cmocka_unit_test(test_refuses_by_name_what_is_packed_otherwise),
        cmocka_unit_test(test_every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
