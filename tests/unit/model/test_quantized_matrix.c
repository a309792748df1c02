/* Packed matrices against the libraries that write them (tests/golden/model/quantized.py), and
 * packed tensors that do not fit or lie. */
#include "pipeline/model/quantized_matrix.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/dequantize.h"
#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"
#include "tests/support/model_runner.h"
#include "tests/support/seed.h"
#include "tests/support/tiny_model.h"

static const char golden[] = SOURCE_DIR "/tests/golden/model";

struct scene {
    struct model_config config;
    struct safetensors *safetensors;
    struct loader loader;
    struct error error;
};

static void scene_open(struct scene *scene, const json_t *quantization, const char *folder,
                       const char *name)
{
    *scene = (struct scene){0};
    json_t *root = json_pack("{s:O}", "quantization_config", quantization);
    assert_non_null(root);
    assert_true(quantization_read(root, "config.json", &scene->config.quantization, &scene->error));
    json_decref(root);
    assert_true(safetensors_open_file(folder, name, &scene->safetensors, &scene->error));
    scene->loader = (struct loader){
        .config = &scene->config, .safetensors = scene->safetensors, .error = &scene->error};
}

static json_t *open_cases(void)
{
    char path[512];
    json_error_t problem;
    (void)snprintf(path, sizeof(path), "%s/quantized.json", golden);
    json_t *cases = json_load_file(path, 0, &problem);
    assert_true(json_array_size(cases) > 0);
    return cases;
}

static int int_of(const json_t *object, const char *name)
{
    return (int)json_integer_value(json_object_get(object, name));
}

static void check_case(const json_t *golden_case)
{
    struct scene scene;
    const char *name = json_string_value(json_object_get(golden_case, "name"));
    int rows = int_of(golden_case, "rows");
    int columns = int_of(golden_case, "columns");
    float *values = NULL;
    float *expected = NULL;
    char member[64];
    scene_open(&scene, json_object_get(golden_case, "quantization_config"), golden,
               "quantized.safetensors");
    (void)snprintf(member, sizeof(member), "%s.expected", name);
    assert_true(quantized_matrix_is(&scene.loader, name));
    if (!quantized_matrix_take(&scene.loader, name, rows, columns, &values) ||
        !loader_take_floats(&scene.loader, member, rows, columns, &expected)) {
        fail_msg("%s: %s", name, scene.error.message);
    }
    for (int i = 0; i < rows * columns; i++) {
        double difference = fabs((double)values[i] - (double)expected[i]);
        if (!(difference <= 1e-6 * fabs((double)expected[i]))) { // one rounding of a product
            fail_msg("%s: number %d is %g, must be %g", name, i, (double)values[i],
                     (double)expected[i]);
        }
    }
    free(values);
    free(expected);
    safetensors_close(scene.safetensors);
}

static void test_packed_matrices_are_what_the_libraries_unpack(void **state)
{
    (void)state;
    json_t *cases = open_cases();
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_case(json_array_get(cases, i));
    }
    json_decref(cases);
}

static char folder[TINY_MODEL_PATH];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/quantized_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    tiny_model_remove(folder);
    return 0;
}

/* A file with the members of a matrix, all bytes `fill`: "name dtype shape bytes" each. */
struct member {
    const char *name;
    const char *dtype;
    const char *shape;
    size_t bytes;
};

static void put_members(const struct member *members, size_t count, unsigned char fill)
{
    struct buffer header;
    struct buffer file;
    size_t at = 0;
    buffer_init(&header, 1 << 16);
    buffer_init(&file, 1 << 20);
    buffer_append_char(&header, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&header,
                      "%s\"m.%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                      i == 0 ? "" : ",", members[i].name, members[i].dtype, members[i].shape, at,
                      at + members[i].bytes);
        at += members[i].bytes;
    }
    buffer_append_char(&header, '}');
    for (int i = 0; i < 8; i++) {
        buffer_append_char(&file, (char)(header.size >> (8 * i) & 0xff));
    }
    buffer_append_bytes(&file, buffer_bytes(&header));
    for (size_t i = 0; i < at; i++) {
        buffer_append_char(&file, (char)fill);
    }
    assert_false(buffer_failed(&header) || buffer_failed(&file));
    tiny_model_put(folder, "model.safetensors", file.data, file.size);
    buffer_close(&header);
    buffer_close(&file);
}

static void assert_refused(const char *quantization, const char *part)
{
    struct scene scene;
    float *values = NULL;
    json_t *object = json_loads(quantization, 0, NULL);
    assert_non_null(object);
    scene_open(&scene, object, folder, "model.safetensors");
    json_decref(object);
    assert_false(quantized_matrix_take(&scene.loader, "m", 8, 16, &values));
    assert_null(values);
    if (strstr(scene.error.message, part) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", scene.error.message, part);
    }
    safetensors_close(scene.safetensors);
}

#define GPTQ "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16,\"desc_act\":true}"
#define AWQ "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":16}"

