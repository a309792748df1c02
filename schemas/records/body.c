/* body: zstd with a size that is known before anything is allocated. */
#include "schemas/records/body.h"

#include <stdint.h>
#include <stdlib.h>
#include <zstd.h>

enum { LEVEL = 3 }; // zstd's own default

struct body_codec {
    ZSTD_DCtx *decompressor;
    ZSTD_CCtx *compressor;
};

struct body_codec *body_codec_open(void)
{
    struct body_codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) {
        return NULL;
    }
    codec->decompressor = ZSTD_createDCtx();
    codec->compressor = ZSTD_createCCtx();
    if (codec->decompressor == NULL || codec->compressor == NULL) {
        body_codec_close(codec);
        return NULL;
    }
    return codec;
}

void body_codec_close(struct body_codec *codec)
{
    if (codec != NULL) {
        ZSTD_freeDCtx(codec->decompressor); // both accept NULL
        ZSTD_freeCCtx(codec->compressor);
        free(codec);
    }
}

static bool refuse(struct error *error, const char *problem)
{
    return error_set(error, ERROR_UNDECODABLE, NULL, "body", "the zstd body %s", problem);
}

bool body_decompress(struct body_codec *codec, struct bytes frame, size_t bytes_max,
                     struct arena *arena, struct bytes *body_out, struct error *error)
{
    unsigned long long size = ZSTD_getFrameContentSize(frame.data, frame.size);
    if (size == ZSTD_CONTENTSIZE_ERROR) {
        return refuse(error, "does not begin with a zstd frame");
    }
    if (size == ZSTD_CONTENTSIZE_UNKNOWN) {
        return refuse(error, "does not declare its content's size");
    }
    if (size > bytes_max) {
        return error_set(error, ERROR_UNDECODABLE, NULL, "body",
                         "the zstd body declares %llu bytes, the limit is %zu", size, bytes_max);
    }
    // Also walks the frame's blocks, so a lie about the size is found before memory is taken for
    // it.
    size_t frame_size = ZSTD_findFrameCompressedSize(frame.data, frame.size);
    if (ZSTD_isError(frame_size)) {
        return refuse(error, "is cut off or damaged");
    }
    if (frame_size != frame.size) {
        return refuse(error, "has bytes behind its first frame");
    }
    char *body = arena_alloc(arena, (size_t)size);
    if (body == NULL) {
        return refuse(error, "needs more memory than a record may have");
    }
    size_t got =
        ZSTD_decompressDCtx(codec->decompressor, body, (size_t)size, frame.data, frame.size);
    if (ZSTD_isError(got) || got != size) {
        return refuse(error, "is damaged or does not have the size that it declares");
    }
    *body_out = (struct bytes){body, (size_t)size};
    return true;
}

size_t body_compressed_bytes_max(size_t body_bytes_max)
{
    size_t bound = ZSTD_compressBound(body_bytes_max);
    return ZSTD_isError(bound) ? SIZE_MAX : bound;
}

bool body_compress(struct body_codec *codec, struct bytes body, struct buffer *frame_out,
                   struct error *error)
{
    size_t start = frame_out->size;
    size_t bound = ZSTD_compressBound(body.size);
    char *frame = ZSTD_isError(bound) ? NULL : buffer_extend(frame_out, bound);
    if (frame == NULL) {
        return error_set(error, ERROR_TOO_LARGE, NULL, "body",
                         "a body of %zu bytes is too large to be compressed", body.size);
    }
    size_t size = ZSTD_compressCCtx(codec->compressor, frame, bound, body.data, body.size, LEVEL);
    buffer_truncate(frame_out, start + (ZSTD_isError(size) ? 0 : size));
    return !ZSTD_isError(size) ||
           error_set(error, ERROR_INTERNAL, NULL, "body", "zstd: %s", ZSTD_getErrorName(size));
}
