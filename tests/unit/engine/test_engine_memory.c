/* The engine's opening when memory runs out at any allocation: an error, and nothing is left. */
#include "pipeline/engine/engine_internal.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/simulated_device.h"

static int allocations_left = -1; // -1: no limit

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* The linker puts this in the place of calloc (--wrap). */
void *__wrap_calloc(size_t count, size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left -= allocations_left > 0;
    return __real_calloc(count, size);
}

static void on_finish(void *context, struct sequence *sequence)
{
    (void)context;
    (void)sequence;
}

static void test_every_failing_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct simulated_device simulated;
    const struct simulated_options device = {.vocabulary = 40,
                                             .context_tokens = 64,
                                             .blocks_count = 16,
                                             .block_tokens = 4,
                                             .rows_max = 16,
                                             .sequences_max = 4};
    const struct engine_options options = {
        .models_count = 2,
        .max_num_seqs = 4,
        .max_num_batched_tokens = 16,
        .max_waiting = 8,
        .observer = {.on_finish = on_finish},
    };
    simulated_device_open(&simulated, &device);
    const struct device tables[2] = {simulated_device_table(&simulated),
                                     simulated_device_table(&simulated)};
    bool is_open = false;
    int failures_count = 0;
    for (int allocations = 0; !is_open; allocations++) {
        struct engine *engine = NULL;
        struct error error = {0};
        assert_true(allocations < 1000);
        allocations_left = allocations;
        is_open = engine_open_devices(&options, tables, &engine, &error);
        allocations_left = -1;
        if (is_open) {
            engine_close(engine);
        } else {
            failures_count++;
            assert_int_equal(error.kind, ERROR_FATAL);
            assert_string_equal(error.code, "out_of_memory");
        }
    }
    assert_true(failures_count > 20);
    simulated_device_close(&simulated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_failing_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
