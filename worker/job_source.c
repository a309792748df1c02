/* job_source: batch lines go through the record codec as on a topic; documents are substituted into
 * a copy of the prompt. */
#include "worker/job_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/buffer.h"
#include "worker/line_reader.h"

#define PLACEHOLDER "{{document}}"

enum { PATH_BYTES_MAX = 4096, PROMPT_DEPTH_MAX = 64 };

struct job_source {
    const struct job_source_options *options;
    struct record_codec *codec;
    // Batch files.
    size_t file; // that is read
    struct line_reader *reader;
    // Documents.
    struct dirent **entries;
    int entries_count;
    int entry;
    json_t *prompt;
    struct buffer document;
    struct buffer text; // one string of the prompt with the document in it
};

static bool has_placeholder(const json_t *value, int depth)
{
    if (depth > PROMPT_DEPTH_MAX) {
        return false;
    }
    if (json_is_string(value)) {
        return strstr(json_string_value(value), PLACEHOLDER) != NULL;
    }
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (has_placeholder(item, depth + 1)) {
            return true;
        }
    }
    const char *key;
    // jansson's macro wants an object that is not const; it only reads.
    json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
        if (has_placeholder(item, depth + 1)) {
            return true;
        }
    }
    return false;
}

static bool open_prompt(struct job_source *source, struct error *error)
{
    const struct job_source_options *options = source->options;
    json_error_t reason;
    source->prompt = json_load_file(options->prompt, 0, &reason);
    if (source->prompt == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: line %d: %s", options->prompt,
                         reason.line, reason.text);
    }
    if (!json_is_object(source->prompt) || !has_placeholder(source->prompt, 0)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s must be a JSON object with %s in one of its texts", options->prompt,
                         PLACEHOLDER);
    }
    if (options->model != NULL) {
        (void)json_object_set_new(source->prompt, "model", json_string(options->model));
    }
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool open_documents(struct job_source *source, struct error *error)
{
    const char *folder = source->options->documents;
    source->entries_count = scandir(folder, &source->entries, is_visible, alphasort);
    if (source->entries_count < 0) {
        source->entries_count = 0;
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s", folder, strerror(errno));
    }
    return open_prompt(source, error);
}

bool job_source_open(const struct job_source_options *options, struct record_codec *codec,
                     struct job_source **source_out, struct error *error)
{
    struct job_source *source = calloc(1, sizeof *source);
    if (source == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the input");
    }
    source->options = options;
    source->codec = codec;
    buffer_init(&source->document, options->record_bytes_max);
    buffer_init(&source->text, options->record_bytes_max);
    if (options->documents != NULL && !open_documents(source, error)) {
        job_source_close(source);
        return false;
    }
    *source_out = source;
    return true;
}

void job_source_close(struct job_source *source)
{
    if (source == NULL) {
        return;
    }
    line_reader_close(source->reader);
    for (int i = 0; i < source->entries_count; i++) {
        free(source->entries[i]);
    }
    free(source->entries);
    json_decref(source->prompt);
    buffer_close(&source->document);
    buffer_close(&source->text);
    free(source);
}

static enum job_source_result take_line(struct job_source *source, struct bytes line,
                                        struct arena *arena, struct inference_request *request_out,
                                        struct error *error)
{
    struct error reason = {0};
    if (record_decode_request(source->codec, line, arena, request_out, &reason) == DECODED) {
        return JOB_SOURCE_REQUEST;
    }
    *error = reason;
    (void)error_prefix(error, "%s line %" PRId64, source->options->files[source->file],
                       line_reader_number(source->reader));
    return JOB_SOURCE_INVALID;
}

static enum job_source_result next_line(struct job_source *source, struct arena *arena,
                                        struct inference_request *request_out, struct error *error)
{
    while (source->file < source->options->files_count) {
        const char *path = source->options->files[source->file];
        if (source->reader == NULL &&
            !line_reader_open(path, source->options->record_bytes_max, &source->reader, error)) {
            return JOB_SOURCE_FAILED;
        }
        struct bytes line;
        switch (line_reader_next(source->reader, &line, error)) {
        case LINE_READ:
            if (line.size > 0) {
                return take_line(source, line, arena, request_out, error);
            }
            break; // an empty line is no request, and no mistake
        case LINE_TOO_LONG:
            (void)error_prefix(error, "%s", path);
            return JOB_SOURCE_INVALID;
        case LINE_FAILED:
            return JOB_SOURCE_FAILED;
        case LINE_END:
            line_reader_close(source->reader);
            source->reader = NULL;
            source->file++;
            break;
        }
    }
    return JOB_SOURCE_END;
}

