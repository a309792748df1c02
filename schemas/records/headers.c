/* headers: CloudEvents and dead-letter headers. */
#include "schemas/records/headers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "schemas/base/shortage.h"
#include "schemas/records/text.h"

enum { OWN_MAX = 10 }; // the most that we set: a dead letter's

static const char RUN_ID[] = "millrace-run-id";
static const char CONNECT[] = "__connect.errors.";
static const char *const traces[] = {"traceparent", "tracestate"};

/* Set by us on a result, so never copied from the request. */
static const char *const own[] = {"ce_specversion", "ce_id",        "ce_type", "ce_source",
                                  "ce_time",        "content-type", RUN_ID,    "ce_dataschema"};

struct builder {
    struct arena *arena;
    struct header *items;
    size_t count;
    size_t copied;
    size_t bytes_left; // for copies
    size_t dropped;
    bool has_failed; // the arena is full
};

static struct builder builder_of(struct arena *arena, const struct headers *request)
{
    size_t copies = request == NULL ? 0 : request->count;
    copies = copies > HEADERS_COPIED_MAX ? HEADERS_COPIED_MAX : copies;
    struct builder builder = {.arena = arena, .bytes_left = HEADERS_COPIED_BYTES_MAX};
    (void)shortage_take();
    builder.items = arena_alloc_array(arena, OWN_MAX + copies, sizeof *builder.items);
    builder.has_failed = builder.items == NULL;
    return builder;
}

/* A header of ours; `value` is copied. */
static void add(struct builder *builder, const char *name, struct bytes value)
{
    struct bytes copy = arena_copy(builder->arena, value);
    if (builder->has_failed || copy.data == NULL) {
        builder->has_failed = true;
        return;
    }
    builder->items[builder->count++] = (struct header){bytes_of(name), copy};
}

static void add_number(struct builder *builder, const char *name, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    add(builder, name, bytes_of(text));
}

/* As above, but an absent value adds nothing. */
static void add_present(struct builder *builder, const char *name, struct bytes value)
{
    if (value.data != NULL) {
        add(builder, name, value);
    }
}

static void copy_header(struct builder *builder, const struct header *header)
{
    size_t size = header->name.size + header->value.size; // both are in memory, no overflow
    if (builder->copied == HEADERS_COPIED_MAX || size > builder->bytes_left) {
        builder->dropped++;
        return;
    }
    builder->bytes_left -= size;
    builder->copied++;
    builder->items[builder->count++] = *header;
}

static bool is_among(struct bytes name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_text(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_trace(struct bytes name)
{
    return is_among(name, traces, sizeof traces / sizeof traces[0]);
}

static bool is_own(struct bytes name)
{
    return is_among(name, own, sizeof own / sizeof own[0]);
}

static bool is_connect(struct bytes name)
{
    return name.size >= sizeof CONNECT - 1 && memcmp(name.data, CONNECT, sizeof CONNECT - 1) == 0;
}

/* First the traces, then the others, so that a flood of headers cannot cut a trace. */
static void copy_request(struct builder *builder, const struct headers *request, bool keeps_own)
{
    for (int pass = 0; pass < 2 && request != NULL && !builder->has_failed; pass++) {
        for (size_t i = 0; i < request->count; i++) {
            const struct header *header = &request->items[i];
            bool is_unwanted = is_connect(header->name) || (!keeps_own && is_own(header->name));
            if (is_trace(header->name) == (pass == 0) && !is_unwanted) {
                copy_header(builder, header);
            }
        }
    }
}

static bool finish(const struct builder *builder, struct headers *out, size_t *dropped_out,
                   struct error *error)
{
    if (builder->has_failed && shortage_take()) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the headers");
    }
    if (builder->has_failed) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                         "the headers need more memory than a record may have");
    }
    *out = (struct headers){builder->items, builder->count};
    *dropped_out = builder->dropped;
    return true;
}

static void add_time(struct builder *builder, int64_t time_ms)
{
    int64_t milliseconds = time_ms % 1000;
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    if (milliseconds < 0 || gmtime_r(&seconds, &utc) == NULL) {
        return; // before 1970 or beyond tm's years: no clock says so, and ce_time is optional
    }
    char text[64];
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + length, sizeof text - length, ".%03dZ", (int)milliseconds);
    add(builder, "ce_time", bytes_of(text));
}

