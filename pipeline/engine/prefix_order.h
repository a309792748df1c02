/* prefix_order: waiting sequences sorted by the tokens of their prompts.
 *
 * In this order sequences with a common prefix stand side by side, and of all others the two
 * neighbours share most with a sequence. Which of two different tokens comes first means nothing.
 *
 * A treap over a doubly linked list, both inside the states: adding and removing cost the logarithm
 * of those inside, and the neighbours nothing. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_PREFIX_ORDER_H
#define PIPELINE_ENGINE_PREFIX_ORDER_H

#include "pipeline/engine/sequence_state.h"

/* All members zero: empty. */
struct prefix_order {
    struct sequence_state *root;
};

/* The prompt must stay as it is until the removal. */
void prefix_order_add(struct prefix_order *order, struct sequence_state *state);
void prefix_order_remove(struct prefix_order *order, struct sequence_state *state);

/* How many tokens both prompts begin with. */
int prefix_order_shared(const struct sequence *a, const struct sequence *b);

#endif
