/* pattern: PCRE2 with JIT. The only file that knows it. */
#include "pipeline/text/pattern.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "pipeline/text/utf8.h"
#include "schemas/base/buffer.h"

enum {
    EXPRESSION_SIZE_MAX = 16384, // the longest in use is below 1,000 bytes
    MATCH_LIMIT = 10000000,      // steps of one search; PCRE2's own default
    HEAP_LIMIT_KIB = 65536,
    ECMA_MATCH_LIMIT = 1000000,
    ECMA_HEAP_LIMIT_KIB = 16384,
};

struct pattern {
    struct buffer literal; // what a plain string searches for
    pcre2_code *code;      // NULL: plain string
    pcre2_match_context *limits;
};

/* --- From Oniguruma's syntax to PCRE2's --- */

struct rewriting {
    struct bytes source;
    size_t position;
    bool is_in_class;
    size_t class_start; // first position inside the class
    struct buffer out;
};

/* \s and friends by Oniguruma's definitions; NULL where both agree. */
static const char *rewritten_escape(char letter, bool is_in_class)
{
    switch (letter) {
    case 's':
        return "\\p{White_Space}";
    case 'S':
        return "\\P{White_Space}";
    case 'w':
        return is_in_class ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
                           : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    case 'W':
        return is_in_class ? NULL : "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    case 'h':
        return is_in_class ? "0-9a-fA-F" : "[0-9a-fA-F]";
    default:
        return NULL;
    }
}

static bool refuse(const char *what, struct error *error)
{
    return error_set(error, ERROR_INVALID, NULL, NULL,
                     "a regular expression uses %s, which is not supported", what);
}

/* The size of an escape: two bytes, or up to the brace that closes \p{L}, \x{2581} and the like. */
static size_t escape_size(const struct rewriting *rewriting)
{
    const char *escape = rewriting->source.data + rewriting->position;
    size_t left = rewriting->source.size - rewriting->position;
    const char *brace = left > 2 && escape[2] == '{' ? memchr(escape, '}', left) : NULL;
    return brace == NULL ? 2 : (size_t)(brace - escape) + 1;
}

static bool rewrite_escape(struct rewriting *rewriting, struct error *error)
{
    char letter = rewriting->source.data[rewriting->position + 1];
    bool is_refused = letter == 'H' || letter == 'K' || (letter == 'W' && rewriting->is_in_class);
    if (is_refused) {
        return refuse(letter == 'W' ? "\\W in a class" : letter == 'H' ? "\\H" : "\\K", error);
    }
    const char *replacement = rewritten_escape(letter, rewriting->is_in_class);
    size_t size = strchr("pPxokgu", letter) != NULL ? escape_size(rewriting) : 2;
    if (replacement != NULL) {
        buffer_append_text(&rewriting->out, replacement);
    } else {
        buffer_append(&rewriting->out, rewriting->source.data + rewriting->position, size);
    }
    rewriting->position += size;
    return true;
}

static bool follows(const struct rewriting *rewriting, const char *text)
{
    size_t size = strlen(text);
    return rewriting->source.size - rewriting->position >= size &&
           memcmp(rewriting->source.data + rewriting->position, text, size) == 0;
}

/* One unescaped character; keeps track of classes. */
static bool rewrite_plain(struct rewriting *rewriting, struct error *error)
{
    char c = rewriting->source.data[rewriting->position];
    bool is_first = rewriting->position == rewriting->class_start;
    if (rewriting->is_in_class) {
        if (follows(rewriting, "&&") || (c == '[' && !follows(rewriting, "[:"))) {
            return refuse(c == '[' ? "a class in a class" : "&& in a class", error);
        }
        if (follows(rewriting, "[:")) {
            return refuse("a POSIX class", error);
        }
        if (c == '^' && is_first) {
            rewriting->class_start++;
        }
        rewriting->is_in_class = c != ']' || is_first;
    } else if (c == '[') {
        rewriting->is_in_class = true;
        rewriting->class_start = rewriting->position + 1;
    } else if (follows(rewriting, "}+")) {
        return refuse("a possessive interval", error);
    }
    buffer_append_char(&rewriting->out, c);
    rewriting->position++;
    return true;
}

