/* trace: requests that real services received, for simulations of the scheduler.
 *
 * Two formats, told apart by the end of the name: ".csv" of Azure's LLM inference traces (time,
 * prompt tokens, output tokens; prompts are unrelated windows of one random text), and ".jsonl" of
 * Mooncake's (each 512 tokens of a prompt named by a hash, so that shared prefixes are real). */
#ifndef TESTS_SUPPORT_TRACE_H
#define TESTS_SUPPORT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum { TRACE_VOCABULARY = 1000 };

struct trace_request {
    double arrival_ms; // after the first one
    int prompt_count;
    int output_count;
    const int32_t *prompt;
};

struct trace {
    struct trace_request *requests; // [count]
    int count;
    int64_t prompt_tokens;
    int64_t output_tokens;
    // Tokens that an endless cache saves if each request runs after all before it.
    int64_t shared_tokens;

    int32_t *text;   // that Azure's prompts are windows of
    int32_t **owned; // [owned_count] prompts of Mooncake
    int owned_count;
};

/* At most requests_max requests, of at most tokens_max tokens each. False when there is no such
 * file; a broken one is the end of its good part. */
bool trace_open(const char *path, int requests_max, int tokens_max, struct trace *trace);
void trace_close(struct trace *trace);

#endif
