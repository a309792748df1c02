/* safetensors files from anybody: each kind of damage is one clear error, never a crash. */
#include "pipeline/model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/tiny_model.h"

static char folder[TINY_MODEL_PATH];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/safetensors_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    tiny_model_remove(folder);
    return 0;
}

/* A file with this header text and `data_bytes` of data. */
static void put_file(const char *name, const char *header, size_t data_bytes)
{
    size_t header_bytes = strlen(header);
    size_t bytes = 8 + header_bytes + data_bytes;
    unsigned char *file = calloc(1, bytes);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) {
        file[i] = (unsigned char)(header_bytes >> (8 * i) & 0xff);
    }
    memcpy(file + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++) {
        file[8 + header_bytes + i] = (unsigned char)i;
    }
    tiny_model_put(folder, name, file, bytes);
    free(file);
}

static void assert_refused(const char *part)
{
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    assert_false(safetensors_open(folder, &safetensors, &error));
    assert_null(safetensors);
    assert_int_equal(error.kind, ERROR_CONFIG);
    if (strstr(error.message, part) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", error.message, part);
    }
}

static void test_reads_names_shapes_and_data(void **state)
{
    (void)state;
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    size_t count = 0;
    put_file("model.safetensors",
             "{\"__metadata__\":{\"format\":\"pt\"},"
             "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[6,30]},"
             "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
             "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[6,6]},"
             "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[30,38]}}   ",
             38);
    assert_true(safetensors_open(folder, &safetensors, &error));
    assert_int_equal(safetensors_count(safetensors), 4);
    const struct tensor *tensor = safetensors_claim(safetensors, "b");
    assert_non_null(tensor);
    assert_int_equal(tensor->dims, 2);
    assert_int_equal(tensor->shape[0], 2);
    assert_int_equal(tensor->shape[1], 3);
    assert_int_equal(tensor->bytes, 24);
    assert_string_equal(tensor->dtype, "F32");
    assert_int_equal(((const unsigned char *)tensor->data)[0], 6);
    assert_null(safetensors_claim(safetensors, "c"));
    assert_non_null(safetensors_claim(safetensors, "a"));
    assert_string_equal(safetensors_unclaimed(safetensors, &count)->name, "empty");
    assert_int_equal(count, 2);
    safetensors_close(safetensors);
    safetensors_close(NULL);
}

