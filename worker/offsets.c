/* Offsets: a ring of bits over the window; see the header for the picture. */
#include "worker/offsets.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { WORD_BITS = 64 };

struct offsets {
    uint32_t epoch;
    int64_t lowest; // of the unfinished; == next when there are none; -1 before the first delivery
    int64_t next;   // one past the highest offset that was delivered or passed over
    size_t unfinished;
    size_t window;
    uint64_t bits[]; // [window / 64], the bit of an offset is offset % window
};

struct offsets *offsets_open(size_t window)
{
    CHECK(window >= WORD_BITS && window <= OFFSETS_WINDOW_MAX && (window & (window - 1)) == 0);
    struct offsets *offsets = calloc(1, sizeof *offsets + window / 8);
    if (offsets != NULL) {
        offsets->window = window;
        offsets_assign(offsets, 0);
    }
    return offsets;
}

void offsets_close(struct offsets *offsets)
{
    free(offsets);
}

void offsets_assign(struct offsets *offsets, uint32_t epoch)
{
    offsets->epoch = epoch;
    offsets->lowest = -1;
    offsets->next = -1;
    offsets->unfinished = 0;
    memset(offsets->bits, 0, offsets->window / 8);
}

uint32_t offsets_epoch(const struct offsets *offsets)
{
    return offsets->epoch;
}

static size_t bit_of(const struct offsets *offsets, int64_t offset)
{
    return (size_t)offset & (offsets->window - 1);
}

static bool is_set(const struct offsets *offsets, int64_t offset)
{
    size_t bit = bit_of(offsets, offset);
    return (offsets->bits[bit / WORD_BITS] >> (bit % WORD_BITS) & 1) != 0;
}

bool offsets_has_room(const struct offsets *offsets, int64_t offset)
{
    return offsets->unfinished == 0 || offset - offsets->lowest < (int64_t)offsets->window;
}

bool offsets_deliver(struct offsets *offsets, int64_t offset)
{
    CHECK(offset >= 0 && offsets_has_room(offsets, offset));
    if (offset < offsets->next) {
        return false;
    }
    if (offsets->unfinished == 0) {
        offsets->lowest = offset;
    }
    size_t bit = bit_of(offsets, offset);
    offsets->bits[bit / WORD_BITS] |= UINT64_C(1) << (bit % WORD_BITS);
    offsets->unfinished++;
    offsets->next = offset + 1;
    return true;
}

/* Moves `lowest` to the next set bit. There is one: unfinished > 0. */
static void find_lowest(struct offsets *offsets)
{
    int64_t offset = offsets->lowest;
    for (;;) {
        size_t bit = bit_of(offsets, offset);
        uint64_t word = offsets->bits[bit / WORD_BITS] >> (bit % WORD_BITS);
        if (word != 0) {
            offsets->lowest = offset + __builtin_ctzll(word);
            return;
        }
        offset += (int64_t)(WORD_BITS - bit % WORD_BITS);
        CHECK(offset < offsets->next);
    }
}

bool offsets_finish(struct offsets *offsets, uint32_t epoch, int64_t offset)
{
    bool is_inside = offsets->unfinished > 0 && offset >= offsets->lowest && offset < offsets->next;
    if (epoch != offsets->epoch || !is_inside || !is_set(offsets, offset)) {
        return false;
    }
    size_t bit = bit_of(offsets, offset);
    offsets->bits[bit / WORD_BITS] &= ~(UINT64_C(1) << (bit % WORD_BITS));
    offsets->unfinished--;
    if (offsets->unfinished == 0) {
        offsets->lowest = offsets->next;
    } else if (offset == offsets->lowest) {
        find_lowest(offsets);
    }
    return true;
}

void offsets_advance(struct offsets *offsets, int64_t position)
{
    if (position <= offsets->next) {
        return;
    }
    offsets->next = position;
    if (offsets->unfinished == 0) {
        offsets->lowest = position;
    }
}

int64_t offsets_position(const struct offsets *offsets)
{
    return offsets->lowest;
}

int64_t offsets_next(const struct offsets *offsets)
{
    return offsets->next;
}

size_t offsets_unfinished(const struct offsets *offsets)
{
    return offsets->unfinished;
}
