/* safetensors: 8 bytes little-endian header length, a JSON header, then the tensors' bytes:
 *     {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {...}}
 * Offsets count from the end of the header; tensors cover the rest of the file without gap or
 * overlap.
 */
#include "pipeline/model/safetensors.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "pipeline/model/model_json.h"
#include "schemas/base/check.h"

enum {
    HEADER_BYTES_MAX = 100 * 1000 * 1000, // the format's own limit
    INDEX_BYTES_MAX = 64 << 20,
    SHARDS_MAX = 1024,
    TENSORS_MAX = 1 << 20,
};

struct shard {
    char *name; // of the file, without folder
    void *map;
    size_t bytes;
};

struct safetensors {
    struct shard *shards;
    size_t shards_count;
    struct tensor *tensors; // by name once all files are read
    size_t tensors_count;
    size_t tensors_capacity;
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"F64", 8},     {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1},
              {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
              {"U64", 8},     {"U32", 4}, {"U16", 2}, {"U8", 1},   {"BOOL", 1}};

static size_t dtype_size(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            return dtypes[i].bytes;
        }
    }
    return 0;
}

static bool fail(struct error *error, const struct shard *shard, const char *tensor,
                 const char *what)
{
    return error_set(error, ERROR_CONFIG, "invalid_weights", NULL, "%s: %s%s%s", shard->name,
                     tensor == NULL ? "" : tensor, tensor == NULL ? "" : ": ", what);
}

/* Maps a regular file that is at least 8 bytes long. */
static bool map_file(const char *folder, struct shard *shard, struct error *error)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", folder, shard->name);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return fail(error, shard, NULL, "the path is too long");
    }
    // Not blocking, for what is no file: a pipe would wait for its other end.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot open %s: %s", path,
                         strerror(errno));
    }
    struct stat status;
    bool is_ok = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= 8;
    if (is_ok) {
        shard->bytes = (size_t)status.st_size;
        shard->map = mmap(NULL, shard->bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        is_ok = shard->map != MAP_FAILED;
        shard->map = is_ok ? shard->map : NULL;
    }
    (void)close(descriptor);
    if (!is_ok) {
        (void)fail(error, shard, NULL, "cannot be mapped, or is shorter than 8 bytes");
        return false;
    }
    return true;
}

static bool read_shape(const json_t *shape, struct tensor *tensor, size_t *count_out)
{
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_DIMS_MAX) {
        return false;
    }
    size_t count = 1;
    tensor->dims = (int)json_array_size(shape);
    for (int i = 0; i < tensor->dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        json_int_t value = json_integer_value(size);
        if (!json_is_integer(size) || value < 0 ||
            __builtin_mul_overflow(count, (size_t)value, &count)) {
            return false;
        }
        tensor->shape[i] = value;
    }
    *count_out = count;
    return true;
}

static bool read_offsets(const json_t *offsets, size_t data_bytes, size_t *begin_out,
                         size_t *end_out)
{
    const json_t *begin = json_array_get(offsets, 0);
    const json_t *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
        (unsigned long long)json_integer_value(end) > data_bytes) {
        return false;
    }
    *begin_out = (size_t)json_integer_value(begin);
    *end_out = (size_t)json_integer_value(end);
    return true;
}

/* Fills everything but the name. `data_at` is where the file's data begins. */
static bool read_tensor(const struct shard *shard, size_t data_at, const char *name,
                        const json_t *entry, struct tensor *tensor, struct error *error)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    size_t element_bytes = dtype_size(dtype);
    if (element_bytes == 0) {
        return fail(error, shard, name, "the dtype is unknown");
    }
    (void)snprintf(tensor->dtype, sizeof tensor->dtype, "%s", dtype);
    size_t count = 0;
    size_t bytes = 0;
    size_t end = 0;
    if (!read_shape(json_object_get(entry, "shape"), tensor, &count) ||
        __builtin_mul_overflow(count, element_bytes, &bytes)) {
        return fail(error, shard, name,
                    "the shape is not a list of at most 8 sizes that make sense");
    }
    if (!read_offsets(json_object_get(entry, "data_offsets"), shard->bytes - data_at,
                      &tensor->begin, &end)) {
        return fail(error, shard, name, "the data_offsets lie outside the file (is it truncated?)");
    }
    if (end - tensor->begin != bytes) {
        return fail(error, shard, name, "the data_offsets do not fit the shape and dtype");
    }
    tensor->bytes = bytes;
    tensor->data = (const char *)shard->map + data_at + tensor->begin;
    return true;
}

