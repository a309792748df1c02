/* library: functions of a shared library that is opened when the program runs, as a table. */
#ifndef KERNELS_CUDA_LIBRARY_H
#define KERNELS_CUDA_LIBRARY_H

#include <stddef.h>

#include "schemas/base/error.h"

struct library_symbol {
    const char *name;
    size_t offset; // of the pointer in the table
};

/* Opens the first of the files that is there, for the life of the process, and fills the table.
 * `names` ends with NULL. The error has the dynamic linker's words. */
MUST_CHECK bool library_load(const char *const *names, const struct library_symbol *symbols,
                             size_t symbols_count, void *table, struct error *error);

#endif
