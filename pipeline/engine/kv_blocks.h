/* kv_blocks: the KV cache of one model as a pool of fixed blocks, with reuse of known prefixes.
 *
 * The pool owns only the meaning of block ids; their memory is the model's. A block is either held
 * (by one or more sequences, which count as references) or idle. An idle block may still have known
 * content and is then found again by it; idle blocks are taken least-recently-used first, those
 * without known content before all others.
 *
 * Prefix cache: publishing a full block records its tokens and the identity of the block before it,
 * and gives it an identity of its own, unique for the life of the pool. A block is found by (parent
 * identity, tokens), compared in full, so a hash collision costs time and never a wrong answer.
 * When a parent is taken for other content, its children can no longer be reached and age out.
 *
 * Thread: one, the engine's.
 */
#ifndef PIPELINE_ENGINE_KV_BLOCKS_H
#define PIPELINE_ENGINE_KV_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"

struct kv_blocks;

enum { KV_NO_BLOCK = -1 };

/* The identity of the empty prefix: parent of every first block. */
#define KV_ROOT UINT64_C(0)

struct kv_blocks_options {
    int blocks_count;
    int block_tokens;
    // NULL: XXH3. Tests force collisions.
    uint64_t (*hash)(uint64_t parent, const int32_t *tokens, int tokens_count);
};

MUST_CHECK bool kv_blocks_open(const struct kv_blocks_options *options,
                               struct kv_blocks **blocks_out, struct error *error);
void kv_blocks_close(struct kv_blocks *blocks); // accepts NULL

/* How many blocks can be taken, those with known content included. */
int kv_blocks_idle_count(const struct kv_blocks *blocks);
int kv_blocks_references(const struct kv_blocks *blocks, int32_t block);

/* One idle block, now held once and without known content; KV_NO_BLOCK when none is idle. */
int32_t kv_blocks_take(struct kv_blocks *blocks);
/* One more reference to a block that kv_blocks_find gave; no other call may come between. */
void kv_blocks_share(struct kv_blocks *blocks, int32_t block);
/* Gives up one reference to each of a sequence's blocks. Later positions become idle first, so that
 * a prefix outlives what follows it. */
void kv_blocks_release(struct kv_blocks *blocks, const int32_t *held, int held_count);

/* The block that holds `tokens` (block_tokens of them) after the prefix `parent`, or KV_NO_BLOCK.
 */
int32_t kv_blocks_find(const struct kv_blocks *blocks, uint64_t parent, const int32_t *tokens);
/* KV_ROOT for a block that was not published. */
uint64_t kv_blocks_identity(const struct kv_blocks *blocks, int32_t block);

/* Makes the content of `block`, which the caller holds and has filled, known. Returns the block to
 * use from now on: `block`, or an older one with the same content, to which the caller's reference
 * has moved. */
int32_t kv_blocks_publish(struct kv_blocks *blocks, uint64_t parent, const int32_t *tokens,
                          int32_t block);

#endif