static void add_id(struct builder *builder, const struct source *source)
{
    char numbers[40];
    int length = snprintf(numbers, sizeof numbers, "/%" PRId32 "/%" PRId64, source->partition,
                          source->offset);
    size_t size = source->topic.size + (size_t)length;
    char *id = arena_alloc(builder->arena, size);
    if (id == NULL) {
        builder->has_failed = true;
        return;
    }
    if (source->topic.size > 0) {
        memcpy(id, source->topic.data, source->topic.size);
    }
    memcpy(id + source->topic.size, numbers, (size_t)length);
    builder->items[builder->count++] = (struct header){bytes_of("ce_id"), {id, size}};
}

static const char *type_name(enum record_kind kind)
{
    static const char *const names[RECORD_KINDS] = {
        [RECORD_REQUEST] = "millrace.v1.InferenceRequest",
        [RECORD_RESPONSE] = "millrace.v1.InferenceResponse",
        [RECORD_COMPARISON] = "millrace.v1.Comparison",
        [RECORD_CONTROL] = "millrace.v1.Control",
    };
    return names[kind];
}

bool headers_of_result(const struct result_event *event, struct arena *arena, struct headers *out,
                       size_t *dropped_out, struct error *error)
{
    struct builder builder = builder_of(arena, event->request);
    if (builder.has_failed) {
        return finish(&builder, out, dropped_out, error);
    }
    bool is_json = event->format == WIRE_JSON;
    struct bytes run_id = event->run_id;
    if (run_id.data == NULL && event->request != NULL) {
        run_id = headers_run_id(event->request);
    }
    add(&builder, "ce_specversion", bytes_of("1.0"));
    add_id(&builder, event->source);
    add(&builder, "ce_type", bytes_of(type_name(event->kind)));
    add_present(&builder, "ce_source", event->origin);
    add_time(&builder, event->time_ms);
    add(&builder, "content-type", bytes_of(is_json ? "application/json" : "application/avro"));
    if (run_id.size >= 1 && run_id.size <= RUN_ID_BYTES_MAX) {
        add(&builder, RUN_ID, run_id);
    }
    copy_request(&builder, event->request, false);
    return finish(&builder, out, dropped_out, error);
}

bool headers_of_dead_letter(const struct dead_letter *letter, const struct headers *request,
                            struct arena *arena, struct headers *out, size_t *dropped_out,
                            struct error *error)
{
    struct builder builder = builder_of(arena, request);
    if (builder.has_failed) {
        return finish(&builder, out, dropped_out, error);
    }
    add_present(&builder, "__connect.errors.topic", letter->source.topic);
    add_number(&builder, "__connect.errors.partition", letter->source.partition);
    add_number(&builder, "__connect.errors.offset", letter->source.offset);
    add_present(&builder, "__connect.errors.connector.name", letter->group);
    add_present(&builder, "__connect.errors.task.id", letter->worker_id);
    add_present(&builder, "__connect.errors.stage", letter->stage);
    add_present(&builder, "__connect.errors.class.name", letter->class_name);
    add_present(&builder, "__connect.errors.exception.class.name", letter->error_kind);
    add_present(&builder, "__connect.errors.exception.message", letter->error_message);
    if ((request == NULL || headers_run_id(request).data == NULL) && letter->run_id.size >= 1 &&
        letter->run_id.size <= RUN_ID_BYTES_MAX) {
        add(&builder, RUN_ID, letter->run_id);
    }
    copy_request(&builder, request, true);
    return finish(&builder, out, dropped_out, error);
}

struct bytes headers_find(const struct headers *headers, const char *name)
{
    for (size_t i = headers->count; i > 0; i--) {
        if (bytes_equal_text(headers->items[i - 1].name, name)) {
            return headers->items[i - 1].value;
        }
    }
    return (struct bytes){NULL, 0};
}

struct bytes headers_run_id(const struct headers *headers)
{
    struct bytes run_id = headers_find(headers, RUN_ID);
    bool is_right = run_id.data != NULL && run_id.size >= 1 && run_id.size <= RUN_ID_BYTES_MAX &&
                    text_is_utf8(run_id);
    return is_right ? run_id : (struct bytes){NULL, 0};
}
