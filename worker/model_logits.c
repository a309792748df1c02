/* model_numbers, logits: one forward pass per line. */
#include "worker/model_numbers.h"

#include <stdlib.h>

#include "pipeline/model/model.h"
#include "worker/engine_setup.h"
#include "worker/model_lines.h"

enum {
    BLOCK_TOKENS = 16,
    CHUNK_ROWS = 256,
    CONTEXT_MAX = 1 << 15, // positions that a line may have here
    VALUES_MAX = 1 << 24,  // numbers in one answer, which is in memory whole
};

struct logits {
    struct backend *backend;
    struct model *model;
    bool only_last;
    int context;
    int32_t *positions;   // [context]
    int32_t *rows;        // [CHUNK_ROWS]
    int32_t *block_table; // [blocks]
    float *values;        // [CHUNK_ROWS, vocabulary]
};

static json_t *row_of(const float *row, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_real((double)row[i]));
    }
    return array;
}

/* The next chunk of the line's ids_count rows; appends their logits, or only the line's last ones.
 */
static bool run_chunk(struct logits *logits, const int32_t *ids, int ids_count, int first,
                      json_t *out, struct error *error)
{
    int vocabulary = model_get_config(logits->model)->vocabulary;
    int left = ids_count - first;
    int count = left < CHUNK_ROWS ? left : CHUNK_ROWS;
    int kept = logits->only_last ? (count == left ? 1 : 0) : count;
    int32_t starts[2] = {0, count};
    for (int i = 0; i < kept; i++) {
        logits->rows[i] = logits->only_last ? count - 1 : i;
    }
    struct model_batch batch = {
        .rows_count = count,
        .sequences_count = 1,
        .tokens = ids + first,
        .positions = logits->positions + first,
        .row_starts = starts,
        .block_tables = logits->block_table,
        .blocks_max = (logits->context + BLOCK_TOKENS - 1) / BLOCK_TOKENS,
        .logit_rows = logits->rows,
        .logit_rows_count = kept,
    };
    if (!model_forward(logits->model, &batch, error) ||
        (kept > 0 && !model_logits(logits->model, logits->values, error))) {
        return false;
    }
    for (int i = 0; i < kept; i++) {
        const float *row = logits->values + (size_t)i * (size_t)vocabulary;
        (void)json_array_append_new(out, row_of(row, vocabulary));
    }
    return true;
}

static bool check_ids(const struct logits *logits, const int32_t *ids, size_t count,
                      struct error *error)
{
    int vocabulary = model_get_config(logits->model)->vocabulary;
    if (count == 0 || count > (size_t)logits->context) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "there are %zu ids, must be between 1 and %d", count, logits->context);
    }
    if (!logits->only_last && count > VALUES_MAX / (size_t)vocabulary) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "%zu ids give %zu logits, must be at most %d; give fewer, or use --last",
                         count, count * (size_t)vocabulary, VALUES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= vocabulary) {
            return error_set(error, ERROR_INVALID, NULL, NULL,
                             "ids[%zu] is %d, must be between 0 and %d", i, ids[i], vocabulary - 1);
        }
    }
    return true;
}

static json_t *logits_line(void *context, json_t *line, struct arena *arena, struct error *error)
{
    struct logits *logits = context;
    size_t count = 0;
    const int32_t *ids = model_lines_ids(line, arena, &count, error);
    if (ids == NULL || !check_ids(logits, ids, count, error)) {
        return NULL;
    }
    json_t *rows = json_array();
    bool is_ok = true;
    for (int first = 0; first < (int)count && is_ok; first += CHUNK_ROWS) {
        is_ok = run_chunk(logits, ids, (int)count, first, rows, error);
    }
    if (!is_ok) {
        json_decref(rows);
        return NULL;
    }
    return json_pack("{s:o}", "logits", rows);
}

static bool open_memory(struct logits *logits, struct error *error)
{
    const struct model_config *config = model_get_config(logits->model);
    logits->context = config->context < CONTEXT_MAX ? config->context : CONTEXT_MAX;
    int blocks = (logits->context + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    logits->positions = calloc((size_t)logits->context, sizeof *logits->positions);
    logits->rows = calloc(CHUNK_ROWS, sizeof *logits->rows);
    logits->block_table = calloc((size_t)blocks, sizeof *logits->block_table);
    logits->values = calloc((size_t)CHUNK_ROWS * (size_t)config->vocabulary, sizeof(float));
    if (logits->positions == NULL || logits->rows == NULL || logits->block_table == NULL ||
        logits->values == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for logits");
    }
    for (int i = 0; i < logits->context; i++) {
        logits->positions[i] = i;
    }
    for (int i = 0; i < blocks; i++) {
        logits->block_table[i] = i;
    }
    return model_kv_open(logits->model, blocks, error) &&
           model_step_open(logits->model, CHUNK_ROWS, CHUNK_ROWS, error);
}

static void logits_close(struct logits *logits)
{
    free(logits->positions);
    free(logits->rows);
    free(logits->block_table);
    free(logits->values);
    model_close(logits->model);
    backend_close(logits->backend);
}

bool model_numbers_logits(const struct model_source *source, const struct config *config,
                          bool only_last, struct error *error)
{
    struct logits logits = {.only_last = only_last};
    struct backend_options backend = engine_setup_backend(config);
    struct model_options options = {.weights = engine_setup_weights(config),
                                    .block_tokens = BLOCK_TOKENS,
                                    .kv_format = engine_setup_kv_format(config),
                                    .adapter = source->adapter};
    struct model_lines lines = {logits_line, &logits};
    bool is_ok = backend_open(&backend, &logits.backend, error) &&
                 model_open(source->path, logits.backend, &options, &logits.model, error) &&
                 open_memory(&logits, error) && model_lines_run(&lines, error);
    logits_close(&logits);
    return is_ok;
}
