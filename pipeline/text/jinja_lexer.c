/* jinja_lexer: one pass over the source. Outside tags: data, with the white space at its ends cut
 * as the neighbouring tags say. Inside tags: names, literals, operators. */
#include "pipeline/text/jinja_lexer.h"

#include <errno.h>
#include <stdlib.h>

#include "pipeline/text/jinja_string.h"
#include "pipeline/text/utf8.h"

enum {
    BRACKETS_MAX = 200, // open at once; Python's own parser stops at 200
    NUMBER_CHARS_MAX = 100,
};

struct lexer {
    struct arena *arena;
    struct bytes source; // newlines normalized to \n
    size_t at;
    size_t line_at; // `line` was counted up to here
    unsigned line;
    struct jinja_tokens *tokens;
    char brackets[BRACKETS_MAX]; // the closing ones that are awaited
    size_t bracket_count;
    struct error *error;
};

static unsigned line_number(struct lexer *lexer)
{
    for (; lexer->line_at < lexer->at; lexer->line_at++) {
        lexer->line += lexer->source.data[lexer->line_at] == '\n';
    }
    return lexer->line;
}

static bool fail(struct lexer *lexer, const char *what)
{
    return error_set(lexer->error, ERROR_CONFIG, "invalid_template", NULL,
                     "chat template, line %u: %s", line_number(lexer), what);
}

static bool fail_memory(struct lexer *lexer)
{
    return fail(lexer, "the template needs more memory than a template may");
}

static bool add(struct lexer *lexer, struct jinja_token token)
{
    struct jinja_tokens *tokens = lexer->tokens;
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity == 0 ? 256 : 2 * tokens->capacity;
        struct jinja_token *items = arena_alloc_array(lexer->arena, capacity, sizeof *items);
        if (items == NULL) {
            return fail_memory(lexer);
        }
        if (tokens->count > 0) {
            memcpy(items, tokens->items, tokens->count * sizeof *items);
        }
        tokens->items = items;
        tokens->capacity = capacity;
    }
    token.line = line_number(lexer);
    tokens->items[tokens->count++] = token;
    return true;
}

static bool add_text(struct lexer *lexer, enum jinja_token_kind kind, struct bytes text)
{
    return add(lexer, (struct jinja_token){.kind = kind, .text = text});
}

/* The character at `offset` from here, or NUL past the end. */
static char peek(const struct lexer *lexer, size_t offset)
{
    return lexer->source.size - lexer->at > offset ? lexer->source.data[lexer->at + offset] : '\0';
}

static bool sees(const struct lexer *lexer, const char *text)
{
    return jinja_starts_with(jinja_part(lexer->source, lexer->at, lexer->source.size),
                             bytes_of(text));
}

static void skip_space(struct lexer *lexer)
{
    struct bytes rest = jinja_part(lexer->source, lexer->at, lexer->source.size);
    struct bytes left = jinja_strip(rest, (struct bytes){NULL, 0}, JINJA_SIDE_LEFT);
    lexer->at = lexer->source.size - left.size;
}