static void test_a_file_may_hold_no_tensors(void **state)
{
    (void)state;
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    size_t count = 0;
    put_file("model.safetensors", "{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    assert_true(safetensors_open(folder, &safetensors, &error));
    assert_int_equal(safetensors_count(safetensors), 0);
    assert_null(safetensors_claim(safetensors, "a"));
    assert_null(safetensors_unclaimed(safetensors, &count));
    safetensors_close(safetensors);
}

static void test_damaged_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *message;
    } cases[] = {
        {"[]", 0, "not a JSON object"},
        {"{\"a\":", 0, "not a JSON object"},
        {"{} {}", 0, "not a JSON object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"{\"a\":[]}", 0, "a: the dtype is unknown"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is unknown"},
        {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is unknown"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
         "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4,
         "the shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "truncated"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[9223372036854775800,9223372036854775807]}}",
         8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "b: overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
         12, "b: does not begin"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "belong to no"},
        {"{}", 3, "belong to no"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_file("model.safetensors", cases[i].header, cases[i].data_bytes);
        assert_refused(cases[i].message);
    }
}

static void test_header_sizes_beyond_the_file_are_refused(void **state)
{
    (void)state;
    unsigned char file[16] = {0};
    assert_refused("cannot open");
    tiny_model_put(folder, "model.safetensors", file, 0);
    assert_refused("shorter than 8 bytes");
    tiny_model_put(folder, "model.safetensors", file, 7);
    assert_refused("shorter than 8 bytes");
    file[0] = 9; // one more than is there
    tiny_model_put(folder, "model.safetensors", file, sizeof(file));
    assert_refused("the header has 9 bytes");
    memset(file, 0xff, 8);
    tiny_model_put(folder, "model.safetensors", file, sizeof(file));
    assert_refused("the header has 18446744073709551615 bytes");
}

/* Every prefix of a sound file. */
static void test_a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    unsigned char file[8 + sizeof(header) - 1 + 8] = {sizeof(header) - 1};
    memcpy(file + 8, header, sizeof(header) - 1);
    for (size_t bytes = 0; bytes < sizeof(file); bytes++) {
        tiny_model_put(folder, "model.safetensors", file, bytes);
        assert_refused("model.safetensors");
    }
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    tiny_model_put(folder, "model.safetensors", file, sizeof(file));
    assert_true(safetensors_open(folder, &safetensors, &error));
    safetensors_close(safetensors);
}

static void put_index(const char *json)
{
    tiny_model_put(folder, "model.safetensors.index.json", json, strlen(json));
}

static void test_an_index_must_agree_with_its_files(void **state)
{
    (void)state;
    put_file("one.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
             4);
    put_file("two.safetensors", "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
             4);
    put_file("also.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
             4);
    put_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    assert_true(safetensors_open(folder, &safetensors, &error));
    assert_int_equal(safetensors_count(safetensors), 2);
    safetensors_close(safetensors);

    put_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}");
    assert_refused("does not name b");
    put_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}");
    assert_refused("names 2 tensors, the files hold 1");
    put_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"also.safetensors\"}}");
    assert_refused("a is in two files");
    put_index("{\"weight_map\":{\"a\":\"three.safetensors\"}}");
    assert_refused("cannot open");
    put_index("{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    assert_refused("not a plain name");
    put_index("{\"weight_map\":{\"a\":\"/etc/passwd\"}}");
    assert_refused("not a plain name");
    put_index("{\"weight_map\":{\"a\":3}}");
    assert_refused("not a plain name");
    put_index("{\"weight_map\":[]}");
    assert_refused("weight_map is missing");
    put_index("{");
    assert_refused("not JSON");
}

/* Random damage to the header of a sound file must never do worse than fail. */
static void test_random_damage_never_crashes(void **state)
{
    (void)state;
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[8,16]}}";
    enum { BYTES = 8 + sizeof(header) - 1 + 16 };
    const char *seed = getenv("TEST_SEED");
    unsigned value = seed == NULL ? 42u : (unsigned)strtoul(seed, NULL, 10);
    print_message("TEST_SEED=%u\n", value);
    for (int round = 0; round < 3000; round++) {
        unsigned char file[BYTES] = {sizeof(header) - 1};
        memcpy(file + 8, header, sizeof(header) - 1);
        for (int change = 0; change <= round % 3; change++) {
            value = value * 1664525u + 1013904223u;
            unsigned at = (value >> 8) % (BYTES - 16);
            value = value * 1664525u + 1013904223u;
            file[at] = (unsigned char)(value >> 16);
        }
        tiny_model_put(folder, "model.safetensors", file, sizeof(file));
        struct safetensors *safetensors = NULL;
        struct error error = {0};
        if (safetensors_open(folder, &safetensors, &error)) {
            safetensors_close(safetensors);
        } else {
            assert_true(error.message[0] != '\0');
        }
    }
}

int main(void)
{
#define SAFETENSORS_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        SAFETENSORS_TEST(test_reads_names_shapes_and_data),
        SAFETENSORS_TEST(test_a_file_may_hold_no_tensors),
        SAFETENSORS_TEST(test_damaged_headers_are_refused),
        SAFETENSORS_TEST(test_header_sizes_beyond_the_file_are_refused),
        SAFETENSORS_TEST(test_a_file_cut_anywhere_is_refused),
        SAFETENSORS_TEST(test_an_index_must_agree_with_its_files),
        SAFETENSORS_TEST(test_random_damage_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
