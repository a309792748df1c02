/* request: a body is parsed once by jansson, then each of its members is given to its row of the
 * table (parameter.c), then what spans several members is checked.
 *
 * A repeated key keeps its last value, as OpenAI's own parser has it.
 */
#include "pipeline/openai/request.h"

#include <stdio.h>

#include "pipeline/openai/parameter.h"
#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

static const struct openai_endpoint_traits endpoints[] = {
    [ENDPOINT_CHAT] = {"/v1/chat/completions", "messages", 0, "chatcmpl-", "chat.completion"},
    [ENDPOINT_COMPLETIONS] = {"/v1/completions", "prompt", 16, "cmpl-", "text_completion"},
    [ENDPOINT_EMBEDDINGS] = {"/v1/embeddings", "input", 0, "", "list"},
};

enum { ENDPOINTS_END = sizeof endpoints / sizeof endpoints[0] };

enum openai_endpoint openai_endpoint_of(struct bytes url)
{
    for (int i = ENDPOINT_NONE + 1; i < ENDPOINTS_END; i++) {
        if (bytes_equal_text(url, endpoints[i].url)) {
            return (enum openai_endpoint)i;
        }
    }
    return ENDPOINT_NONE;
}

const struct openai_endpoint_traits *openai_endpoint_traits(enum openai_endpoint endpoint)
{
    CHECK(endpoint > ENDPOINT_NONE && (int)endpoint < ENDPOINTS_END);
    return &endpoints[endpoint];
}

bool openai_unknown_url(struct bytes url, struct error *error)
{
    enum { URL_BYTES_SHOWN = 200 };
    char known[128] = "";
    size_t used = 0;
    for (int i = ENDPOINT_NONE + 1; i < ENDPOINTS_END && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? " or " : "",
                                 endpoints[i].url);
    }
    int shown = (int)(url.size < URL_BYTES_SHOWN ? url.size : URL_BYTES_SHOWN);
    return error_set(error, ERROR_NOT_FOUND, "unknown_url", "url", "url %.*s is not served; use %s",
                     url.data == NULL ? 6 : shown, url.data == NULL ? "(none)" : url.data, known);
}

/* jansson's text quotes the input; only its place goes into the message. */
static bool load(struct bytes body, struct openai_request *request, struct error *error)
{
    json_error_t fault = {0}; // jansson leaves the code as it is where it cannot add to an object
    (void)shortage_take();
    request->root = json_loadb(body.data, body.size, JSON_ALLOW_NUL, &fault);
    bool is_short = shortage_take(); // whatever it looks like: see parse_memory.h
    if (is_short ||
        (request->root == NULL && (json_error_code(&fault) == json_error_out_of_memory ||
                                   json_error_code(&fault) == json_error_unknown))) {
        return error_set(error, ERROR_INTERNAL, "out_of_memory", NULL,
                         "no memory to parse a body of %zu bytes", body.size);
    }
    if (request->root == NULL) {
        return error_set(error, ERROR_INVALID, "invalid_json", NULL,
                         "the body is not valid JSON in UTF-8 at byte %d (line %d, column %d)",
                         fault.position, fault.line, fault.column);
    }
    if (!json_is_object(request->root)) {
        return error_set(error, ERROR_INVALID, "invalid_json", NULL,
                         "the body is %s, must be a JSON object", type_phrase(request->root));
    }
    return true;
}

static bool read_parameters(struct parse *parse)
{
    struct openai_request *request = parse->request;
    const char *name;
    json_t *value;
    json_object_foreach (request->root, name, value) {
        const struct parameter *parameter = parameter_find(request->endpoint, name);
        if (parameter == NULL) {
            return error_set(parse->error, ERROR_INVALID, "unknown_parameter", NULL,
                             "'%.100s' is not a parameter of this endpoint", name);
        }
        if (!json_is_null(value) && !parameter->read(parameter, value, parse)) {
            return false;
        }
    }
    return true;
}

static bool missing(const char *name, struct error *error)
{
    return error_set(error, ERROR_INVALID, "missing_required_parameter", name,
                     "%s is missing, it is required", name);
}

static bool check_required(const struct openai_request *request, struct error *error)
{
    return request->prompts_count > 0 ||
           missing(openai_endpoint_traits(request->endpoint)->input, error);
}

static bool settle_max_tokens(struct parse *parse)
{
    int a = parse->max_tokens;
    int b = parse->max_completion_tokens;
    if (a != 0 && b != 0 && a != b) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", "max_completion_tokens",
                         "max_completion_tokens is %d and max_tokens is %d, must be the same or "
                         "one of them absent",
                         b, a);
    }
    int fallback = openai_endpoint_traits(parse->request->endpoint)->max_tokens;
    parse->request->max_tokens = b != 0 ? b : a != 0 ? a : fallback;
    return true;
}

static bool check_combinations(const struct openai_request *request, struct error *error)
{
    if (request->endpoint != ENDPOINT_EMBEDDINGS && // whose inputs are counted when they are read
        request->n * request->prompts_count > OPENAI_CHOICES_MAX) {
        return error_set(error, ERROR_INVALID, "invalid_value", "n",
                         "n is %d for %d prompts, their product must be at most %d", request->n,
                         request->prompts_count, OPENAI_CHOICES_MAX);
    }
    if (request->wants_echo && request->wants_logprobs) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "echo",
                         "echo is true together with logprobs: logprobs of the prompt are not "
                         "supported");
    }
    return true;
}

bool openai_request_open(enum openai_endpoint endpoint, struct bytes body,
                         struct openai_request *request, struct error *error)
{
    *request = (struct openai_request){
        .endpoint = endpoint,
        .n = 1,
        .temperature = 1,
        .top_p = 1,
        .repetition_penalty = 1,
    };
    if (!load(body, request, error)) {
        return false;
    }
    const struct parameter *parameter = parameter_find(endpoint, "model");
    json_t *model = json_object_get(request->root, parameter->name);
    struct parse parse = {.request = request, .error = error};
    return model == NULL || json_is_null(model) ? missing(parameter->name, error)
                                                : parameter->read(parameter, model, &parse);
}

bool openai_request_check(size_t body_bytes, struct arena *arena, struct openai_request *request,
                          struct error *error)
{
    struct parse parse = {
        .request = request, .arena = arena, .error = error, .body_bytes = body_bytes};
    return read_parameters(&parse) && check_required(request, error) && settle_max_tokens(&parse) &&
           check_combinations(request, error);
}

bool openai_request_parse(enum openai_endpoint endpoint, struct bytes body, struct arena *arena,
                          struct openai_request *request, struct error *error)
{
    return openai_request_open(endpoint, body, request, error) &&
           openai_request_check(body.size, arena, request, error);
}

void openai_request_close(struct openai_request *request)
{
    json_decref(request->root);
    *request = (struct openai_request){0};
}
