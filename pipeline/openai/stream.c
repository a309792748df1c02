/* stream: chunks are merged into one object, whose texts are kept in pieces until the end, so that
 * a long answer costs no more than its length. */
#include "pipeline/openai/stream.h"

#include <jansson.h>
#include <string.h>

#include "pipeline/openai/sse.h"

enum {
    CHOICES_MAX = 128,
    DEPTH_MAX = 16,  // of a delta
    LIST_MAX = 1024, // entries of a list with indexes in a delta
    CHUNK_BYTES_MAX = 8 << 20,
};

/* A text that still grows is {pieces_key: [texts]}; no chunk can say so, since names in it have no
 * control characters that matter to anybody. */
static const char pieces_key[] = "\001";

struct join {
    json_t *root;    // as it grows
    json_t *choices; // borrowed
    bool is_done;    // [DONE] came
    bool has_token;
    struct error *error;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool openai_stream_is(struct bytes answer)
{
    struct sse sse = sse_start(answer);
    size_t at = sse.at;
    while (at < answer.size && is_space(answer.data[at])) {
        at++;
    }
    return at < answer.size && answer.data[at] != '{' && answer.data[at] != '[';
}

static bool broken(struct join *join, const char *what)
{
    return error_set(join->error, ERROR_UPSTREAM, "endpoint_broken_stream", NULL, "%s", what);
}

/* Names of texts that come whole, and perhaps again in each chunk. */
static bool comes_whole(const char *key)
{
    static const char *const keys[] = {"role", "type", "id", "name", "index"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static void add_piece(json_t *object, const char *key, json_t *text)
{
    json_t *pieces = json_object_get(json_object_get(object, key), pieces_key);
    if (pieces == NULL) {
        pieces = json_array();
        json_t *holder = json_object();
        (void)json_object_set_new(holder, pieces_key, pieces);
        (void)json_object_set_new(object, key, holder);
    }
    (void)json_array_append(pieces, text);
}

static bool merge(struct join *join, json_t *into, json_t *delta, int depth);

/* The entry of `list` with this index, made when it is new; NULL when the index is absurd. */
static json_t *entry_of(json_t *list, const json_t *delta)
{
    const json_t *index = json_object_get(delta, "index");
    json_int_t wanted = json_is_integer(index) ? json_integer_value(index) : -1;
    if (wanted < 0 || wanted >= LIST_MAX) {
        return NULL;
    }
    while (json_array_size(list) <= (size_t)wanted) {
        (void)json_array_append_new(list, json_object());
    }
    return json_array_get(list, (size_t)wanted);
}

static bool merge_list(struct join *join, json_t *into, const char *key, const json_t *delta,
                       int depth)
{
    json_t *list = json_object_get(into, key);
    if (!json_is_array(list)) {
        list = json_array();
        (void)json_object_set_new(into, key, list);
    }
    size_t i;
    json_t *item;
    json_array_foreach (delta, i, item) {
        if (json_object_get(item, "index") == NULL) {
            (void)json_array_append(list, item);
            continue;
        }
        json_t *entry = entry_of(list, item);
        if (entry == NULL) {
            return broken(join, "an index in the stream is out of its range");
        }
        if (!merge(join, entry, item, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool merge_value(struct join *join, json_t *into, const char *key, json_t *value, int depth)
{
    const json_t *present = json_object_get(into, key);
    if (json_is_null(value)) {
        return present != NULL || json_object_set(into, key, value) == 0;
    }
    if (json_is_string(value) && !comes_whole(key)) {
        add_piece(into, key, value);
        join->has_token = join->has_token || json_string_length(value) > 0;
        return true;
    }
    if (json_is_object(value)) {
        if (!json_is_object(present)) {
            (void)json_object_set_new(into, key, json_object());
        }
        return merge(join, json_object_get(into, key), value, depth + 1);
    }
    if (json_is_array(value)) {
        return merge_list(join, into, key, value, depth);
    }
    bool is_again = json_is_string(present) && json_string_length(present) > 0;
    return is_again || json_object_set(into, key, value) == 0;
}

/* Recursive, to DEPTH_MAX. */
static bool merge(struct join *join, json_t *into, json_t *delta, int depth)
{
    if (depth > DEPTH_MAX) {
        return broken(join, "a delta of the stream is nested too deep");
    }
    const char *key;
    json_t *value;
    json_object_foreach (delta, key, value) {
        if (!merge_value(join, into, key, value, depth)) {
            return false;
        }
    }
    return true;
}

/* Lists in it grow, everything else is what came last. */
static void append_logprobs(json_t *choice, json_t *logprobs)
{
    json_t *whole = json_object_get(choice, "logprobs");
    if (!json_is_object(logprobs) || !json_is_object(whole)) {
        if (json_is_object(logprobs) || whole == NULL) {
            (void)json_object_set_new(choice, "logprobs", json_deep_copy(logprobs));
        }
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach (logprobs, key, value) {
        json_t *list = json_object_get(whole, key);
        if (json_is_array(list) && json_is_array(value)) {
            (void)json_array_extend(list, value);
        } else if (!json_is_null(value)) {
            (void)json_object_set_new(whole, key, json_deep_copy(value));
        }
    }
}

static bool take_choice(struct join *join, json_t *part)
{
    const json_t *index = json_object_get(part, "index");
    json_int_t at = json_is_integer(index) ? json_integer_value(index) : -1;
    if (at < 0 || at >= CHOICES_MAX) {
        return broken(join, "a choice of the stream has no index within its range");
    }
    json_t *choice = entry_of(join->choices, part);
    const char *key;
    json_t *value;
    json_object_foreach (part, key, value) {
        if (strcmp(key, "delta") == 0 && json_is_object(value)) {
            if (!merge_value(join, choice, "message", value, 0)) {
                return false;
            }
        } else if (strcmp(key, "text") == 0 && json_is_string(value)) {
            add_piece(choice, key, value);
            join->has_token = join->has_token || json_string_length(value) > 0;
        } else if (strcmp(key, "logprobs") == 0) {
            append_logprobs(choice, value);
        } else if (!json_is_null(value) || json_object_get(choice, key) == NULL) {
            (void)json_object_set(choice, key, value);
        }
    }
    return true;
}

static bool take_choices(struct join *join, json_t *parts)
{
    size_t i;
    json_t *part;
    json_array_foreach (parts, i, part) {
        if (!take_choice(join, part)) {
            return false;
        }
    }
    return true;
}

static bool take_chunk(struct join *join, json_t *chunk)
{
    if (!json_is_object(chunk)) {
        return broken(join, "an event of the stream is not a JSON object");
    }
    if (json_object_get(chunk, "error") != NULL) {
        return broken(join, "the stream ends with an error");
    }
    const char *key;
    json_t *value;
    json_object_foreach (chunk, key, value) {
        if (strcmp(key, "choices") == 0) {
            if (!take_choices(join, value)) {
                return false;
            }
        } else if (strcmp(key, "usage") == 0 ? !json_is_null(value)
                                             : json_object_get(join->root, key) == NULL ||
                                                   json_is_null(json_object_get(join->root, key))) {
            (void)json_object_set(join->root, key, value);
        }
    }
    return true;
}

static bool is_finished(const struct join *join)
{
    size_t i;
    json_t *choice;
    json_array_foreach (join->choices, i, choice) {
        if (!json_is_string(json_object_get(choice, "finish_reason"))) {
            return false;
        }
    }
    return json_array_size(join->choices) > 0;
}

static json_t *whole_text(const json_t *pieces)
{
    struct buffer text;
    buffer_init(&text, CHUNK_BYTES_MAX);
    size_t i;
    json_t *piece;
    json_array_foreach (pieces, i, piece) {
        buffer_append(&text, json_string_value(piece), json_string_length(piece));
    }
    struct bytes bytes = buffer_bytes(&text);
    json_t *whole = buffer_failed(&text) ? NULL : json_stringn(bytes.data, bytes.size);
    buffer_close(&text);
    return whole;
}

/* Puts whole texts in the place of their pieces. Recursive, to the depth that merge allows. */
static void settle(json_t *value)
{
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        settle(item);
    }
    const char *key;
    void *next;
    json_object_foreach_safe(value, next, key, item)
    {
        json_t *pieces = json_object_get(item, pieces_key);
        if (json_is_array(pieces)) {
            (void)json_object_set_new(value, key, whole_text(pieces));
        } else {
            settle(item);
        }
    }
}

/* What a message without a stream has in other form. */
static void finish_message(json_t *message)
{
    if (json_object_get(message, "content") == NULL) {
        (void)json_object_set_new(message, "content", json_null());
    }
    size_t i;
    json_t *call;
    json_array_foreach (json_object_get(message, "tool_calls"), i, call) {
        (void)json_object_del(call, "index");
    }
}

static int append_dump(const char *data, size_t size, void *context)
{
    struct buffer *out = context;
    buffer_append(out, data, size);
    return buffer_failed(out) ? -1 : 0;
}

static bool write_whole(struct join *join, struct buffer *out)
{
    size_t i;
    json_t *choice;
    json_array_foreach (join->choices, i, choice) {
        settle(choice);
        json_t *message = json_object_get(choice, "message");
        if (message != NULL) {
            finish_message(message);
        }
    }
    const char *object = json_string_value(json_object_get(join->root, "object"));
    if (object != NULL && strcmp(object, "chat.completion.chunk") == 0) {
        (void)json_object_set_new(join->root, "object", json_string("chat.completion"));
    }
    return (json_dump_callback(join->root, append_dump, out, JSON_COMPACT) == 0 &&
            !buffer_failed(out)) ||
           broken(join, "the stream is larger than an answer may be");
}

static bool take_events(struct join *join, struct bytes stream, size_t *first_size_out)
{
    struct sse sse = sse_start(stream);
    struct buffer data;
    buffer_init(&data, CHUNK_BYTES_MAX);
    bool is_good = true;
    *first_size_out = 0;
    while (is_good && !join->is_done && sse_next(&sse, &data)) {
        struct bytes text = buffer_bytes(&data);
        if (buffer_failed(&data)) {
            is_good = broken(join, "an event of the stream is too large");
        } else if (bytes_equal_text(text, "[DONE]")) {
            join->is_done = true;
        } else {
            json_t *chunk = json_loadb(text.data, text.size, JSON_ALLOW_NUL, NULL);
            is_good = take_chunk(join, chunk);
            json_decref(chunk);
        }
        if (join->has_token && *first_size_out == 0) {
            *first_size_out = sse.at;
        }
    }
    buffer_close(&data);
    return is_good;
}

bool openai_stream_join(struct bytes stream, struct buffer *out, size_t *first_size_out,
                        struct error *error)
{
    struct join join = {.root = json_object(), .choices = json_array(), .error = error};
    (void)json_object_set_new(join.root, "choices", join.choices);
    bool is_good = take_events(&join, stream, first_size_out);
    if (is_good && !join.is_done && !is_finished(&join)) {
        is_good = broken(&join, "the stream ended before the answer did");
    }
    if (is_good && json_array_size(join.choices) == 0) {
        is_good = broken(&join, "the stream has no choices");
    }
    is_good = is_good && write_whole(&join, out);
    json_decref(join.root);
    return is_good;
}
