/* journal: frames of magic, size and checksum. */
#include "worker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/buffer.h"

enum { MAGIC = 0x314a524d, PATH_BYTES_MAX = 4200, FILE_BUFFER_BYTES = 1 << 20 };

struct frame {
    uint32_t magic;
    uint32_t size;
    uint64_t checksum; // of what follows
};

struct journal {
    char path[PATH_BYTES_MAX];
    FILE *file;
    int64_t end; // of the last whole frame
    bool is_read;
    struct buffer payload;
};

static bool fail(const struct journal *journal, struct error *error)
{
    return error_set(error, ERROR_FATAL, NULL, NULL, "%s: %s", journal->path, strerror(errno));
}

/* NULL with *error set when it cannot be had alone. */
static FILE *open_file(const char *path, struct error *error)
{
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool is_locked = descriptor >= 0 && fcntl(descriptor, F_SETLK, &lock) == 0;
    bool is_taken = descriptor >= 0 && !is_locked && (errno == EACCES || errno == EAGAIN);
    FILE *file = is_locked ? fdopen(descriptor, "r+b") : NULL;
    if (file == NULL) {
        (void)error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s", path,
                        is_taken ? "another process writes to it" : strerror(errno));
        if (descriptor >= 0) {
            (void)close(descriptor);
        }
        return NULL;
    }
    (void)setvbuf(file, NULL, _IOFBF, FILE_BUFFER_BYTES);
    return file;
}

/* Cuts off what is behind the last whole frame; the next write goes there. */
static bool cut(struct journal *journal, struct error *error)
{
    journal->is_read = true;
    return (fseeko(journal->file, (off_t)journal->end, SEEK_SET) == 0 &&
            ftruncate(fileno(journal->file), (off_t)journal->end) == 0) ||
           fail(journal, error);
}

/* Begins the journal anew unless it has this identity. */
static bool check_identity(struct journal *journal, struct bytes identity, struct error *error)
{
    struct bytes found;
    int64_t position;
    if (journal_next(journal, &found, &position) && bytes_equal(found, identity)) {
        return true;
    }
    journal->end = 0;
    return cut(journal, error) &&
           journal_add(journal, identity, (struct bytes){0}, &position, error);
}

bool journal_open(const char *path, struct bytes identity, struct journal **journal_out,
                  struct error *error)
{
    if (strlen(path) >= PATH_BYTES_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "the path %.100s... is too long", path);
    }
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %s", path);
    }
    (void)snprintf(journal->path, sizeof journal->path, "%s", path);
    buffer_init(&journal->payload, JOURNAL_FRAME_BYTES_MAX);
    journal->file = open_file(path, error);
    if (journal->file == NULL || !check_identity(journal, identity, error)) {
        journal_close(journal, true);
        return false;
    }
    *journal_out = journal;
    return true;
}

void journal_close(struct journal *journal, bool keeps_file)
{
    if (journal == NULL) {
        return;
    }
    if (journal->file != NULL) {
        if (!keeps_file) {
            (void)remove(journal->path);
        }
        (void)fclose(journal->file);
    }
    buffer_close(&journal->payload);
    free(journal);
}

bool journal_next(struct journal *journal, struct bytes *frame_out, int64_t *position_out)
{
    struct frame frame;
    if (journal->is_read || fread(&frame, sizeof frame, 1, journal->file) != 1 ||
        frame.magic != MAGIC || frame.size > JOURNAL_FRAME_BYTES_MAX) {
        return false;
    }
    buffer_clear(&journal->payload);
    char *payload = buffer_extend(&journal->payload, frame.size);
    if (payload == NULL || fread(payload, 1, frame.size, journal->file) != frame.size ||
        XXH3_64bits(payload, frame.size) != frame.checksum) {
        return false;
    }
    *position_out = journal->end + (int64_t)sizeof frame;
    *frame_out = buffer_bytes(&journal->payload);
    journal->end = *position_out + (int64_t)frame.size;
    return true;
}

static bool put(struct journal *journal, const void *data, size_t size)
{
    return size == 0 || fwrite(data, 1, size, journal->file) == size;
}

bool journal_add(struct journal *journal, struct bytes head, struct bytes body,
                 int64_t *position_out, struct error *error)
{
    if (head.size + body.size > JOURNAL_FRAME_BYTES_MAX) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                         "%s: a record of %zu bytes is too large", journal->path, body.size);
    }
    if (!journal->is_read && !cut(journal, error)) {
        return false;
    }
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, head.data, head.size);
    (void)XXH3_64bits_update(&state, body.data, body.size);
    struct frame frame = {MAGIC, (uint32_t)(head.size + body.size), XXH3_64bits_digest(&state)};
    if (!put(journal, &frame, sizeof frame) || !put(journal, head.data, head.size) ||
        !put(journal, body.data, body.size)) {
        return fail(journal, error);
    }
    *position_out = journal->end + (int64_t)sizeof frame;
    journal->end = *position_out + (int64_t)frame.size;
    return true;
}

bool journal_copy(struct journal *journal, int64_t position, size_t size, FILE *to,
                  struct error *error)
{
    char chunk[65536];
    if (fflush(journal->file) != 0) {
        return fail(journal, error);
    }
    for (size_t left = size; left > 0;) {
        ssize_t count = pread(fileno(journal->file), chunk,
                              left < sizeof chunk ? left : sizeof chunk, (off_t)position);
        if (count <= 0 || fwrite(chunk, 1, (size_t)count, to) != (size_t)count) {
            return fail(journal, error);
        }
        left -= (size_t)count;
        position += count;
    }
    return true;
}
