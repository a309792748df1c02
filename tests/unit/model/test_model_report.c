/* model_report: what it counts in a folder whose sizes are known, and what it refuses. */
#include "pipeline/model/model_report.h"

#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/tiny_model.h"

static const struct tiny_model tiny = {
    .vocabulary = 50,
    .hidden = 32,
    .intermediate = 48,
    .layers = 2,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 8,
    .context = 64,
    .dtype = "BF16",
    .seed = 1,
};

enum {
    NORMS = 5 * 32, // two of each layer and the last
    LAYER = (32 + 16 + 16 + 32) * 32 + 3 * 48 * 32,
    EMBEDDINGS = 50 * 32,
    LINEAR = 50 * 32 + 2 * LAYER, // embeddings and output are not tied
    MATRICES = EMBEDDINGS + LINEAR,
    OUTPUTS = 50 + 2 * (32 + 16 + 16 + 32 + 2 * 48 + 32),
};

static void test_counts_parameters_and_memory_without_loading(void **state)
{
    (void)state;
    char path[TINY_MODEL_PATH];
    struct model_report report;
    struct error error = {0};
    tiny_model_write(&tiny, path);
    assert_true(model_report_make(path, NULL, &report, &error));
    tiny_model_remove(path);
    assert_int_equal(report.config.layers, 2);
    assert_int_equal(report.tensors, 3 + 2 * 9);
    assert_int_equal(report.parameters, NORMS + MATRICES);
    assert_int_equal(report.file_bytes, 2 * (NORMS + MATRICES));
    assert_int_equal(report.dtypes_count, 1);
    assert_string_equal(report.dtypes[0].name, "BF16");
    assert_int_equal(report.dtypes[0].parameters, report.parameters);
    assert_int_equal(report.kv_bytes_per_token, 2 * 2 * 16 * sizeof(float));
    // Matrices are in their format, norms always in f32, embeddings as in the file.
    enum { FIXED = 4 * NORMS + 2 * EMBEDDINGS };
    assert_int_equal(report.weights_bytes_f32, FIXED + 4 * LINEAR);
    assert_int_equal(report.weights_bytes_bf16, FIXED + 2 * LINEAR);
    assert_int_equal(report.weights_bytes_int8, FIXED + LINEAR + 4 * OUTPUTS);
}

static void test_refuses_what_the_loader_refuses(void **state)
{
    (void)state;
    char path[TINY_MODEL_PATH];
    struct model_report report;
    struct error error = {0};
    tiny_model_write(&tiny, path);
    tiny_model_put(path, "model.safetensors", "short", 5);
    assert_false(model_report_make(path, NULL, &report, &error));
    assert_non_null(strstr(error.message, "model.safetensors"));
    error = (struct error){0};
    tiny_model_put(path, "config.json", "{", 1);
    assert_false(model_report_make(path, NULL, &report, &error));
    assert_non_null(strstr(error.message, "config.json"));
    tiny_model_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_parameters_and_memory_without_loading),
        cmocka_unit_test(test_refuses_what_the_loader_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
