/* fuzz_openai_request: the first byte picks the endpoint, the rest is a body; a refusal's error
 * body must be valid JSON, whatever of the input it names. */
#include "pipeline/openai/request.h"

#include <jansson.h>

#include "pipeline/openai/response.h"
#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { ARENA_BYTES_MAX = 1 << 20, ERROR_BODY_BYTES_MAX = 1 << 14 };

static void check_error_body(const struct error *error)
{
    struct buffer buffer;
    buffer_init(&buffer, ERROR_BODY_BYTES_MAX);
    openai_error_write(error, &buffer);
    CHECK(!buffer_failed(&buffer));
    json_t *root = json_loadb(buffer.data, buffer.size, 0, NULL);
    CHECK(root != NULL);
    json_decref(root);
    buffer_close(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    CHECK(arena != NULL);
    enum openai_endpoint endpoint =
        (enum openai_endpoint)(ENDPOINT_CHAT + data[0] % (ENDPOINT_EMBEDDINGS - ENDPOINT_CHAT + 1));
    struct bytes body = {(const char *)data + 1, size - 1};
    struct openai_request request;
    struct error error = {0};
    if (!openai_request_parse(endpoint, body, arena, &request, &error)) {
        CHECK(error.kind != ERROR_NONE && error.message[0] != '\0');
        check_error_body(&error);
    } else {
        CHECK(request.n >= 1 && request.model.size > 0 && request.stops_count <= OPENAI_STOPS_MAX);
        CHECK((request.messages != NULL) == (endpoint == ENDPOINT_CHAT));
    }
    openai_request_close(&request);
    arena_close(arena);
    return 0;
}
