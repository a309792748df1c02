/* fuzz_tokenizer: the input is a tokenizer.json; what opens must encode and decode without harm,
 * and everything decoded must be valid UTF-8. */
#include "pipeline/text/tokenizer.h"

#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

enum { TOKENS_MAX = 512, DECODED_BYTES_MAX = 1 << 22 };

static void check_text(const struct tokenizer *tokenizer, struct bytes text)
{
    struct token_list list;
    struct buffer decoded;
    struct error error = {0};
    token_list_init(&list, TOKENS_MAX);
    buffer_init(&decoded, DECODED_BYTES_MAX);
    if (tokenizer_encode(tokenizer, text, true, &list, &error)) {
        for (size_t i = 0; i < list.count; i++) {
            CHECK(list.ids[i] >= 0 && (size_t)list.ids[i] < tokenizer_ids_count(tokenizer));
        }
        tokenizer_decode(tokenizer, list.ids, list.count, false, &decoded);
        CHECK(buffer_failed(&decoded) || utf8_is_valid(buffer_bytes(&decoded)));
    } else {
        CHECK(error.kind != ERROR_NONE && error.message[0] != '\0');
    }
    token_list_close(&list);
    buffer_close(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes json = {(const char *)data, size};
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    if (!tokenizer_open_bytes(json, &tokenizer, &error)) {
        CHECK(error.kind != ERROR_NONE && error.message[0] != '\0');
        return 0;
    }
    check_text(tokenizer, bytes_of("The mill's 12 caf\x65\xCC\x81 \xE6\xB0\xB4 <s>  x\n\n\xFF"));
    check_text(tokenizer, (struct bytes){json.data, size < 256 ? size : 256});
    tokenizer_close(tokenizer);
    return 0;
}
