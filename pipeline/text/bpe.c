/* bpe: the table of merges and the two ways through it. */
#include "pipeline/text/bpe.h"

#include <stdlib.h>

#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"

enum {
    SHORT_WORD_SIZE = 64, // up to here a scan for the lowest rank beats the heap
    PROBES_MAX = 4096,    // at a load of one half only a hostile file comes near it
    HEAP_ARITY = 4,
};

static const struct bpe_merge no_merge = {UINT32_MAX, -1};

struct bpe_symbol {
    int32_t id;       // -1: merged into a symbol before it
    int32_t previous; // position, -1 at the start
    int32_t next;     // position, -1 at the end
};

/* --- The table of merges --- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t slot_of(const struct bpe *bpe, uint64_t pair)
{
    uint64_t hash = pair * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (size_t)(hash >> 32) & (bpe->slots_count - 1);
}

static struct bpe_merge find_merge(const struct bpe *bpe, int32_t left, int32_t right)
{
    uint64_t pair = pair_of(left, right);
    size_t mask = bpe->slots_count - 1;
    for (size_t i = slot_of(bpe, pair);; i = (i + 1) & mask) {
        const struct bpe_slot *slot = &bpe->slots[i];
        if (slot->pair == pair) {
            return slot->merge;
        }
        if (slot->pair == UINT64_MAX) {
            return no_merge;
        }
    }
}

bool bpe_init(struct bpe *bpe, size_t ids_count, size_t merges_count, struct error *error)
{
    CHECK(merges_count <= BPE_MERGES_MAX);
    *bpe = (struct bpe){.unknown_id = -1};
    if (!vocabulary_init(&bpe->words, ids_count, error)) {
        return false;
    }
    bpe->slots_count = 16;
    while (bpe->slots_count < 2 * merges_count) {
        bpe->slots_count *= 2;
    }
    bpe->slots = calloc(bpe->slots_count, sizeof *bpe->slots);
    bpe->is_whole = calloc(ids_count + 1, sizeof *bpe->is_whole);
    if (bpe->slots == NULL || bpe->is_whole == NULL) {
        bpe_close(bpe);
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu merges",
                         merges_count);
    }
    for (size_t i = 0; i < bpe->slots_count; i++) {
        bpe->slots[i] = (struct bpe_slot){UINT64_MAX, no_merge};
    }
    for (size_t i = 0; i < 256; i++) {
        bpe->first_ids[i] = -1;
        bpe->fallback_ids[i] = -1;
    }
    return true;
}

void bpe_close(struct bpe *bpe)
{
    vocabulary_close(&bpe->words);
    free(bpe->slots);
    free(bpe->is_whole);
    free(bpe->byte_pairs);
    *bpe = (struct bpe){0};
}

bool bpe_add_merge(struct bpe *bpe, int32_t left, int32_t right, struct bpe_merge merge,
                   struct error *error)
{
    uint64_t pair = pair_of(left, right);
    size_t i = slot_of(bpe, pair);
    for (size_t probes = 0; bpe->slots[i].pair != UINT64_MAX && bpe->slots[i].pair != pair;
         probes++) {
        if (probes == PROBES_MAX) {
            return error_set(error, ERROR_INVALID, NULL, NULL,
                             "the merges collide in the hash table more than %d times", PROBES_MAX);
        }
        i = (i + 1) & (bpe->slots_count - 1);
    }
    bpe->slots[i] = (struct bpe_slot){pair, merge};
    return true;
}

/* --- From a word to its first symbols --- */

/* The symbols of a word as they arise; an unknown run is held back because it may grow. */
struct spelling {
    const struct bpe *bpe;
    int32_t *ids; // room for as many as the word has bytes
    size_t count;
    bool has_unknown;
};

static void spell_unknown(struct spelling *spelling, struct bytes symbol)
{
    const struct bpe *bpe = spelling->bpe;
    bool is_spelled = bpe->has_fallback;
    for (size_t i = 0; i < symbol.size && is_spelled; i++) {
        is_spelled = bpe->fallback_ids[(unsigned char)symbol.data[i]] >= 0;
    }
    if (is_spelled) {
        for (size_t i = 0; i < symbol.size; i++) {
            spelling->ids[spelling->count++] = bpe->fallback_ids[(unsigned char)symbol.data[i]];
        }
    } else if (bpe->unknown_id >= 0) {
        if (spelling->has_unknown && !bpe->fuses_unknown) {
            spelling->ids[spelling->count++] = bpe->unknown_id;
        }
        spelling->has_unknown = true;
    }
}

