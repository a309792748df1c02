/* trace: two readers that fill one list. */
#include "tests/support/trace.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum {
    TEXT_TOKENS = 1 << 16,
    HASH_TOKENS = 512, // that one hash of Mooncake stands for
    HASHES_MAX = 1 << 18,
    LINE_BYTES = 200,
};

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15); // splitmix64
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static int32_t token_at(uint64_t index)
{
    return (int32_t)(mix(index) % TRACE_VOCABULARY);
}

static void add(struct trace *trace, double arrival_ms, const int32_t *prompt, int prompt_count,
                int output_count)
{
    trace->requests[trace->count++] = (struct trace_request){
        .arrival_ms = arrival_ms,
        .prompt_count = prompt_count,
        .output_count = output_count,
        .prompt = prompt,
    };
    trace->prompt_tokens += prompt_count;
    trace->output_tokens += output_count;
}

/* Milliseconds within a day of "2023-11-16 18:15:46.6805900,...". */
static double time_of_day_ms(const char *line)
{
    int hours = 0;
    int minutes = 0;
    double seconds = 0;
    if (sscanf(line, "%*s %d:%d:%lf", &hours, &minutes, &seconds) != 3) {
        return 0;
    }
    return ((hours * 60.0 + minutes) * 60.0 + seconds) * 1e3;
}

static void read_azure(FILE *file, int requests_max, int tokens_max, struct trace *trace)
{
    char line[LINE_BYTES];
    double first_ms = -1;
    trace->text = calloc((size_t)TEXT_TOKENS + (size_t)tokens_max, sizeof *trace->text);
    CHECK(trace->text != NULL);
    for (int i = 0; i < TEXT_TOKENS + tokens_max; i++) {
        trace->text[i] = token_at((uint64_t)i);
    }
    while (trace->count < requests_max && fgets(line, sizeof line, file) != NULL) {
        int prompt_count = 0;
        int output_count = 0;
        if (sscanf(line, "%*[^,],%d,%d", &prompt_count, &output_count) != 2 || prompt_count < 1 ||
            output_count < 1 || prompt_count > tokens_max - output_count) {
            continue;
        }
        double now_ms = time_of_day_ms(line);
        first_ms = first_ms < 0 ? now_ms : first_ms;
        // An odd step: no two begin at the same place.
        const int32_t *prompt =
            trace->text + (uint32_t)trace->count * UINT32_C(40503) % TEXT_TOKENS;
        add(trace, now_ms - first_ms, prompt, prompt_count, output_count);
    }
}

static int hash_at(const json_t *hashes, int index)
{
    int hash = (int)json_integer_value(json_array_get(hashes, (size_t)index));
    CHECK(hash >= 0 && hash < HASHES_MAX);
    return hash;
}

/* Counts what earlier requests share with this one, and remembers it. */
static void count_shared(struct trace *trace, const json_t *hashes, int prompt_count,
                         bool *is_known)
{
    bool is_prefix = true;
    for (int i = 0; (i + 1) * HASH_TOKENS < prompt_count; i++) {
        int hash = hash_at(hashes, i);
        is_prefix = is_prefix && is_known[hash];
        trace->shared_tokens += is_prefix ? HASH_TOKENS : 0;
        is_known[hash] = true;
    }
}

static void add_mooncake(struct trace *trace, const json_t *line, int tokens_max, bool *is_known)
{
    const json_t *hashes = json_object_get(line, "hash_ids");
    int prompt_count = (int)json_integer_value(json_object_get(line, "input_length"));
    int output_count = (int)json_integer_value(json_object_get(line, "output_length"));
    if (prompt_count < 1 || output_count < 1 || prompt_count > tokens_max - output_count) {
        return;
    }
    int32_t *prompt = calloc((size_t)prompt_count, sizeof *prompt);
    CHECK(prompt != NULL);
    for (int i = 0; i < prompt_count; i++) {
        uint64_t hash = (uint64_t)hash_at(hashes, i / HASH_TOKENS);
        prompt[i] = token_at(hash * HASH_TOKENS + (uint64_t)(i % HASH_TOKENS));
    }
    trace->owned[trace->owned_count++] = prompt;
    count_shared(trace, hashes, prompt_count, is_known);
    add(trace, json_number_value(json_object_get(line, "timestamp")), prompt, prompt_count,
        output_count);
}

static void read_mooncake(FILE *file, int requests_max, int tokens_max, struct trace *trace)
{
    bool *is_known = calloc(HASHES_MAX, sizeof *is_known);
    trace->owned = calloc((size_t)requests_max, sizeof(int32_t *));
    CHECK(is_known != NULL && trace->owned != NULL);
    json_t *line;
    while (trace->count < requests_max &&
           (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        add_mooncake(trace, line, tokens_max, is_known);
        json_decref(line);
    }
    free(is_known);
}

bool trace_open(const char *path, int requests_max, int tokens_max, struct trace *trace)
{
    FILE *file = fopen(path, "r");
    *trace = (struct trace){0};
    if (file == NULL) {
        return false;
    }
    trace->requests = calloc((size_t)requests_max, sizeof *trace->requests);
    CHECK(trace->requests != NULL);
    const char *ending = strrchr(path, '.');
    if (ending != NULL && strcmp(ending, ".csv") == 0) {
        read_azure(file, requests_max, tokens_max, trace);
    } else {
        read_mooncake(file, requests_max, tokens_max, trace);
    }
    (void)fclose(file);
    return true;
}

void trace_close(struct trace *trace)
{
    for (int i = 0; i < trace->owned_count; i++) {
        free(trace->owned[i]);
    }
    free((void *)trace->owned);
    free(trace->text);
    free(trace->requests);
}
