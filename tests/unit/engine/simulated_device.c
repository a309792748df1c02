/* simulated_device: hashes in place of keys and values. */
#include "tests/unit/engine/simulated_device.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t value = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2)));
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t next_hash(uint64_t previous, int32_t token, int32_t position)
{
    return mix(mix(previous, (uint64_t)(uint32_t)token), (uint64_t)(uint32_t)position);
}

static int32_t sampled_token(uint64_t hash, const struct sample_params *params, int vocabulary)
{
    if (params->temperature > 0) {
        hash = mix(mix(hash, params->seed), params->position);
    }
    if (params->presence_penalty != 0) {
        for (int i = 0; i < params->output_counts_count; i++) {
            hash = mix(hash, (uint64_t)(uint32_t)params->output_counts[i].token);
            hash = mix(hash, (uint64_t)(uint32_t)params->output_counts[i].count);
        }
    }
    return (int32_t)(hash % (uint64_t)vocabulary);
}

static float sampled_logprob(uint64_t hash)
{
    return -(float)(hash >> 40);
}

void simulated_device_open(struct simulated_device *simulated,
                           const struct simulated_options *options)
{
    size_t blocks = (size_t)options->blocks_count;
    size_t positions = blocks * (size_t)options->block_tokens;
    size_t sequences = (size_t)options->sequences_max;
    *simulated = (struct simulated_device){
        .options = *options,
        .hashes = calloc(positions, sizeof *simulated->hashes),
        .tokens = calloc(positions, sizeof *simulated->tokens),
        .written_step = calloc(blocks, sizeof *simulated->written_step),
        .written_by = calloc(blocks, sizeof *simulated->written_by),
        .kept = calloc(sequences, sizeof *simulated->kept),
        .kept_tokens = calloc(sequences, sizeof *simulated->kept_tokens),
        .poison_token = -1,
        .nan_token = -1,
    };
    CHECK(simulated->hashes != NULL && simulated->tokens != NULL &&
          simulated->written_step != NULL && simulated->written_by != NULL &&
          simulated->kept != NULL && simulated->kept_tokens != NULL);
}

void simulated_device_close(struct simulated_device *simulated)
{
    free(simulated->kept_tokens);
    free(simulated->kept);
    free(simulated->written_by);
    free(simulated->written_step);
    free(simulated->tokens);
    free(simulated->hashes);
}

/* Remembers the first breach; not an assertion, since the engine's thread may be calling. */
static bool holds(struct simulated_device *simulated, bool condition, const char *text)
{
    if (!condition && simulated->broken == NULL) {
        simulated->broken = text;
    }
    return condition;
}

static size_t place_of(const struct simulated_device *simulated, const int32_t *table, int position)
{
    int block_tokens = simulated->options.block_tokens;
    return (size_t)table[position / block_tokens] * (size_t)block_tokens +
           (size_t)(position % block_tokens);
}

static bool check_shapes(struct simulated_device *simulated, const struct model_batch *batch)
{
    const struct simulated_options *options = &simulated->options;
    bool is_good =
        holds(simulated, batch->rows_count > 0, "a step has rows") &&
        holds(simulated, batch->rows_count <= options->rows_max, "rows are within the budget") &&
        holds(simulated, batch->sequences_count <= options->sequences_max,
              "sequences within max") &&
        holds(simulated, batch->row_starts[0] == 0, "the first row start is 0") &&
        holds(simulated, batch->row_starts[batch->sequences_count] == batch->rows_count,
              "the row starts end at the rows") &&
        holds(simulated, batch->logit_rows_count <= batch->sequences_count, "one logit row each");
    for (int i = 0; is_good && i < batch->logit_rows_count; i++) {
        is_good =
            holds(simulated, batch->logit_rows[i] < batch->rows_count, "a logit row exists") &&
            holds(simulated, i == 0 || batch->logit_rows[i] > batch->logit_rows[i - 1],
                  "logit rows ascend");
    }
    return is_good;
}

