/* fuzz_template: any bytes as a chat template, parsed and rendered with a conversation. */
#include "pipeline/text/chat_template.h"

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { PROMPT_BYTES_MAX = 1 << 16 };

static const char variables[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be \xC3\xA9 brief.\"},"
    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \" a\\nb \"}]},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"abc123def\","
    "\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1.5, \"y\": [true, -3]}}}]}],"
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}],"
    "\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chat_template *chat_template = NULL;
    struct error error = {0};
    if (!chat_template_parse((struct bytes){(const char *)data, size}, &chat_template, &error)) {
        CHECK(error.kind == ERROR_CONFIG && error.message[0] != '\0');
        return 0;
    }
    chat_template_fix_time(chat_template, 1721995200);
    json_t *values = json_loads(variables, 0, NULL);
    CHECK(values != NULL);
    struct buffer out;
    buffer_init(&out, PROMPT_BYTES_MAX);
    buffer_append_text(&out, "before");
    if (!chat_template_render(chat_template, values, &out, &error)) {
        CHECK(error.kind == ERROR_INVALID || error.kind == ERROR_TOO_LARGE);
        CHECK(bytes_equal_text(buffer_bytes(&out), "before"));
    }
    buffer_close(&out);
    json_decref(values);
    chat_template_close(chat_template);
    return 0;
}
