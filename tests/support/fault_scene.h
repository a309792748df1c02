/* fault_scene: one topic of records of every kind on a mock broker, and workers that answer it
 * while their partitions come and go, one life after the other on the same ledger, until every
 * record has its outcome. Everything here ends the test when what must never happen happens.
 * Thread: the test's, exempt from faults.
 */
#ifndef TESTS_SUPPORT_FAULT_SCENE_H
#define TESTS_SUPPORT_FAULT_SCENE_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/error.h"
#include "worker/config.h"

enum { FAULT_SCENE_RECORDS = 12 }; // in each partition

enum life_end {
    LIFE_FINISHED, // it answered everything, and stopped when it was asked to
    LIFE_REFUSED,  // it did not start: a typed error
    LIFE_FAILED,   // it stopped by itself: a typed error
};

/* Opens the broker and fills the topic. */
void fault_scene_open(void);
void fault_scene_close(void);

/* Settings in the form of --set, beside those of every scene, for the lives from now on. */
void fault_scene_configure(const char *const *sets, size_t sets_count);
/* Forgets all outcomes. */
void fault_scene_reset(bool is_exactly_once);
/* One worker: partitions are assigned, revoked, assigned again, lost, assigned again, until every
 * record has its outcome, and committed; then it drains. The error is that of the other ends. */
enum life_end fault_scene_live(struct error *error_out);
/* Every record has the outcome that it should have, or became a dead letter, or where `may_shrink`
 * a result that was too large; exactly once, no more than one. */
void fault_scene_check_all(bool may_shrink);

#endif
