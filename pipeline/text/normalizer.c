/* normalizer: a short list of steps, each from one buffer to the other. */
#include "pipeline/text/normalizer.h"

#include <stdlib.h>

#include "pipeline/text/tokenizer_json.h"
#include "pipeline/text/unicode_classes.h"
#include "pipeline/text/unicode_form.h"
#include "pipeline/text/utf8.h"

enum step_kind { STEP_FORM, STEP_MAP, STEP_PREPEND, STEP_REPLACE, STEP_STRIP };

enum {
    CONTENT_SIZE_MAX = 4096, // of what Prepend and Replace insert; in use it is one character
    MAPPED_MAX = 3,          // characters that a map makes of one
};

/* What becomes of a character; returns how many are in mapped_out. */
typedef size_t character_map(int32_t c, int32_t mapped_out[MAPPED_MAX]);

struct step {
    enum step_kind kind;
    struct unicode_form *form;
    character_map *map;
    char ascii[0x80]; // what the map makes of ASCII; 0: not one character of ASCII
    struct pattern *pattern;
    struct buffer content;
    bool strips_left;
    bool strips_right;
};

struct normalizer {
    struct step steps[STEPS_MAX];
    size_t count;
};

/* --- Open and close --- */

static bool copy_content(struct step *step, const json_t *json, const char *key,
                         struct error *error)
{
    struct bytes content = {NULL, 0};
    if (!member_text(json, key, &content, error)) {
        return false;
    }
    buffer_init(&step->content, CONTENT_SIZE_MAX);
    buffer_append_bytes(&step->content, content);
    if (buffer_failed(&step->content)) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "\"%s\" has %zu bytes, at most %d are allowed", key, content.size,
                         CONTENT_SIZE_MAX);
    }
    return true;
}

static bool open_form(struct step *step, enum unicode_form_kind kind, struct error *error)
{
    step->kind = STEP_FORM;
    step->form = malloc(sizeof *step->form);
    if (step->form == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a normalizer");
    }
    unicode_form_init(step->form, kind);
    return true;
}

static size_t clean(int32_t c, int32_t mapped_out[MAPPED_MAX])
{
    bool is_space = c == '\t' || c == '\n' || c == '\r' || utf8_is_space(c);
    mapped_out[0] = is_space ? ' ' : c;
    return unicode_is_control(c) ? 0 : 1;
}

static size_t space_ideograph(int32_t c, int32_t mapped_out[MAPPED_MAX])
{
    if (!unicode_is_ideograph(c)) {
        mapped_out[0] = c;
        return 1;
    }
    mapped_out[0] = ' ';
    mapped_out[1] = c;
    mapped_out[2] = ' ';
    return 3;
}

static size_t drop_mark(int32_t c, int32_t mapped_out[MAPPED_MAX])
{
    mapped_out[0] = c;
    return unicode_is_mark(c) ? 0 : 1;
}

static size_t drop_nonspacing_mark(int32_t c, int32_t mapped_out[MAPPED_MAX])
{
    mapped_out[0] = c;
    return unicode_is_nonspacing_mark(c) ? 0 : 1;
}

static size_t lower(int32_t c, int32_t mapped_out[MAPPED_MAX])
{
    return unicode_lower(c, mapped_out);
}

static void open_map(struct step *step, character_map *map)
{
    step->kind = STEP_MAP;
    step->map = map;
    for (int32_t c = 1; c < 0x80; c++) {
        int32_t mapped[MAPPED_MAX];
        bool is_one = map(c, mapped) == 1 && mapped[0] < 0x80;
        step->ascii[c] = (char)(is_one ? mapped[0] : 0);
    }
}

static struct step *add_step(struct normalizer *normalizer, struct error *error)
{
    if (normalizer->count == STEPS_MAX) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "more than %d normalizers", STEPS_MAX);
        return NULL;
    }
    return &normalizer->steps[normalizer->count++];
}

static bool add_map(struct normalizer *normalizer, character_map *map, struct error *error)
{
    struct step *step = add_step(normalizer, error);
    if (step != NULL) {
        open_map(step, map);
    }
    return step != NULL;
}

/* BertNormalizer is a sequence of its own. Without a word about accents they go where letters
 * become lower case. */