/* NULL with *error for anything but a regular file. Not blocking: a pipe would wait for its other
 * end. */
static FILE *open_document(const char *path, struct error *error)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    bool is_file = descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    FILE *file = is_file ? fdopen(descriptor, "rb") : NULL;
    if (file == NULL) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "%s: %s", path,
                        descriptor >= 0 && !is_file ? "not a regular file" : strerror(errno));
        if (descriptor >= 0) {
            (void)close(descriptor);
        }
    }
    return file;
}

/* Reads a regular file whole; false with *error otherwise. */
static bool read_document(struct job_source *source, const char *path, struct error *error)
{
    FILE *file = open_document(path, error);
    if (file == NULL) {
        return false;
    }
    char chunk[16384];
    size_t size;
    buffer_clear(&source->document);
    while (!buffer_failed(&source->document) && (size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(&source->document, chunk, size);
    }
    bool is_read = !ferror(file) && !buffer_failed(&source->document);
    (void)fclose(file);
    if (!is_read) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "%s cannot be read, or is larger than record.bytes.max (%zu bytes)", path,
                         source->options->record_bytes_max);
    }
    return true;
}

/* The text with each placeholder replaced; NULL where the result is no UTF-8 or too large. */
static json_t *fill_text(struct job_source *source, const char *text)
{
    buffer_clear(&source->text);
    for (const char *at; (at = strstr(text, PLACEHOLDER)) != NULL;
         text = at + strlen(PLACEHOLDER)) {
        buffer_append(&source->text, text, (size_t)(at - text));
        buffer_append_bytes(&source->text, buffer_bytes(&source->document));
    }
    buffer_append_text(&source->text, text);
    struct bytes filled = buffer_bytes(&source->text);
    return buffer_failed(&source->text) ? NULL : json_stringn(filled.data, filled.size);
}

/* A copy of `value` with the document in its texts; NULL when that fails. */
static json_t *fill(struct job_source *source, const json_t *value, int depth)
{
    if (depth > PROMPT_DEPTH_MAX) {
        return NULL;
    }
    if (json_is_string(value)) {
        return fill_text(source, json_string_value(value));
    }
    size_t index;
    const char *key;
    json_t *item;
    json_t *copy = json_is_array(value)    ? json_array()
                   : json_is_object(value) ? json_object()
                                           : json_copy((json_t *)(uintptr_t)value);
    int status = 0;
    json_array_foreach (value, index, item) {
        status |= json_array_append_new(copy, fill(source, item, depth + 1));
    }
    json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
        status |= json_object_set_new(copy, key, fill(source, item, depth + 1));
    }
    if (status != 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static bool take_document(struct job_source *source, const char *name, struct arena *arena,
                          struct inference_request *request_out, struct error *error)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", source->options->documents, name);
    if (size < 0 || (size_t)size >= sizeof path || strlen(name) > CUSTOM_ID_BYTES_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "the name %.100s... is too long", name);
    }
    if (!read_document(source, path, error)) {
        return false;
    }
    json_t *body = fill(source, source->prompt, 0);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    bool is_chat = json_object_get(source->prompt, "messages") != NULL;
    memset(request_out, 0, sizeof *request_out);
    request_out->custom_id = arena_copy(arena, bytes_of(name));
    request_out->url = bytes_of(is_chat ? "/v1/chat/completions" : "/v1/completions");
    request_out->body = arena_copy(arena, bytes_of(text));
    free(text);
    json_decref(body);
    if (request_out->body.data == NULL || request_out->custom_id.data == NULL) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "%s is not UTF-8 text of at most %zu bytes", path,
                         source->options->record_bytes_max);
    }
    return true;
}

enum job_source_result job_source_next(struct job_source *source, struct arena *arena,
                                       struct inference_request *request_out, struct error *error)
{
    if (source->options->documents == NULL) {
        return next_line(source, arena, request_out, error);
    }
    if (source->entry >= source->entries_count) {
        return JOB_SOURCE_END;
    }
    const char *name = source->entries[source->entry++]->d_name;
    return take_document(source, name, arena, request_out, error) ? JOB_SOURCE_REQUEST
                                                                  : JOB_SOURCE_INVALID;
}
