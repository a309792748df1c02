/* The engine over any devices: engine_open is this with the devices of its models; tests and
 * benchmarks bring simulated ones. */
#ifndef PIPELINE_ENGINE_ENGINE_INTERNAL_H
#define PIPELINE_ENGINE_ENGINE_INTERNAL_H

#include "pipeline/engine/device.h"
#include "pipeline/engine/engine.h"

/* Checks the counts of `options`; does not read its models, kv_shares and kv_bytes. */
MUST_CHECK bool engine_check_options(const struct engine_options *options, struct error *error);

/* devices: [options->models_count], copied. */
MUST_CHECK bool engine_open_devices(const struct engine_options *options,
                                    const struct device *devices, struct engine **engine_out,
                                    struct error *error);

#endif