static bool open_bert(struct normalizer *normalizer, const json_t *json, struct error *error)
{
    bool cleans = true;
    bool spaces_ideographs = true;
    bool lowers = true;
    bool strips_accents = false;
    if (!member_bool(json, "clean_text", true, &cleans, error) ||
        !member_bool(json, "handle_chinese_chars", true, &spaces_ideographs, error) ||
        !member_bool(json, "lowercase", true, &lowers, error) ||
        !member_bool(json, "strip_accents", lowers, &strips_accents, error) ||
        (cleans && !add_map(normalizer, clean, error)) ||
        (spaces_ideographs && !add_map(normalizer, space_ideograph, error))) {
        return false;
    }
    if (strips_accents) {
        struct step *form = add_step(normalizer, error);
        if (form == NULL || !open_form(form, FORM_NFD, error) ||
            !add_map(normalizer, drop_nonspacing_mark, error)) {
            return false;
        }
    }
    return !lowers || add_map(normalizer, lower, error);
}

static bool open_step(struct step *step, const json_t *json, struct bytes type, struct error *error)
{
    static const char *const forms[] = {
        [FORM_NFC] = "NFC", [FORM_NFD] = "NFD", [FORM_NFKC] = "NFKC", [FORM_NFKD] = "NFKD"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (bytes_equal_text(type, forms[i])) {
            return open_form(step, (enum unicode_form_kind)i, error);
        }
    }
    if (bytes_equal_text(type, "Prepend")) {
        step->kind = STEP_PREPEND;
        return copy_content(step, json, "prepend", error);
    }
    if (bytes_equal_text(type, "Replace")) {
        step->kind = STEP_REPLACE;
        return member_pattern(json, &step->pattern, error) &&
               copy_content(step, json, "content", error);
    }
    if (bytes_equal_text(type, "Strip")) {
        step->kind = STEP_STRIP;
        return member_bool(json, "strip_left", true, &step->strips_left, error) &&
               member_bool(json, "strip_right", true, &step->strips_right, error);
    }
    if (bytes_equal_text(type, "Lowercase") || bytes_equal_text(type, "StripAccents")) {
        open_map(step, bytes_equal_text(type, "Lowercase") ? lower : drop_mark);
        return true;
    }
    return refuse_type("normalizer", type, error);
}

static bool open_one(struct normalizer *normalizer, const json_t *json, struct bytes type,
                     struct error *error)
{
    if (bytes_equal_text(type, "BertNormalizer")) {
        return open_bert(normalizer, json, error);
    }
    struct step *step = add_step(normalizer, error);
    return step != NULL && open_step(step, json, type, error);
}

