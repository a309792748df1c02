/* model_text: tokenizer and chat template, a line at a time. */
#include "worker/model_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/text/chat_template.h"
#include "pipeline/text/tokenizer.h"
#include "worker/model_lines.h"

enum {
    TOKENS_MAX = 64 << 20,
    TEXT_BYTES_MAX = 256 << 20,
    TEMPLATE_BYTES_MAX = 1 << 20,
};

static json_t *tokenize_line(void *context, json_t *line, struct arena *arena, struct error *error)
{
    (void)arena;
    const struct tokenizer *tokenizer = context;
    const json_t *text = json_object_get(line, "text");
    const json_t *add_special = json_object_get(line, "add_special_tokens");
    if (!json_is_string(text)) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "text must be a string");
        return NULL;
    }
    if (add_special != NULL && !json_is_boolean(add_special)) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL,
                        "add_special_tokens must be true or false");
        return NULL;
    }
    struct bytes bytes = {json_string_value(text), json_string_length(text)};
    struct token_list ids;
    token_list_init(&ids, TOKENS_MAX);
    json_t *out = NULL;
    // Absent is true.
    if (tokenizer_encode(tokenizer, bytes, !json_is_false(add_special), &ids, error)) {
        struct buffer decoded;
        buffer_init(&decoded, TEXT_BYTES_MAX);
        tokenizer_decode(tokenizer, ids.ids, ids.count, false, &decoded);
        out = json_pack("{s:o, s:o}", "ids", model_lines_json_ids(ids.ids, ids.count), "decoded",
                        json_stringn(buffer_bytes(&decoded).data, decoded.size));
        buffer_close(&decoded);
    }
    token_list_close(&ids);
    return out;
}

bool model_text_tokenize(const char *path, struct error *error)
{
    struct tokenizer *tokenizer = NULL;
    if (!tokenizer_open(path, &tokenizer, error)) {
        return false;
    }
    struct model_lines lines = {tokenize_line, tokenizer};
    bool is_ok = model_lines_run(&lines, error);
    tokenizer_close(tokenizer);
    return is_ok;
}

static json_t *render_line(void *context, json_t *line, struct arena *arena, struct error *error)
{
    (void)arena;
    struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    json_t *out = NULL;
    if (chat_template_render(context, line, &text, error)) {
        out = json_pack("{s:o}", "text", json_stringn(buffer_bytes(&text).data, text.size));
    }
    buffer_close(&text);
    return out;
}

static bool open_template_file(const char *path, struct chat_template **out, struct error *error)
{
    static char text[TEMPLATE_BYTES_MAX + 1];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot open %s: %s", path,
                         strerror(errno));
    }
    size_t size = fread(text, 1, sizeof text, file);
    bool is_read = ferror(file) == 0;
    (void)fclose(file);
    if (!is_read || size > TEMPLATE_BYTES_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot read %s, or it has over %d bytes",
                         path, TEMPLATE_BYTES_MAX);
    }
    return chat_template_parse((struct bytes){text, size}, out, error);
}

bool model_text_render(const char *path, struct error *error)
{
    static const char suffix[] = ".jinja";
    size_t length = strlen(path);
    bool is_file =
        length >= sizeof suffix - 1 && strcmp(path + length - (sizeof suffix - 1), suffix) == 0;
    struct chat_template *chat_template = NULL;
    bool is_open = is_file ? open_template_file(path, &chat_template, error)
                           : chat_template_open(path, &chat_template, error);
    if (!is_open) {
        return error_prefix(error, "%s", path);
    }
    struct model_lines lines = {render_line, chat_template};
    bool is_ok = model_lines_run(&lines, error);
    chat_template_close(chat_template);
    return is_ok;
}