static void flush_unknown(struct spelling *spelling)
{
    if (spelling->has_unknown) {
        spelling->ids[spelling->count++] = spelling->bpe->unknown_id;
        spelling->has_unknown = false;
    }
}

/* Returns the number of symbols, at most word.size. */
static size_t spell(const struct bpe *bpe, struct bytes word, int32_t *ids)
{
    struct spelling spelling = {.bpe = bpe, .ids = ids};
    for (size_t position = 0; position < word.size;) {
        unsigned char byte = (unsigned char)word.data[position];
        struct bytes symbol = {word.data + position, 1};
        int32_t id = bpe->first_ids[byte];
        if (byte >= 0x80 && !bpe->is_byte_level) {
            (void)utf8_decode(symbol.data, &symbol.size);
            id = vocabulary_find(&bpe->words, symbol.data, symbol.size);
        }
        position += symbol.size;
        if (id < 0) {
            spell_unknown(&spelling, symbol);
            continue;
        }
        flush_unknown(&spelling);
        spelling.ids[spelling.count++] = id;
    }
    flush_unknown(&spelling);
    return spelling.count;
}

/* --- Short words --- */

struct short_word {
    size_t count;
    int32_t ids[SHORT_WORD_SIZE];
    struct bpe_merge merges[SHORT_WORD_SIZE]; // of symbols i and i + 1
};

static void short_word_init(struct short_word *word, const struct bpe *bpe, struct bytes text)
{
    word->count = spell(bpe, text, word->ids);
    if (bpe->byte_pairs == NULL) {
        for (size_t i = 0; i + 1 < word->count; i++) {
            word->merges[i] = find_merge(bpe, word->ids[i], word->ids[i + 1]);
        }
        return;
    }
    const unsigned char *bytes = (const unsigned char *)text.data;
    for (size_t i = 0; i + 1 < word->count; i++) {
        word->merges[i] = bpe->byte_pairs[bytes[i] << 8 | bytes[i + 1]];
    }
}

static void short_word_merge(struct short_word *word, const struct bpe *bpe)
{
    while (word->count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < word->count; i++) {
            best = word->merges[i].rank < word->merges[best].rank ? i : best;
        }
        if (word->merges[best].rank == UINT32_MAX) {
            return;
        }
        word->ids[best] = word->merges[best].id;
        word->count--;
        for (size_t i = best + 1; i < word->count; i++) {
            word->ids[i] = word->ids[i + 1];
            word->merges[i - 1] = word->merges[i];
        }
        if (best > 0) {
            word->merges[best - 1] = find_merge(bpe, word->ids[best - 1], word->ids[best]);
        }
        if (best + 1 < word->count) {
            word->merges[best] = find_merge(bpe, word->ids[best], word->ids[best + 1]);
        }
    }
}

static bool encode_short(const struct bpe *bpe, struct bytes text, struct token_list *out,
                         struct error *error)
{
    struct short_word word;
    short_word_init(&word, bpe, text);
    short_word_merge(&word, bpe);
    for (size_t i = 0; i < word.count; i++) {
        if (!token_list_append(out, word.ids[i], error)) {
            return false;
        }
    }
    return true;
}

/* --- Long words --- */

void bpe_scratch_close(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}

static bool reserve_symbols(struct bpe_scratch *scratch, size_t count, struct error *error)
{
    if (count > scratch->symbols_capacity) {
        struct bpe_symbol *symbols = realloc(scratch->symbols, count * sizeof *symbols);
        if (symbols == NULL) {
            return error_set(error, ERROR_INTERNAL, NULL, NULL,
                             "out of memory for a word of %zu bytes", count);
        }
        scratch->symbols = symbols;
        scratch->symbols_capacity = count;
    }
    return true;
}

static bool reserve_heap(struct bpe_scratch *scratch, size_t count, struct error *error)
{
    if (count > scratch->heap_capacity) {
        size_t capacity = 2 * scratch->heap_capacity > count ? 2 * scratch->heap_capacity : count;
        uint64_t *heap = realloc(scratch->heap, capacity * sizeof *heap);
        if (heap == NULL) {
            return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu merges",
                             capacity);
        }
        scratch->heap = heap;
        scratch->heap_capacity = capacity;
    }
    return true;
}

