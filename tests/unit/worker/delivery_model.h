/* delivery_model: a log, a broker that is as strict as Kafka and no stricter, and two workers of
 * one group, as a state that can be copied and compared, and the moves that change it. The workers'
 * offsets are the real ones: a state holds their bytes. */
#ifndef TESTS_UNIT_WORKER_DELIVERY_MODEL_H
#define TESTS_UNIT_WORKER_DELIVERY_MODEL_H

#include "worker/offsets.h"
#include "worker/offsets_internal.h"

enum {
    WORKERS = 2,
    RECORDS_MAX = 3,
    ATTEMPTS_LIMIT = 3,
    METADATA_MAX = 64,
    NO_RECORD = RECORDS_MAX,
    OFFSETS_BYTES = sizeof(struct offsets) + sizeof(struct offsets_word), // a window of 64
};

enum work { WORK_NONE, WORK_HELD, WORK_RUNNING, WORK_ANSWERED, WORK_SENT };

enum phase { PHASE_NONE, PHASE_OPEN, PHASE_SENT, PHASE_COMMITTED, PHASE_ABORTED };

struct transaction {
    uint8_t phase;
    uint8_t records; // a bit for each
    bool is_last;
    uint8_t metadata_size;
    uint32_t epoch;
    int64_t position;
    char metadata[METADATA_MAX];
};

struct worker {
    bool is_alive;
    bool is_assigned; // as it believes
    uint8_t generation;
    uint8_t fetched; // records; one more when it has seen the end
    uint32_t epoch;
    uint8_t work[RECORDS_MAX];
    bool gave_up[RECORDS_MAX]; // the answer is a dead letter
    struct transaction transaction;
    _Alignas(8) uint8_t offsets[OFFSETS_BYTES];
};

struct state {
    struct worker workers[WORKERS];
    uint8_t owner;
    uint8_t generation;
    uint32_t epoch;
    int64_t committed;
    uint8_t metadata_size;
    char metadata[METADATA_MAX];
    uint8_t results[RECORDS_MAX]; // that a read_committed reader sees
    uint8_t given_up;             // of these, dead letters; a bit for each
    uint8_t deaths;               // of owners by the poison
    uint8_t crashes;              // left
    uint8_t losses;
    uint8_t revokes;
    uint8_t aborts;
};

struct scenario {
    const char *name;
    int records;
    int poison; // or NO_RECORD
    uint8_t crashes, losses, revokes, aborts;
    // Rules that are broken.
    bool sends_old_epochs;
    bool reads_open_offsets;
    bool has_no_fencing;
    bool forgets_done;
    bool runs_uncommitted;
};

/* In the order in which a continuation without faults tries them; the last three are faults. */
enum move {
    MOVE_SETTLE,
    MOVE_SEND,
    MOVE_COMMIT,
    MOVE_REAP, // also a fault, of a living worker
    MOVE_LOSE, // likewise
    MOVE_LEARN,
    MOVE_RESTART,
    MOVE_ASSIGN,
    MOVE_FETCH,
    MOVE_BEGIN,
    MOVE_FINISH,
    MOVE_OPEN,
    MOVE_REVOKE,
    MOVE_CRASH,
    MOVES,
};

/* The state in which the scenario begins, which all that follows plays in. */
void model_open(struct state *state, const struct scenario *scenario);
/* False when the move is not possible, or would change nothing. `record` is read where the move is
 * of one record. */
bool model_move(struct state *state, enum move move, int worker, int record);
/* Whether each record has its one outcome, but for `except`. */
bool model_has_all(const struct state *state, int except);
int64_t model_log_end(void);

/* Notes the first violation of what must hold. */
void model_violate(bool is_violated, const char *what);
const char *model_violation(void); // or NULL

#endif
