/* scripted_group: a consumer group whose changes a test decides, in place of librdkafka's, in an
 * executable that is linked with -Wl,--wrap= of its calls (fault_test in tests/unit/worker). The
 * mock cluster takes three seconds for a rebalance, and asks nobody when. Records come from the
 * mock cluster all the same, and commits go to the ledger. One consumer at a time. Thread: any.
 */
#ifndef TESTS_SUPPORT_SCRIPTED_GROUP_H
#define TESTS_SUPPORT_SCRIPTED_GROUP_H

#include <stdbool.h>
#include <stdint.h>

enum { SCRIPTED_PARTITIONS = 2 };

/* Nobody is a member. `topic` is borrowed. */
void scripted_group_reset(const char *topic);
/* Whether a worker has subscribed. */
bool scripted_group_has_member(void);
/* Gives the partition to the worker, or takes it back. The change before is answered. */
void scripted_group_assign(int32_t partition);
void scripted_group_revoke(int32_t partition, bool is_lost);
/* Whether the worker has answered the last change. */
bool scripted_group_is_answered(void);

#endif
