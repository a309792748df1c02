/* fuzz_config: a configuration file; a refusal must say where and why. */
#include "worker/config_internal.h"

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config; // too large for a stack
    config = (struct config){.arena = arena_open(ARENA_BYTES_MAX)};
    CHECK(config.arena != NULL);
    struct error error = {0};
    struct config_builder builder = {.config = &config, .error = &error};
    if (!config_read_yaml(&builder, "input", (struct bytes){(const char *)data, size})) {
        CHECK(error.kind == ERROR_CONFIG && strncmp(error.message, "input:", 6) == 0);
    }
    CHECK(config.models_count <= CONFIG_MODELS_MAX);
    CHECK(config.kafka_count <= CONFIG_KAFKA_PROPERTIES_MAX);
    arena_close(config.arena);
    return 0;
}