static void sift_down(uint64_t *heap, size_t count, size_t hole, uint64_t value)
{
    for (;;) {
        size_t child = HEAP_ARITY * hole + 1;
        if (child >= count) {
            break;
        }
        size_t end = child + HEAP_ARITY < count ? child + HEAP_ARITY : count;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++) {
            least = heap[i] < heap[least] ? i : least;
        }
        if (heap[least] >= value) {
            break;
        }
        heap[hole] = heap[least];
        hole = least;
    }
    heap[hole] = value;
}

static void heap_push(struct bpe_scratch *scratch, uint64_t value)
{
    uint64_t *heap = scratch->heap;
    size_t hole = scratch->heap_count++;
    while (hole > 0 && heap[(hole - 1) / HEAP_ARITY] > value) {
        heap[hole] = heap[(hole - 1) / HEAP_ARITY];
        hole = (hole - 1) / HEAP_ARITY;
    }
    heap[hole] = value;
}

static uint64_t heap_pop(struct bpe_scratch *scratch)
{
    uint64_t least = scratch->heap[0];
    uint64_t last = scratch->heap[--scratch->heap_count];
    if (scratch->heap_count > 0) {
        sift_down(scratch->heap, scratch->heap_count, 0, last);
    }
    return least;
}

static void push_pair(const struct bpe *bpe, struct bpe_scratch *scratch, int32_t left)
{
    const struct bpe_symbol *symbol = &scratch->symbols[left];
    struct bpe_merge merge = find_merge(bpe, symbol->id, scratch->symbols[symbol->next].id);
    if (merge.rank != UINT32_MAX) {
        heap_push(scratch, (uint64_t)merge.rank << 32 | (uint32_t)left);
    }
}

/* Links `count` symbols, whose ids lie in the heap's memory as int32_t, and fills the heap. */
static void long_word_init(const struct bpe *bpe, struct bpe_scratch *scratch, size_t count)
{
    struct bpe_symbol *symbols = scratch->symbols;
    for (size_t i = 0; i < count; i++) {
        symbols[i].id = ((const int32_t *)scratch->heap)[i];
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    scratch->heap_count = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        struct bpe_merge merge = find_merge(bpe, symbols[i].id, symbols[i + 1].id);
        if (merge.rank != UINT32_MAX) {
            scratch->heap[scratch->heap_count++] = (uint64_t)merge.rank << 32 | i;
        }
    }
    for (size_t i = scratch->heap_count; i-- > 0;) {
        sift_down(scratch->heap, scratch->heap_count, i, scratch->heap[i]);
    }
}

/* Merges the pair of the heap's least entry, unless the pair has changed since it was pushed. */
static bool merge_least(const struct bpe *bpe, struct bpe_scratch *scratch, struct error *error)
{
    uint64_t least = heap_pop(scratch);
    struct bpe_symbol *symbols = scratch->symbols;
    int32_t position = (int32_t)(least & UINT32_MAX);
    struct bpe_symbol *left = &symbols[position];
    if (left->id < 0 || left->next < 0) {
        return true;
    }
    struct bpe_symbol *right = &symbols[left->next];
    struct bpe_merge merge = find_merge(bpe, left->id, right->id);
    if (merge.rank != least >> 32) {
        return true;
    }
    left->id = merge.id;
    left->next = right->next;
    right->id = -1;
    if (!reserve_heap(scratch, scratch->heap_count + 2, error)) {
        return false;
    }
    if (left->next >= 0) {
        symbols[left->next].previous = position;
        push_pair(bpe, scratch, position);
    }
    if (left->previous >= 0) {
        push_pair(bpe, scratch, left->previous);
    }
    return true;
}

static bool encode_long(const struct bpe *bpe, struct bpe_scratch *scratch, struct bytes word,
                        struct token_list *out, struct error *error)
{
    CHECK(word.size <= INT32_MAX);
    if (!reserve_symbols(scratch, word.size, error) || !reserve_heap(scratch, word.size, error)) {
        return false;
    }
    size_t count = spell(bpe, word, (int32_t *)scratch->heap);
    long_word_init(bpe, scratch, count);
    while (scratch->heap_count > 0) {
        if (!merge_least(bpe, scratch, error)) {
            return false;
        }
    }
    for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = scratch->symbols[i].next) {
        if (!token_list_append(out, scratch->symbols[i].id, error)) {
            return false;
        }
    }
    return true;
}

/* --- Whole words --- */