/* Moves past the end of a tag, `end` being "%}", "}}" or "#}", if one is here. */
static bool skip_end(struct lexer *lexer, const char *end, bool trims_newline)
{
    char sign = peek(lexer, 0);
    if (sign == '-' && peek(lexer, 1) == end[0] && peek(lexer, 2) == end[1]) {
        lexer->at += 3;
        skip_space(lexer);
        return true;
    }
    if (sign == '+' && trims_newline && peek(lexer, 1) == end[0] && peek(lexer, 2) == end[1]) {
        lexer->at += 3;
        return true;
    }
    if (!sees(lexer, end)) {
        return false;
    }
    lexer->at += 2;
    if (trims_newline && peek(lexer, 0) == '\n') {
        lexer->at++;
    }
    return true;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool is_digit_char(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    if (is_digit_char(c)) {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Copies digits (and drops the underscores between them) behind text[*size]. */
static void take_digits(struct lexer *lexer, char *text, size_t *size)
{
    while (is_digit_char(peek(lexer, 0)) ||
           (peek(lexer, 0) == '_' && is_digit_char(peek(lexer, 1)))) {
        if (peek(lexer, 0) != '_' && *size < NUMBER_CHARS_MAX) {
            text[(*size)++] = peek(lexer, 0);
        }
        lexer->at++;
    }
}

static bool lex_radix_integer(struct lexer *lexer, int radix)
{
    size_t start = lexer->at;
    int64_t number = 0;
    lexer->at += 2;
    for (; peek(lexer, 0) == '_' || hex_value(peek(lexer, 0)) >= 0; lexer->at++) {
        if (peek(lexer, 0) == '_') {
            continue;
        }
        int digit = hex_value(peek(lexer, 0));
        if (digit >= radix || __builtin_mul_overflow(number, (int64_t)radix, &number) ||
            __builtin_add_overflow(number, (int64_t)digit, &number)) {
            return fail(lexer, "an integer is malformed or above 64 bits");
        }
    }
    struct bytes text = jinja_part(lexer->source, start, lexer->at);
    return add(lexer, (struct jinja_token){.kind = TOKEN_INTEGER, .text = text, .integer = number});
}

static bool lex_number(struct lexer *lexer)
{
    char marker = peek(lexer, 0) == '0' ? (char)(peek(lexer, 1) | 0x20) : '\0';
    if ((marker == 'x' || marker == 'o' || marker == 'b') && hex_value(peek(lexer, 2)) >= 0) {
        return lex_radix_integer(lexer, marker == 'x' ? 16 : marker == 'o' ? 8 : 2);
    }
    char text[NUMBER_CHARS_MAX + 4];
    size_t size = 0;
    size_t start = lexer->at;
    bool is_float = false;
    bool follows_dot = lexer->at > 0 && lexer->source.data[lexer->at - 1] == '.';
    take_digits(lexer, text, &size);
    if (!follows_dot && peek(lexer, 0) == '.' && is_digit_char(peek(lexer, 1))) {
        is_float = true;
        text[size++] = '.';
        lexer->at++;
        take_digits(lexer, text, &size);
    }
    size_t sign = peek(lexer, 1) == '+' || peek(lexer, 1) == '-' ? 1 : 0;
    if (!follows_dot && (peek(lexer, 0) | 0x20) == 'e' && is_digit_char(peek(lexer, 1 + sign))) {
        is_float = true;
        text[size++] = 'e';
        if (sign != 0) {
            text[size++] = peek(lexer, 1);
        }
        lexer->at += 1 + sign;
        take_digits(lexer, text, &size);
    }
    struct jinja_token token = {
        .kind = is_float ? TOKEN_FLOAT : TOKEN_INTEGER,
        .text = jinja_part(lexer->source, start, lexer->at),
    };
    if (size >= NUMBER_CHARS_MAX) {
        return fail(lexer, "a number has more than 100 digits");
    }
    text[size] = '\0';
    errno = 0;
    if (is_float) {
        token.real = strtod(text, NULL);
    } else {
        token.integer = strtoll(text, NULL, 10);
        if (errno != 0) {
            return fail(lexer, "an integer is above 64 bits");
        }
    }
    return add(lexer, token);
}

/* \x, \u and \U: `digits` hexadecimal ones at *from. */
static bool put_hex_escape(struct bytes raw, size_t *from, size_t digits, char *out, size_t *size)
{
    int32_t code_point = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = *from < raw.size ? hex_value(raw.data[*from]) : -1;
        if (digit < 0 || code_point > 0x10FFFF) {
            return false;
        }
        code_point = code_point * 16 + digit;
        ++*from;
    }
    size_t written;
    if (!jinja_utf8_put(code_point, out + *size, &written)) {
        return false;
    }
    *size += written;
    return true;
}

static void put_octal_escape(struct bytes raw, size_t *from, char *out, size_t *size)
{
    int32_t code_point = 0;
    for (size_t i = 0; i < 3 && *from < raw.size; i++) {
        char c = raw.data[*from];
        if (c < '0' || c > '7') {
            break;
        }
        code_point = code_point * 8 + (c - '0');
        ++*from;
    }
    size_t written = 0;
    (void)jinja_utf8_put(code_point, out + *size, &written); // at most 0777, always valid
    *size += written;
}

/* One escape; *from is behind the backslash. False where it names no code point. */
static bool put_escape(struct bytes raw, size_t *from, char *out, size_t *size)
{
    static const char letters[] = "\\'\"abfnrtv";
    static const char meanings[] = "\\'\"\a\b\f\n\r\t\v";
    char c = raw.data[*from];
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    if (letter != NULL) {
        out[(*size)++] = meanings[letter - letters];
        ++*from;
        return true;
    }
    if (c == '\n') { // a line that goes on
        ++*from;
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        ++*from;
        return put_hex_escape(raw, from, c == 'x' ? 2 : c == 'u' ? 4 : 8, out, size);
    }
    if (c >= '0' && c <= '7') {
        put_octal_escape(raw, from, out, size);
        return true;
    }
    out[(*size)++] = '\\'; // unknown escapes stay as they are
    return true;
}

static bool lex_string(struct lexer *lexer)
{
    char quote = peek(lexer, 0);
    size_t start = lexer->at + 1;
    size_t stop = start;
    while (stop < lexer->source.size && lexer->source.data[stop] != quote) {
        stop += lexer->source.data[stop] == '\\' ? 2 : 1;
    }
    if (stop >= lexer->source.size) {
        return fail(lexer, "a string has no end");
    }
    struct bytes raw = jinja_part(lexer->source, start, stop);
    // No escape is shorter than what it stands for, except a lone backslash: as long as itself.
    char *text = arena_alloc(lexer->arena, raw.size + 1);
    if (text == NULL) {
        return fail_memory(lexer);
    }
    size_t size = 0;
    for (size_t from = 0; from < raw.size;) {
        if (raw.data[from] != '\\') {
            text[size++] = raw.data[from++];
            continue;
        }
        from++;
        if (!put_escape(raw, &from, text, &size)) {
            return fail(lexer, "a string has an escape that names no character");
        }
    }
    lexer->at = stop + 1;
    return add_text(lexer, TOKEN_STRING, (struct bytes){text, size});
}

static bool balance(struct lexer *lexer, char c)
{
    static const char openers[] = "([{";
    static const char closers[] = ")]}";
    const char *opener = strchr(openers, c);
    if (opener != NULL) {
        if (lexer->bracket_count == BRACKETS_MAX) {
            return fail(lexer, "more than 200 brackets are open");
        }
        lexer->brackets[lexer->bracket_count++] = closers[opener - openers];
        return true;
    }
    if (strchr(closers, c) != NULL) {
        if (lexer->bracket_count == 0 || lexer->brackets[lexer->bracket_count - 1] != c) {
            return fail(lexer, "a closing bracket has no opening one");
        }
        lexer->bracket_count--;
    }
    return true;
}

static bool lex_operator(struct lexer *lexer)
{
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (sees(lexer, pairs[i])) {
            lexer->at += 2;
            return add_text(lexer, TOKEN_OPERATOR, bytes_of(pairs[i]));
        }
    }
    char c = peek(lexer, 0);
    if (c == '\0' || strchr("+-/*%~[](){}<>=.:|,;", c) == NULL) {
        return fail(lexer, "a character is not part of the language");
    }
    if (!balance(lexer, c)) {
        return false;
    }
    lexer->at++;
    return add_text(lexer, TOKEN_OPERATOR, jinja_part(lexer->source, lexer->at - 1, lexer->at));
}

static bool lex_inside_token(struct lexer *lexer)
{
    char c = peek(lexer, 0);
    if (is_digit_char(c)) {
        return lex_number(lexer);
    }
    if (is_name_char(c)) {
        size_t start = lexer->at;
        while (is_name_char(peek(lexer, 0))) {
            lexer->at++;
        }
        return add_text(lexer, TOKEN_NAME, jinja_part(lexer->source, start, lexer->at));
    }
    return c == '\'' || c == '"' ? lex_string(lexer) : lex_operator(lexer);
}

/* From behind "{%" or "{{" and its sign to behind the end of the tag. */
static bool lex_inside(struct lexer *lexer, bool is_block)
{
    if (!add_text(lexer, is_block ? TOKEN_BLOCK_BEGIN : TOKEN_VARIABLE_BEGIN, bytes_of("{"))) {
        return false;
    }
    for (;;) {
        skip_space(lexer);
        if (lexer->at >= lexer->source.size) {
            return fail(lexer, "a tag has no end");
        }
        if (lexer->bracket_count == 0 && skip_end(lexer, is_block ? "%}" : "}}", is_block)) {
            return add_text(lexer, is_block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END,
                            bytes_of("end of tag"));
        }
        if (!lex_inside_token(lexer)) {
            return false;
        }
    }
}

static bool skip_comment(struct lexer *lexer)
{
    size_t end = jinja_find(lexer->source, bytes_of("#}"), lexer->at);
    if (end == SIZE_MAX) {
        return fail(lexer, "a comment has no end");
    }
    char before = end > lexer->at ? lexer->source.data[end - 1] : '\0';
    lexer->at = before == '-' || before == '+' ? end - 1 : end;
    return skip_end(lexer, "#}", true);
}

/* Data before a tag, with the white space cut that the tag does not want. */
static bool add_data(struct lexer *lexer, size_t start, size_t stop, char sign, bool is_variable)
{
    static const struct bytes space = {NULL, 0};
    struct bytes data = jinja_part(lexer->source, start, stop);
    if (sign == '-') {
        data = jinja_strip(data, space, JINJA_SIDE_RIGHT);
    } else if (sign != '+' && !is_variable) { // lstrip_blocks
        size_t line = data.size;
        while (line > 0 && data.data[line - 1] != '\n') {
            line--;
        }
        bool starts_line = line > 0 || start == 0 || lexer->source.data[start - 1] == '\n';
        struct bytes indent = jinja_part(data, line, data.size);
        if (starts_line && jinja_strip(indent, space, JINJA_SIDE_LEFT).size == 0) {
            data.size = line;
        }
    }
    return data.size == 0 || add_text(lexer, TOKEN_DATA, data);
}

/* Whether "raw" (or "endraw") and an end of tag are here; moves past them if so. */
static bool skip_raw_tag(struct lexer *lexer, const char *name, bool trims_newline)
{
    size_t start = lexer->at;
    skip_space(lexer);
    if (sees(lexer, name)) {
        lexer->at += strlen(name);
        skip_space(lexer);
        // Jinja2 knows no "+%}" here and trims no newline after an opening raw.
        if ((trims_newline || peek(lexer, 0) != '+') && skip_end(lexer, "%}", trims_newline)) {
            return true;
        }
    }
    lexer->at = start;
    return false;
}

static bool lex_raw(struct lexer *lexer)
{
    size_t start = lexer->at;
    for (size_t tag = start;; tag++) {
        tag = jinja_find(lexer->source, bytes_of("{%"), tag);
        if (tag == SIZE_MAX) {
            return fail(lexer, "a raw block has no end");
        }
        lexer->at = tag + 2;
        char sign = peek(lexer, 0) == '-' || peek(lexer, 0) == '+' ? peek(lexer, 0) : '\0';
        lexer->at += sign != '\0';
        if (skip_raw_tag(lexer, "endraw", true)) {
            return add_data(lexer, start, tag, sign, false);
        }
    }
}

/* The offset of the next tag, or the source's size. */
static size_t find_tag(const struct lexer *lexer)
{
    struct bytes source = lexer->source;
    for (size_t at = lexer->at; at + 1 < source.size; at++) {
        const char *brace = memchr(source.data + at, '{', source.size - at - 1);
        if (brace == NULL) {
            break;
        }
        at = (size_t)(brace - source.data);
        if (brace[1] == '%' || brace[1] == '{' || brace[1] == '#') {
            return at;
        }
    }
    return source.size;
}

static bool lex_step(struct lexer *lexer)
{
    size_t start = lexer->at;
    size_t tag = find_tag(lexer);
    if (tag == lexer->source.size) {
        bool added = add_data(lexer, start, tag, '+', false);
        lexer->at = tag;
        return added;
    }
    char type = lexer->source.data[tag + 1];
    lexer->at = tag + 2;
    char sign = peek(lexer, 0) == '-' || peek(lexer, 0) == '+' ? peek(lexer, 0) : '\0';
    lexer->at += sign != '\0';
    if (!add_data(lexer, start, tag, sign, type == '{')) {
        return false;
    }
    if (type == '#') {
        return skip_comment(lexer);
    }
    if (type == '%' && skip_raw_tag(lexer, "raw", false)) {
        return lex_raw(lexer);
    }
    return lex_inside(lexer, type == '%');
}

/* A copy in which \r\n and \r are \n, without one newline at the very end. */
static struct bytes normalize(struct arena *arena, struct bytes source)
{
    char *text = arena_alloc(arena, source.size + 1);
    if (text == NULL) {
        return (struct bytes){NULL, 0};
    }
    size_t size = 0;
    for (size_t i = 0; i < source.size; i++) {
        char c = source.data[i];
        if (c == '\r') {
            i += i + 1 < source.size && source.data[i + 1] == '\n';
            c = '\n';
        }
        text[size++] = c;
    }
    if (size > 0 && text[size - 1] == '\n') {
        size--;
    }
    return (struct bytes){text, size};
}

bool jinja_lex(struct arena *arena, struct bytes source, struct jinja_tokens *out,
               struct error *error)
{
    struct lexer lexer = {.arena = arena, .line = 1, .tokens = out, .error = error};
    *out = (struct jinja_tokens){NULL, 0, 0};
    if (!utf8_is_valid(source)) {
        return fail(&lexer, "the template is not UTF-8");
    }
    lexer.source = normalize(arena, source);
    if (lexer.source.data == NULL) {
        return fail_memory(&lexer);
    }
    while (lexer.at < lexer.source.size) {
        if (!lex_step(&lexer)) {
            return false;
        }
    }
    return add_text(&lexer, TOKEN_END, bytes_of("end of template"));
}
