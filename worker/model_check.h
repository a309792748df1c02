/* model_check: `model check`, what a folder is, what it needs and what of it is not supported.
 * Thread: main. */
#ifndef WORKER_MODEL_CHECK_H
#define WORKER_MODEL_CHECK_H

#include <stdbool.h>

#include "schemas/base/error.h"

/* Prints the report on stdout; `adapter` may be NULL; false where the folder is broken or asks for
 * what is not there. */
MUST_CHECK bool model_check_print(const char *path, const char *adapter, bool as_json,
                                  struct error *error);

#endif
