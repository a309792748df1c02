/* sealed_map: any bytes as an offset map whose checksum is right, so that a test gets past it. */
#ifndef TESTS_SUPPORT_SEALED_MAP_H
#define TESTS_SUPPORT_SEALED_MAP_H

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/bytes.h"

enum { SEALED_MAP_BYTES_MAX = 3072, SEALED_MAP_TEXT_MAX = 4 * (SEALED_MAP_BYTES_MAX + 4) / 3 + 4 };

/* `size` is at most SEALED_MAP_BYTES_MAX. Not NUL-terminated. */
static inline struct bytes sealed_map(const uint8_t *bytes, size_t size,
                                      char text_out[SEALED_MAP_TEXT_MAX])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t raw[SEALED_MAP_BYTES_MAX + 4 + 2] = {0};
    memcpy(raw, bytes, size);
    uint32_t checksum = XXH32(raw, size, 0);
    for (int i = 0; i < 4; i++) {
        raw[size++] = (uint8_t)(checksum >> 8 * i);
    }
    size_t length = 0;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];
        for (unsigned digit = 0; digit < 4; digit++) {
            text_out[length++] = i + digit <= size ? alphabet[group >> (18 - 6 * digit) & 63] : '=';
        }
    }
    return (struct bytes){text_out, length};
}

#endif
