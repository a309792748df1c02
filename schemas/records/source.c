/* source: ids that derive from where a record stands. */
#include "schemas/records/source.h"

void source_id(const struct source *source, char id_out[SOURCE_ID_SIZE])
{
    uint64_t hash = 0xCBF29CE484222325U; // FNV-1a of the topic; the rest is plain
    for (size_t i = 0; i < source->topic.size; i++) {
        hash = (hash ^ (unsigned char)source->topic.data[i]) * 0x100000001B3U;
    }
    const uint64_t parts[] = {hash, (uint32_t)source->partition, (uint64_t)source->offset};
    const int digits[] = {16, 8, 16};
    char *at = id_out;
    for (int part = 0; part < 3; part++) {
        for (int shift = 4 * digits[part] - 4; shift >= 0; shift -= 4) {
            *at++ = "0123456789abcdef"[parts[part] >> shift & 0xF];
        }
    }
    *at = '\0';
}