/* Marks the blocks that sequence `index` writes. */
static bool mark_written(struct simulated_device *simulated, const struct model_batch *batch,
                         int index)
{
    const int32_t *table = batch->block_tables + (size_t)index * (size_t)batch->blocks_max;
    int first = batch->row_starts[index];
    int last = batch->row_starts[index + 1] - 1;
    if (!holds(simulated, last >= first, "a sequence has rows") ||
        !holds(simulated, batch->positions[last] < simulated->options.context_tokens,
               "positions are within the context")) {
        return false;
    }
    for (int row = first; row <= last; row++) {
        int column = batch->positions[row] / simulated->options.block_tokens;
        if (!holds(simulated, column < batch->blocks_max, "the table covers the position") ||
            !holds(simulated,
                   row == first || batch->positions[row] == batch->positions[row - 1] + 1,
                   "positions follow each other")) {
            return false;
        }
        int32_t block = table[column];
        if (!holds(simulated, block >= 0 && block < simulated->options.blocks_count,
                   "the block exists") ||
            !holds(simulated,
                   simulated->written_step[block] != simulated->forwards_count ||
                       simulated->written_by[block] == index,
                   "no block is written by two sequences")) {
            return false;
        }
        simulated->written_step[block] = simulated->forwards_count;
        simulated->written_by[block] = index;
    }
    return true;
}

static bool check_reads(struct simulated_device *simulated, const struct model_batch *batch,
                        int index)
{
    const int32_t *table = batch->block_tables + (size_t)index * (size_t)batch->blocks_max;
    int columns = batch->positions[batch->row_starts[index]] / simulated->options.block_tokens + 1;
    for (int i = 0; i < columns; i++) {
        if (!holds(simulated,
                   simulated->written_step[table[i]] != simulated->forwards_count ||
                       simulated->written_by[table[i]] == index,
                   "no block is written by one sequence and read by another")) {
            return false;
        }
    }
    return true;
}

static bool check_chain(struct simulated_device *simulated, const int32_t *table, int count)
{
    uint64_t hash = 0;
    for (int position = 0; position < count; position++) {
        size_t place = place_of(simulated, table, position);
        hash = next_hash(hash, simulated->tokens[place], position);
        if (!holds(simulated, simulated->hashes[place] == hash,
                   "all earlier positions are right")) {
            return false;
        }
    }
    return true;
}

static bool compute_rows(struct simulated_device *simulated, const struct model_batch *batch,
                         int index)
{
    const int32_t *table = batch->block_tables + (size_t)index * (size_t)batch->blocks_max;
    int first = batch->row_starts[index];
    if (simulated->options.checks_chains &&
        !check_chain(simulated, table, batch->positions[first])) {
        return false;
    }
    for (int row = first; row < batch->row_starts[index + 1]; row++) {
        int position = batch->positions[row];
        uint64_t previous =
            position == 0 ? 0 : simulated->hashes[place_of(simulated, table, position - 1)];
        size_t place = place_of(simulated, table, position);
        simulated->hashes[place] = next_hash(previous, batch->tokens[row], position);
        simulated->tokens[place] = batch->tokens[row];
    }
    return true;
}

static void keep_logit_rows(struct simulated_device *simulated, const struct model_batch *batch)
{
    int sequence = 0;
    simulated->kept_count = batch->logit_rows_count;
    for (int i = 0; i < batch->logit_rows_count; i++) {
        int row = batch->logit_rows[i];
        while (batch->row_starts[sequence + 1] <= row) {
            sequence++;
        }
        const int32_t *table = batch->block_tables + (size_t)sequence * (size_t)batch->blocks_max;
        simulated->kept[i] = simulated->hashes[place_of(simulated, table, batch->positions[row])];
        simulated->kept_tokens[i] = batch->tokens[row];
    }
}

static bool has_token(const struct model_batch *batch, int32_t token)
{
    for (int row = 0; row < batch->rows_count; row++) {
        if (batch->tokens[row] == token) {
            return true;
        }
    }
    return false;
}

static bool simulated_forward(void *context, const struct model_batch *batch, struct error *error)
{
    struct simulated_device *simulated = context;
    simulated->forwards_count++;
    if (simulated->lost_at > 0 && simulated->forwards_count >= simulated->lost_at) {
        return error_set(error, ERROR_FATAL, "simulated", NULL, "the simulated device is lost");
    }
    bool is_good = check_shapes(simulated, batch);
    for (int i = 0; is_good && i < batch->sequences_count; i++) {
        is_good = mark_written(simulated, batch, i);
    }
    for (int i = 0; is_good && i < batch->sequences_count; i++) {
        is_good = check_reads(simulated, batch, i);
    }
    if (is_good && (simulated->fails_always || simulated->forwards_count == simulated->fails_at ||
                    (simulated->poison_token >= 0 && has_token(batch, simulated->poison_token)))) {
        return error_set(error, ERROR_INTERNAL, "simulated", NULL, "the simulated device failed");
    }
    for (int i = 0; is_good && i < batch->sequences_count; i++) {
        is_good = compute_rows(simulated, batch, i);
    }
    if (!is_good) {
        return error_set(error, ERROR_FATAL, "broken", NULL, "invariant: %s", simulated->broken);
    }
    simulated->rows_count += batch->rows_count;
    if (batch->sequences_count > simulated->sequences_largest) {
        simulated->sequences_largest = batch->sequences_count;
    }
    keep_logit_rows(simulated, batch);
    return true;
}