static void test_packed_tensors_that_do_not_fit_are_refused_by_name(void **state)
{
    (void)state;
    struct member members[] = {{"qweight", "I32", "[2,8]", 64},
                               {"qzeros", "I32", "[1,1]", 4},
                               {"scales", "F16", "[1,8]", 16},
                               {"g_idx", "I32", "[16]", 64}};
    put_members(members, 4, 0);
    assert_refused(AWQ, "m.qweight has 2 dimensions [2, 8]");
    put_members(members, 4, 1); // groups of 16843009
    assert_refused(GPTQ, "m.g_idx: input 0 is in group 16843009, must be below 1");
    put_members(members, 4, 0xff);
    assert_refused(GPTQ, "m.g_idx: input 0 is in group -1, must be below 1");
    put_members(members, 3, 0);
    assert_refused(GPTQ, "m.g_idx is missing");
    put_members(members, 2, 0);
    assert_refused(GPTQ, "m.scales is missing");
    put_members(members, 1, 0);
    assert_refused(GPTQ, "m.qzeros is missing");
    put_members(members, 0, 0);
    assert_refused(GPTQ, "m.qweight is missing");
    members[0].dtype = "F32";
    put_members(members, 4, 0);
    assert_refused(GPTQ, "m.qweight has dtype F32, must be I32");
    struct member fp8[] = {{"weight", "F8_E4M3", "[8,16]", 128},
                           {"weight_scale", "F32", "[7]", 28}};
    put_members(fp8, 1, 0);
    assert_refused("{\"quant_method\":\"fp8\"}", "m.weight_scale is missing");
    put_members(fp8, 2, 0);
    assert_refused("{\"quant_method\":\"fp8\"}", "m.weight_scale has 1 dimensions [7");
    assert_refused("{\"quant_method\":\"fp8\",\"weight_block_size\":[4,4]}", "calls for [2, 4]");
    fp8[1] = (struct member){"weight_scale", "I32", "[1]", 4};
    put_members(fp8, 2, 0);
    assert_refused("{\"quant_method\":\"fp8\"}", "must be F32, BF16 or F16");
}

/* Whatever the header says of a packed matrix, it is read within the file or refused. */
static void test_random_shapes_never_read_outside_the_file(void **state)
{
    (void)state;
    static const char *const kinds[] = {GPTQ, AWQ, "{\"quant_method\":\"fp8\"}",
                                        "{\"quant_method\":\"fp8\",\"weight_block_size\":[4,4]}"};
    seed_random();
    for (int round = 0; round < 400; round++) {
        struct member members[6] = {
            {"qweight", "I32", NULL, 0},    {"qzeros", "I32", NULL, 0},
            {"scales", "F16", NULL, 0},     {"g_idx", "I32", NULL, 0},
            {"weight", "F8_E4M3", NULL, 0}, {"weight_scale", "BF16", NULL, 0}};
        char shapes[6][32];
        for (int i = 0; i < 6; i++) {
            static const int sides[] = {0, 1, 2, 8, 16};
            int rows = sides[random_below(5)];
            int columns = sides[random_below(5)];
            bool is_vector = random_below(3) == 0;
            size_t width = i == 4 ? 1 : i == 2 || i == 5 ? 2 : 4;
            (void)snprintf(shapes[i], sizeof(shapes[i]), is_vector ? "[%d]" : "[%d,%d]", rows,
                           columns);
            members[i].shape = shapes[i];
            members[i].bytes = (size_t)rows * (is_vector ? 1 : (size_t)columns) * width;
        }
        put_members(members, 6, (unsigned char)(random_below(2)));
        struct scene scene;
        float *values = NULL;
        json_t *object = json_loads(kinds[random_below(4)], 0, NULL);
        scene_open(&scene, object, folder, "model.safetensors");
        json_decref(object);
        if (quantized_matrix_take(&scene.loader, "m", 8, 16, &values)) {
            free(values);
        }
        safetensors_close(scene.safetensors);
    }
}

static void run_model(const struct tiny_model *tiny, float logits[5 * 61])
{
    char path[TINY_MODEL_PATH];
    static const int32_t tokens[] = {5, 17, 40, 2, 9};
    struct model_runner runner;
    const struct runner_options options = {.backend = {.threads = 1}};
    tiny_model_write(tiny, path);
    model_runner_open(&runner, path, &options);
    tiny_model_remove(path);
    model_runner_logits(&runner, tokens, 0, 5, 5, logits);
    model_runner_close(&runner);
}

static void test_a_packed_model_is_the_model_that_was_packed(void **state)
{
    (void)state;
    struct tiny_model tiny = {.vocabulary = 61, .f8 = F8_AS_F32, .seed = 4};
    float plain[5 * 61];
    float packed[5 * 61];
    run_model(&tiny, plain);
    tiny.f8 = F8_AS_BYTES;
    tiny.extra_json = "\"quantization_config\":{\"quant_method\":\"fp8\"}";
    run_model(&tiny, packed);
    assert_memory_equal(plain, packed, sizeof(plain));
    assert_true(plain[0] != 0);
}

static void test_bytes_that_no_quantization_explains_are_refused(void **state)
{
    (void)state;
    const struct tiny_model tiny = {.f8 = F8_AS_BYTES, .seed = 4};
    const struct backend_options backend_options = {.threads = 1};
    const struct model_options options = {.weights = WEIGHTS_F32, .block_tokens = 16};
    char path[TINY_MODEL_PATH];
    struct backend *backend = NULL;
    struct model *model = NULL;
    struct error error = {0};
    assert_true(backend_open(&backend_options, &backend, &error));
    tiny_model_write(&tiny, path);
    assert_false(model_open(path, backend, &options, &model, &error));
    tiny_model_remove(path);
    assert_non_null(strstr(error.message, "q_proj.weight has dtype F8_E4M3, must be F32"));
    backend_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_matrices_are_what_the_libraries_unpack),
        cmocka_unit_test(test_a_packed_model_is_the_model_that_was_packed),
        cmocka_unit_test(test_bytes_that_no_quantization_explains_are_refused),
        cmocka_unit_test_setup_teardown(test_packed_tensors_that_do_not_fit_are_refused_by_name,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_random_shapes_never_read_outside_the_file, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
