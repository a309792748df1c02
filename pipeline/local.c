/* local: opens models and engine, and moves calls between loop and engine. */
#include "pipeline/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "pipeline/local_internal.h"
#include "schemas/base/check.h"

enum {
    TAKE_MAX = 64,
    LOCAL_MODELS_MAX = 16,
    PATH_BYTES_MAX = 4096,
    KV_BLOCK_TOKENS = 16,
};

static struct local *local_of(struct generator *generator)
{
    return (struct local *)generator;
}

static bool prepare_call(struct generator *generator, struct call *call, struct error *error)
{
    return local_prepare_call(local_of(generator), call, error);
}

static bool submit_call(struct generator *generator, struct call *call)
{
    struct local *local = local_of(generator);
    struct local_call *state = call->state;
    if (local->sequences_inside > local->sequences_max - state->choices_count) {
        return false;
    }
    local->sequences_inside += state->choices_count;
    for (int i = 0; i < state->choices_count; i++) {
        // max_waiting of the engine is sequences_max, so there is room for all of them.
        CHECK(engine_submit(local->engine, &state->choices[i].sequence));
    }
    return true;
}

static void cancel_call(struct generator *generator, struct call *call, bool only_waiting)
{
    struct local *local = local_of(generator);
    struct local_call *state = call->state;
    for (int i = 0; i < state->choices_count; i++) {
        struct sequence *sequence = &state->choices[i].sequence;
        if (only_waiting) {
            engine_withdraw(local->engine, sequence);
        } else {
            engine_cancel(local->engine, sequence);
        }
    }
}

static size_t poll_calls(struct generator *generator, struct call **calls_out, size_t calls_max)
{
    struct local *local = local_of(generator);
    void *items[TAKE_MAX];
    size_t count =
        mailbox_take(local->answered, items, calls_max < TAKE_MAX ? calls_max : TAKE_MAX);
    for (size_t i = 0; i < count; i++) {
        calls_out[i] = items[i];
        const struct local_call *state = calls_out[i]->state;
        local->sequences_inside -= state->choices_count;
    }
    return count;
}

static void close_model(struct local_model *model)
{
    chat_template_close(model->chat_template);
    tokenizer_close(model->tokenizer);
    model_close(model->model);
    free(model->name);
}

static void close_local(struct generator *generator)
{
    struct local *local = local_of(generator);
    CHECK(local->sequences_inside == 0);
    engine_close(local->engine);
    for (int i = 0; i < local->models_count; i++) {
        close_model(&local->models[i]);
    }
    backend_close(local->backend);
    mailbox_close(local->answered);
    free(local);
}

static const struct generator_ops local_ops = {
    .prepare = prepare_call,
    .submit = submit_call,
    .cancel = cancel_call,
    .poll = poll_calls,
    .close = close_local,
};

static const char *weights_name(enum weight_format format)
{
    switch (format) {
    case WEIGHTS_BF16:
        return "bf16";
    case WEIGHTS_INT8:
        return "int8";
    case WEIGHTS_FP8:
        return "fp8";
    case WEIGHTS_F32:
    case WEIGHTS_AUTO:
        break;
    }
    return "f32";
}

static void write_hash(char *out, uint64_t hash)
{
    (void)snprintf(out, HASH_TEXT_SIZE, "%016llx", (unsigned long long)hash);
}

static void fill_served_by(const struct local *local, struct local_model *model)
{
    write_hash(model->weights_hash, model_weights_hash(model->model));
    model->served_by = (struct served_by){
        .kind = bytes_of("local"),
        .model = bytes_of(model->name),
        .weights_hash = bytes_of(model->weights_hash),
        .weights_format = bytes_of(weights_name(model_weights(model->model))),
        .backend = bytes_of(local->backend->device == BACKEND_CUDA ? "cuda" : "cpu"),
        .device = bytes_of(local->backend->description),
        .version = bytes_of(MILLRACE_VERSION),
    };
    if (model->chat_template != NULL) {
        write_hash(model->template_hash, chat_template_hash(model->chat_template));
        model->served_by.template_hash = bytes_of(model->template_hash);
    }
}

static bool open_text(struct local_model *model, const char *path, bool may_lack_tokenizer,
                      struct error *error)
{
    char file[PATH_BYTES_MAX];
    int length = snprintf(file, sizeof file, "%s/tokenizer.json", path);
    if (length < 0 || (size_t)length >= sizeof file) {
        return error_set(error, ERROR_CONFIG, NULL, "models", "the path %s is too long", path);
    }
    if (may_lack_tokenizer && access(file, F_OK) != 0) {
        return true;
    }
    struct error cause = {0};
    int vocabulary = model_get_config(model->model)->vocabulary;
    if (!tokenizer_open(path, &model->tokenizer, error) ||
        !tokenizer_check_ids(model->tokenizer, vocabulary, error)) {
        return false;
    }
    if (chat_template_open(path, &model->chat_template, &cause) || cause.kind == ERROR_NOT_FOUND) {
        return true; // without a template the model serves completions
    }
    *error = cause;
    return false;
}

/* What served_by calls the model: its name, and behind it the last part of the adapter's path. */
static bool take_name(struct local_model *model, const struct local_model_options *source,
                      bool has_adapter)
{
    const char *adapter = has_adapter ? source->adapter : "";
    size_t end = strlen(adapter);
    while (end > 0 && adapter[end - 1] == '/') {
        end--;
    }
    size_t first = end;
    while (first > 0 && adapter[first - 1] != '/') {
        first--;
    }
    size_t size = strlen(source->name) + end - first + 2;
    model->name = malloc(size);
    if (model->name != NULL) {
        (void)snprintf(model->name, size, "%s%s%.*s", source->name, has_adapter ? "+" : "",
                       (int)(end - first), adapter + first);
    }
    return model->name != NULL;
}

