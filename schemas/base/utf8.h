/* utf8: where characters end. Thread: any, no state. */
#ifndef SCHEMAS_BASE_UTF8_H
#define SCHEMAS_BASE_UTF8_H

#include <stddef.h>

/* Length of the well-formed UTF-8 sequence at `at`, 0 where there is none. `at` < `end`. */
size_t utf8_sequence_size(const unsigned char *at, const unsigned char *end);

#endif