static struct tensor *next_tensor(struct safetensors *safetensors)
{
    if (safetensors->tensors_count == safetensors->tensors_capacity) {
        size_t capacity =
            safetensors->tensors_capacity == 0 ? 64 : 2 * safetensors->tensors_capacity;
        struct tensor *tensors = realloc(safetensors->tensors, capacity * sizeof(*tensors));
        if (tensors == NULL || capacity > TENSORS_MAX) {
            safetensors->tensors = tensors == NULL ? safetensors->tensors : tensors;
            return NULL;
        }
        safetensors->tensors = tensors;
        safetensors->tensors_capacity = capacity;
    }
    struct tensor *tensor = &safetensors->tensors[safetensors->tensors_count];
    *tensor = (struct tensor){0};
    return tensor;
}

static int by_begin(const void *a, const void *b)
{
    const struct tensor *x = a;
    const struct tensor *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; // empty ones first
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* Of the tensors from number `first` on, which are this file's. */
static bool check_layout(const struct safetensors *safetensors, const struct shard *shard,
                         size_t first, size_t data_bytes, struct error *error)
{
    struct tensor *tensors = safetensors->tensors;
    if (safetensors->tensors_count > first) {
        qsort(&tensors[first], safetensors->tensors_count - first, sizeof(*tensors), by_begin);
    }
    size_t end = 0;
    for (size_t i = first; i < safetensors->tensors_count; i++) {
        if (tensors[i].begin != end) {
            return fail(error, shard, tensors[i].name,
                        tensors[i].begin < end ? "overlaps another tensor"
                                               : "does not begin where another one ends");
        }
        end += tensors[i].bytes;
    }
    return end == data_bytes ||
           fail(error, shard, NULL, "has bytes that belong to no tensor (is the header wrong?)");
}

static bool read_entries(struct safetensors *safetensors, const struct shard *shard, json_t *header,
                         size_t data_at, struct error *error)
{
    const char *name;
    json_t *entry;
    json_object_foreach (header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        struct tensor *tensor = next_tensor(safetensors);
        if (tensor == NULL || (tensor->name = strdup(name)) == NULL) {
            return fail(error, shard, NULL, "has too many tensors, or memory is short");
        }
        safetensors->tensors_count++;
        if (!read_tensor(shard, data_at, name, entry, tensor, error)) {
            return false;
        }
    }
    return true;
}

static bool read_shard(struct safetensors *safetensors, const struct shard *shard,
                       struct error *error)
{
    const unsigned char *map = shard->map;
    uint64_t header_bytes = 0;
    CHECK(map != NULL && shard->bytes >= 8); // map_file has seen to it
    for (int i = 7; i >= 0; i--) {
        header_bytes = header_bytes << 8 | map[i];
    }
    if (header_bytes > HEADER_BYTES_MAX || header_bytes > shard->bytes - 8) {
        return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                         "%s: the header has %llu bytes, more than the file or the limit of %d",
                         shard->name, (unsigned long long)header_bytes, HEADER_BYTES_MAX);
    }
    json_error_t problem;
    json_t *header =
        json_loadb((const char *)map + 8, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(header)) {
        json_decref(header);
        return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                         "%s: the header is not a JSON object: %s", shard->name,
                         header == NULL ? problem.text : "it is something else");
    }
    size_t first = safetensors->tensors_count;
    size_t data_at = 8 + (size_t)header_bytes;
    bool is_ok = read_entries(safetensors, shard, header, data_at, error) &&
                 check_layout(safetensors, shard, first, shard->bytes - data_at, error);
    json_decref(header);
    return is_ok;
}

