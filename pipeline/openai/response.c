/* response: written piece by piece, in the order of members that OpenAI's own responses have. */
#include "pipeline/openai/response.h"

#include <inttypes.h>
#include <math.h>

#include "pipeline/openai/quote.h"

/* OpenAI gives this for a token without probability; JSON has no infinity. */
static const double LOGPROB_MIN = -9999.0;

static void write_logprob(struct buffer *out, double logprob)
{
    double value = isnan(logprob) || logprob < LOGPROB_MIN ? LOGPROB_MIN : logprob;
    buffer_printf(out, "%.9g", value); // a float's digits
}

static void write_quoted_or_null(struct buffer *out, struct bytes text)
{
    if (text.data == NULL) {
        buffer_append_text(out, "null");
    } else {
        quote_json(out, text);
    }
}

static void write_chat_logprobs(const struct openai_choice *choice, struct buffer *out)
{
    buffer_append_text(out, "{\"content\":[");
    for (int i = 0; i < choice->logprobs_count; i++) {
        const struct openai_token_logprob *item = &choice->logprobs[i];
        buffer_append_text(out, i > 0 ? ",{\"token\":" : "{\"token\":");
        quote_json(out, item->token);
        buffer_append_text(out, ",\"logprob\":");
        write_logprob(out, item->logprob);
        buffer_append_text(out, ",\"bytes\":[");
        for (size_t j = 0; j < item->token.size; j++) {
            buffer_printf(out, j > 0 ? ",%u" : "%u", (unsigned)(unsigned char)item->token.data[j]);
        }
        buffer_append_text(out, "],\"top_logprobs\":[]}");
    }
    buffer_append_text(out, "],\"refusal\":null}");
}

/* Characters, not bytes; a character that spans tokens counts where it begins. */
static int64_t characters(struct bytes text)
{
    int64_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    }
    return count;
}

static void write_completion_logprobs(const struct openai_choice *choice, struct buffer *out)
{
    buffer_append_text(out, "{\"tokens\":[");
    for (int i = 0; i < choice->logprobs_count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        quote_json(out, choice->logprobs[i].token);
    }
    buffer_append_text(out, "],\"token_logprobs\":[");
    for (int i = 0; i < choice->logprobs_count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        write_logprob(out, choice->logprobs[i].logprob);
    }
    buffer_append_text(out, "],\"text_offset\":[");
    int64_t offset = 0;
    for (int i = 0; i < choice->logprobs_count; i++) {
        buffer_printf(out, "%s%" PRId64, i > 0 ? "," : "", offset);
        offset += characters(choice->logprobs[i].token);
    }
    // Of the alternatives only the chosen token itself, as vLLM gives it for `logprobs: 0`.
    buffer_append_text(out, "],\"top_logprobs\":[");
    for (int i = 0; i < choice->logprobs_count; i++) {
        buffer_append_text(out, i > 0 ? ",{" : "{");
        quote_json(out, choice->logprobs[i].token);
        buffer_append_char(out, ':');
        write_logprob(out, choice->logprobs[i].logprob);
        buffer_append_char(out, '}');
    }
    buffer_append_text(out, "]}");
}

static void write_choice(const struct openai_response *response, int index, struct buffer *out)
{
    const struct openai_choice *choice = &response->choices[index];
    bool is_chat = response->endpoint == ENDPOINT_CHAT;
    buffer_printf(out, "{\"index\":%d,", index);
    buffer_append_text(out,
                       is_chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":");
    quote_json(out, choice->text);
    buffer_append_text(out, is_chat ? ",\"refusal\":null},\"logprobs\":" : ",\"logprobs\":");
    if (choice->logprobs == NULL) {
        buffer_append_text(out, "null");
    } else if (is_chat) {
        write_chat_logprobs(choice, out);
    } else {
        write_completion_logprobs(choice, out);
    }
    buffer_append_text(out, ",\"finish_reason\":");
    quote_json(out, bytes_of(choice->finish_reason));
    buffer_append_char(out, '}');
}

static void write_usage(const struct usage *usage, struct buffer *out)
{
    buffer_printf(out,
                  "\"usage\":{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
                  ",\"total_tokens\":%" PRId64
                  ",\"prompt_tokens_details\":{\"cached_tokens\":%" PRId64 "}}",
                  usage->prompt_tokens, usage->completion_tokens,
                  usage->prompt_tokens + usage->completion_tokens, usage->cached_tokens);
}

void openai_response_write(const struct openai_response *response, struct buffer *out)
{
    const struct openai_endpoint_traits *traits = openai_endpoint_traits(response->endpoint);
    buffer_printf(out, "{\"id\":\"%s", traits->id_prefix);
    escape_json(out, response->id);
    buffer_printf(out, "\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", traits->object,
                  response->created);
    quote_json(out, response->model);
    buffer_append_text(out, ",\"choices\":[");
    for (int i = 0; i < response->choices_count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        write_choice(response, i, out);
    }
    buffer_append_text(out, "],");
    write_usage(&response->usage, out);
    if (response->fingerprint.data != NULL) { // OpenAI's schema has no null here
        buffer_append_text(out, ",\"system_fingerprint\":");
        quote_json(out, response->fingerprint);
    }
    buffer_append_char(out, '}');
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 wants little-endian floats");

static void write_base64(const float *vector, int width, struct buffer *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)vector;
    size_t size = (size_t)width * sizeof *vector;
    buffer_append_char(out, '"');
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        char text[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63],
                        left > 1 ? alphabet[group >> 6 & 63] : '=',
                        left > 2 ? alphabet[group & 63] : '='};
        buffer_append(out, text, sizeof text);
    }
    buffer_append_char(out, '"');
}

static void write_numbers(const float *vector, int width, struct buffer *out)
{
    for (int i = 0; i < width; i++) {
        buffer_printf(out, "%s%.9g", i > 0 ? "," : "[", (double)vector[i]); // a float's digits
    }
    buffer_append_char(out, ']');
}

void openai_embeddings_write(const struct openai_embeddings *embeddings, struct buffer *out)
{
    buffer_append_text(out, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < embeddings->count; i++) {
        buffer_printf(
            out, "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":", i > 0 ? "," : "", i);
        if (embeddings->is_base64) {
            write_base64(embeddings->vectors[i], embeddings->width, out);
        } else {
            write_numbers(embeddings->vectors[i], embeddings->width, out);
        }
        buffer_append_char(out, '}');
    }
    buffer_append_text(out, "],\"model\":");
    quote_json(out, embeddings->model);
    buffer_printf(out, ",\"usage\":{\"prompt_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64 "}}",
                  embeddings->usage.prompt_tokens, embeddings->usage.prompt_tokens);
}

void openai_error_write(const struct error *error, struct buffer *out)
{
    buffer_append_text(out, "{\"error\":{\"message\":");
    quote_json(out, bytes_of(error->message));
    buffer_append_text(out, ",\"type\":");
    quote_json(out, bytes_of(error_type(error->kind)));
    buffer_append_text(out, ",\"param\":");
    write_quoted_or_null(out, bytes_of(error->param));
    buffer_append_text(out, ",\"code\":");
    write_quoted_or_null(out, bytes_of(error->code));
    buffer_append_text(out, "}}");
}
