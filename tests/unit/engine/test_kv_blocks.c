/* kv_blocks: ownership, order of reuse, the prefix cache and its collisions. */
#include "pipeline/engine/kv_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { BLOCK_TOKENS = 4 };

static uint64_t constant_hash(uint64_t parent, const int32_t *tokens, int tokens_count)
{
    (void)parent;
    (void)tokens;
    (void)tokens_count;
    return 7;
}

static struct kv_blocks *open_blocks(int blocks_count, bool collides)
{
    const struct kv_blocks_options options = {blocks_count, BLOCK_TOKENS,
                                              collides ? constant_hash : NULL};
    struct kv_blocks *blocks = NULL;
    struct error error = {0};
    assert_true(kv_blocks_open(&options, &blocks, &error));
    return blocks;
}

static void test_every_block_is_taken_once(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(10, false);
    bool is_taken[10] = {false};
    assert_int_equal(kv_blocks_idle_count(blocks), 10);
    for (int i = 0; i < 10; i++) {
        int32_t block = kv_blocks_take(blocks);
        assert_in_range(block, 0, 9);
        assert_false(is_taken[block]);
        is_taken[block] = true;
    }
    assert_int_equal(kv_blocks_take(blocks), KV_NO_BLOCK);
    assert_int_equal(kv_blocks_idle_count(blocks), 0);
    kv_blocks_close(blocks);
}

static void test_published_content_is_found_after_release(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(4, false);
    const int32_t tokens[2][BLOCK_TOKENS] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
    int32_t held[2] = {kv_blocks_take(blocks), kv_blocks_take(blocks)};
    assert_int_equal(kv_blocks_publish(blocks, KV_ROOT, tokens[0], held[0]), held[0]);
    uint64_t first = kv_blocks_identity(blocks, held[0]);
    assert_int_equal(kv_blocks_publish(blocks, first, tokens[1], held[1]), held[1]);
    kv_blocks_release(blocks, held, 2);
    assert_int_equal(kv_blocks_idle_count(blocks), 4);

    assert_int_equal(kv_blocks_find(blocks, KV_ROOT, tokens[0]), held[0]);
    assert_int_equal(kv_blocks_find(blocks, first, tokens[1]), held[1]);
    // The same tokens after another prefix are other content.
    assert_int_equal(kv_blocks_find(blocks, KV_ROOT, tokens[1]), KV_NO_BLOCK);
    assert_int_equal(kv_blocks_find(blocks, first, tokens[0]), KV_NO_BLOCK);

    kv_blocks_share(blocks, held[0]);
    kv_blocks_share(blocks, held[0]);
    assert_int_equal(kv_blocks_references(blocks, held[0]), 2);
    assert_int_equal(kv_blocks_idle_count(blocks), 3);
    kv_blocks_close(blocks);
}

static void test_unknown_content_goes_first_then_the_least_recently_used(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(4, false);
    int32_t held[4];
    for (int32_t i = 0; i < 4; i++) {
        held[i] = kv_blocks_take(blocks);
    }
    for (int32_t i = 0; i < 3; i++) {
        const int32_t tokens[BLOCK_TOKENS] = {i, i, i, i};
        assert_int_equal(kv_blocks_publish(blocks, KV_ROOT, tokens, held[i]), held[i]);
    }
    kv_blocks_release(blocks, &held[1], 1);
    kv_blocks_release(blocks, &held[0], 1);
    kv_blocks_release(blocks, &held[2], 1);
    kv_blocks_release(blocks, &held[3], 1);
    const int32_t zeros[BLOCK_TOKENS] = {0};
    kv_blocks_share(blocks, kv_blocks_find(blocks, KV_ROOT, zeros)); // used again
    kv_blocks_release(blocks, &held[0], 1);
    static const int order[] = {3, 1, 2, 0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kv_blocks_take(blocks), held[order[i]]);
    }
    assert_int_equal(kv_blocks_find(blocks, KV_ROOT, zeros), KV_NO_BLOCK);
    kv_blocks_close(blocks);
}

static void test_a_sequence_loses_its_last_blocks_first(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(3, false);
    int32_t held[3];
    uint64_t parent = KV_ROOT;
    for (int32_t i = 0; i < 3; i++) {
        const int32_t tokens[BLOCK_TOKENS] = {i};
        held[i] = kv_blocks_publish(blocks, parent, tokens, kv_blocks_take(blocks));
        parent = kv_blocks_identity(blocks, held[i]);
    }
    kv_blocks_release(blocks, held, 3);
    for (int i = 2; i >= 0; i--) {
        assert_int_equal(kv_blocks_take(blocks), held[i]);
    }
    kv_blocks_close(blocks);
}

static void test_the_same_content_published_twice_is_kept_once(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(2, false);
    const int32_t tokens[BLOCK_TOKENS] = {1, 2, 3, 4};
    int32_t first = kv_blocks_take(blocks);
    int32_t second = kv_blocks_take(blocks);
    assert_int_equal(kv_blocks_publish(blocks, KV_ROOT, tokens, first), first);
    assert_int_equal(kv_blocks_publish(blocks, KV_ROOT, tokens, second), first);
    assert_int_equal(kv_blocks_references(blocks, first), 2);
    assert_int_equal(kv_blocks_references(blocks, second), 0);
    assert_int_equal(kv_blocks_idle_count(blocks), 1);
    kv_blocks_close(blocks);
}

