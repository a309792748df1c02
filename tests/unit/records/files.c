/* files: reads a file of the source tree into memory, for tests. */
#include "tests/unit/records/files.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

void file_read(const char *path, struct buffer *out)
{
    buffer_init(out, 16 << 20);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
        return;
    }
    char part[4096];
    for (size_t size; (size = fread(part, 1, sizeof part, file)) > 0;) {
        buffer_append(out, part, size);
    }
    fclose(file);
    assert_false(buffer_failed(out));
}
