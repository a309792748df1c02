/* comparison: what both sides said, from their records and their OpenAI bodies. */
#include "pipeline/comparison.h"

#include <jansson.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "pipeline/answers.h"
#include "pipeline/route/route.h"
#include "schemas/base/check.h"

enum {
    VERDICTS_MAX = 4 + ANSWERS_VERDICTS_MAX, // supported, answered, scored, whole
    STATUS_REFUSED_MIN = 400,
    TEMPLATE_ID_BYTES = 32, // of a 128-bit hash in hexadecimal
};

/* Appends to a list that has the room. */
static void add_verdict(struct job *job, const char *name, bool has_passed, const char *reason)
{
    struct verdicts *verdicts = &job->comparison.verdicts;
    CHECK(verdicts->count < VERDICTS_MAX);
    struct bytes copy = has_passed ? (struct bytes){0} : arena_copy(job->arena, bytes_of(reason));
    verdicts->items[verdicts->count++] = (struct verdict){bytes_of(name), has_passed, copy};
}

static const struct verdict *find_verdict(const struct comparison *comparison, const char *name)
{
    for (size_t i = 0; i < comparison->verdicts.count; i++) {
        if (bytes_equal_text(comparison->verdicts.items[i].name, name)) {
            return &comparison->verdicts.items[i];
        }
    }
    return NULL;
}

enum comparison_class comparison_class(const struct comparison *comparison)
{
    const struct verdict *supported = find_verdict(comparison, "supported");
    if (supported != NULL && !supported->passed) {
        return COMPARISON_UNSUPPORTED;
    }
    return comparison->error == NULL ? COMPARISON_ANSWERED : COMPARISON_FAILED;
}

/* --- The prompt's template: labels.prompt, otherwise the hash of the system message --- */

static void hash_content(XXH3_state_t *state, const json_t *content)
{
    if (json_is_string(content)) {
        (void)XXH3_128bits_update(state, json_string_value(content), json_string_length(content));
        return;
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        hash_content(state, json_object_get(json_array_get(content, i), "text"));
    }
}

static const json_t *system_content(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        if (role != NULL && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0)) {
            return json_object_get(message, "content");
        }
    }
    return NULL;
}

/* Absent without label and system message. False when the arena is full. */
static bool find_template(struct job *job)
{
    const struct labels *labels = &job->request.labels;
    for (size_t i = 0; i < labels->count; i++) {
        if (bytes_equal_text(labels->items[i].name, "prompt")) {
            job->comparison.prompt_template = labels->items[i].value;
            return true;
        }
    }
    const json_t *root = job->calls_count == 0 ? NULL : job->calls[0].request.root;
    const json_t *content = system_content(json_object_get(root, "messages"));
    if (content == NULL) {
        return true;
    }
    XXH3_state_t state;
    (void)XXH3_128bits_reset(&state);
    hash_content(&state, content);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    char id[TEMPLATE_ID_BYTES + 1];
    (void)snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)hash.high64,
                   (unsigned long long)hash.low64);
    job->comparison.prompt_template = arena_copy(job->arena, bytes_of(id));
    return job->comparison.prompt_template.data != NULL;
}

/* --- Both answers --- */

static void fill_count(const json_t *usage, const char *name, bool *has, int64_t *count)
{
    const json_t *value = json_object_get(usage, name);
    if (!*has && json_is_integer(value)) {
        *has = true;
        *count = json_integer_value(value);
    }
}

/* What the body says and the record does not. */
static bool complete_answer(struct answer *answer, const json_t *body, struct arena *arena)
{
    const json_t *usage = json_object_get(body, "usage");
    fill_count(usage, "prompt_tokens", &answer->has_prompt_tokens, &answer->prompt_tokens);
    fill_count(usage, "completion_tokens", &answer->has_completion_tokens,
               &answer->completion_tokens);
    const json_t *model = json_object_get(body, "model");
    if (answer->model.data == NULL && json_is_string(model)) {
        struct bytes name = {json_string_value(model), json_string_length(model)};
        answer->model = arena_copy(arena, name);
        return answer->model.data != NULL;
    }
    return true;
}

