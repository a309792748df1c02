/* fuzz_stream: an endpoint's answer as server-sent events; what is joined must be one JSON object
 * with choices. */
#include "pipeline/openai/stream.h"

#include <jansson.h>

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { ANSWER_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes stream = {(const char *)data, size};
    struct buffer out;
    struct error error = {0};
    size_t first_size = 0;
    buffer_init(&out, ANSWER_BYTES_MAX);
    (void)openai_stream_is(stream);
    if (openai_stream_join(stream, &out, &first_size, &error)) {
        json_t *root = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
        CHECK(json_is_array(json_object_get(root, "choices")) && first_size <= size);
        json_decref(root);
    } else {
        CHECK(error.kind == ERROR_UPSTREAM);
    }
    buffer_close(&out);
    return 0;
}
