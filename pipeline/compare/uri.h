/* uri: references resolved against a base, RFC 3986 section 5. Thread: any, no state. */
#ifndef PIPELINE_COMPARE_URI_H
#define PIPELINE_COMPARE_URI_H

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"

/* A URI reference in its parts; absent parts have NULL data, the path is never absent. */
struct uri {
    struct bytes scheme;
    struct bytes authority;
    struct bytes path;
    struct bytes query;
    struct bytes fragment;
};

/* Borrows from `text`. Everything is a reference of some kind; nothing is refused. */
struct uri uri_split(struct bytes text);

/* Appends what `reference` means at `base`, without its fragment. */
void uri_resolve(struct bytes base, struct bytes reference, struct buffer *out);

/* Appends `text` with its percent escapes decoded; broken ones stay as they are. */
void uri_decode(struct bytes text, struct buffer *out);

#endif
