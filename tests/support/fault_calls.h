/* fault_calls: makes calls to librdkafka fail as a test says, in an executable that is linked with
 * -Wl,--wrap= of each (fault_test in tests/unit/worker), and keeps the ledger (ledger.h).
 *
 * A fault comes before the call, which is then not made, or late: it was made, and its answer got
 * lost. Calls of threads that are exempt (fault_memory.h) pass. Thread: any.
 */
#ifndef TESTS_SUPPORT_FAULT_CALLS_H
#define TESTS_SUPPORT_FAULT_CALLS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* What librdkafka says of an error beside its code. */
enum fault_kind {
    FAULT_PLAIN,
    FAULT_RETRIABLE, // the same call again
    FAULT_ABORTABLE, // the transaction must be aborted
    FAULT_FATAL,     // the client can go on no longer
};

struct fault {
    const char *call; // with its rd_kafka_
    enum fault_kind kind;
    rd_kafka_resp_err_t code;
    bool is_late;
    int skip;  // so many calls pass before
    int times; // so many fail; 0: one
};

enum { FAULTS_MAX = 2 };

/* From now on these are met; 0: none any more. Borrowed. */
void fault_arm(const struct fault *faults, size_t count);
/* How many calls have met the fault of that number since. */
int fault_hits(size_t number);
/* How many calls there were since, of those that can fail; faulty ones too. */
int fault_calls(const char *call);

/* For the wrappers: the fault that this call meets, or NULL. */
const struct fault *fault_meet(const char *call);
/* The error that the call returns; the caller's, as librdkafka's own. */
rd_kafka_error_t *fault_error(const struct fault *fault);

#endif
