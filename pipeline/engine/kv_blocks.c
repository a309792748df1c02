/* kv_blocks: arrays indexed by block id, one list of idle blocks, one chained hash table. */
#include "pipeline/engine/kv_blocks.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/check.h"

struct kv_block {
    int32_t references;
    int32_t idle_previous; // idle list, while references is 0
    int32_t idle_next;
    int32_t bucket_next;
    uint32_t bucket;
    uint64_t identity; // KV_ROOT: content unknown, not in the table
    uint64_t parent;
};

struct kv_blocks {
    int blocks_count;
    int block_tokens;
    uint64_t (*hash)(uint64_t parent, const int32_t *tokens, int tokens_count);
    struct kv_block *blocks; // [blocks]
    int32_t *tokens;         // [blocks, block_tokens], of published blocks
    int32_t *buckets;        // [bucket_mask + 1] first block of a chain
    uint32_t bucket_mask;
    int32_t idle_first; // the next to be taken
    int32_t idle_last;
    int idle_count;
    uint64_t identities_count;
};

static uint64_t hash_tokens(uint64_t parent, const int32_t *tokens, int tokens_count)
{
    return XXH3_64bits_withSeed(tokens, (size_t)tokens_count * sizeof *tokens, parent);
}

static void idle_add_first(struct kv_blocks *blocks, int32_t id)
{
    struct kv_block *block = &blocks->blocks[id];
    block->idle_previous = KV_NO_BLOCK;
    block->idle_next = blocks->idle_first;
    if (blocks->idle_first == KV_NO_BLOCK) {
        blocks->idle_last = id;
    } else {
        blocks->blocks[blocks->idle_first].idle_previous = id;
    }
    blocks->idle_first = id;
    blocks->idle_count++;
}

static void idle_add_last(struct kv_blocks *blocks, int32_t id)
{
    struct kv_block *block = &blocks->blocks[id];
    block->idle_previous = blocks->idle_last;
    block->idle_next = KV_NO_BLOCK;
    if (blocks->idle_last == KV_NO_BLOCK) {
        blocks->idle_first = id;
    } else {
        blocks->blocks[blocks->idle_last].idle_next = id;
    }
    blocks->idle_last = id;
    blocks->idle_count++;
}

static void idle_remove(struct kv_blocks *blocks, int32_t id)
{
    const struct kv_block *block = &blocks->blocks[id];
    if (block->idle_previous == KV_NO_BLOCK) {
        blocks->idle_first = block->idle_next;
    } else {
        blocks->blocks[block->idle_previous].idle_next = block->idle_next;
    }
    if (block->idle_next == KV_NO_BLOCK) {
        blocks->idle_last = block->idle_previous;
    } else {
        blocks->blocks[block->idle_next].idle_previous = block->idle_previous;
    }
    blocks->idle_count--;
}

static uint32_t bucket_of(const struct kv_blocks *blocks, uint64_t parent, const int32_t *tokens)
{
    return (uint32_t)blocks->hash(parent, tokens, blocks->block_tokens) & blocks->bucket_mask;
}

static int32_t *tokens_of(const struct kv_blocks *blocks, int32_t id)
{
    return blocks->tokens + (size_t)id * (size_t)blocks->block_tokens;
}

static int32_t find_in_bucket(const struct kv_blocks *blocks, uint32_t bucket, uint64_t parent,
                              const int32_t *tokens)
{
    size_t bytes = (size_t)blocks->block_tokens * sizeof *tokens;
    int32_t id = blocks->buckets[bucket];
    while (id != KV_NO_BLOCK && (blocks->blocks[id].parent != parent ||
                                 memcmp(tokens_of(blocks, id), tokens, bytes) != 0)) {
        id = blocks->blocks[id].bucket_next;
    }
    return id;
}

static void forget_content(struct kv_blocks *blocks, int32_t id)
{
    struct kv_block *block = &blocks->blocks[id];
    if (block->identity == KV_ROOT) {
        return;
    }
    int32_t *link = &blocks->buckets[block->bucket];
    while (*link != id) {
        link = &blocks->blocks[*link].bucket_next;
    }
    *link = block->bucket_next;
    block->identity = KV_ROOT;
}

/* The power of two that is at least twice the number of blocks. */
static uint32_t buckets_for(int blocks_count)
{
    uint32_t count = 2;
    while (count / 2 < (uint32_t)blocks_count) {
        count *= 2;
    }
    return count;
}

