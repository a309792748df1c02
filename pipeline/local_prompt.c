/* local, prompts: from a parsed request to sequences that the engine can run. Thread: pool. */
#include "pipeline/local_internal.h"

#include <string.h>

#include "pipeline/route/route.h"
#include "schemas/base/check.h"

enum { PROMPT_TEXT_BYTES_MAX = 64 << 20 };

static bool set_too_large(struct error *error)
{
    return error_set(error, ERROR_INVALID, "request_too_large", NULL,
                     "the request needs more memory than one record may have");
}

static const char *param_of(const struct call *call)
{
    return openai_endpoint_traits(call->request.endpoint)->input;
}

static bool set_too_long(const struct call *call, int prompt_count, int tokens_max,
                         struct error *error)
{
    const char *param = param_of(call);
    if (prompt_count >= tokens_max) {
        return error_set(error, ERROR_INVALID, "context_length_exceeded", param,
                         "the prompt has %d tokens, which leaves no room for an answer in the "
                         "context of %d tokens; shorten the prompt",
                         prompt_count, tokens_max);
    }
    return error_set(error, ERROR_INVALID, "context_length_exceeded", param,
                     "the prompt has %d tokens and max_tokens is %d, together more than the "
                     "context of %d tokens; shorten the prompt or lower max_tokens",
                     prompt_count, call->request.max_tokens, tokens_max);
}

static bool encode(const struct local_call *state, struct bytes text, bool add_special_tokens,
                   struct token_list *ids, struct error *error)
{
    struct error cause = {0};
    if (state->model->tokenizer == NULL) {
        return error_set(error, ERROR_INVALID, "unsupported_value", param_of(state->call),
                         "the model %s has no tokenizer.json; give the %s as token ids",
                         state->model->name, param_of(state->call));
    }
    if (tokenizer_encode(state->model->tokenizer, text, add_special_tokens, ids, &cause)) {
        return true;
    }
    *error = cause;
    error->param = cause.param == NULL ? param_of(state->call) : cause.param;
    return false;
}

static bool encode_chat(const struct local_call *state, struct token_list *ids, struct error *error)
{
    if (state->model->chat_template == NULL) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "model",
                         "the model %s has no chat template; use /v1/completions",
                         state->model->name);
    }
    const struct openai_request *request = &state->call->request;
    if (request->tools != NULL && !request->hides_tools &&
        !chat_template_takes_tools(state->model->chat_template)) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "tools",
                         "the chat template of the model %s has no place for tools",
                         state->model->name);
    }
    json_t *variables = openai_template_variables(request);
    if (variables == NULL) {
        return set_too_large(error);
    }
    struct buffer text;
    buffer_init(&text, PROMPT_TEXT_BYTES_MAX);
    // The template writes the special tokens itself, so the tokenizer must not add them again.
    bool is_encoded = chat_template_render(state->model->chat_template, variables, &text, error) &&
                      encode(state, buffer_bytes(&text), false, ids, error);
    buffer_close(&text);
    json_decref(variables);
    return is_encoded;
}

static bool copy_ids(const struct local_call *state, const struct openai_prompt *prompt,
                     struct token_list *ids, struct error *error)
{
    int vocabulary = model_get_config(state->model->model)->vocabulary;
    if ((size_t)prompt->ids_count > ids->count_max) {
        return set_too_long(state->call, prompt->ids_count, (int)ids->count_max, error);
    }
    for (int i = 0; i < prompt->ids_count; i++) {
        if (prompt->ids[i] < 0 || prompt->ids[i] >= vocabulary) {
            return error_set(error, ERROR_INVALID, "invalid_value", param_of(state->call),
                             "token %d of the prompt is %d, must be between 0 and %d", i,
                             prompt->ids[i], vocabulary - 1);
        }
        if (!token_list_append(ids, prompt->ids[i], error)) {
            return false;
        }
    }
    return true;
}