static bool rewrite(struct rewriting *rewriting, struct error *error)
{
    struct bytes source = rewriting->source;
    while (rewriting->position < source.size) {
        bool is_escape =
            source.data[rewriting->position] == '\\' && rewriting->position + 1 < source.size;
        if (!(is_escape ? rewrite_escape(rewriting, error) : rewrite_plain(rewriting, error))) {
            return false;
        }
    }
    if (buffer_failed(&rewriting->out)) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL,
                         "out of memory for a regular expression");
    }
    return true;
}

/* --- Open and close --- */

struct compile_options {
    uint32_t flags;
    uint32_t match_limit;
    uint32_t heap_limit_kib;
};

static bool compile(struct pattern *pattern, struct bytes expression,
                    const struct compile_options *options, struct error *error)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    pattern->code = pcre2_compile((PCRE2_SPTR)expression.data, expression.size, options->flags,
                                  &code, &offset, NULL);
    if (pattern->code == NULL) {
        char reason[120] = "";
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a regular expression is not valid at byte %zu: %s", (size_t)offset,
                         reason);
    }
    pattern->limits = pcre2_match_context_create(NULL);
    if (pattern->limits == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL,
                         "out of memory for a regular expression");
    }
    (void)pcre2_set_match_limit(pattern->limits, options->match_limit);
    (void)pcre2_set_heap_limit(pattern->limits, options->heap_limit_kib);
    return true;
}

static bool open_regex(struct pattern *pattern, struct bytes expression, struct error *error)
{
    static const struct compile_options options = {
        .flags =
            PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
        .match_limit = MATCH_LIMIT,
        .heap_limit_kib = HEAP_LIMIT_KIB,
    };
    struct rewriting rewriting = {.source = expression, .class_start = SIZE_MAX};
    buffer_init(&rewriting.out, EXPRESSION_SIZE_MAX * 16);
    bool is_done = rewrite(&rewriting, error) &&
                   compile(pattern, buffer_bytes(&rewriting.out), &options, error);
    buffer_close(&rewriting.out);
    if (is_done) {
        (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); // without it only slower
    }
    return is_done;
}

/* ECMA-262's long names of general categories, which PCRE2 knows by their short ones only. */
static struct bytes short_category(struct bytes name)
{
    static const char *const names[][2] = {
        {"Letter", "L"},
        {"Uppercase_Letter", "Lu"},
        {"Lowercase_Letter", "Ll"},
        {"Titlecase_Letter", "Lt"},
        {"Modifier_Letter", "Lm"},
        {"Other_Letter", "Lo"},
        {"Mark", "M"},
        {"Number", "N"},
        {"Decimal_Number", "Nd"},
        {"digit", "Nd"},
        {"Letter_Number", "Nl"},
        {"Other_Number", "No"},
        {"Punctuation", "P"},
        {"punct", "P"},
        {"Symbol", "S"},
        {"Separator", "Z"},
        {"Space_Separator", "Zs"},
        {"Other", "C"},
        {"Control", "Cc"},
        {"Format", "Cf"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_text(name, names[i][0])) {
            return bytes_of(names[i][1]);
        }
    }
    return name;
}

/* ECMA-262's \s has Unicode's separators and the byte order mark, PCRE2's without UCP has ASCII. */
static bool rewrite_space(struct buffer *out, char letter, bool is_in_class)
{
    static const char spaces[] = "\\s\\p{Z}\xEF\xBB\xBF";
    if (letter != 's' && (letter != 'S' || is_in_class)) {
        return false;
    }
    if (is_in_class) {
        buffer_append_text(out, spaces);
    } else {
        buffer_printf(out, "[%s%s]", letter == 'S' ? "^" : "", spaces);
    }
    return true;
}

