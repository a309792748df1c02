/* prefix_order: a treap whose heap order is a hash of the arrival. */
#include "pipeline/engine/prefix_order.h"

#include <string.h>

#include "schemas/base/check.h"

/* Compared with memcmp first and token by token in the chunk that differs. */
enum { CHUNK_TOKENS = 64 };

int prefix_order_shared(const struct sequence *a, const struct sequence *b)
{
    int end = a->prompt_count < b->prompt_count ? a->prompt_count : b->prompt_count;
    int token = 0;
    while (token + CHUNK_TOKENS <= end &&
           memcmp(a->prompt + token, b->prompt + token, CHUNK_TOKENS * sizeof *a->prompt) == 0) {
        token += CHUNK_TOKENS;
    }
    while (token < end && a->prompt[token] == b->prompt[token]) {
        token++;
    }
    return token;
}

/* The first two tokens, which mostly decide, without a look at the prompt. */
static uint64_t key_of(const struct sequence *sequence)
{
    uint64_t first = (uint32_t)sequence->prompt[0];
    uint64_t second = sequence->prompt_count < 2 ? 0 : (uint32_t)sequence->prompt[1];
    return first << 32 | second;
}

static bool comes_before(const struct sequence_state *a, const struct sequence_state *b)
{
    if (a->prefix.key != b->prefix.key) {
        return a->prefix.key < b->prefix.key;
    }
    int a_count = a->sequence->prompt_count;
    int b_count = b->sequence->prompt_count;
    size_t least = (size_t)(a_count < b_count ? a_count : b_count);
    int order = memcmp(a->sequence->prompt, b->sequence->prompt, least * sizeof(int32_t));
    if (order != 0) {
        return order < 0;
    }
    return a_count != b_count ? a_count < b_count : a->arrival < b->arrival;
}

/* Spreads arrivals, so that the tree is as deep as a random one whatever the prompts are. */
static uint32_t weight_of(uint64_t arrival)
{
    return (uint32_t)((arrival + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Divides a tree into what comes before `state` and after it, which become its children. */
static void split(struct sequence_state *tree, struct sequence_state *state)
{
    struct sequence_state **before = &state->prefix.left;
    struct sequence_state **after = &state->prefix.right;
    while (tree != NULL) {
        if (comes_before(tree, state)) {
            *before = tree;
            before = &tree->prefix.right;
            state->prefix.previous = tree;
            tree = tree->prefix.right;
        } else {
            *after = tree;
            after = &tree->prefix.left;
            state->prefix.next = tree;
            tree = tree->prefix.left;
        }
    }
    *before = NULL;
    *after = NULL;
}

void prefix_order_add(struct prefix_order *order, struct sequence_state *state)
{
    state->prefix = (struct prefix_links){
        .key = key_of(state->sequence),
        .weight = weight_of(state->arrival),
    };
    struct sequence_state **link = &order->root;
    while (*link != NULL && (*link)->prefix.weight >= state->prefix.weight) {
        struct sequence_state *at = *link;
        if (comes_before(at, state)) {
            state->prefix.previous = at;
            link = &at->prefix.right;
        } else {
            state->prefix.next = at;
            link = &at->prefix.left;
        }
    }
    split(*link, state);
    *link = state;
    if (state->prefix.previous != NULL) {
        state->prefix.previous->prefix.next = state;
    }
    if (state->prefix.next != NULL) {
        state->prefix.next->prefix.previous = state;
    }
}

static struct sequence_state *merge(struct sequence_state *left, struct sequence_state *right)
{
    struct sequence_state *root = NULL;
    struct sequence_state **link = &root;
    while (left != NULL && right != NULL) {
        if (left->prefix.weight >= right->prefix.weight) {
            *link = left;
            link = &left->prefix.right;
            left = left->prefix.right;
        } else {
            *link = right;
            link = &right->prefix.left;
            right = right->prefix.left;
        }
    }
    *link = left != NULL ? left : right;
    return root;
}

void prefix_order_remove(struct prefix_order *order, struct sequence_state *state)
{
    struct sequence_state **link = &order->root;
    while (*link != state) {
        CHECK(*link != NULL);
        link = comes_before(*link, state) ? &(*link)->prefix.right : &(*link)->prefix.left;
    }
    *link = merge(state->prefix.left, state->prefix.right);
    if (state->prefix.previous != NULL) {
        state->prefix.previous->prefix.next = state->prefix.next;
    }
    if (state->prefix.next != NULL) {
        state->prefix.next->prefix.previous = state->prefix.previous;
    }
}