/* Whom the progress of one model goes to. */
struct loading {
    const struct local_options *options;
    const char *model;
};

static void on_layer(void *context, int done, int total)
{
    const struct loading *loading = context;
    if (loading->options->on_loading != NULL) {
        loading->options->on_loading(loading->options->loading_context, loading->model, done,
                                     total);
    }
}

static bool open_model(struct local *local, struct local_model *model,
                       const struct local_model_options *source,
                       const struct local_options *options, struct error *error)
{
    bool has_adapter = source->adapter != NULL && source->adapter[0] != '\0';
    struct loading loading = {options, source->name};
    double start_ms = clock_monotonic_ms();
    struct model_options model_options = {
        .weights = options->weights,
        .block_tokens = KV_BLOCK_TOKENS,
        .kv_format = options->kv_format,
        .adapter = has_adapter ? source->adapter : NULL,
        .progress = {on_layer, &loading},
    };
    if (!take_name(model, source, has_adapter)) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    if (!model_open(source->path, local->backend, &model_options, &model->model, error) ||
        !open_text(model, source->path, options->may_lack_tokenizer, error)) {
        return error_prefix(error, "model %s", source->name);
    }
    fill_served_by(local, model);
    model->load_ms = clock_monotonic_ms() - start_ms;
    return true;
}

static bool start_engine(struct local *local, const struct local_options *options,
                         struct error *error)
{
    struct model *models[LOCAL_MODELS_MAX];
    double kv_shares[LOCAL_MODELS_MAX];
    double left = 1;
    int without_share = 0;
    for (int i = 0; i < local->models_count; i++) {
        models[i] = local->models[i].model;
        kv_shares[i] = options->models[i].kv_share;
        left -= kv_shares[i];
        without_share += kv_shares[i] == 0 ? 1 : 0;
    }
    if (left < 0 || (without_share > 0 && left == 0)) {
        return error_set(error, ERROR_CONFIG, NULL, "models",
                         "the kv_share of all models together is %g, must be at most 1 and leave "
                         "something for those without one",
                         1 - left);
    }
    for (int i = 0; i < local->models_count; i++) {
        kv_shares[i] = kv_shares[i] == 0 ? left / without_share : kv_shares[i];
    }
    struct engine_options engine = {
        .models = models,
        .kv_shares = kv_shares,
        .models_count = local->models_count,
        .kv_bytes = (size_t)options->kv_cache_bytes,
        .max_num_seqs = options->max_num_seqs,
        .max_num_batched_tokens = options->max_num_batched_tokens,
        .max_model_len = options->max_model_len,
        .max_waiting = options->calls_max,
        .enable_prefix_caching = options->enable_prefix_caching,
        .observer = {local_on_progress, local_on_finish, local},
    };
    return engine_open(&engine, &local->engine, error);
}

bool local_open(const struct local_options *options, struct local **local_out, struct error *error)
{
    if (options->models_count < 1 || options->models_count > LOCAL_MODELS_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, "models",
                         "there are %d models, must be between 1 and %d", options->models_count,
                         LOCAL_MODELS_MAX);
    }
    struct local *local =
        calloc(1, sizeof *local + (size_t)options->models_count * sizeof local->models[0]);
    struct mailbox *answered =
        mailbox_open((size_t)options->calls_max, options->wake.on_wake, options->wake.context);
    if (local == NULL || answered == NULL) {
        free(local);
        mailbox_close(answered);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %d models",
                         options->models_count);
    }
    local->generator.ops = &local_ops;
    local->pool = options->pool;
    local->answered = answered;
    local->sequences_max = options->calls_max;
    local->models_count = options->models_count;
    bool is_open = backend_open(&options->backend, &local->backend, error);
    for (int i = 0; is_open && i < options->models_count; i++) {
        is_open = open_model(local, &local->models[i], &options->models[i], options, error);
    }
    if (!is_open || !start_engine(local, options, error)) {
        close_local(&local->generator);
        return false;
    }
    *local_out = local;
    return true;
}

struct generator *local_generator(struct local *local)
{
    return &local->generator;
}

static const char *kv_name(enum kv_format format)
{
    return format == KV_INT8 ? "int8" : format == KV_BF16 ? "bf16" : "f32";
}

struct local_model_facts local_facts(const struct local *local, int index)
{
    const struct local_model *model = &local->models[index];
    int blocks = model_kv_blocks(model->model);
    return (struct local_model_facts){
        .name = model->name,
        .weights = weights_name(model_weights(model->model)),
        .kv = kv_name(model_kv_format(model->model)),
        .backend = local->backend->description,
        .auto_reason = local->backend->auto_reason,
        .weights_bytes = model_weights_bytes(model->model),
        .kv_bytes = (size_t)blocks * model_kv_block_bytes(model->model),
        .kv_blocks = blocks,
        .kv_block_tokens = model_block_tokens(model->model),
        .tokens_max = engine_tokens_max(local->engine, index),
        .load_ms = model->load_ms,
    };
}

const struct served_by *local_served_by(const struct local *local, int index)
{
    CHECK(index >= 0 && index < local->models_count);
    return &local->models[index].served_by;
}

int local_call_tokens(const struct call *call, int choice, const int32_t **tokens_out)
{
    const struct local_call *state = call->state;
    CHECK(choice >= 0 && choice < state->choices_count);
    *tokens_out = state->choices[choice].sequence.output;
    return state->choices[choice].tokens_read;
}

void local_get_stats(const struct local *local, struct engine_stats *stats_out)
{
    engine_get_stats(local->engine, stats_out);
}