/* One prompt's token ids, in the arena. */
static bool make_prompt(const struct local_call *state, int prompt, const int32_t **ids_out,
                        int *count_out, struct error *error)
{
    const struct openai_request *request = &state->call->request;
    int tokens_max = engine_tokens_max(state->local->engine, state->call->route->model);
    struct token_list ids;
    token_list_init(&ids, (size_t)tokens_max);
    bool is_made;
    if (request->messages != NULL) {
        is_made = encode_chat(state, &ids, error);
    } else if (request->prompts[prompt].text.data == NULL) {
        is_made = copy_ids(state, &request->prompts[prompt], &ids, error);
    } else {
        is_made = encode(state, request->prompts[prompt].text, true, &ids, error);
    }
    if (is_made) {
        struct bytes copy = arena_copy(state->call->job->arena,
                                       (struct bytes){ids.ids == NULL ? "" : (const char *)ids.ids,
                                                      ids.count * sizeof *ids.ids});
        *ids_out = (const int32_t *)(const void *)copy.data;
        *count_out = (int)ids.count;
        is_made = copy.data != NULL || set_too_large(error);
    }
    token_list_close(&ids);
    return is_made;
}

static bool copy_stop_tokens(struct local_call *state)
{
    const struct model_config *config = model_get_config(state->model->model);
    state->stop_tokens_count = config->stop_tokens_count;
    state->stop_tokens = arena_alloc_array(state->call->job->arena,
                                           (size_t)config->stop_tokens_count, sizeof(int32_t));
    if (state->stop_tokens == NULL) {
        return false;
    }
    memcpy(state->stop_tokens, config->stop_tokens,
           (size_t)config->stop_tokens_count * sizeof(int32_t));
    return true;
}

static struct sample_params sampling_of(const struct local_call *state, int choice)
{
    const struct call *call = state->call;
    const struct openai_request *request = &call->request;
    const struct sampling_defaults *model = &model_get_config(state->model->model)->sampling;
    uint64_t seed = request->has_seed ? request->seed : call->job->seed;
    double repetition_penalty =
        request->has_repetition_penalty ? request->repetition_penalty : model->repetition_penalty;
    return (struct sample_params){
        .temperature =
            (float)(request->has_temperature ? request->temperature : model->temperature),
        .top_p = (float)(request->has_top_p ? request->top_p : model->top_p),
        .top_k = request->has_top_k ? request->top_k : model->top_k,
        .min_p = (float)(request->has_min_p ? request->min_p : model->min_p),
        .seed = seed + (uint64_t)choice,
        .frequency_penalty = (float)request->frequency_penalty,
        .presence_penalty = (float)request->presence_penalty,
        .repetition_penalty = (float)repetition_penalty,
    };
}

/* An input of an embeddings request, which needs no room for an answer. */
static bool init_input(struct local_call *state, int index, const int32_t *ids, int count,
                       struct error *error)
{
    struct call *call = state->call;
    int inputs_max = engine_tokens_max(state->local->engine, call->route->model) - 1;
    int width = model_get_config(state->model->model)->hidden;
    if (count > inputs_max) {
        return error_set(error, ERROR_INVALID, "context_length_exceeded", "input",
                         "input %d has %d tokens, must have at most %d; shorten it", index, count,
                         inputs_max);
    }
    struct local_choice *choice = &state->choices[index];
    choice->owner = state;
    choice->sequence = (struct sequence){
        .model = call->route->model,
        .prompt = ids,
        .prompt_count = count,
        .params = {.max_tokens = 1,
                   .priority = call->job->request.priority,
                   .deadline_ms = call->job->request.deadline_ms},
        .vector = arena_alloc_array(call->job->arena, (size_t)width, sizeof(float)),
        .owner = choice,
    };
    return choice->sequence.vector != NULL || set_too_large(error);
}

/* Encoders give embeddings, all others text. */
static bool check_endpoint(const struct local_call *state, struct error *error)
{
    const struct openai_request *request = &state->call->request;
    const struct model_config *config = model_get_config(state->model->model);
    bool wants_embeddings = request->endpoint == ENDPOINT_EMBEDDINGS;
    if (wants_embeddings != config->encoder.is_encoder) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "model",
                         wants_embeddings ? "the model %s generates text; /v1/embeddings needs an "
                                            "encoder"
                                          : "the model %s is an encoder; use /v1/embeddings",
                         state->model->name);
    }
    return !wants_embeddings || request->dimensions <= config->hidden ||
           error_set(error, ERROR_INVALID, "invalid_value", "dimensions",
                     "dimensions is %d, the model's vectors have %d", request->dimensions,
                     config->hidden);
}