/* The escape at the start of `source`; returns its size. */
static size_t rewrite_ecma_escape(struct bytes source, bool is_in_class, struct buffer *out)
{
    char letter = source.data[1];
    const char *name = source.data + 3;
    bool is_property = (letter == 'p' || letter == 'P') && source.size > 3 && name[-1] == '{';
    const char *end = is_property ? memchr(name, '}', source.size - 3) : NULL;
    if (end != NULL) {
        buffer_append(out, source.data, 3);
        buffer_append_bytes(out, short_category((struct bytes){name, (size_t)(end - name)}));
        return (size_t)(end - source.data); // the brace is copied as it is
    }
    if (!rewrite_space(out, letter, is_in_class)) {
        buffer_append(out, source.data, 2);
    }
    return 2;
}

/* Writes what PCRE2 understands differently, or not at all, in its own words. */
static void rewrite_ecma(struct bytes source, struct buffer *out)
{
    bool is_in_class = false;
    for (size_t i = 0; i < source.size;) {
        char c = source.data[i];
        if (c == '\\' && source.size - i >= 2) {
            struct bytes rest = {source.data + i, source.size - i};
            i += rewrite_ecma_escape(rest, is_in_class, out);
            continue;
        }
        is_in_class = c == '[' || (is_in_class && c != ']');
        buffer_append_char(out, c);
        i++;
    }
}

/* Compiling to machine code would cost more than the few searches of a schema gain. */
static bool open_ecma(struct pattern *pattern, struct bytes expression, struct error *error)
{
    static const struct compile_options options = {
        .flags = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C | PCRE2_ALT_BSUX |
                 PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS,
        .match_limit = ECMA_MATCH_LIMIT,
        .heap_limit_kib = ECMA_HEAP_LIMIT_KIB,
    };
    struct buffer rewritten;
    buffer_init(&rewritten, EXPRESSION_SIZE_MAX * 8);
    rewrite_ecma(expression, &rewritten);
    bool is_done =
        buffer_failed(&rewritten)
            ? error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a regular expression")
            : compile(pattern, buffer_bytes(&rewritten), &options, error);
    buffer_close(&rewritten);
    return is_done;
}

static bool open_literal(struct pattern *pattern, struct bytes text, struct error *error)
{
    buffer_append_bytes(&pattern->literal, text);
    return !buffer_failed(&pattern->literal) ||
           error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a pattern");
}

static bool open_with(struct bytes expression,
                      bool (*fill)(struct pattern *pattern, struct bytes expression,
                                   struct error *error),
                      struct pattern **pattern_out, struct error *error)
{
    if (expression.size == 0 || expression.size > EXPRESSION_SIZE_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a pattern has %zu bytes, must be 1 to %d", expression.size,
                         EXPRESSION_SIZE_MAX);
    }
    struct pattern *pattern = calloc(1, sizeof *pattern);
    if (pattern == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a pattern");
    }
    buffer_init(&pattern->literal, EXPRESSION_SIZE_MAX);
    if (!fill(pattern, expression, error)) {
        pattern_close(pattern);
        return false;
    }
    *pattern_out = pattern;
    return true;
}

bool pattern_open(struct bytes expression, bool is_regex, struct pattern **pattern_out,
                  struct error *error)
{
    return open_with(expression, is_regex ? open_regex : open_literal, pattern_out, error);
}

bool pattern_open_ecma(struct bytes expression, struct pattern **pattern_out, struct error *error)
{
    return open_with(expression, open_ecma, pattern_out, error);
}

void pattern_close(struct pattern *pattern)
{
    if (pattern == NULL) {
        return;
    }
    buffer_close(&pattern->literal);
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
}

struct bytes pattern_literal(const struct pattern *pattern)
{
    return pattern->code != NULL ? (struct bytes){NULL, 0} : buffer_bytes(&pattern->literal);
}

void pattern_scratch_close(struct pattern_scratch *scratch)
{
    pcre2_match_data_free(scratch->match_data);
    pcre2_match_context_free(scratch->limits);
    scratch->limits = NULL;
    scratch->match_data = NULL;
}

/* --- Search --- */