/* A sequence in a sequence is unrolled; JSON's own depth limit bounds the recursion. */
static bool open_steps(struct normalizer *normalizer, const json_t *json, struct error *error)
{
    struct bytes type = {NULL, 0};
    if (!member_text(json, "type", &type, error)) {
        return false;
    }
    if (!bytes_equal_text(type, "Sequence")) {
        return open_one(normalizer, json, type, error);
    }
    const json_t *parts = NULL;
    if (!member_array(json, "normalizers", &parts, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        if (!open_steps(normalizer, json_array_get(parts, i), error)) {
            return false;
        }
    }
    return true;
}

bool normalizer_open(const json_t *json, struct normalizer **normalizer_out, struct error *error)
{
    struct normalizer *normalizer = calloc(1, sizeof *normalizer);
    if (normalizer == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a normalizer");
    }
    bool is_absent = json == NULL || json_is_null(json);
    if (!is_absent && !open_steps(normalizer, json, error)) {
        normalizer_close(normalizer);
        return false;
    }
    *normalizer_out = normalizer;
    return true;
}

void normalizer_close(struct normalizer *normalizer)
{
    if (normalizer == NULL) {
        return;
    }
    for (size_t i = 0; i < normalizer->count; i++) {
        struct step *step = &normalizer->steps[i];
        free(step->form);
        pattern_close(step->pattern);
        buffer_close(&step->content);
    }
    free(normalizer);
}

/* --- Run --- */

/* The common case, a space that becomes visible, in two passes without a search. */
static void replace_byte(char from, struct bytes content, struct bytes *text, struct buffer *out)
{
    size_t count = 0;
    for (size_t i = 0; i < text->size; i++) {
        count += text->data[i] == from ? 1 : 0;
    }
    if (count == 0) {
        return;
    }
    char *target = buffer_extend(out, text->size - count + count * content.size);
    for (size_t i = 0; target != NULL && i < text->size; i++) {
        if (text->data[i] == from) {
            memcpy(target, content.data, content.size);
            target += content.size;
        } else {
            *target++ = text->data[i];
        }
    }
    *text = buffer_bytes(out);
}

static bool run_replace(const struct step *step, struct pattern_scratch *scratch,
                        struct bytes *text, struct buffer *out, struct error *error)
{
    struct bytes content = buffer_bytes(&step->content);
    struct bytes literal = pattern_literal(step->pattern);
    if (literal.size == 1) {
        replace_byte(literal.data[0], content, text, out);
        return true;
    }
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    size_t done = 0;
    for (;;) {
        struct pattern_match match = {0, 0};
        if (!pattern_next(step->pattern, scratch, *text, &walk, &match, error)) {
            return false;
        }
        if (match.start == SIZE_MAX) {
            break;
        }
        buffer_append(out, text->data + done, match.start - done);
        buffer_append_bytes(out, content);
        done = match.end;
    }
    buffer_append(out, text->data + done, text->size - done);
    *text = buffer_bytes(out);
    return true;
}

static void map_character(const struct step *step, int32_t c, struct buffer *out)
{
    int32_t mapped[MAPPED_MAX];
    size_t count = step->map(c, mapped);
    for (size_t i = 0; i < count; i++) {
        char text[UTF8_SIZE_MAX];
        buffer_append(out, text, utf8_encode(mapped[i], text));
    }
}

/* Maps what is at the start of `text` and ASCII; returns how much that is. */
static size_t map_ascii(const struct step *step, struct bytes text, struct buffer *out)
{
    enum { PART = 4096 };
    char part[PART];
    size_t count = 0;
    while (count < text.size && count < PART && (unsigned char)text.data[count] < 0x80 &&
           step->ascii[(unsigned char)text.data[count]] != 0) {
        part[count] = step->ascii[(unsigned char)text.data[count]];
        count++;
    }
    buffer_append(out, part, count);
    return count;
}

static void run_map(const struct step *step, struct bytes *text, struct buffer *out)
{
    struct bytes rest = *text;
    while (rest.size > 0) {
        size_t size = map_ascii(step, rest, out);
        if (size == 0) {
            map_character(step, utf8_decode(rest.data, &size), out);
        }
        rest.data += size;
        rest.size -= size;
    }
    *text = buffer_bytes(out);
}

static void run_strip(const struct step *step, struct bytes *text)
{
    size_t size = 0;
    while (step->strips_left && text->size > 0 && utf8_is_space(utf8_decode(text->data, &size))) {
        text->data += size;
        text->size -= size;
    }
    while (step->strips_right && text->size > 0 &&
           utf8_is_space(utf8_decode_last(text->data, text->size, &size))) {
        text->size -= size;
    }
}

static bool run_step(const struct step *step, struct pattern_scratch *scratch, struct bytes *text,
                     struct buffer *out, struct error *error)
{
    bool is_changed = false;
    switch (step->kind) {
    case STEP_FORM:
        if (!unicode_form_run(step->form, *text, out, &is_changed, error)) {
            return false;
        }
        *text = is_changed ? buffer_bytes(out) : *text;
        return true;
    case STEP_PREPEND:
        if (text->size > 0) {
            buffer_append_bytes(out, buffer_bytes(&step->content));
            buffer_append_bytes(out, *text);
            *text = buffer_bytes(out);
        }
        return true;
    case STEP_MAP:
        run_map(step, text, out);
        return true;
    case STEP_REPLACE:
        return run_replace(step, scratch, text, out, error);
    case STEP_STRIP:
        run_strip(step, text);
        return true;
    }
    return true;
}

bool normalizer_run(const struct normalizer *normalizer, struct pattern_scratch *scratch,
                    struct buffer buffers[2], struct bytes *text, struct error *error)
{
    size_t next = 0; // the buffer in which the text does not lie
    for (size_t i = 0; i < normalizer->count; i++) {
        struct buffer *out = &buffers[next];
        buffer_clear(out);
        if (!run_step(&normalizer->steps[i], scratch, text, out, error)) {
            return false;
        }
        if (buffer_failed(out)) {
            return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                             "the normalized text is larger than %zu bytes", out->size_max);
        }
        next = out->size > 0 ? 1 - next : next;
    }
    return true;
}
