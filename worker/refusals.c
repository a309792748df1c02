/* refusals: the request parser's word, in a short list. */
#include "worker/refusals.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/openai/omit.h"
#include "pipeline/openai/request.h"

struct refusal {
    const char *url;   // static text
    const char *param; // likewise
    const char *code;  // likewise
    char message[200];
    int64_t count;
};

struct refusals {
    struct refusal items[REFUSALS_MAX];
    int count;
    int64_t others;
};

struct refusals *refusals_open(void)
{
    return calloc(1, sizeof(struct refusals));
}

void refusals_close(struct refusals *refusals)
{
    free(refusals);
}

static const char *text_or(const char *text, const char *otherwise)
{
    return text == NULL ? otherwise : text;
}

/* Parameters that nobody knows have no static name: their message tells them apart. */
static bool is_same(const struct refusal *refusal, const struct refusal *other)
{
    return strcmp(refusal->url, other->url) == 0 && strcmp(refusal->param, other->param) == 0 &&
           strcmp(refusal->code, other->code) == 0 &&
           (refusal->param[0] != '-' || strcmp(refusal->message, other->message) == 0);
}

static void count(struct refusals *refusals, const struct refusal *refusal)
{
    for (int i = 0; i < refusals->count; i++) {
        if (is_same(&refusals->items[i], refusal)) {
            refusals->items[i].count++;
            return;
        }
    }
    if (refusals->count == REFUSALS_MAX) {
        refusals->others++;
        return;
    }
    refusals->items[refusals->count++] = *refusal;
}

bool refusals_look(struct refusals *refusals, const struct inference_request *request,
                   struct arena *arena)
{
    struct openai_request parsed = {0};
    struct error error = {0};
    enum openai_endpoint endpoint = openai_endpoint_of(request->url);
    struct bytes body;
    struct names omitted;
    bool is_taken = endpoint != ENDPOINT_NONE || openai_unknown_url(request->url, &error);
    is_taken = is_taken &&
               openai_body_omit(request->body, &openai_streaming_parameters, arena, &body, &omitted,
                                &error) &&
               openai_request_parse(endpoint, body, arena, &parsed, &error);
    openai_request_close(&parsed);
    if (is_taken) {
        return false;
    }
    struct refusal refusal = {
        .url = endpoint == ENDPOINT_NONE ? "-" : openai_endpoint_traits(endpoint)->url,
        .param = text_or(error.param, "-"),
        .code = text_or(error.code, "-"),
        .count = 1,
    };
    (void)snprintf(refusal.message, sizeof refusal.message, "%.*s", (int)sizeof refusal.message - 1,
                   error.message);
    count(refusals, &refusal);
    return true;
}

void refusals_write(const struct refusals *refusals, FILE *out)
{
    for (int i = 0; i < refusals->count; i++) {
        const struct refusal *refusal = &refusals->items[i];
        (void)fprintf(out, "%8" PRId64 "  %-22s %-20s %s\n", refusal->count, refusal->url,
                      refusal->param, refusal->message);
    }
    if (refusals->others > 0) {
        (void)fprintf(out, "%8" PRId64 "  of further kinds\n", refusals->others);
    }
}
