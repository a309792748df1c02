/* files: reads a file of the source tree into memory, for tests. */
#ifndef TESTS_UNIT_RECORDS_FILES_H
#define TESTS_UNIT_RECORDS_FILES_H

#include "schemas/base/buffer.h"

/* Fills the buffer, which it initialises; fails the test where the file cannot be read. */
void file_read(const char *path, struct buffer *out);

#endif
