/* body: bodies that are compressed with zstd. Thread: the codec's. */
#ifndef SCHEMAS_RECORDS_BODY_H
#define SCHEMAS_RECORDS_BODY_H

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/error.h"

struct body_codec;

struct body_codec *body_codec_open(void);        // NULL when out of memory
void body_codec_close(struct body_codec *codec); // accepts NULL

/* Exactly one frame, which must declare its content's size, at most `bytes_max`. */
bool body_decompress(struct body_codec *codec, struct bytes frame, size_t bytes_max,
                     struct arena *arena, struct bytes *body_out, struct error *error) MUST_CHECK;

/* What a body of at most `body_bytes_max` can become; SIZE_MAX where zstd cannot take so much. */
size_t body_compressed_bytes_max(size_t body_bytes_max);

/* Appends one frame that declares its size. */
bool body_compress(struct body_codec *codec, struct bytes body, struct buffer *frame_out,
                   struct error *error) MUST_CHECK;

#endif
