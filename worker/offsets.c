/* offsets: two rings of bits over the window; see the header for the picture. */
#include "worker/offsets.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/offsets_internal.h"

enum {
    WORD_BITS = 64,
    CLAIM_SHARE = 4, // a commit lets at least this part of the window run
};

static size_t bytes_of_window(size_t window)
{
    return sizeof(struct offsets) + window / WORD_BITS * sizeof(struct offsets_word);
}

struct offsets *offsets_open(size_t window)
{
    CHECK(window >= WORD_BITS && window <= OFFSETS_WINDOW_MAX && (window & (window - 1)) == 0);
    struct offsets *offsets = calloc(1, bytes_of_window(window));
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

static struct offsets_word *word_of(struct offsets *offsets, int64_t offset)
{
    return &offsets->words[((size_t)offset & (offsets->window - 1)) / WORD_BITS];
}

static const struct offsets_word *word_at(const struct offsets *offsets, int64_t offset)
{
    return &offsets->words[((size_t)offset & (offsets->window - 1)) / WORD_BITS];
}

static uint64_t bit_of(int64_t offset)
{
    return UINT64_C(1) << (offset % WORD_BITS);
}

static bool is_included(const struct offsets *offsets, int64_t offset)
{
    return (word_at(offsets, offset)->included & bit_of(offset)) != 0;
}

/* The 64 bits from `offset` on of what is undone; without what is included unless `with_included`.
 * What lies beyond the window are bits of its beginning. */
static uint64_t undone_word(const struct offsets *offsets, int64_t offset, bool with_included)
{
    const struct offsets_word *low = word_at(offsets, offset);
    const struct offsets_word *high = word_at(offsets, offset + WORD_BITS);
    uint64_t low_bits = low->undone & ~(with_included ? 0 : low->included);
    uint64_t high_bits = high->undone & ~(with_included ? 0 : high->included);
    size_t shift = (size_t)offset % WORD_BITS;
    return shift == 0 ? low_bits : low_bits >> shift | high_bits << (WORD_BITS - shift);
}

/* The lowest undone offset, or `end`. */
static int64_t find_lowest(const struct offsets *offsets, bool with_included)
{
    size_t undone = offsets->unfinished + offsets->awaited;
    if (undone == (with_included ? 0 : offsets->included)) {
        return offsets->end; // which may be any distance away
    }
    for (int64_t offset = offsets->lowest; offset < offsets->end; offset += WORD_BITS) {
        uint64_t word = undone_word(offsets, offset, with_included);
        if (word != 0) {
            int64_t found = offset + __builtin_ctzll(word);
            return found < offsets->end ? found : offsets->end;
        }
    }
    return offsets->end;
}

/* Where what is known ends, seen from `offset`. Offsets that were passed over beyond the window
 * have no bit: they are done, and no map needs to say so. */
static int64_t window_end(const struct offsets *offsets, int64_t offset)
{
    int64_t end = offset + (int64_t)offsets->window;
    return end < offsets->end ? end : offsets->end;
}

static bool is_undone(const struct offsets *offsets, int64_t offset)
{
    return offset >= offsets->lowest && offset < window_end(offsets, offsets->lowest) &&
           (word_at(offsets, offset)->undone & bit_of(offset)) != 0;
}

static bool is_in_flight(const struct offsets *offsets, uint32_t epoch, int64_t offset)
{
    return offsets_is_current(offsets, epoch) && offset < offsets->next &&
           is_undone(offsets, offset);
}

/* Everything below `offset` that was not delivered will never be. */
static void pass_over(struct offsets *offsets, int64_t offset)
{
    int64_t end = offset < offsets->end ? offset : offsets->end;
    for (int64_t at = offsets->next; at < end && offsets->awaited > 0; at++) {
        struct offsets_word *word = word_of(offsets, at);
        offsets->awaited -= (word->undone & bit_of(at)) != 0 ? 1 : 0;
        word->undone &= ~bit_of(at);
    }
    attempts_drop(&offsets->attempts, offsets->next, offset);
    offsets->next = offset;
    if (offset > offsets->end) {
        offsets->end = offset;
    }
    offsets->lowest = find_lowest(offsets, true);
}

void offsets_assign(struct offsets *offsets, uint32_t epoch)
{
    size_t window = offsets->window;
    memset(offsets, 0, bytes_of_window(window));
    offsets->window = window;
    offsets->epoch = epoch;
    offsets->start = -1;
    offsets->lowest = -1;
    offsets->next = -1;
    offsets->end = -1;
    offsets->suspect_end = -1;
    offsets->reach = -1;
}

void offsets_restore(struct offsets *offsets, uint32_t epoch, const struct offset_map *map)
{
    CHECK(map->position >= 0 && map->span <= offsets->window);
    offsets_assign(offsets, epoch);
    offsets->start = map->position;
    offsets->lowest = map->position;
    offsets->next = map->position;
    offsets->end = map->position + map->span;
    for (uint32_t i = 0; i < map->span; i++) {
        if (!offset_map_is_done(map, i)) {
            word_of(offsets, map->position + i)->undone |= bit_of(map->position + i);
            offsets->awaited++;
        }
    }
    offsets->reach = map->position + map->suspects;
    offsets->suspect_end = offsets->reach;
    attempts_restore(&offsets->attempts, map);
}

void offsets_limit_suspects(struct offsets *offsets, int64_t log_end)
{
    if (log_end < offsets->suspect_end) {
        offsets->suspect_end = log_end;
    }
}

void offsets_end(struct offsets *offsets)
{
    offsets->is_over = true;
}

uint32_t offsets_epoch(const struct offsets *offsets)
{
    return offsets->epoch;
}

bool offsets_is_current(const struct offsets *offsets, uint32_t epoch)
{
    return epoch == offsets->epoch && !offsets->is_over;
}

bool offsets_precedes(const struct offsets *offsets, int64_t offset)
{
    return offset < offsets->start;
}

bool offsets_has_room(const struct offsets *offsets, int64_t offset)
{
    // What is awaited lies above what is unfinished, or will be passed over.
    return offsets->unfinished == 0 || offset - offsets->lowest < (int64_t)offsets->window;
}

bool offsets_is_done(const struct offsets *offsets, int64_t offset)
{
    return offset < offsets->next || (offset < offsets->end && !is_undone(offsets, offset));
}

bool offsets_deliver(struct offsets *offsets, int64_t offset)
{
    CHECK(offset >= 0 && offsets_has_room(offsets, offset));
    if (offset < offsets->next) {
        return false;
    }
    bool is_known = offset < offsets->end;
    if (offsets->start < 0) {
        offsets->start = offset;
    }
    pass_over(offsets, offset);
    offsets->next = offset + 1;
    if (is_known && !is_undone(offsets, offset)) {
        return false;
    }
    if (is_known) {
        offsets->awaited--;
    } else {
        word_of(offsets, offset)->undone |= bit_of(offset);
        offsets->end = offset + 1;
    }
    offsets->unfinished++;
    return true;
}

void offsets_advance(struct offsets *offsets, int64_t position)
{
    if (position <= offsets->next) {
        return;
    }
    int64_t before = offsets->lowest;
    pass_over(offsets, position);
    offsets->wants_commit |= offsets->lowest != before;
}

bool offsets_is_careful(const struct offsets *offsets)
{
    return offsets->lowest < offsets->suspect_end;
}

static size_t count_suspects(const struct offsets *offsets)
{
    size_t count = 0;
    int64_t end = window_end(offsets, offsets->lowest);
    end = end < offsets->suspect_end ? end : offsets->suspect_end;
    for (int64_t at = offsets->lowest; at < end; at += WORD_BITS) {
        uint64_t word = undone_word(offsets, at, true);
        if (end - at < WORD_BITS) {
            word &= bit_of(end - at) - 1;
        }
        count += (size_t)__builtin_popcountll(word);
    }
    return count;
}

/* Whether other records may run beside the suspects: these have all come and begun, and none of
 * them has to be alone. So one that takes long keeps nobody waiting. */
static bool has_begun_suspects(const struct offsets *offsets)
{
    return offsets->next >= offsets->suspect_end && !attempts_has_alone(&offsets->attempts) &&
           count_suspects(offsets) == attempts_running(&offsets->attempts);
}

static enum offsets_turn turn_of(const struct attempt *attempt)
{
    if (attempt->state != ATTEMPT_CONFIRMED) {
        return OFFSETS_COMMIT;
    }
    return attempt->group == 1 ? OFFSETS_RUN_ALONE : OFFSETS_RUN;
}

enum offsets_turn offsets_begin(struct offsets *offsets, uint32_t epoch, int64_t offset,
                                int attempts_max)
{
    CHECK(attempts_max > 0 && attempts_max <= OFFSET_MAP_ATTEMPT_COUNT_MAX);
    if (!is_in_flight(offsets, epoch, offset)) {
        return OFFSETS_STALE;
    }
    const struct attempt *attempt = attempts_find(&offsets->attempts, offset);
    if (attempt != NULL && attempt->state != ATTEMPT_COUNTED) {
        return turn_of(attempt);
    }
    if (attempt != NULL && attempt->count >= attempts_max) {
        return OFFSETS_EXHAUSTED;
    }
    if (offset < offsets->suspect_end) {
        if (!attempts_note(&offsets->attempts, offset, attempts_max)) {
            return OFFSETS_WAIT;
        }
        offsets->wants_commit = true;
        return OFFSETS_COMMIT;
    }
    if (offsets_is_careful(offsets) && !has_begun_suspects(offsets)) {
        return OFFSETS_WAIT;
    }
    bool is_in_commit = !offsets->is_sent || offset < offsets->reach_sent;
    if (offset < offsets->reach && is_in_commit) {
        return OFFSETS_RUN;
    }
    offsets->wants_commit |= !offsets->is_sent || !is_in_commit;
    return OFFSETS_COMMIT;
}

bool offsets_wants_alone(const struct offsets *offsets, uint32_t epoch, int64_t offset,
                         int attempts_max)
{
    return offset < offsets->suspect_end && is_in_flight(offsets, epoch, offset) &&
           attempts_wants_alone(&offsets->attempts, offset, attempts_max);
}

int offsets_attempts(const struct offsets *offsets, int64_t offset)
{
    const struct attempt *attempt = attempts_find(&offsets->attempts, offset);
    return attempt == NULL ? 0 : attempt->count;
}

bool offsets_finish(struct offsets *offsets, uint32_t epoch, int64_t offset)
{
    if (!is_in_flight(offsets, epoch, offset) || is_included(offsets, offset)) {
        return false;
    }
    word_of(offsets, offset)->undone &= ~bit_of(offset);
    offsets->unfinished--;
    offsets->lowest = find_lowest(offsets, true);
    attempts_drop(&offsets->attempts, offset, offset + 1);
    offsets->wants_commit = true;
    return true;
}

bool offsets_include(struct offsets *offsets, uint32_t epoch, int64_t offset)
{
    CHECK(!offsets->is_sent);
    if (!is_in_flight(offsets, epoch, offset) || is_included(offsets, offset)) {
        return false;
    }
    word_of(offsets, offset)->included |= bit_of(offset);
    offsets->included++;
    offsets->wants_commit = true;
    return true;
}

/* The map from `position` on, with what is included as done. */
static void write_done(const struct offsets *offsets, int64_t position, struct offset_map *map)
{
    int64_t end = window_end(offsets, position);
    for (int64_t at = position; at < end; at += WORD_BITS) {
        uint64_t done = ~undone_word(offsets, at, false);
        if (end - at < WORD_BITS) {
            done &= (UINT64_C(1) << (end - at)) - 1;
        }
        uint32_t index = (uint32_t)(at - position);
        map->done[index / WORD_BITS] = done;
        if (done != 0) {
            map->span = index + WORD_BITS - (uint32_t)__builtin_clzll(done);
        }
    }
}

/* What a commit at `position` says about suspects: those of an earlier owner, and what may run
 * until the next commit is confirmed. This is twice of what is known, so that a partition that is
 * read fast soon waits for no commit, and one that is read slowly leaves few suspects. */
static int64_t suspects_from(const struct offsets *offsets, int64_t position, bool is_last)
{
    int64_t known = position < offsets->suspect_end ? offsets->suspect_end - position : 0;
    if (is_last || (known > 0 && !has_begun_suspects(offsets))) {
        return known;
    }
    int64_t window = (int64_t)offsets->window;
    int64_t claim = window / CLAIM_SHARE;
    int64_t ahead = window_end(offsets, position) - position;
    claim = claim > 2 * ahead ? claim : 2 * ahead;
    claim = claim < window ? claim : window;
    return claim > known ? claim : known;
}

bool offsets_snapshot(struct offsets *offsets, uint32_t epoch, bool is_last,
                      struct offsets_commit *commit_out)
{
    CHECK(!offsets->is_sent);
    if (!offsets_is_current(offsets, epoch) || offsets->lowest < 0) {
        return false;
    }
    struct offset_map map;
    int64_t position = find_lowest(offsets, false);
    int64_t suspects = suspects_from(offsets, position, is_last);
    offset_map_init(&map, position, (uint32_t)suspects);
    write_done(offsets, position, &map);
    attempts_write(&offsets->attempts, is_last, &map);
    commit_out->position = position;
    commit_out->metadata_size = offset_map_encode(&map, commit_out->metadata);
    offsets->position_sent = position;
    offsets->reach_sent = is_last ? -1 : position + suspects;
    offsets->reach = is_last ? -1 : offsets->reach;
    attempts_send(&offsets->attempts);
    offsets->is_sent = true;
    offsets->wants_commit = false;
    return true;
}

bool offsets_confirm(struct offsets *offsets, uint32_t epoch)
{
    if (!offsets_is_current(offsets, epoch) || !offsets->is_sent) {
        return false;
    }
    for (size_t i = 0; i < offsets->window / WORD_BITS; i++) {
        struct offsets_word *word = &offsets->words[i];
        word->undone &= ~word->included;
        word->included = 0;
    }
    offsets->unfinished -= offsets->included;
    offsets->included = 0;
    offsets->is_sent = false;
    offsets->reach = offsets->reach_sent;
    offsets->lowest = find_lowest(offsets, true);
    // Offsets that were passed over meanwhile.
    offsets->wants_commit |= offsets->lowest != offsets->position_sent;
    attempts_confirm(&offsets->attempts);
    for (size_t i = offsets->attempts.count; i-- > 0;) {
        int64_t offset = offsets->attempts.items[i].offset;
        if (offset < offsets->end && !is_undone(offsets, offset)) {
            attempts_drop(&offsets->attempts, offset, offset + 1);
        }
    }
    return true;
}

bool offsets_undo(struct offsets *offsets, uint32_t epoch)
{
    if (!offsets_is_current(offsets, epoch)) {
        return false;
    }
    for (size_t i = 0; i < offsets->window / WORD_BITS; i++) {
        offsets->words[i].included = 0;
    }
    offsets->included = 0;
    offsets->is_sent = false;
    offsets->wants_commit = true;
    return true;
}

bool offsets_needs_commit(const struct offsets *offsets)
{
    return offsets->wants_commit && offsets->lowest >= 0 && !offsets->is_over;
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
