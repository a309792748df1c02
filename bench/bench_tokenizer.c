/* bench_tokenizer: megabytes per second of CPU time, encoding and decoding on one core.
 *
 *     bench_tokenizer TOKENIZER TEXT [CHUNK_BYTES]
 *
 * TOKENIZER is a tokenizer.json or a folder with one, TEXT a file in UTF-8. The text is encoded in
 * calls of CHUNK_BYTES (default 8192, a document of a nightly job), cut between characters. Prints
 * the median of the rounds.
 */
#include "pipeline/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 11, TEXT_SIZE_MAX = 64 << 20 };

static double now(void)
{
    struct timespec time;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) {
        return 0;
    }
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static bool read_text(const char *path, struct buffer *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    char chunk[65536];
    size_t size = 0;
    while ((size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(out, chunk, size);
    }
    bool is_read = ferror(file) == 0 && out->size > 0 && !buffer_failed(out);
    return fclose(file) == 0 && is_read;
}

/* Encodes the whole text, chunk by chunk, and appends all ids. */
static bool encode(const struct tokenizer *tokenizer, struct bytes text, size_t chunk_bytes,
                   struct token_list *ids, struct error *error)
{
    for (size_t start = 0; start < text.size;) {
        size_t end = text.size - start < chunk_bytes ? text.size : start + chunk_bytes;
        while (end < text.size && ((unsigned char)text.data[end] & 0xC0) == 0x80) {
            end++;
        }
        struct bytes chunk = {text.data + start, end - start};
        if (!tokenizer_encode(tokenizer, chunk, false, ids, error)) {
            return false;
        }
        start = end;
    }
    return true;
}

static bool measure(const struct tokenizer *tokenizer, struct bytes text, size_t chunk_bytes,
                    struct error *error)
{
    double encode_s[ROUNDS];
    double decode_s[ROUNDS];
    struct token_list ids;
    struct buffer decoded;
    token_list_init(&ids, SIZE_MAX);
    buffer_init(&decoded, 4 * TEXT_SIZE_MAX);
    bool is_good = true;
    for (int round = 0; round < ROUNDS && is_good; round++) {
        ids.count = 0;
        double start = now();
        is_good = encode(tokenizer, text, chunk_bytes, &ids, error);
        encode_s[round] = now() - start;
        buffer_clear(&decoded);
        start = now();
        tokenizer_decode(tokenizer, ids.ids, ids.count, false, &decoded);
        decode_s[round] = now() - start;
    }
    if (is_good) {
        double megabytes = (double)text.size / 1e6;
        printf("%.2f MB, %zu tokens, calls of %zu bytes: encode %.1f MB/s, decode %.1f MB/s\n",
               megabytes, ids.count, chunk_bytes, megabytes / median(encode_s),
               megabytes / median(decode_s));
    }
    token_list_close(&ids);
    buffer_close(&decoded);
    return is_good;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench_tokenizer TOKENIZER TEXT [CHUNK_BYTES]\n");
        return 2;
    }
    long chunk_bytes = argc > 3 ? strtol(argv[3], NULL, 10) : 8192;
    struct tokenizer *tokenizer = NULL;
    struct buffer text;
    struct error error = {0};
    buffer_init(&text, TEXT_SIZE_MAX);
    double start = now();
    bool is_done = tokenizer_open(argv[1], &tokenizer, &error);
    printf("open %.0f ms, ", (now() - start) * 1e3);
    if (is_done && (chunk_bytes < 1 || !read_text(argv[2], &text))) {
        is_done = error_set(&error, ERROR_CONFIG, NULL, NULL, "no text in %s", argv[2]);
    }
    is_done = is_done && measure(tokenizer, buffer_bytes(&text), (size_t)chunk_bytes, &error);
    if (!is_done) {
        (void)fprintf(stderr, "bench_tokenizer: %s\n", error.message);
    }
    buffer_close(&text);
    tokenizer_close(tokenizer);
    return is_done ? 0 : 1;
}
