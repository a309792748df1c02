/* tokenize: texts to token ids and back, for comparisons with other tokenizers.
 *
 *     tokenize TOKENIZER.JSON < texts > ids
 *
 * A text is its size as 4 bytes, little-endian, and its bytes. An answer is the number of ids and
 * the ids, each as 4 bytes, then the size of the decoded text and the text; a refused text has the
 * number -1 alone. Special tokens are added, and kept by decoding.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/text/tokenizer.h"
#include "schemas/base/check.h"

enum { IDS_MAX = 1 << 26 };

static bool read_text(struct buffer *text)
{
    uint32_t size = 0;
    buffer_clear(text);
    if (fread(&size, sizeof size, 1, stdin) != 1) {
        return false;
    }
    char *target = size == 0 ? NULL : buffer_extend(text, size);
    return size == 0 || (target != NULL && fread(target, 1, size, stdin) == size);
}

static void write_number(int32_t number)
{
    (void)fwrite(&number, sizeof number, 1, stdout);
}

static void answer(const struct tokenizer *tokenizer, struct bytes text)
{
    struct error error = {0};
    struct token_list ids;
    struct buffer decoded;
    token_list_init(&ids, IDS_MAX);
    buffer_init(&decoded, INT32_MAX);
    if (!tokenizer_encode(tokenizer, text, true, &ids, &error)) {
        (void)fprintf(stderr, "%s\n", error.message);
        write_number(-1);
    } else {
        tokenizer_decode(tokenizer, ids.ids, ids.count, false, &decoded);
        write_number((int32_t)ids.count);
        (void)fwrite(ids.ids == NULL ? &(int32_t){0} : ids.ids, sizeof *ids.ids, ids.count, stdout);
        write_number((int32_t)decoded.size);
        (void)fwrite(buffer_bytes(&decoded).data, 1, decoded.size, stdout);
    }
    buffer_close(&decoded);
    token_list_close(&ids);
}

int main(int argc, char **argv)
{
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    CHECK(argc == 2);
    if (!tokenizer_open(argv[1], &tokenizer, &error)) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    struct buffer text;
    buffer_init(&text, INT32_MAX);
    while (read_text(&text)) {
        answer(tokenizer, buffer_bytes(&text));
    }
    buffer_close(&text);
    tokenizer_close(tokenizer);
    return 0;
}
