/* fake_session: a session that answers at once, or when it is told to, without any model. Link it
 * before the worker's library: it defines all of worker/session.h.
 *
 * A custom_id chooses the answer: "large..." a body of 2 MiB, everything else a small one.
 */
#ifndef TESTS_SUPPORT_FAKE_SESSION_H
#define TESTS_SUPPORT_FAKE_SESSION_H

#include <stdbool.h>
#include <stddef.h>

enum { FAKE_SESSION_CREDIT = 1000 }; // bytes that each job holds

/* For all sessions of the process. Thread: any. */
void fake_session_hold(bool holds); // answers wait until it is false again
size_t fake_session_most(void);     // the most jobs that one session has had inside
size_t fake_session_answered(void); // jobs that were answered
void fake_session_reset(void);

#endif