static const struct served_by *candidate_of(const struct job *job)
{
    if (job->response.served_by != NULL) {
        return job->response.served_by;
    }
    const struct route *route = job->calls_count == 0 ? NULL : job->calls[0].route;
    return route == NULL ? NULL : &route->served_by;
}

struct answer answer_of_response(const struct inference_response *response)
{
    struct answer answer = {.status_code = response->status_code, .body = response->body};
    const struct timing *timing = response->timing;
    if (response->served_by != NULL) {
        answer.model = response->served_by->model;
    }
    if (timing != NULL) {
        answer.has_latency_ms = true;
        answer.latency_ms = timing->total_ms - timing->queued_ms;
        answer.has_first_token_ms = timing->has_first_token_ms;
        answer.first_token_ms = timing->first_token_ms - timing->queued_ms;
    }
    if (response->usage != NULL) {
        answer.has_prompt_tokens = answer.has_completion_tokens = true;
        answer.prompt_tokens = response->usage->prompt_tokens;
        answer.completion_tokens = response->usage->completion_tokens;
    }
    return answer;
}

static void fill_candidate(const struct job *job, struct answer *answer)
{
    const struct served_by *served_by = candidate_of(job);
    *answer = answer_of_response(&job->response);
    if (served_by != NULL) {
        answer->model = served_by->model;
    }
    if (job->calls_count > 0) {
        answer->has_cost_usd = job->calls[0].answer.has_cost_usd;
        answer->cost_usd = job->calls[0].answer.cost_usd;
    }
}

/* --- What became of the candidate --- */

/* Whether the request itself is what the candidate did not take. */
static bool is_unsupported(const struct job *job)
{
    enum error_kind kind = job->error.kind;
    int status = job->response.status_code;
    return kind == ERROR_INVALID || kind == ERROR_NOT_FOUND || kind == ERROR_TOO_LARGE ||
           (kind == ERROR_NONE &&
            (status == 400 || status == 404 || status == 413 || status == 422));
}

static bool judge(struct job *job)
{
    char reason[sizeof job->error.message] = "";
    if (job->error.kind != ERROR_NONE) {
        (void)snprintf(reason, sizeof reason, "%s", job->error.message);
    } else if (job->response.status_code >= STATUS_REFUSED_MIN) {
        (void)snprintf(reason, sizeof reason, "the candidate answered with status %d",
                       (int)job->response.status_code);
    }
    bool has_failed = reason[0] != '\0' || job->error.kind != ERROR_NONE;
    bool is_supported = !has_failed || !is_unsupported(job);
    add_verdict(job, "supported", is_supported, reason);
    if (is_supported) {
        add_verdict(job, "answered", !has_failed, reason);
    }
    if (!has_failed) {
        return true;
    }
    struct failure *failure = arena_alloc(job->arena, sizeof *failure);
    if (failure == NULL) {
        return false;
    }
    const char *code = job->error.kind == ERROR_NONE ? "http_status"
                       : job->error.code == NULL     ? error_type(job->error.kind)
                                                     : job->error.code;
    *failure = (struct failure){bytes_of(code), arena_copy(job->arena, bytes_of(reason))};
    job->comparison.error = failure;
    return failure->message.data != NULL;
}

static bool join_names(struct arena *arena, const struct names *first, const struct names *second,
                       struct names *out)
{
    *out = first->count > 0 ? *first : *second;
    if (first->count == 0 || second->count == 0) {
        return true;
    }
    size_t count = first->count + second->count;
    struct bytes *items = arena_alloc_array(arena, count, sizeof *items);
    if (items == NULL) {
        return false;
    }
    memcpy(items, first->items, first->count * sizeof *items);
    memcpy(items + first->count, second->items, second->count * sizeof *items);
    *out = (struct names){items, count};
    return true;
}