bool kv_blocks_open(const struct kv_blocks_options *options, struct kv_blocks **blocks_out,
                    struct error *error)
{
    CHECK(options->blocks_count > 0 && options->blocks_count <= 1 << 30);
    CHECK(options->block_tokens > 0);
    size_t count = (size_t)options->blocks_count;
    uint32_t buckets_count = buckets_for(options->blocks_count);
    struct kv_blocks *blocks = calloc(1, sizeof *blocks);
    if (blocks != NULL) {
        blocks->blocks = calloc(count, sizeof *blocks->blocks);
        blocks->tokens = calloc(count * (size_t)options->block_tokens, sizeof *blocks->tokens);
        blocks->buckets = calloc(buckets_count, sizeof *blocks->buckets);
    }
    if (blocks == NULL || blocks->blocks == NULL || blocks->tokens == NULL ||
        blocks->buckets == NULL) {
        kv_blocks_close(blocks);
        return error_set(
            error, ERROR_FATAL, "out_of_memory", NULL,
            "no memory for the table of %d kv blocks; lower the memory of the kv cache",
            options->blocks_count);
    }
    blocks->blocks_count = options->blocks_count;
    blocks->block_tokens = options->block_tokens;
    blocks->hash = options->hash == NULL ? hash_tokens : options->hash;
    blocks->bucket_mask = buckets_count - 1;
    memset(blocks->buckets, 0xff, buckets_count * sizeof *blocks->buckets); // KV_NO_BLOCK
    blocks->idle_first = KV_NO_BLOCK;
    blocks->idle_last = KV_NO_BLOCK;
    for (int32_t id = 0; id < blocks->blocks_count; id++) {
        idle_add_last(blocks, id);
    }
    *blocks_out = blocks;
    return true;
}

void kv_blocks_close(struct kv_blocks *blocks)
{
    if (blocks == NULL) {
        return;
    }
    free(blocks->buckets);
    free(blocks->tokens);
    free(blocks->blocks);
    free(blocks);
}

int kv_blocks_idle_count(const struct kv_blocks *blocks)
{
    return blocks->idle_count;
}

int kv_blocks_references(const struct kv_blocks *blocks, int32_t block)
{
    return blocks->blocks[block].references;
}

uint64_t kv_blocks_identity(const struct kv_blocks *blocks, int32_t block)
{
    return blocks->blocks[block].identity;
}

int32_t kv_blocks_take(struct kv_blocks *blocks)
{
    int32_t id = blocks->idle_first;
    if (id == KV_NO_BLOCK) {
        return KV_NO_BLOCK;
    }
    CHECK(blocks->blocks[id].references == 0);
    idle_remove(blocks, id);
    forget_content(blocks, id);
    blocks->blocks[id].references = 1;
    return id;
}

void kv_blocks_share(struct kv_blocks *blocks, int32_t block)
{
    CHECK(blocks->blocks[block].identity != KV_ROOT);
    if (blocks->blocks[block].references == 0) {
        idle_remove(blocks, block);
    }
    blocks->blocks[block].references++;
}

void kv_blocks_release(struct kv_blocks *blocks, const int32_t *held, int held_count)
{
    for (int i = held_count - 1; i >= 0; i--) {
        struct kv_block *block = &blocks->blocks[held[i]];
        CHECK(block->references > 0);
        block->references--;
        if (block->references > 0) {
            continue;
        }
        if (block->identity == KV_ROOT) {
            idle_add_first(blocks, held[i]);
        } else {
            idle_add_last(blocks, held[i]);
        }
    }
}

int32_t kv_blocks_find(const struct kv_blocks *blocks, uint64_t parent, const int32_t *tokens)
{
    return find_in_bucket(blocks, bucket_of(blocks, parent, tokens), parent, tokens);
}

int32_t kv_blocks_publish(struct kv_blocks *blocks, uint64_t parent, const int32_t *tokens,
                          int32_t block)
{
    struct kv_block *own = &blocks->blocks[block];
    CHECK(own->references == 1 && own->identity == KV_ROOT);
    uint32_t bucket = bucket_of(blocks, parent, tokens);
    int32_t known = find_in_bucket(blocks, bucket, parent, tokens);
    if (known != KV_NO_BLOCK) {
        kv_blocks_share(blocks, known);
        kv_blocks_release(blocks, &block, 1);
        return known;
    }
    memcpy(tokens_of(blocks, block), tokens, (size_t)blocks->block_tokens * sizeof *tokens);
    own->parent = parent;
    own->identity = ++blocks->identities_count;
    own->bucket = bucket;
    own->bucket_next = blocks->buckets[bucket];
    blocks->buckets[bucket] = block;
    return block;
}
