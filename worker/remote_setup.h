/* remote_setup: from an entry of `models` to a remote generator, with its key. Thread: loop. */
#ifndef WORKER_REMOTE_SETUP_H
#define WORKER_REMOTE_SETUP_H

#include "worker/config.h"
#include "worker/remote.h"

/* `from` has loop, calls_max, pool and wake; the rest comes from `model` (borrowed until the
 * generator is closed). */
MUST_CHECK bool remote_setup_open(const struct remote_options *from,
                                  const struct config_model *model, struct remote **remote_out,
                                  struct error *error);

#endif
