/* The CUDA back end's memory and transfers, and what it says where something is missing or lost. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/cuda_upload.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/cuda_fixture.h"
#include "tests/support/cuda/emulated_driver.h"

static const struct emulated_device hopper = {
    .capability = 90, .memory_bytes = (size_t)1 << 30, .devices = 1};

/* More than the ring of pinned memory holds, so that all of it is used twice. */
static void test_copies_of_any_size_arrive(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    struct backend *backend = cuda_fixture_open(&hopper, &options);
    size_t bytes = (size_t)UPLOAD_RING_BYTES + UPLOAD_BYTES_MAX + 12345;
    unsigned char *data = malloc(bytes);
    unsigned char *back = malloc(bytes);
    assert_non_null(data);
    assert_non_null(back);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)(i * 2654435761u >> 24);
    }
    struct device_buffer *buffer = fixture_upload(backend, data, bytes);
    memset(data, 0, 100); // what was copied is the caller's again
    fixture_download(backend, back, buffer, bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (back[i] != (unsigned char)(i * 2654435761u >> 24)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
    assert_int_equal(backend->ops->copy_in(backend, buffer, bytes - 1, data, 2), KERNEL_BAD_SHAPE);
    assert_int_equal(backend->ops->copy_out(backend, back, buffer, bytes, 1), KERNEL_BAD_SHAPE);
    backend->ops->buffer_close(backend, buffer);
    free(data);
    free(back);
    backend_close(backend);
}

static void test_memory_ends_with_an_error_and_comes_back(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA, .memory_utilization = 0.5};
    struct backend *backend = cuda_fixture_open(&hopper, &options);
    size_t left = backend->ops->memory_left(backend);
    assert_true(left > 0 && left < hopper.memory_bytes / 2);
    struct device_buffer *most = NULL;
    struct device_buffer *more = NULL;
    assert_status(backend->ops->buffer_open(backend, left, &most));
    assert_int_equal(backend->ops->buffer_open(backend, left, &more), KERNEL_OUT_OF_MEMORY);
    backend->ops->buffer_close(backend, most);
    assert_true(backend->ops->memory_left(backend) == left);
    backend_close(backend);
}

static void test_a_lost_device_stays_lost(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    struct emulated_device failing = hopper;
    failing.launches_before = 1;
    failing.launch_result = 700;
    struct backend *backend = cuda_fixture_open(&failing, &options);
    struct device_buffer *input = fixture_buffer(backend, 64);
    struct device_buffer *output = fixture_buffer(backend, 64);
    assert_status(backend->ops->gelu(backend, input, output, 1, 8));
    assert_int_equal(backend->ops->gelu(backend, input, output, 1, 8), KERNEL_DEVICE_LOST);
    assert_int_equal(backend->ops->synchronize(backend), KERNEL_DEVICE_LOST);
    assert_int_equal(backend->ops->gelu(backend, input, output, 1, 8), KERNEL_DEVICE_LOST);
    backend->ops->buffer_close(backend, input);
    backend->ops->buffer_close(backend, output);
    backend_close(backend);
}

static void assert_refused(const struct emulated_device *device, const char *words)
{
    struct backend_options options = {.device = BACKEND_CUDA};
    struct backend *backend = NULL;
    struct error error = {0};
    emulated_device_set(device);
    assert_false(cuda_fixture_open_emulated(&options, &backend, &error));
    if (strstr(error.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    }
}

static void test_what_is_missing_is_said(void **state)
{
    (void)state;
    struct emulated_device device = hopper;
    device.devices = 0;
    assert_refused(&device, "finds no device");
    device = hopper;
    device.capability = 75;
    assert_refused(&device, "compute capability 7.5, must have at least 8.0");
    device = hopper;
    device.used_bytes = (size_t)900 << 20;
    assert_refused(&device, "1024 MiB of memory, of which 900 are in use");
}

static void test_auto_takes_the_cpu(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_AUTO, .threads = 1};
    struct backend *backend = NULL;
    struct error error = {0};
    assert_true(backend_open(&options, &backend, &error));
    assert_int_equal(backend->device, BACKEND_CPU);
    backend_close(backend);
}

static void test_without_a_device_the_error_says_what_is_missing(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA, .threads = 1};
    struct backend *backend = NULL;
    struct error error = {0};
    if (backend_open(&options, &backend, &error)) {
        backend_close(backend);
        print_message("there is a device\n");
        skip();
    }
    print_message("  %s\n", error.message);
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_true(strlen(error.message) > 0);
}

static void test_the_arena_joins_what_is_given_back(void **state)
{
    (void)state;
    enum { PIECES = 200, PIECE = 1000 };
    struct cuda_memory *memory = NULL;
    uint64_t pieces[PIECES];
    emulated_device_set(&hopper);
    assert_int_equal(cuda_memory_open(emulated_driver(), (size_t)PIECES * 1024, false, &memory), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PIECES; i++) {
            assert_true(cuda_memory_take(memory, PIECE, &pieces[i]));
            assert_true(pieces[i] % 256 == 0);
            memset((void *)(uintptr_t)pieces[i], i, PIECE);
        }
        uint64_t none;
        assert_false(cuda_memory_take(memory, 1, &none));
        for (int i = 0; i < PIECES; i++) {
            int piece = (i * 7 + round) % PIECES; // 7 and 200 have no common divisor
            const unsigned char *bytes = (const unsigned char *)(uintptr_t)pieces[piece];
            assert_true(bytes[0] == (unsigned char)piece && bytes[PIECE - 1] == bytes[0]);
            cuda_memory_give(memory, pieces[piece], PIECE);
        }
        assert_true(cuda_memory_left(memory) == cuda_memory_bytes(memory));
    }
    assert_true(cuda_memory_take(memory, (size_t)PIECES * 1024, &pieces[0])); // in one piece
    cuda_memory_close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_of_any_size_arrive),
        cmocka_unit_test(test_memory_ends_with_an_error_and_comes_back),
        cmocka_unit_test(test_a_lost_device_stays_lost),
        cmocka_unit_test(test_what_is_missing_is_said),
        cmocka_unit_test(test_auto_takes_the_cpu),
        cmocka_unit_test(test_without_a_device_the_error_says_what_is_missing),
        cmocka_unit_test(test_the_arena_joins_what_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
