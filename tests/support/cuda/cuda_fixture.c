/* cuda_fixture: the back end over emulated libraries. */
#include "tests/support/cuda/cuda_fixture.h"

#include <stdlib.h>

#include "kernels/cuda/cuda_backend.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulated_cublas.h"
#include "tests/support/cuda/emulated_driver.h"
#include "tests/support/cuda/emulation.h"
#include "tests/support/seed.h"

bool cuda_fixture_open_emulated(const struct backend_options *options, struct backend **backend_out,
                                struct error *error)
{
    static const char image[] = "emulated";
    static const void *const images[] = {image, NULL};
    static struct cuda_libraries libraries = {.images = images, .is_emulated = true};
    libraries.driver = emulated_driver();
    libraries.cublas = emulated_cublas();
    return cuda_backend_open_with(&libraries, options, backend_out, error);
}

struct backend *cuda_fixture_open(const struct emulated_device *device,
                                  const struct backend_options *options)
{
    struct backend *backend = NULL;
    struct error error = {0};
    emulated_device_set(device);
    if (!cuda_fixture_open_emulated(options, &backend, &error)) {
        fail_msg("%s", error.message);
    }
    return backend;
}

void each_cuda_backend(const struct backend_options *options, void (*test)(struct backend *backend))
{
    struct error error = {0};
    struct backend *backend = NULL;
    if (cuda_backend_open(options, &backend, &error)) {
        print_message("  on %s\n", backend->description);
        test(backend);
        backend_close(backend);
    }
    seed_random();
    static const char *const names[] = {"forward", "in reverse", "shuffled"};
    for (int order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        print_message("  emulated, threads %s\n", names[order]);
        emulation_set_order((enum emulation_order)order, (uint64_t)rand());
        if (!cuda_fixture_open_emulated(options, &backend, &error)) {
            fail_msg("%s", error.message);
        }
        test(backend);
        backend_close(backend);
    }
    emulation_set_order(EMULATION_FORWARD, 0);
}