static bool init_choice(struct local_call *state, int index, const int32_t *prompt,
                        int prompt_count, struct error *error)
{
    struct call *call = state->call;
    const struct openai_request *request = &call->request;
    struct arena *arena = call->job->arena;
    int tokens_max = engine_tokens_max(state->local->engine, call->route->model);
    if (prompt_count == 0) {
        return error_set(error, ERROR_INVALID, "invalid_value", "prompt",
                         "the prompt has no tokens, must have at least 1");
    }
    int max_tokens = request->max_tokens == 0 ? tokens_max - prompt_count : request->max_tokens;
    if (prompt_count >= tokens_max || max_tokens > tokens_max - prompt_count) {
        return set_too_long(call, prompt_count, tokens_max, error);
    }
    struct local_choice *choice = &state->choices[index];
    if (!stop_rule_init(&choice->stop_rule, arena, request->stops, (size_t)request->stops_count,
                        error)) {
        return false;
    }
    choice->owner = state;
    choice->sequence = (struct sequence){
        .model = call->route->model,
        .prompt = prompt,
        .prompt_count = prompt_count,
        .params =
            {
                .sample = sampling_of(state, index),
                .max_tokens = max_tokens,
                .stop_tokens = state->stop_tokens,
                .stop_tokens_count = state->stop_tokens_count,
                .ignore_eos = request->ignore_eos,
                .wants_progress = request->stops_count > 0,
                .priority = call->job->request.priority,
                .deadline_ms = call->job->request.deadline_ms,
            },
        .output = arena_alloc_array(arena, (size_t)max_tokens, sizeof(int32_t)),
        .logprobs = request->wants_logprobs
                        ? arena_alloc_array(arena, (size_t)max_tokens, sizeof(float))
                        : NULL,
        .owner = choice,
    };
    bool has_memory = choice->sequence.output != NULL &&
                      (choice->sequence.logprobs != NULL || !request->wants_logprobs);
    return has_memory || set_too_large(error);
}

bool local_prepare_call(struct local *local, struct call *call, struct error *error)
{
    const struct openai_request *request = &call->request;
    int choices_count = request->prompts_count * request->n;
    bool wants_embeddings = request->endpoint == ENDPOINT_EMBEDDINGS;
    CHECK(choices_count >= 1 && choices_count <= OPENAI_INPUTS_MAX);
    if (choices_count > local->sequences_max) { // it would wait for ever
        return error_set(error, ERROR_INVALID, "invalid_value", wants_embeddings ? "input" : "n",
                         "the request has %d %s, must be at most %d", choices_count,
                         wants_embeddings ? "inputs" : "choices", local->sequences_max);
    }
    struct local_call *state = arena_alloc(
        call->job->arena, sizeof *state + (size_t)choices_count * sizeof state->choices[0]);
    if (state == NULL) {
        return set_too_large(error);
    }
    state->call = call;
    state->local = local;
    state->model = &local->models[call->route->model];
    state->choices_count = choices_count;
    state->choices_left = choices_count;
    call->state = state;
    if (!check_endpoint(state, error)) {
        return false;
    }
    if (!copy_stop_tokens(state)) {
        return set_too_large(error);
    }
    for (int prompt = 0; prompt < request->prompts_count; prompt++) {
        const int32_t *ids = NULL;
        int count = 0;
        if (!make_prompt(state, prompt, &ids, &count, error)) {
            return false;
        }
        for (int i = 0; i < request->n; i++) {
            if (wants_embeddings
                    ? !init_input(state, prompt, ids, count, error)
                    : !init_choice(state, prompt * request->n + i, ids, count, error)) {
                return false;
            }
        }
    }
    return true;
}
