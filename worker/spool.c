/* spool: stdio gathers what is written; what is read is read where it stands. */
#include "worker/spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

struct spool {
    FILE *file;
    int64_t size;
    bool is_flushed;
};

static bool fail(const char *what, struct error *error)
{
    return error_set(error, ERROR_FATAL, NULL, NULL, "a temporary file cannot be %s: %s", what,
                     strerror(errno));
}

bool spool_open(struct spool **spool_out, struct error *error)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "%s/millrace-XXXXXX",
                   folder == NULL || folder[0] == '\0' ? "/tmp" : folder);
    int descriptor = mkstemp(path);
    if (descriptor < 0) {
        return fail("made", error);
    }
    (void)unlink(path);
    struct spool *spool = calloc(1, sizeof *spool);
    FILE *file = spool == NULL ? NULL : fdopen(descriptor, "w+b");
    if (file == NULL) {
        (void)close(descriptor);
        free(spool);
        return fail("opened", error);
    }
    spool->file = file;
    *spool_out = spool;
    return true;
}

void spool_close(struct spool *spool)
{
    if (spool != NULL) {
        (void)fclose(spool->file);
        free(spool);
    }
}

bool spool_add(struct spool *spool, struct bytes bytes, int64_t *at_out, struct error *error)
{
    *at_out = spool->size;
    if (bytes.size > 0 && fwrite(bytes.data, 1, bytes.size, spool->file) != bytes.size) {
        return fail("written", error);
    }
    spool->size += (int64_t)bytes.size;
    spool->is_flushed = false;
    return true;
}

bool spool_read(struct spool *spool, int64_t at, void *bytes_out, size_t size, struct error *error)
{
    if (!spool->is_flushed && fflush(spool->file) != 0) {
        return fail("written", error);
    }
    spool->is_flushed = true;
    char *to = bytes_out;
    while (size > 0) {
        ssize_t count = pread(fileno(spool->file), to, size, (off_t)at);
        if (count <= 0) {
            return fail("read", error);
        }
        to += count;
        at += count;
        size -= (size_t)count;
    }
    return true;
}