static void test_children_of_a_forgotten_parent_are_not_found(void **state)
{
    (void)state;
    struct kv_blocks *blocks = open_blocks(2, false);
    const int32_t tokens[BLOCK_TOKENS] = {1, 2, 3, 4};
    int32_t parent = kv_blocks_publish(blocks, KV_ROOT, tokens, kv_blocks_take(blocks));
    uint64_t old_identity = kv_blocks_identity(blocks, parent);
    int32_t child = kv_blocks_publish(blocks, old_identity, tokens, kv_blocks_take(blocks));
    kv_blocks_release(blocks, &parent, 1); // before its child, as no sequence does
    assert_int_equal(kv_blocks_take(blocks), parent);
    assert_int_equal(kv_blocks_publish(blocks, KV_ROOT, tokens, parent), parent);
    uint64_t new_identity = kv_blocks_identity(blocks, parent);
    assert_true(new_identity != old_identity);
    assert_int_equal(kv_blocks_find(blocks, new_identity, tokens), KV_NO_BLOCK);
    assert_int_equal(kv_blocks_references(blocks, child), 1);
    kv_blocks_close(blocks);
}

/* Random operations beside a plain record of what each block must hold. */
enum { BLOCKS = 24, HOLDERS = 6, CHAIN_MAX = 6, STEPS = 4000, KINDS = 3 };

struct holder {
    int32_t held[CHAIN_MAX];
    int count;
    uint64_t identity;
};

struct record {
    bool is_known;
    uint64_t parent;
    int32_t tokens[BLOCK_TOKENS];
};

static void extend(struct kv_blocks *blocks, struct holder *holder, struct record *records,
                   struct random *random)
{
    const int32_t kind = random_between(random, 1, KINDS);
    const int32_t tokens[BLOCK_TOKENS] = {kind, kind, 0, kind};
    int32_t found = kv_blocks_find(blocks, holder->identity, tokens);
    if (found != KV_NO_BLOCK) {
        assert_true(records[found].is_known);
        assert_int_equal(records[found].parent, holder->identity);
        assert_memory_equal(records[found].tokens, tokens, sizeof tokens);
        kv_blocks_share(blocks, found);
    } else {
        int idle_count = kv_blocks_idle_count(blocks);
        found = kv_blocks_take(blocks);
        assert_int_equal(found == KV_NO_BLOCK, idle_count == 0);
        if (found == KV_NO_BLOCK) {
            return;
        }
        assert_int_equal(kv_blocks_references(blocks, found), 1);
        assert_int_equal(kv_blocks_publish(blocks, holder->identity, tokens, found), found);
        records[found] = (struct record){.is_known = true, .parent = holder->identity};
        memcpy(records[found].tokens, tokens, sizeof tokens);
    }
    holder->held[holder->count++] = found;
    holder->identity = kv_blocks_identity(blocks, found);
}

static void check_references(const struct kv_blocks *blocks, const struct holder *holders)
{
    int idle_count = 0;
    for (int32_t block = 0; block < BLOCKS; block++) {
        int references = 0;
        for (int i = 0; i < HOLDERS; i++) {
            for (int j = 0; j < holders[i].count; j++) {
                references += holders[i].held[j] == block;
            }
        }
        assert_int_equal(references, kv_blocks_references(blocks, block));
        idle_count += references == 0;
    }
    assert_int_equal(idle_count, kv_blocks_idle_count(blocks));
}

static void run_random(uint64_t seed, bool collides)
{
    struct random random = {seed};
    struct kv_blocks *blocks = open_blocks(BLOCKS, collides);
    struct holder holders[HOLDERS] = {0};
    struct record records[BLOCKS] = {0};
    for (int step = 0; step < STEPS; step++) {
        struct holder *holder = &holders[random_between(&random, 0, HOLDERS - 1)];
        if (holder->count == CHAIN_MAX || random_chance(&random, 15)) {
            kv_blocks_release(blocks, holder->held, holder->count);
            *holder = (struct holder){0};
        } else {
            extend(blocks, holder, records, &random);
        }
        check_references(blocks, holders);
    }
    kv_blocks_close(blocks);
}

static void test_random_use_keeps_references_and_content(void **state)
{
    (void)state;
    uint64_t seed = random_seed(1);
    for (uint64_t i = 0; i < 20; i++) {
        run_random(seed + i, false);
    }
}

static void test_equal_hashes_never_mix_content(void **state)
{
    (void)state;
    uint64_t seed = random_seed(2);
    for (uint64_t i = 0; i < 20; i++) {
        run_random(seed + i, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_is_taken_once),
        cmocka_unit_test(test_published_content_is_found_after_release),
        cmocka_unit_test(test_unknown_content_goes_first_then_the_least_recently_used),
        cmocka_unit_test(test_a_sequence_loses_its_last_blocks_first),
        cmocka_unit_test(test_the_same_content_published_twice_is_kept_once),
        cmocka_unit_test(test_children_of_a_forgotten_parent_are_not_found),
        cmocka_unit_test(test_random_use_keeps_references_and_content),
        cmocka_unit_test(test_equal_hashes_never_mix_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
