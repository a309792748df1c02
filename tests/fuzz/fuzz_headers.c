/* Headers that a request brought. Input: any number of (name size, value size or FF for none, name,
 * value). */
#include "tests/fuzz/fuzz.h"

#include "schemas/base/check.h"
#include "schemas/records/headers.h"

enum { HEADERS_MAX = 256, NO_VALUE = 0xFF };

/* The next `wanted` bytes, or what is left. */
static struct bytes take(const uint8_t **at, const uint8_t *end, size_t wanted)
{
    size_t left = (size_t)(end - *at);
    struct bytes bytes = {(const char *)*at, wanted < left ? wanted : left};
    *at += bytes.size;
    return bytes;
}

static size_t parse(const uint8_t *at, const uint8_t *end, struct header *items)
{
    size_t count = 0;
    while (end - at >= 2 && count < HEADERS_MAX) {
        size_t name_size = *at++;
        size_t value_size = *at++;
        struct header *header = &items[count++];
        header->name = take(&at, end, name_size);
        header->value =
            value_size == NO_VALUE ? (struct bytes){NULL, 0} : take(&at, end, value_size);
    }
    return count;
}

/* Ours come first and once; the copies keep within their bounds and none is lost without being
 * counted. */
static void check(const struct headers *made, const struct headers *request, size_t dropped)
{
    size_t bytes = 0;
    for (size_t i = 0; i < made->count; i++) {
        bytes += made->items[i].name.size + made->items[i].value.size;
    }
    CHECK(made->count <= HEADERS_COPIED_MAX + 9);
    CHECK(bytes <= HEADERS_COPIED_BYTES_MAX + 2048);
    CHECK(dropped <= request->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header items[HEADERS_MAX];
    struct headers request = {items, parse(data, data + size, items)};
    struct arena *arena = arena_open(1 << 20);
    const struct source source = {{"llm.requests.v1", 15}, 3, 1234567};
    const struct result_event event = {.source = &source,
                                       .kind = RECORD_RESPONSE,
                                       .origin = bytes_of("/millrace/group"),
                                       .time_ms = 1769904000123,
                                       .request = &request};
    const struct dead_letter letter = {
        .source = source, .stage = bytes_of("decode"), .error_message = bytes_of("not valid JSON")};
    struct headers made;
    size_t dropped;
    struct error error;
    CHECK(headers_of_result(&event, arena, &made, &dropped, &error));
    check(&made, &request, dropped);
    CHECK(headers_of_dead_letter(&letter, &request, arena, &made, &dropped, &error));
    check(&made, &request, dropped);
    (void)headers_run_id(&request);
    arena_close(arena);
    return 0;
}
