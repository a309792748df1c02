/* engine_setup: from the settings under `engine` to the options of backend, model and generator.
 * Thread: any. */
#ifndef WORKER_ENGINE_SETUP_H
#define WORKER_ENGINE_SETUP_H

#include "pipeline/local.h"
#include "worker/config.h"

struct backend_options engine_setup_backend(const struct config *config);
enum weight_format engine_setup_weights(const struct config *config);
enum kv_format engine_setup_kv_format(const struct config *config);
/* All but models, pool, wake and calls_max, which are the caller's. */
struct local_options engine_setup_local(const struct config *config);

#endif