static bool add_shard(struct safetensors *safetensors, const char *folder, const char *name,
                      struct error *error)
{
    struct shard *shards =
        realloc(safetensors->shards, (safetensors->shards_count + 1) * sizeof(*shards));
    if (shards == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %s", name);
    }
    safetensors->shards = shards;
    struct shard *shard = &shards[safetensors->shards_count];
    *shard = (struct shard){.name = strdup(name)};
    if (shard->name == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %s", name);
    }
    safetensors->shards_count++;
    return map_file(folder, shard, error) && read_shard(safetensors, shard, error);
}

static bool has_shard(const struct safetensors *safetensors, const char *name)
{
    for (size_t i = 0; i < safetensors->shards_count; i++) {
        if (strcmp(safetensors->shards[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool open_shards(struct safetensors *safetensors, const char *folder, json_t *map,
                        struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach (map, name, value) {
        const char *shard = json_string_value(value);
        if (shard == NULL || shard[0] == '.' || shard[0] == '\0' || strchr(shard, '/') != NULL) {
            return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                             "model.safetensors.index.json: the file of %s is not a plain name",
                             name);
        }
        if (has_shard(safetensors, shard)) {
            continue;
        }
        if (safetensors->shards_count == SHARDS_MAX) {
            return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                             "model.safetensors.index.json: more than %d files", SHARDS_MAX);
        }
        if (!add_shard(safetensors, folder, shard, error)) {
            return false;
        }
    }
    return true;
}

static bool open_index(struct safetensors *safetensors, const char *folder, const char *index_name,
                       struct error *error)
{
    json_t *index = NULL;
    if (!model_json_load(folder, index_name, INDEX_BYTES_MAX, &index, error)) {
        return false;
    }
    json_t *map = json_object_get(index, "weight_map");
    bool is_ok = json_is_object(map) ? open_shards(safetensors, folder, map, error)
                                     : error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                                                 "%s: weight_map is missing", index_name);
    for (size_t i = 0; is_ok && i < safetensors->tensors_count; i++) {
        const char *name = safetensors->tensors[i].name;
        if (json_object_get(map, name) == NULL) {
            is_ok = error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                              "%s: weight_map does not name %s", index_name, name);
        }
    }
    if (is_ok && json_object_size(map) != safetensors->tensors_count) {
        is_ok = error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                          "%s: weight_map names %zu tensors, the files hold %zu", index_name,
                          json_object_size(map), safetensors->tensors_count);
    }
    json_decref(index);
    return is_ok;
}

static bool check_names(const struct safetensors *safetensors, struct error *error)
{
    for (size_t i = 1; i < safetensors->tensors_count; i++) {
        const char *name = safetensors->tensors[i].name;
        if (strcmp(safetensors->tensors[i - 1].name, name) == 0) {
            return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                             "tensor %s is in two files", name);
        }
    }
    return true;
}

/* `is_index`: whether `name` is that of an index. */
static bool open_files(const char *folder, const char *name, bool is_index,
                       struct safetensors **safetensors_out, struct error *error)
{
    struct safetensors *safetensors = calloc(1, sizeof(*safetensors));
    if (safetensors == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the list of tensors");
    }
    bool is_ok = is_index ? open_index(safetensors, folder, name, error)
                          : add_shard(safetensors, folder, name, error);
    if (is_ok && safetensors->tensors_count > 0) {
        qsort(safetensors->tensors, safetensors->tensors_count, sizeof(struct tensor), by_name);
        is_ok = check_names(safetensors, error);
    }
    if (!is_ok) {
        safetensors_close(safetensors);
        return false;
    }
    *safetensors_out = safetensors;
    return true;
}

