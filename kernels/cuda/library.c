/* library: dlopen and dlsym. */
#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <string.h>

bool library_load(const char *const *names, const struct library_symbol *symbols,
                  size_t symbols_count, void *table, struct error *error)
{
    void *library = NULL;
    for (size_t i = 0; library == NULL && names[i] != NULL; i++) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (library == NULL) {
        const char *reason = dlerror();
        return error_set(error, ERROR_CONFIG, "no_device", NULL, "%s cannot be opened: %s",
                         names[0], reason == NULL ? "unknown reason" : reason);
    }
    for (size_t i = 0; i < symbols_count; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (function == NULL) {
            (void)dlclose(library);
            return error_set(error, ERROR_CONFIG, "no_device", NULL, "%s is too old: it has no %s",
                             names[0], symbols[i].name);
        }
        memcpy((char *)table + symbols[i].offset, &function, sizeof(function));
    }
    return true;
}
