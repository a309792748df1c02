/* bpe: byte-pair encoding of one word.
 *
 * A word becomes symbols (bytes of a byte-level vocabulary, characters of another), and the
 * adjacent pair of lowest rank is merged until no pair of the word is in the table. Short words do
 * that by scanning, long ones with a heap, so the time is never worse than O(n log n).
 *
 * Two things make the common word cheap: most words are one token and are found whole, which is
 * allowed only where merging gives the same (`is_whole`); and a text that was not split into words
 * is cut before each "▁" where no merge crosses such a border.
 *
 * Filled by one thread, then read by any; a scratch belongs to one call at a time.
 */
#ifndef PIPELINE_TEXT_BPE_H
#define PIPELINE_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/text/token_list.h"
#include "pipeline/text/vocabulary.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

#define BPE_SPACE "\xE2\x96\x81" // U+2581, SentencePiece's visible space

enum { BPE_MERGES_MAX = 1 << 22 };

struct bpe_merge {
    uint32_t rank; // UINT32_MAX: no such merge
    int32_t id;    // of the merged token
};

struct bpe_slot {
    uint64_t pair; // left id << 32 | right id; UINT64_MAX: free
    struct bpe_merge merge;
};

struct bpe {
    struct vocabulary words; // what is looked up: bytes when is_byte_level, else text
    bool is_byte_level;
    bool ignores_merges;    // a word of the vocabulary is never taken apart
    bool fuses_unknown;     // a run of unknown characters is one unknown token
    bool cuts_at_spaces;    // no merge crosses the border before a BPE_SPACE
    bool has_fallback;      // an unknown character is spelled in bytes where all of them are known
    int32_t unknown_id;     // -1: unknown characters vanish
    int32_t first_ids[256]; // by byte: of the byte, or of the ASCII character; -1 unknown
    int32_t fallback_ids[256]; // of "<0xNN>"; -1 unknown
    uint8_t *is_whole;         // by id: merging this token's text gives this token
    struct bpe_slot *slots;    // open addressing, a power of two of them
    size_t slots_count;
    struct bpe_merge *byte_pairs; // by first byte << 8 | second; NULL unless all bytes are symbols
};

/* Memory for long words, kept between the words of one call. Zeroed is valid. */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t symbols_capacity;
    uint64_t *heap; // rank << 32 | position of the left symbol
    size_t heap_count;
    size_t heap_capacity;
};

/* Room for ids below `ids_count` and for `merges_count` merges. The caller then fills `words` and
 * the plain members, adds the merges in order of rank, and finishes. */
MUST_CHECK bool bpe_init(struct bpe *bpe, size_t ids_count, size_t merges_count,
                         struct error *error);
void bpe_close(struct bpe *bpe); // accepts a zeroed one

/* A later merge of the same pair replaces the earlier one, as in Hugging Face tokenizers. */
MUST_CHECK bool bpe_add_merge(struct bpe *bpe, int32_t left, int32_t right, struct bpe_merge merge,
                              struct error *error);
/* Builds the tables that depend on the whole vocabulary. */
MUST_CHECK bool bpe_finish(struct bpe *bpe, struct error *error);

/* Appends the tokens of one word (valid UTF-8 unless byte-level, below 2 GiB). */
MUST_CHECK bool bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, struct bytes word,
                           struct token_list *out, struct error *error);
void bpe_scratch_close(struct bpe_scratch *scratch);

#endif