bool safetensors_open(const char *folder, struct safetensors **safetensors_out, struct error *error)
{
    static const char index_name[] = "model.safetensors.index.json";
    static const char single_name[] = "model.safetensors";
    bool is_index =
        !model_json_exists(folder, single_name) && model_json_exists(folder, index_name);
    return open_files(folder, is_index ? index_name : single_name, is_index, safetensors_out,
                      error);
}

bool safetensors_open_file(const char *folder, const char *name,
                           struct safetensors **safetensors_out, struct error *error)
{
    return open_files(folder, name, false, safetensors_out, error);
}

void safetensors_close(struct safetensors *safetensors)
{
    if (safetensors == NULL) {
        return;
    }
    for (size_t i = 0; i < safetensors->tensors_count; i++) {
        free(safetensors->tensors[i].name);
    }
    for (size_t i = 0; i < safetensors->shards_count; i++) {
        if (safetensors->shards[i].map != NULL) {
            (void)munmap(safetensors->shards[i].map, safetensors->shards[i].bytes);
        }
        free(safetensors->shards[i].name);
    }
    free(safetensors->tensors);
    free(safetensors->shards);
    free(safetensors);
}

static int compare_name(const void *key, const void *tensor)
{
    return strcmp(key, ((const struct tensor *)tensor)->name);
}

static struct tensor *look(const struct safetensors *safetensors, const char *name)
{
    return safetensors->tensors_count == 0
               ? NULL
               : bsearch(name, safetensors->tensors, safetensors->tensors_count,
                         sizeof(struct tensor), compare_name);
}

const struct tensor *safetensors_find(const struct safetensors *safetensors, const char *name)
{
    return look(safetensors, name);
}

const struct tensor *safetensors_claim(struct safetensors *safetensors, const char *name)
{
    struct tensor *tensor = look(safetensors, name);
    if (tensor != NULL) {
        tensor->is_claimed = true;
    }
    return tensor;
}

void safetensors_claim_all(struct safetensors *safetensors, const char *prefix)
{
    for (size_t i = 0; i < safetensors->tensors_count; i++) {
        struct tensor *tensor = &safetensors->tensors[i];
        tensor->is_claimed =
            tensor->is_claimed || strncmp(tensor->name, prefix, strlen(prefix)) == 0;
    }
}

const struct tensor *safetensors_unclaimed(const struct safetensors *safetensors, size_t *count_out)
{
    const struct tensor *first = NULL;
    *count_out = 0;
    for (size_t i = 0; i < safetensors->tensors_count; i++) {
        if (!safetensors->tensors[i].is_claimed) {
            first = first == NULL ? &safetensors->tensors[i] : first;
            (*count_out)++;
        }
    }
    return first;
}

size_t safetensors_count(const struct safetensors *safetensors)
{
    return safetensors->tensors_count;
}

const struct tensor *safetensors_at(const struct safetensors *safetensors, size_t index)
{
    CHECK(index < safetensors->tensors_count);
    return &safetensors->tensors[index];
}

uint64_t safetensors_hash(const struct safetensors *safetensors)
{
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) {
        return 0;
    }
    (void)XXH3_64bits_reset(state);
    for (size_t i = 0; i < safetensors->tensors_count; i++) {
        const struct tensor *tensor = &safetensors->tensors[i];
        (void)XXH3_64bits_update(state, tensor->name, strlen(tensor->name));
        (void)XXH3_64bits_update(state, tensor->data, tensor->bytes);
    }
    uint64_t hash = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return hash;
}

bool tensor_dtype(const struct tensor *tensor, enum dtype first, enum dtype last,
                  enum dtype *dtype_out)
{
    for (enum dtype dtype = first; dtype <= last; dtype++) {
        if (strcmp(tensor->dtype, dtype_name(dtype)) == 0) {
            *dtype_out = dtype;
            return true;
        }
    }
    return false;
}