static struct pattern_match find_literal(struct bytes literal, struct bytes text, size_t from)
{
    while (text.size - from >= literal.size) {
        const char *hit =
            memchr(text.data + from, literal.data[0], text.size - from - literal.size + 1);
        if (hit == NULL) {
            break;
        }
        if (memcmp(hit, literal.data, literal.size) == 0) {
            size_t start = (size_t)(hit - text.data);
            return (struct pattern_match){start, start + literal.size};
        }
        from = (size_t)(hit - text.data) + 1;
    }
    return (struct pattern_match){SIZE_MAX, SIZE_MAX};
}

static bool find_regex(const struct pattern *pattern, pcre2_match_data *data, struct bytes text,
                       size_t from, struct pattern_match *match_out, struct error *error)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text.data;
    int count = pcre2_match(pattern->code, subject, text.size, from, PCRE2_NO_UTF_CHECK, data,
                            pattern->limits);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
        count = pcre2_match(pattern->code, subject, text.size, from,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, pattern->limits);
    }
    if (count == PCRE2_ERROR_NOMATCH) {
        *match_out = (struct pattern_match){SIZE_MAX, SIZE_MAX};
        return true;
    }
    if (count < 0) {
        char reason[120] = "";
        (void)pcre2_get_error_message(count, (PCRE2_UCHAR *)reason, sizeof reason);
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a regular expression fails on this text: %s", reason);
    }
    const PCRE2_SIZE *vector = pcre2_get_ovector_pointer(data);
    *match_out = (struct pattern_match){vector[0], vector[1]};
    return true;
}

static bool find(const struct pattern *pattern, struct pattern_scratch *scratch, struct bytes text,
                 size_t from, struct pattern_match *match_out, struct error *error)
{
    if (pattern->code == NULL) {
        *match_out = find_literal(buffer_bytes(&pattern->literal), text, from);
        return true;
    }
    if (scratch->match_data == NULL) {
        // Only the whole match is read, so one pair serves every pattern.
        scratch->match_data = pcre2_match_data_create(1, NULL);
        if (scratch->match_data == NULL) {
            return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a match");
        }
    }
    return find_regex(pattern, scratch->match_data, text, from, match_out, error);
}

bool pattern_next(const struct pattern *pattern, struct pattern_scratch *scratch, struct bytes text,
                  struct pattern_walk *walk, struct pattern_match *match_out, struct error *error)
{
    while (walk->from <= text.size) {
        if (!find(pattern, scratch, text, walk->from, match_out, error)) {
            return false;
        }
        bool is_repeated = match_out->start == match_out->end && match_out->end == walk->last_end;
        if (!is_repeated || match_out->start == SIZE_MAX) {
            walk->from = match_out->end;
            walk->last_end = match_out->end;
            return true;
        }
        size_t size = 1;
        if (walk->from < text.size) {
            (void)utf8_decode(text.data + walk->from, &size);
        }
        walk->from += size;
    }
    *match_out = (struct pattern_match){SIZE_MAX, SIZE_MAX};
    return true;
}

enum pattern_found pattern_search(const struct pattern *pattern, struct pattern_scratch *scratch,
                                  struct bytes text, uint32_t steps_max)
{
    if (scratch->match_data == NULL) {
        scratch->match_data = pcre2_match_data_create(1, NULL);
    }
    if (scratch->limits == NULL) {
        scratch->limits = pcre2_match_context_create(NULL);
    }
    if (pattern->code == NULL || scratch->match_data == NULL || scratch->limits == NULL) {
        return PATTERN_FAILED;
    }
    (void)pcre2_set_match_limit(scratch->limits, steps_max);
    (void)pcre2_set_heap_limit(scratch->limits, ECMA_HEAP_LIMIT_KIB);
    int count =
        pcre2_match(pattern->code, (PCRE2_SPTR)text.data, text.size, 0,
                    PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch->match_data, scratch->limits);
    return count >= 0                        ? PATTERN_FOUND
           : count == PCRE2_ERROR_NOMATCH    ? PATTERN_ABSENT
           : count == PCRE2_ERROR_MATCHLIMIT ? PATTERN_STEPS_EXCEEDED
                                             : PATTERN_FAILED;
}