static bool encode_piece(const struct bpe *bpe, struct bpe_scratch *scratch, struct bytes word,
                         struct token_list *out, struct error *error)
{
    int32_t id = vocabulary_find(&bpe->words, word.data, word.size);
    if (id >= 0 && bpe->is_whole[id] != 0) {
        return token_list_append(out, id, error);
    }
    return word.size <= SHORT_WORD_SIZE ? encode_short(bpe, word, out, error)
                                        : encode_long(bpe, scratch, word, out, error);
}

static bool is_space_at(struct bytes text, size_t position)
{
    return text.size - position >= sizeof BPE_SPACE - 1 &&
           memcmp(text.data + position, BPE_SPACE, sizeof BPE_SPACE - 1) == 0;
}

/* Where the piece from `start` ends: after its leading spaces, before the next space. */
static size_t piece_end(struct bytes text, size_t start)
{
    size_t position = start;
    while (is_space_at(text, position)) {
        position += sizeof BPE_SPACE - 1;
    }
    while (position < text.size) {
        const char *lead = memchr(text.data + position, BPE_SPACE[0], text.size - position);
        position = lead == NULL ? text.size : (size_t)(lead - text.data);
        if (position == text.size || is_space_at(text, position)) {
            break;
        }
        position++;
    }
    return position;
}

bool bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, struct bytes word,
                struct token_list *out, struct error *error)
{
    if (!bpe->cuts_at_spaces) {
        return word.size == 0 || encode_piece(bpe, scratch, word, out, error);
    }
    for (size_t start = 0; start < word.size;) {
        size_t end = piece_end(word, start);
        struct bytes piece = {word.data + start, end - start};
        if (!encode_piece(bpe, scratch, piece, out, error)) {
            return false;
        }
        start = end;
    }
    return true;
}

/* --- Finishing --- */

/* The shortcut needs every byte to be a symbol. */
static bool open_byte_pairs(struct bpe *bpe, struct error *error)
{
    for (size_t i = 0; i < 256; i++) {
        if (bpe->first_ids[i] < 0) {
            return true;
        }
    }
    bpe->byte_pairs = malloc(65536 * sizeof *bpe->byte_pairs);
    if (bpe->byte_pairs == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for the byte pairs");
    }
    for (size_t i = 0; i < 65536; i++) {
        bpe->byte_pairs[i] = find_merge(bpe, bpe->first_ids[i >> 8], bpe->first_ids[i & 255]);
    }
    return true;
}

/* True when `text` has a space after something else, so that a token could cross a border. */
static bool crosses_border(struct bytes text)
{
    return text.size > 0 && piece_end(text, 0) < text.size;
}

/* Cutting needs a space that is a symbol itself (an unknown run ends there) and no merge across. */
static bool can_cut_at_spaces(const struct bpe *bpe)
{
    struct bytes space = bytes_of(BPE_SPACE);
    if (bpe->is_byte_level || bpe->ignores_merges ||
        vocabulary_find(&bpe->words, space.data, space.size) < 0) {
        return false;
    }
    for (size_t i = 0; i < bpe->slots_count; i++) {
        const struct bpe_slot *slot = &bpe->slots[i];
        if (slot->pair != UINT64_MAX &&
            crosses_border(vocabulary_text(&bpe->words, slot->merge.id))) {
            return false;
        }
    }
    return true;
}

static bool merges_to_itself(const struct bpe *bpe, int32_t id)
{
    struct bytes text = vocabulary_text(&bpe->words, id);
    if (text.data == NULL || text.size == 0 || text.size > SHORT_WORD_SIZE) {
        return false;
    }
    struct short_word word;
    short_word_init(&word, bpe, text);
    short_word_merge(&word, bpe);
    return word.count == 1 && word.ids[0] == id;
}

bool bpe_finish(struct bpe *bpe, struct error *error)
{
    for (int byte = 0; byte < (bpe->is_byte_level ? 256 : 128); byte++) {
        char text = (char)byte;
        bpe->first_ids[byte] = vocabulary_find(&bpe->words, &text, 1);
    }
    if (bpe->is_byte_level && !open_byte_pairs(bpe, error)) {
        return false;
    }
    bpe->cuts_at_spaces = can_cut_at_spaces(bpe);
    for (size_t id = 0; id < bpe->words.ids_count; id++) {
        bpe->is_whole[id] = bpe->ignores_merges || merges_to_itself(bpe, (int32_t)id);
    }
    return true;
}