static bool simulated_sample(void *context, const struct sample_params *params, int32_t *tokens_out,
                             float *logprobs_out, struct error *error)
{
    struct simulated_device *simulated = context;
    simulated->samples_count++;
    if (simulated->samples_count == simulated->fails_sample_at) {
        return error_set(error, ERROR_INTERNAL, "simulated", NULL, "the simulated sampling failed");
    }
    for (int i = 0; i < simulated->kept_count; i++) {
        uint64_t hash = simulated->kept[i];
        bool is_nan =
            simulated->nan_token >= 0 && simulated->kept_tokens[i] == simulated->nan_token;
        tokens_out[i] =
            is_nan ? -1 : sampled_token(hash, &params[i], simulated->options.vocabulary);
        if (logprobs_out != NULL) {
            logprobs_out[i] = sampled_logprob(hash);
        }
    }
    return true;
}

struct device simulated_device_table(struct simulated_device *simulated)
{
    return (struct device){
        .forward = simulated_forward,
        .sample = simulated_sample,
        .context = simulated,
        .vocabulary = simulated->options.vocabulary + SIMULATED_RESERVED_TOKENS,
        .context_tokens = simulated->options.context_tokens,
        .blocks_count = simulated->options.blocks_count,
        .block_tokens = simulated->options.block_tokens,
    };
}

static bool is_stop(const struct sequence_params *params, int32_t token)
{
    for (int i = 0; !params->ignore_eos && i < params->stop_tokens_count; i++) {
        if (params->stop_tokens[i] == token) {
            return true;
        }
    }
    return false;
}

/* Counts of each token of the output, sorted by token, as the engine keeps them. */
static int count_tokens(const int32_t *output, int output_count, int vocabulary,
                        struct token_count *counts_out)
{
    int count = 0;
    for (int32_t token = 0; token < vocabulary; token++) {
        int times = 0;
        for (int i = 0; i < output_count; i++) {
            times += output[i] == token;
        }
        if (times > 0) {
            counts_out[count++] = (struct token_count){token, times};
        }
    }
    return count;
}

static enum finish_reason next_output(const struct simulated_options *options,
                                      const struct sequence *sequence, uint64_t hash,
                                      int32_t *output, int output_count)
{
    struct sample_params params = sequence->params.sample;
    struct token_count counts[256];
    CHECK(options->vocabulary <= 256 || params.presence_penalty == 0);
    params.position = (uint32_t)output_count;
    if (params.presence_penalty != 0) {
        params.output_counts = counts;
        params.output_counts_count =
            count_tokens(output, output_count, options->vocabulary, counts);
    }
    int32_t token = sampled_token(hash, &params, options->vocabulary);
    if (is_stop(&sequence->params, token)) {
        return FINISH_STOP;
    }
    output[output_count] = token;
    int known = sequence->prompt_count + output_count + 1;
    if (output_count + 1 == sequence->params.max_tokens || known == options->context_tokens) {
        return FINISH_LENGTH;
    }
    return known == options->blocks_count * options->block_tokens ? FINISH_ERROR : FINISH_NONE;
}

int simulated_output(const struct simulated_options *options, const struct sequence *sequence,
                     int32_t nan_token, int32_t *output_out, enum finish_reason *reason_out)
{
    uint64_t hash = 0;
    for (int i = 0; i < sequence->prompt_count; i++) {
        hash = next_hash(hash, sequence->prompt[i], i);
    }
    int32_t last = sequence->prompt[sequence->prompt_count - 1];
    for (int count = 0;; count++) {
        if (nan_token >= 0 && last == nan_token) {
            *reason_out = FINISH_ERROR;
            return count;
        }
        *reason_out = next_output(options, sequence, hash, output_out, count);
        if (*reason_out != FINISH_NONE) {
            return *reason_out == FINISH_STOP ? count : count + 1;
        }
        last = output_out[count];
        hash = next_hash(hash, last, sequence->prompt_count + count);
    }
}
