/* prompt_fit: renders and tokenizes as the worker will. */
#include "worker/prompt_fit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/openai/request.h"
#include "pipeline/text/chat_template.h"
#include "pipeline/text/tokenizer.h"
#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"

enum { PATH_BYTES_MAX = 4096, PROMPT_BYTES_MAX = 64 << 20, ARENA_BYTES_MAX = 64 << 20 };

struct prompt_fit {
    struct tokenizer *tokenizer;
    struct chat_template *chat_template; // NULL: the model has none
    int64_t context_tokens;
    struct buffer prompt;
};

static bool read_context(const char *folder, int64_t *tokens_out, struct error *error)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof path, "%s/config.json", folder);
    if (size < 0 || (size_t)size >= sizeof path) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "the path %.100s... is too long", folder);
    }
    json_error_t reason;
    json_t *root = json_load_file(path, 0, &reason);
    const json_t *tokens = json_object_get(root, "max_position_embeddings");
    bool is_valid = json_is_integer(tokens) && json_integer_value(tokens) > 0;
    if (is_valid) {
        *tokens_out = json_integer_value(tokens);
    } else {
        (void)error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s", path,
                        root == NULL ? reason.text : "max_position_embeddings is missing");
    }
    json_decref(root);
    return is_valid;
}

bool prompt_fit_open(const char *folder, struct prompt_fit **fit_out, struct error *error)
{
    struct prompt_fit *fit = calloc(1, sizeof *fit);
    if (fit == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a tokenizer");
    }
    buffer_init(&fit->prompt, PROMPT_BYTES_MAX);
    struct error template_error = {0};
    bool is_open = read_context(folder, &fit->context_tokens, error) &&
                   tokenizer_open(folder, &fit->tokenizer, error);
    if (is_open && !chat_template_open(folder, &fit->chat_template, &template_error) &&
        template_error.kind != ERROR_NOT_FOUND) {
        *error = template_error;
        is_open = false;
    }
    if (!is_open) {
        prompt_fit_close(fit);
        return false;
    }
    *fit_out = fit;
    return true;
}

void prompt_fit_close(struct prompt_fit *fit)
{
    if (fit == NULL) {
        return;
    }
    tokenizer_close(fit->tokenizer);
    chat_template_close(fit->chat_template);
    buffer_close(&fit->prompt);
    free(fit);
}

static bool check_count(const struct prompt_fit *fit, int64_t prompt_tokens, int max_tokens,
                        struct error *error)
{
    int64_t needed = prompt_tokens + (max_tokens > 0 ? max_tokens : 1);
    return needed <= fit->context_tokens ||
           error_set(error, ERROR_INVALID, "context_length_exceeded", NULL,
                     "prompt and max_tokens need %lld tokens, the context has %lld",
                     (long long)needed, (long long)fit->context_tokens);
}

static bool check_text(const struct prompt_fit *fit, struct bytes text, bool add_special_tokens,
                       int max_tokens, struct error *error)
{
    struct token_list ids;
    token_list_init(&ids, (size_t)fit->context_tokens);
    bool fits = tokenizer_encode(fit->tokenizer, text, add_special_tokens, &ids, error) &&
                check_count(fit, (int64_t)ids.count, max_tokens, error);
    token_list_close(&ids);
    return fits;
}

static bool check_chat(struct prompt_fit *fit, const struct openai_request *request,
                       struct error *error)
{
    if (fit->chat_template == NULL) {
        return error_set(error, ERROR_INVALID, NULL, "messages", "the model has no chat template");
    }
    json_t *variables = openai_template_variables(request);
    if (variables == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a request");
    }
    buffer_clear(&fit->prompt);
    bool fits = chat_template_render(fit->chat_template, variables, &fit->prompt, error) &&
                check_text(fit, buffer_bytes(&fit->prompt), false, request->max_tokens, error);
    json_decref(variables);
    return fits;
}

static bool check_request(struct prompt_fit *fit, const struct openai_request *request,
                          struct error *error)
{
    if (request->messages != NULL) {
        return check_chat(fit, request, error);
    }
    for (int i = 0; i < request->prompts_count; i++) {
        const struct openai_prompt *prompt = &request->prompts[i];
        bool fits = prompt->text.data != NULL
                        ? check_text(fit, prompt->text, true, request->max_tokens, error)
                        : check_count(fit, prompt->ids_count, request->max_tokens, error);
        if (!fits) {
            return false;
        }
    }
    return true;
}

bool prompt_fit_check(struct prompt_fit *fit, const struct inference_request *request,
                      struct error *error)
{
    enum openai_endpoint endpoint = openai_endpoint_of(request->url);
    if (endpoint == ENDPOINT_NONE) {
        return openai_unknown_url(request->url, error);
    }
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    if (arena == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a request");
    }
    struct openai_request parsed = {0};
    bool fits = openai_request_parse(endpoint, request->body, arena, &parsed, error) &&
                check_request(fit, &parsed, error);
    openai_request_close(&parsed);
    arena_close(arena);
    return fits;
}
