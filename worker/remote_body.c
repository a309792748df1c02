/* remote_body: member by member, by the scanner's slices. */
#include "worker/remote_body.h"

#include "pipeline/openai/quote.h"
#include "schemas/base/buffer.h"
#include "schemas/records/json_scan.h"

enum {
    NAMES_MAX = 8,         // of changed or dropped members
    BODY_EXTRA_MAX = 4096, // what may be added to a body: names of models and members
};

struct maker {
    const struct remote_body_options *options;
    const struct scan_items *members;
    const char *input; // the member with the prompt
    bool is_chat;
    bool streams;
    struct buffer out;
    size_t prompt_at, prompt_size;
    struct remote_body *body;
};

static void add_name(struct names *names, const char *name)
{
    names->items[names->count++] = bytes_of(name);
}

static void write_member(struct maker *maker, struct bytes name, struct bytes value)
{
    buffer_append_char(&maker->out, maker->out.size == 0 ? '{' : ',');
    quote_json(&maker->out, name);
    buffer_append_char(&maker->out, ':');
    buffer_append_bytes(&maker->out, value);
}

static void write_model(struct maker *maker, struct bytes value)
{
    struct buffer quoted;
    buffer_init(&quoted, BODY_EXTRA_MAX);
    quote_json(&quoted, bytes_of(maker->options->model));
    if (!bytes_equal(buffer_bytes(&quoted), value)) {
        add_name(&maker->body->changed, "model");
    }
    write_member(maker, bytes_of("model"), buffer_bytes(&quoted));
    buffer_close(&quoted);
}

/* False where the member is no limit of tokens under a name that the endpoint does not want. */
static bool map_max_tokens(struct maker *maker, const struct scan_item *member)
{
    enum remote_max_tokens wanted = maker->options->max_tokens;
    if (!maker->is_chat || wanted == REMOTE_MAX_TOKENS_AS_IS) {
        return false;
    }
    bool wants_old = wanted == REMOTE_MAX_TOKENS;
    const char *from = wants_old ? "max_completion_tokens" : "max_tokens";
    const char *to = wants_old ? "max_tokens" : "max_completion_tokens";
    if (!bytes_equal_text(member->name, from)) {
        return false;
    }
    if (scan_find(maker->members, to) != NULL) {
        add_name(&maker->body->dropped, from);
    } else {
        add_name(&maker->body->changed, from);
        write_member(maker, bytes_of(to), member->value);
    }
    return true;
}

static void make_member(struct maker *maker, const struct scan_item *member)
{
    bool is_stream = bytes_equal_text(member->name, "stream");
    if (is_stream || bytes_equal_text(member->name, "stream_options")) {
        const char *name = is_stream ? "stream" : "stream_options";
        add_name(maker->streams ? &maker->body->changed : &maker->body->dropped, name);
    } else if (bytes_equal_text(member->name, "model")) {
        write_model(maker, member->value);
    } else if (!map_max_tokens(maker, member)) {
        write_member(maker, member->name, member->value);
        if (bytes_equal_text(member->name, maker->input)) {
            maker->prompt_size = member->value.size;
            maker->prompt_at = maker->out.size - member->value.size;
        }
    }
}

static void add_stream(struct maker *maker)
{
    struct names *changed = &maker->body->changed;
    if (scan_find(maker->members, "stream") == NULL) {
        add_name(changed, "stream");
    }
    if (scan_find(maker->members, "stream_options") == NULL) {
        add_name(changed, "stream_options");
    }
    write_member(maker, bytes_of("stream"), bytes_of("true"));
    write_member(maker, bytes_of("stream_options"), bytes_of("{\"include_usage\":true}"));
}

static bool scan(struct bytes source, struct arena *arena, struct scan_items *members,
                 struct error *error)
{
    struct error cause = {0};
    return scan_object(source, arena, members, &cause) ||
           error_set(error, ERROR_INVALID, "invalid_json", NULL, "the body: %s", cause.message);
}

bool remote_body_make(struct bytes source, enum openai_endpoint endpoint,
                      const struct remote_body_options *options, struct arena *arena,
                      struct remote_body *body_out, struct error *error)
{
    struct scan_items members;
    if (!scan(source, arena, &members, error)) {
        return false;
    }
    struct maker maker = {
        .options = options,
        .members = &members,
        .input = openai_endpoint_traits(endpoint)->input,
        .is_chat = endpoint == ENDPOINT_CHAT,
        .streams = options->streams && endpoint != ENDPOINT_EMBEDDINGS,
        .body = body_out,
    };
    *body_out = (struct remote_body){
        .changed.items = arena_alloc_array(arena, NAMES_MAX, sizeof(struct bytes)),
        .dropped.items = arena_alloc_array(arena, NAMES_MAX, sizeof(struct bytes)),
    };
    bool has_memory = body_out->changed.items != NULL && body_out->dropped.items != NULL;
    buffer_init(&maker.out, source.size + BODY_EXTRA_MAX);
    for (size_t i = 0; has_memory && i < members.count; i++) {
        make_member(&maker, &members.items[i]);
    }
    if (has_memory && maker.streams) {
        add_stream(&maker);
    }
    buffer_append_char(&maker.out, '}');
    if (has_memory && !buffer_failed(&maker.out)) {
        body_out->bytes = arena_copy(arena, buffer_bytes(&maker.out));
    }
    buffer_close(&maker.out);
    if (body_out->bytes.data == NULL) {
        return error_set(error, ERROR_TOO_LARGE, "request_too_large", NULL,
                         "the request needs more memory than one record may have");
    }
    body_out->prompt = (struct bytes){body_out->bytes.data + maker.prompt_at, maker.prompt_size};
    return true;
}
