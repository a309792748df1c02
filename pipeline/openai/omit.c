/* omit: parsed and written again only where there is something to leave out. */
#include "pipeline/openai/omit.h"

#include <jansson.h>

static struct bytes streaming[] = {{"stream", 6}, {"stream_options", 14}};
const struct names openai_streaming_parameters = {streaming, 2};

enum { REAL_DIGITS = 17 }; // a double survives them

/* Whether the bytes `"NAME"` are anywhere, which a body without escapes in its keys needs. */
static bool may_have(struct bytes body, struct bytes name)
{
    const char *end = body.data + body.size;
    for (const char *at = body.data; (size_t)(end - at) > name.size; at++) {
        at = memchr(at, '"', (size_t)(end - at));
        if (at == NULL || (size_t)(end - at) <= name.size) {
            return false;
        }
        if (memcmp(at + 1, name.data, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_have_any(struct bytes body, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (may_have(body, names->items[i])) {
            return true;
        }
    }
    return false;
}

static bool write_body(const json_t *root, struct arena *arena, struct bytes *body_out)
{
    size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS);
    size_t size = json_dumpb(root, NULL, 0, flags);
    char *text = size == 0 ? NULL : arena_alloc(arena, size);
    if (text == NULL || json_dumpb(root, text, size, flags) != size) {
        return false;
    }
    *body_out = (struct bytes){text, size};
    return true;
}

bool openai_body_omit(struct bytes body, const struct names *names, struct arena *arena,
                      struct bytes *body_out, struct names *omitted_out, struct error *error)
{
    *body_out = body;
    *omitted_out = (struct names){0};
    json_t *root =
        may_have_any(body, names) ? json_loadb(body.data, body.size, JSON_ALLOW_NUL, NULL) : NULL;
    struct names omitted = {0};
    bool ok = true;
    if (json_is_object(root)) {
        omitted.items = arena_alloc_array(arena, names->count, sizeof *omitted.items);
        ok = omitted.items != NULL;
    }
    for (size_t i = 0; i < names->count && omitted.items != NULL; i++) {
        struct bytes name = names->items[i];
        if (json_object_getn(root, name.data, name.size) != NULL) {
            (void)json_object_deln(root, name.data, name.size);
            omitted.items[omitted.count++] = name;
        }
    }
    ok = ok && (omitted.count == 0 || write_body(root, arena, body_out));
    json_decref(root);
    if (!ok) {
        return error_set(error, ERROR_INVALID, "request_too_large", NULL,
                         "the request needs more memory than one record may have");
    }
    *omitted_out = omitted;
    return true;
}