static void fill_request(struct job *job)
{
    job->comparison = (struct comparison){
        .custom_id = job->request.custom_id,
        .run_id = job->request.run_id,
        .source = job->source,
        .labels = job->request.labels,
        .reference = job->request.reference,
        .prompt_variant = job->response.prompt_variant,
        .served_by = candidate_of(job),
        .changed = job->response.changed,
    };
}

static bool fill_answers(struct job *job, const json_t *incumbent_body)
{
    struct answer *answers = arena_alloc_array(job->arena, 2, sizeof *answers);
    if (answers == NULL) {
        return false;
    }
    answers[0] = *job->request.incumbent;
    fill_candidate(job, &answers[1]);
    job->comparison.incumbent = &answers[0];
    // Without a status there is no answer, only the error.
    job->comparison.candidate = job->response.status_code == 0 ? NULL : &answers[1];
    return complete_answer(&answers[0], incumbent_body, job->arena);
}

/* NULL where it is no JSON object, or none. */
static json_t *load_body(struct bytes body)
{
    json_t *root =
        body.data == NULL ? NULL : json_loadb(body.data, body.size, JSON_ALLOW_NUL, NULL);
    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

static bool has_answered(const struct answer *answer)
{
    // 0: not known, and such records bring the bodies of answers only.
    return answer->body.data != NULL && answer->status_code < STATUS_REFUSED_MIN;
}

/* Only what was answered is scored. False when the memory is short. */
static bool score(struct job *job, const struct scorer *scorer, const json_t *incumbent)
{
    struct comparison *comparison = &job->comparison;
    if (comparison->error != NULL) {
        return true;
    }
    json_t *candidate = load_body(job->response.body);
    struct answers answers = {
        .request = job->calls_count == 0 ? NULL : job->calls[0].request.root,
        .reference = job->request.reference,
        .incumbent = has_answered(job->request.incumbent) ? incumbent : NULL,
        .candidate = candidate,
    };
    struct scores *scores = &comparison->scores;
    scores->items = arena_alloc_array(job->arena, ANSWERS_SCORES_MAX, sizeof *scores->items);
    struct error error = {0};
    if (scores->items != NULL &&
        !answers_score(scorer, &answers, job->arena, scores, &comparison->verdicts, &error)) {
        add_verdict(job, "scored", false, error.message);
    }
    json_decref(candidate);
    return scores->items != NULL;
}

bool comparison_compose(struct job *job, const struct scorer *scorer, struct error *error)
{
    CHECK(job->request.incumbent != NULL);
    if (job->outcome == OUTCOME_DEAD_LETTER) { // nothing was answered
        job->response = (struct inference_response){0};
    }
    fill_request(job);
    json_t *incumbent = load_body(job->request.incumbent->body);
    struct verdicts *verdicts = &job->comparison.verdicts;
    verdicts->items = arena_alloc_array(job->arena, VERDICTS_MAX, sizeof *verdicts->items);
    bool ok =
        verdicts->items != NULL && find_template(job) && fill_answers(job, incumbent) &&
        join_names(job->arena, &job->dropped, &job->response.dropped, &job->comparison.dropped) &&
        judge(job) && score(job, scorer, incumbent);
    json_decref(incumbent);
    if (!ok) {
        return error_set(error, ERROR_TOO_LARGE, "comparison_too_large", NULL,
                         "the comparison needs more memory than one record may have");
    }
    job->outcome = OUTCOME_COMPARISON;
    return true;
}

static const struct answer *without_body(struct arena *arena, const struct answer *answer)
{
    struct answer *copy = answer == NULL ? NULL : arena_alloc(arena, sizeof *copy);
    if (copy != NULL) {
        *copy = *answer;
        copy->body = (struct bytes){0};
    }
    return copy;
}

void comparison_shrink(struct job *job, const struct error *why)
{
    struct comparison *comparison = &job->comparison;
    comparison->incumbent = without_body(job->arena, comparison->incumbent);
    comparison->candidate = without_body(job->arena, comparison->candidate);
    comparison->reference = (struct bytes){0};
    add_verdict(job, "whole", false, why->message);
}
