/* json_scan: recursive descent over RFC 8259's grammar. */
#include "schemas/records/json_scan.h"

#include "schemas/base/utf8.h"
#include "schemas/records/text.h"

struct scan {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    unsigned depth;
    const char *problem;
};

/* Where members or elements are gathered; NULL where they are only checked. */
struct gather {
    struct arena *arena;
    struct scan_items *list;
    size_t capacity;
};

static bool scan_value(struct scan *scan);

static bool fail(struct scan *scan, const char *problem)
{
    scan->problem = problem;
    return false;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r')) {
        scan->at++;
    }
}

/* Takes `c` if it comes next. */
static bool take(struct scan *scan, unsigned char c)
{
    if (scan->at < scan->end && *scan->at == c) {
        scan->at++;
        return true;
    }
    return false;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(unsigned char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool scan_escape(struct scan *scan)
{
    scan->at++; // the backslash
    if (scan->at == scan->end) {
        return fail(scan, "a string does not end");
    }
    unsigned char c = *scan->at++;
    if (c != 'u') {
        return (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) ||
               fail(scan, "a string has an escape that JSON does not have");
    }
    for (int i = 0; i < 4; i++, scan->at++) {
        if (scan->at == scan->end || !is_hex(*scan->at)) {
            return fail(scan, "\\u is not followed by four hexadecimal digits");
        }
    }
    return true;
}

/* From quote to quote. */
static bool scan_string(struct scan *scan)
{
    if (!take(scan, '"')) {
        return fail(scan, "a string is expected");
    }
    for (;;) {
        scan->at = text_skip_plain(scan->at, scan->end);
        if (scan->at == scan->end) {
            return fail(scan, "a string does not end");
        }
        unsigned char c = *scan->at;
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(scan)) {
                return false;
            }
            continue;
        }
        if (c < 0x20) {
            return fail(scan, "a string has a control character that is not escaped");
        }
        size_t size = utf8_sequence_size(scan->at, scan->end);
        if (size == 0) {
            return fail(scan, "a string is not UTF-8");
        }
        scan->at += size;
    }
}

static bool scan_digits(struct scan *scan)
{
    if (scan->at == scan->end || !is_digit(*scan->at)) {
        return fail(scan, "a digit is expected");
    }
    while (scan->at < scan->end && is_digit(*scan->at)) {
        scan->at++;
    }
    return true;
}

static bool scan_number(struct scan *scan)
{
    (void)take(scan, '-');
    if (!take(scan, '0') && !scan_digits(scan)) {
        return false;
    }
    if (take(scan, '.') && !scan_digits(scan)) {
        return false;
    }
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+')) {
            (void)take(scan, '-');
        }
        return scan_digits(scan);
    }
    return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0) {
        return fail(scan, "a value is expected");
    }
    scan->at += size;
    return true;
}

static struct bytes slice(const unsigned char *from, const unsigned char *to)
{
    return (struct bytes){(const char *)from, (size_t)(to - from)};
}

static bool add_item(struct scan *scan, struct gather *gather, struct scan_item item)
{
    struct scan_items *list = gather->list;
    for (size_t i = 0; i < list->count && item.name.data != NULL; i++) {
        if (bytes_equal(list->items[i].name, item.name)) {
            return fail(scan, "a name comes twice");
        }
    }
    if (list->count == SCAN_ITEMS_MAX) {
        return fail(scan, "there are more than 256 members or elements");
    }
    if (list->count == gather->capacity) {
        size_t capacity = gather->capacity == 0 ? 8 : 2 * gather->capacity;
        struct scan_item *items = arena_alloc_array(gather->arena, capacity, sizeof *items);
        if (items == NULL) {
            return fail(scan, "the record needs more memory than a record may have");
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
        gather->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

/* The member's name and colon. */
static bool scan_name(struct scan *scan, struct gather *gather, struct bytes *name_out)
{
    const unsigned char *from = scan->at;
    if (!scan_string(scan)) {
        return false;
    }
    if (gather != NULL && !text_unescape(slice(from + 1, scan->at - 1), gather->arena, name_out)) {
        return fail(scan, "a name has half a surrogate pair");
    }
    skip_space(scan);
    return take(scan, ':') || fail(scan, "':' is expected");
}

/* An object or an array; `*scan->at` is its opening bracket. */
static bool scan_container(struct scan *scan, struct gather *gather)
{
    bool is_object = *scan->at++ == '{';
    unsigned char close = is_object ? '}' : ']';
    if (scan->depth == SCAN_DEPTH_MAX) {
        return fail(scan, "it is nested more than 128 levels deep");
    }
    scan->depth++;
    skip_space(scan);
    bool is_empty = take(scan, close);
    while (!is_empty) {
        struct scan_item item = {{NULL, 0}, {NULL, 0}};
        skip_space(scan);
        if (is_object && !scan_name(scan, gather, &item.name)) {
            return false;
        }
        skip_space(scan);
        const unsigned char *from = scan->at;
        if (!scan_value(scan)) {
            return false;
        }
        item.value = slice(from, scan->at);
        if (gather != NULL && !add_item(scan, gather, item)) {
            return false;
        }
        skip_space(scan);
        if (take(scan, close)) {
            break;
        }
        if (!take(scan, ',')) {
            return fail(scan, is_object ? "',' or '}' is expected" : "',' or ']' is expected");
        }
    }
    scan->depth--;
    return true;
}

static bool scan_value(struct scan *scan)
{
    if (scan->at == scan->end) {
        return fail(scan, "a value is expected");
    }
    switch (*scan->at) {
    case '{':
    case '[':
        return scan_container(scan, NULL);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        return (is_digit(*scan->at) || *scan->at == '-') ? scan_number(scan)
                                                         : fail(scan, "a value is expected");
    }
}

/* `open` is the bracket that the whole text must begin with. */
static bool scan_text(struct bytes text, unsigned char open, struct gather *gather,
                      struct error *error)
{
    const unsigned char *start = (const unsigned char *)(text.data == NULL ? "" : text.data);
    struct scan scan = {.start = start, .at = start, .end = start + text.size};
    skip_space(&scan);
    bool ok;
    if (scan.at == scan.end || *scan.at != open) {
        ok = fail(&scan, open == '{' ? "an object is expected" : "an array is expected");
    } else {
        ok = scan_container(&scan, gather);
    }
    if (ok) {
        skip_space(&scan);
        ok = scan.at == scan.end || fail(&scan, "something follows the value's end");
    }
    return ok || error_set(error, ERROR_UNDECODABLE, NULL, NULL, "not valid JSON: %s, at byte %zu",
                           scan.problem, (size_t)(scan.at - scan.start));
}

bool scan_object(struct bytes text, struct arena *arena, struct scan_items *members_out,
                 struct error *error)
{
    *members_out = (struct scan_items){NULL, 0};
    struct gather gather = {.arena = arena, .list = members_out};
    return scan_text(text, '{', &gather, error);
}

bool scan_array(struct bytes text, struct arena *arena, struct scan_items *elements_out,
                struct error *error)
{
    *elements_out = (struct scan_items){NULL, 0};
    struct gather gather = {.arena = arena, .list = elements_out};
    return scan_text(text, '[', &gather, error);
}

bool scan_is_object(struct bytes text, struct error *error)
{
    return scan_text(text, '{', NULL, error);
}

const struct bytes *scan_find(const struct scan_items *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++) {
        if (bytes_equal_text(members->items[i].name, name)) {
            return &members->items[i].value;
        }
    }
    return NULL;
}
