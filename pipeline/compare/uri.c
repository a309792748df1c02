/* uri: the regular expression of RFC 3986 appendix B by hand, and the algorithm of section 5.2. */
#include "pipeline/compare/uri.h"

static struct bytes part(const char *start, const char *end)
{
    return (struct bytes){start, (size_t)(end - start)};
}

/* The first of `stops` in the text, or its end. */
static const char *find_any(const char *at, const char *end, const char *stops)
{
    while (at < end && (*at == '\0' || strchr(stops, *at) == NULL)) {
        at++;
    }
    return at;
}

struct uri uri_split(struct bytes text)
{
    struct uri uri = {.scheme = {NULL, 0}};
    const char *at = text.data == NULL ? "" : text.data;
    const char *end = at + text.size;
    const char *colon = find_any(at, end, ":/?#");
    if (colon < end && *colon == ':' && colon > at) {
        uri.scheme = part(at, colon);
        at = colon + 1;
    }
    if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
        const char *stop = find_any(at + 2, end, "/?#");
        uri.authority = part(at + 2, stop);
        at = stop;
    }
    const char *stop = find_any(at, end, "?#");
    uri.path = part(at, stop);
    at = stop;
    if (at < end && *at == '?') {
        stop = find_any(at + 1, end, "#");
        uri.query = part(at + 1, stop);
        at = stop;
    }
    if (at < end) {
        uri.fragment = part(at + 1, end);
    }
    return uri;
}

/* The size of the path up to and with its last slash, 0 where there is none. */
static size_t folder_size(struct bytes path)
{
    while (path.size > 0 && path.data[path.size - 1] != '/') {
        path.size--;
    }
    return path.size;
}

/* Takes the last segment, and the slash before it, off what was written behind `start`. */
static void drop_segment(struct buffer *out, size_t start)
{
    size_t size = out->size;
    while (size > start && out->data[size - 1] != '/') {
        size--;
    }
    buffer_truncate(out, size > start ? size - 1 : start);
}

/* Section 5.2.4: segments "." and ".." are carried out. */
static void append_path(struct buffer *out, struct bytes path)
{
    size_t start = out->size;
    for (size_t at = 0; at < path.size && !buffer_failed(out);) {
        size_t begin = at;
        bool has_slash = path.data[at] == '/';
        at += has_slash;
        while (at < path.size && path.data[at] != '/') {
            at++;
        }
        struct bytes segment = {path.data + begin + has_slash, at - begin - has_slash};
        bool is_up = bytes_equal_text(segment, "..");
        if (is_up || bytes_equal_text(segment, ".")) {
            if (is_up) {
                drop_segment(out, start);
            }
            if (at == path.size && has_slash) {
                buffer_append_char(out, '/');
            }
        } else {
            buffer_append(out, path.data + begin, at - begin);
        }
    }
}

static void append_before_path(struct buffer *out, struct bytes scheme, struct bytes authority)
{
    if (scheme.data != NULL) {
        buffer_append_bytes(out, scheme);
        buffer_append_char(out, ':');
    }
    if (authority.data != NULL) {
        buffer_append_text(out, "//");
        buffer_append_bytes(out, authority);
    }
}

static void append_query(struct buffer *out, struct bytes query)
{
    if (query.data != NULL) {
        buffer_append_char(out, '?');
        buffer_append_bytes(out, query);
    }
}

/* A path relative to the base's: behind the base's last slash. */
static void append_merged(struct buffer *out, const struct uri *base, struct bytes path)
{
    struct buffer merged;
    buffer_init(&merged, out->size_max);
    if (base->authority.data != NULL && base->path.size == 0) {
        buffer_append_char(&merged, '/');
    }
    buffer_append(&merged, base->path.data, folder_size(base->path));
    buffer_append_bytes(&merged, path);
    append_path(out, buffer_bytes(&merged));
    out->has_failed |= buffer_failed(&merged);
    buffer_close(&merged);
}

void uri_resolve(struct bytes base_text, struct bytes reference_text, struct buffer *out)
{
    struct uri base = uri_split(base_text);
    struct uri reference = uri_split(reference_text);
    if (reference.scheme.data != NULL || reference.authority.data != NULL) {
        bool has_scheme = reference.scheme.data != NULL;
        append_before_path(out, has_scheme ? reference.scheme : base.scheme, reference.authority);
        append_path(out, reference.path);
        append_query(out, reference.query);
        return;
    }
    append_before_path(out, base.scheme, base.authority);
    if (reference.path.size == 0) {
        buffer_append_bytes(out, base.path);
        append_query(out, reference.query.data != NULL ? reference.query : base.query);
        return;
    }
    if (reference.path.data[0] == '/') {
        append_path(out, reference.path);
    } else {
        append_merged(out, &base, reference.path);
    }
    append_query(out, reference.query);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

void uri_decode(struct bytes text, struct buffer *out)
{
    for (size_t i = 0; i < text.size; i++) {
        bool is_escape = text.data[i] == '%' && text.size - i > 2 &&
                         hex_value(text.data[i + 1]) >= 0 && hex_value(text.data[i + 2]) >= 0;
        if (is_escape) {
            int high = hex_value(text.data[i + 1]);
            buffer_append_char(out, (char)(high << 4 | hex_value(text.data[i + 2])));
            i += 2;
        } else {
            buffer_append_char(out, text.data[i]);
        }
    }
}
