/* Every family in awkward shapes against transformers (tests/golden/model/families.py): logits, at
 * every size of chunk the same, and greedy ids, on every instruction set of this machine. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

enum { PROMPT_MAX = 128, FILE_BYTES_MAX = 16 << 20 };

static const enum backend_isa isas[] = {ISA_AMX, ISA_AVX512_VNNI, ISA_AVX512, ISA_AVX2,
                                        ISA_PORTABLE};

/* Numbers from -0.5 to 0.5: splitmix64, as the script has it. */
static double uniform(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (double)((x ^ (x >> 31)) >> 11) * 0x1p-53 - 0.5;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name);
    return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

/* `tensor`: [name, rows, columns] or [name, width]. */
static void append_tensor(const json_t *tensor, struct buffer *header, struct buffer *data)
{
    const char *name = json_string_value(json_array_get(tensor, 0));
    int rows = (int)json_integer_value(json_array_get(tensor, 1));
    int columns = (int)json_integer_value(json_array_get(tensor, 2)); // 0: a vector
    int count = columns == 0 ? rows : rows * columns;
    bool is_scale = columns == 0 && ends_with(name, ".weight");
    size_t begin = data->size;
    uint64_t state = 0;
    for (const char *c = name; *c != '\0'; c++) {
        state = state * 31 + (unsigned char)*c;
    }
    for (int i = 0; i < count; i++) {
        double value = uniform(&state);
        value = is_scale ? 1 + 0.5 * value : columns == 0 ? value : value * (4 / sqrt(columns));
        float number = (float)value;
        buffer_append(data, &number, sizeof(number));
    }
    buffer_printf(header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d", header->size > 8 ? "," : "{",
                  name, rows);
    if (columns > 0) {
        buffer_printf(header, ",%d", columns);
    }
    buffer_printf(header, "],\"data_offsets\":[%zu,%zu]}", begin, data->size);
}

static void write_weights(const char *folder, const json_t *tensors)
{
    struct buffer file;
    struct buffer data;
    buffer_init(&file, FILE_BYTES_MAX);
    buffer_init(&data, FILE_BYTES_MAX);
    buffer_append(&file, "\0\0\0\0\0\0\0\0", 8);
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        append_tensor(json_array_get(tensors, i), &file, &data);
    }
    buffer_append_char(&file, '}');
    size_t header_bytes = file.size - 8;
    for (int i = 0; i < 8; i++) {
        file.data[i] = (char)(header_bytes >> (8 * i) & 0xff);
    }
    buffer_append_bytes(&file, buffer_bytes(&data));
    assert_false(buffer_failed(&file) || buffer_failed(&data));
    tiny_model_put(folder, "model.safetensors", file.data, file.size);
    buffer_close(&file);
    buffer_close(&data);
}

static void write_folder(char path[TINY_MODEL_PATH], const json_t *family)
{
    (void)snprintf(path, TINY_MODEL_PATH, "/tmp/families_XXXXXX");
    assert_non_null(mkdtemp(path));
    char *config = json_dumps(json_object_get(family, "config"), 0);
    assert_non_null(config);
    tiny_model_put(path, "config.json", config, strlen(config));
    free(config);
    write_weights(path, json_object_get(family, "tensors"));
}

static int read_ids(const json_t *family, const char *member, int32_t *ids)
{
    const json_t *array = json_object_get(family, member);
    int count = (int)json_array_size(array);
    assert_true(count > 0 && count <= PROMPT_MAX);
    for (int i = 0; i < count; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return count;
}

/* Within 2e-4 of the row's largest. */
static void check_row(const char *name, int position, const float *logits, const json_t *row)
{
    double largest = 0;
    double worst = 0;
    for (size_t i = 0; i < json_array_size(row); i++) {
        double expected = json_number_value(json_array_get(row, i));
        double difference = fabs((double)logits[i] - expected);
        largest = fmax(largest, fabs(expected));
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (!(worst <= 2e-4 * largest)) {
        fail_msg("%s: logits of position %d differ by %g, of %g", name, position, worst, largest);
    }
}

static void check_logits(struct model_runner *runner, const json_t *family, const int32_t *tokens,
                         int prompt)
{
    static const int chunks[] = {PROMPT_MAX, 23};
    const char *name = json_string_value(json_object_get(family, "name"));
    size_t width = (size_t)runner->vocabulary;
    size_t bytes = (size_t)prompt * width * sizeof(float);
    float *logits[2];
    for (int i = 0; i < 2; i++) {
        logits[i] = malloc(bytes);
        assert_non_null(logits[i]);
        model_runner_logits(runner, tokens, 0, prompt, chunks[i], logits[i]);
    }
    assert_memory_equal(logits[0], logits[1], bytes);
    const json_t *rows = json_object_get(family, "rows");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        int position = (int)json_integer_value(json_array_get(rows, i));
        const json_t *row = json_array_get(json_object_get(family, "logits"), i);
        assert_int_equal(json_array_size(row), width);
        check_row(name, position, logits[0] + (size_t)position * width, row);
    }
    free(logits[0]);
    free(logits[1]);
}

static void check_family(const json_t *family, const char *path, enum backend_isa isa)
{
    struct model_runner runner;
    int32_t tokens[PROMPT_MAX];
    int32_t expected[PROMPT_MAX];
    const struct runner_options options = {.backend = {.isa = isa, .threads = 2}};
    int prompt = read_ids(family, "ids", tokens);
    int greedy = read_ids(family, "greedy", expected);
    assert_true(prompt + greedy <= PROMPT_MAX);
    model_runner_open(&runner, path, &options);
    check_logits(&runner, family, tokens, prompt);
    if (json_number_value(json_object_get(family, "margin")) >= 2e-3) {
        model_runner_greedy(&runner, tokens, prompt, prompt + greedy);
        assert_memory_equal(tokens + prompt, expected, sizeof(int32_t) * (size_t)greedy);
    }
    model_runner_close(&runner);
}

static bool has_isa(enum backend_isa isa)
{
    struct backend_options options = {.isa = isa, .threads = 1};
    struct backend *backend = NULL;
    struct error error = {0};
    bool is_there = backend_open(&options, &backend, &error);
    backend_close(backend);
    return is_there;
}

static void test_every_family_agrees_with_transformers_in_awkward_shapes(void **state)
{
    (void)state;
    json_error_t problem;
    json_t *families = json_load_file(SOURCE_DIR "/tests/golden/model/families.json", 0, &problem);
    assert_true(json_array_size(families) > 0);
    for (size_t f = 0; f < json_array_size(families); f++) {
        const json_t *family = json_array_get(families, f);
        char path[TINY_MODEL_PATH];
        write_folder(path, family);
        for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
            if (has_isa(isas[i])) {
                check_family(family, path, isas[i]);
            }
        }
        tiny_model_remove(path);
    }
    json_decref(families);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_agrees_with_transformers_in_awkward_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
