/* delivery_model: the moves, and what must hold at each. */
#include "tests/unit/worker/delivery_model.h"

#include <string.h>

#include "tests/support/cmocka.h"

enum { WINDOW = 64, NOBODY = WORKERS };

/* Between and behind the records are markers. The second record lies just beyond what the first
 * commit lets run, the third just beyond what a commit does that has less to describe. */
static const int64_t log_offsets[RECORDS_MAX] = {0, 4, 9};

static const struct scenario *scenario;
static const char *violation;

void model_violate(bool is_violated, const char *what)
{
    if (is_violated && violation == NULL) {
        violation = what;
    }
}

static struct offsets *offsets_of(struct worker *worker)
{
    return (struct offsets *)(void *)worker->offsets;
}

int64_t model_log_end(void)
{
    return log_offsets[scenario->records - 1] + 2; // one more marker
}

bool model_has_all(const struct state *state, int except)
{
    for (int r = 0; r < scenario->records; r++) {
        if (state->results[r] != 1 && r != except) {
            return false;
        }
    }
    return true;
}

/* What the broker has, as the next owner will read it. */
static void read_committed_map(const struct state *state, struct offset_map *map)
{
    struct error error = {0};
    struct bytes metadata = {state->metadata, state->metadata_size};
    assert_true(offset_map_decode(metadata, state->committed, map, &error));
    if (scenario->forgets_done) {
        map->span = 0;
        memset(map->done, 0, sizeof map->done);
    }
}

static bool is_done(const struct offset_map *map, int64_t offset)
{
    int64_t index = offset - map->position;
    return index < 0 || (index < map->span && offset_map_is_done(map, (uint32_t)index));
}

const char *model_violation(void)
{
    return violation;
}

void model_open(struct state *state, const struct scenario *chosen)
{
    scenario = chosen;
    violation = NULL;
    memset(state, 0, sizeof *state);
    state->owner = NOBODY;
    state->committed = -1;
    state->crashes = chosen->crashes;
    state->losses = chosen->losses;
    state->revokes = chosen->revokes;
    state->aborts = chosen->aborts;
    struct offsets *fresh = offsets_open(WINDOW);
    assert_non_null(fresh);
    for (int w = 0; w < WORKERS; w++) {
        state->workers[w].is_alive = true;
        memcpy(state->workers[w].offsets, fresh, OFFSETS_BYTES);
    }
    offsets_close(fresh);
}

/* The moves. Each returns false when it is not possible, or would change nothing. */

static bool assign(struct state *state, struct worker *worker, int w)
{
    if (state->owner != NOBODY || !worker->is_alive || worker->is_assigned) {
        return false;
    }
    for (int other = 0; other < WORKERS && !scenario->reads_open_offsets; other++) {
        if (state->workers[other].transaction.phase == PHASE_SENT) {
            return false;
        }
    }
    state->owner = (uint8_t)w;
    worker->generation = ++state->generation;
    worker->is_assigned = true;
    worker->epoch = ++state->epoch;
    worker->fetched = 0;
    memset(worker->work, 0, sizeof worker->work);
    if (state->committed < 0) {
        offsets_assign(offsets_of(worker), worker->epoch);
        return true;
    }
    struct offset_map map;
    read_committed_map(state, &map);
    offsets_restore(offsets_of(worker), worker->epoch, &map);
    offsets_limit_suspects(offsets_of(worker), model_log_end());
    while (worker->fetched < scenario->records && log_offsets[worker->fetched] < map.position) {
        worker->fetched++;
    }
    return true;
}

static bool is_working(const struct worker *worker)
{
    bool is_closing = worker->transaction.phase != PHASE_NONE && worker->transaction.is_last &&
                      worker->transaction.epoch == worker->epoch;
    return worker->is_alive && worker->is_assigned && !is_closing;
}

static bool fetch(struct worker *worker)
{
    struct offsets *offsets = offsets_of(worker);
    if (!is_working(worker) || worker->fetched > scenario->records) {
        return false;
    }
    int r = worker->fetched++;
    if (r == scenario->records) {
        offsets_advance(offsets, model_log_end());
    } else if (offsets_deliver(offsets, log_offsets[r])) {
        worker->work[r] = WORK_HELD;
    }
    return true;
}

static int attempts_known(const struct offset_map *map, int64_t offset)
{
    for (size_t i = 0; i < map->attempts_count; i++) {
        if (map->attempts[i].offset == offset) {
            return map->attempts[i].count;
        }
    }
    return 0;
}

/* The owner may die of the record from now on: the broker must know, and how often. */
static void check_is_announced(const struct state *state, struct worker *worker, int w, int r)
{
    if (state->owner != w || worker->generation != state->generation) {
        return; // a zombie
    }
    struct offset_map map;
    int attempts = offsets_attempts(offsets_of(worker), log_offsets[r]);
    bool is_known = state->committed >= 0;
    if (is_known) {
        read_committed_map(state, &map);
        is_known = log_offsets[r] < map.position + map.suspects &&
                   attempts_known(&map, log_offsets[r]) == attempts;
    }
    model_violate(!is_known, "a record runs that the next owner will not suspect");
}

static bool runs_any(const struct worker *worker)
{
    for (int r = 0; r < scenario->records; r++) {
        if (worker->work[r] == WORK_RUNNING) {
            return true;
        }
    }
    return false;
}

static bool begin(const struct state *state, struct worker *worker, int w, int r)
{
    if (!is_working(worker) || worker->work[r] != WORK_HELD) {
        return false;
    }
    uint8_t before[OFFSETS_BYTES];
    memcpy(before, worker->offsets, sizeof before);
    enum offsets_turn turn =
        offsets_begin(offsets_of(worker), worker->epoch, log_offsets[r], ATTEMPTS_LIMIT);
    if (turn == OFFSETS_EXHAUSTED) {
        worker->work[r] = WORK_ANSWERED;
        worker->gave_up[r] = true;
        return true;
    }
    bool may_run = turn == OFFSETS_RUN || (turn == OFFSETS_RUN_ALONE && !runs_any(worker)) ||
                   (turn == OFFSETS_COMMIT && scenario->runs_uncommitted);
    if (may_run) {
        check_is_announced(state, worker, w, r);
        worker->work[r] = WORK_RUNNING;
        return true;
    }
    return memcmp(before, worker->offsets, sizeof before) != 0;
}

static void die(struct worker *worker)
{
    uint8_t phase = worker->transaction.phase;
    struct transaction left = worker->transaction;
    uint8_t bytes[OFFSETS_BYTES];
    memcpy(bytes, worker->offsets, sizeof bytes);
    memset(worker, 0, sizeof *worker);
    memcpy(worker->offsets, bytes, sizeof bytes);
    offsets_assign(offsets_of(worker), 0);
    if (phase == PHASE_OPEN || phase == PHASE_SENT) {
        worker->transaction = left; // until the broker aborts it
    }
}

static bool finish(struct state *state, struct worker *worker, int w, int r)
{
    if (!is_working(worker) || worker->work[r] != WORK_RUNNING) {
        return false;
    }
    if (r == scenario->poison) {
        state->deaths = (uint8_t)(state->deaths + (state->owner == w ? 1 : 0));
        model_violate(state->deaths > 1 + ATTEMPTS_LIMIT, "the poison was begun too often");
        die(worker);
        return true;
    }
    worker->work[r] = WORK_ANSWERED;
    return true;
}

/* Opens a transaction with all that is answered. */
static bool open_transaction(struct worker *worker, bool is_last)
{
    struct offsets *offsets = offsets_of(worker);
    struct transaction *transaction = &worker->transaction;
    if (!is_working(worker) || transaction->phase != PHASE_NONE) {
        return false;
    }
    uint8_t records = 0;
    for (int r = 0; r < scenario->records; r++) {
        if (worker->work[r] == WORK_ANSWERED) {
            assert_true(offsets_include(offsets, worker->epoch, log_offsets[r]));
            worker->work[r] = WORK_SENT;
            records |= (uint8_t)(1 << r);
        }
    }
    struct offsets_commit commit;
    if (!is_last && !offsets_needs_commit(offsets)) {
        return false;
    }
    if (!offsets_snapshot(offsets, worker->epoch, is_last, &commit)) {
        return false; // nothing is known yet
    }
    assert_true(commit.metadata_size <= METADATA_MAX);
    *transaction = (struct transaction){.phase = PHASE_OPEN,
                                        .records = records,
                                        .is_last = is_last,
                                        .metadata_size = (uint8_t)commit.metadata_size,
                                        .epoch = worker->epoch,
                                        .position = commit.position};
    memcpy(transaction->metadata, commit.metadata, commit.metadata_size);
    return true;
}

/* Sends the offsets into the transaction, unless their epoch is over: then it is aborted. */
static bool send_offsets(const struct state *state, struct worker *worker)
{
    struct transaction *transaction = &worker->transaction;
    if (!worker->is_alive || transaction->phase != PHASE_OPEN) {
        return false;
    }
    bool is_sent =
        scenario->sends_old_epochs || offsets_is_current(offsets_of(worker), transaction->epoch);
    bool is_accepted = worker->generation == state->generation || scenario->has_no_fencing;
    transaction->phase = is_sent && is_accepted ? PHASE_SENT : PHASE_ABORTED;
    return true;
}

static bool commit(struct state *state, struct worker *worker, int w)
{
    struct transaction *transaction = &worker->transaction;
    if (!worker->is_alive || transaction->phase != PHASE_SENT) {
        return false;
    }
    transaction->phase = PHASE_COMMITTED;
    state->committed = transaction->position;
    state->metadata_size = transaction->metadata_size;
    memcpy(state->metadata, transaction->metadata, sizeof state->metadata);
    struct offset_map map;
    read_committed_map(state, &map);
    for (int r = 0; r < scenario->records; r++) {
        if ((transaction->records >> r & 1) != 0) {
            state->results[r]++;
            state->given_up |= (uint8_t)(worker->gave_up[r] ? 1 << r : 0);
        }
        model_violate(state->results[r] > 1, "a result was committed twice");
        model_violate(state->results[r] == 0 && is_done(&map, log_offsets[r]), "a record was lost");
        model_violate(state->results[r] == 1 && !is_done(&map, log_offsets[r]),
                      "a committed result will be repeated");
    }
    for (int r = 0; r < scenario->records; r++) {
        if (worker->is_assigned && worker->work[r] == WORK_RUNNING) {
            check_is_announced(state, worker, w, r);
        }
    }
    model_violate((state->given_up & ~(1 << scenario->poison)) != 0,
                  "an innocent record was given up");
    return true;
}

/* A fault of a living worker; the end of what a dead one left. */
static bool abort_transaction(struct state *state, struct worker *worker)
{
    struct transaction *transaction = &worker->transaction;
    if (transaction->phase != PHASE_OPEN && transaction->phase != PHASE_SENT) {
        return false;
    }
    if (!worker->is_alive) {
        memset(transaction, 0, sizeof *transaction);
        return true;
    }
    if (state->aborts == 0) {
        return false;
    }
    state->aborts--;
    transaction->phase = PHASE_ABORTED;
    return true;
}

static void give_up(struct state *state, struct worker *worker, int w)
{
    offsets_end(offsets_of(worker));
    worker->is_assigned = false;
    memset(worker->work, 0, sizeof worker->work);
    memset(worker->gave_up, 0, sizeof worker->gave_up);
    if (state->owner == w) {
        state->owner = NOBODY;
        state->generation++;
    }
    worker->generation = state->generation; // it stays in the group
}

/* The worker hears how its transaction ended. */
static bool settle(struct state *state, struct worker *worker, int w)
{
    struct transaction *transaction = &worker->transaction;
    bool is_committed = transaction->phase == PHASE_COMMITTED;
    if (!worker->is_alive || (!is_committed && transaction->phase != PHASE_ABORTED)) {
        return false;
    }
    struct offsets *offsets = offsets_of(worker);
    bool is_current = is_committed ? offsets_confirm(offsets, transaction->epoch)
                                   : offsets_undo(offsets, transaction->epoch);
    for (int r = 0; r < RECORDS_MAX && is_current; r++) {
        if ((transaction->records >> r & 1) != 0) {
            worker->work[r] = is_committed ? WORK_NONE : WORK_ANSWERED;
        }
    }
    if (is_current && transaction->is_last) {
        give_up(state, worker, w);
    }
    memset(transaction, 0, sizeof *transaction);
    return true;
}

/* The group takes the partition back from a member that answers. */
static bool revoke(struct state *state, struct worker *worker, int w)
{
    bool is_owner = state->owner == w && worker->generation == state->generation;
    if (!is_owner || state->revokes == 0 || !is_working(worker) ||
        worker->transaction.phase != PHASE_NONE) {
        return false;
    }
    state->revokes--;
    for (int r = 0; r < scenario->records; r++) {
        if (worker->work[r] == WORK_RUNNING) {
            worker->work[r] = WORK_HELD; // cancelled, before the last commit
        }
    }
    if (!open_transaction(worker, true)) {
        give_up(state, worker, w);
    }
    return true;
}

/* The group gives the worker up, which does not know; of a dead one it is no further fault. */
static bool lose(struct state *state, const struct worker *worker, int w)
{
    bool is_fault = worker->is_alive;
    if (state->owner != w || (is_fault && state->losses == 0)) {
        return false;
    }
    state->losses = (uint8_t)(state->losses - (is_fault ? 1 : 0));
    state->owner = NOBODY;
    state->generation++;
    return true;
}

/* It hears that the partition is lost, and joins again. Its open transaction is still open. */
static bool learn(struct state *state, struct worker *worker, int w)
{
    if (!worker->is_alive || !worker->is_assigned || state->owner == w) {
        return false;
    }
    give_up(state, worker, w);
    return true;
}

static bool crash(struct state *state, struct worker *worker)
{
    if (!worker->is_alive || state->crashes == 0) {
        return false;
    }
    state->crashes--;
    die(worker);
    return true;
}

static bool restart(struct state *state, struct worker *worker, int w)
{
    if (worker->is_alive || worker->transaction.phase != PHASE_NONE || state->owner == w) {
        return false;
    }
    worker->is_alive = true;
    worker->generation = state->generation;
    return true;
}

bool model_move(struct state *state, enum move move, int w, int r)
{
    struct worker *worker = &state->workers[w];
    switch (move) {
    case MOVE_SETTLE:
        return settle(state, worker, w);
    case MOVE_SEND:
        return send_offsets(state, worker);
    case MOVE_COMMIT:
        return commit(state, worker, w);
    case MOVE_REAP:
        return abort_transaction(state, worker);
    case MOVE_LOSE:
        return lose(state, worker, w);
    case MOVE_LEARN:
        return learn(state, worker, w);
    case MOVE_RESTART:
        return restart(state, worker, w);
    case MOVE_ASSIGN:
        return assign(state, worker, w);
    case MOVE_FETCH:
        return fetch(worker);
    case MOVE_BEGIN:
        return begin(state, worker, w, r);
    case MOVE_FINISH:
        return finish(state, worker, w, r);
    case MOVE_OPEN:
        return open_transaction(worker, false);
    case MOVE_REVOKE:
        return revoke(state, worker, w);
    case MOVE_CRASH:
        return crash(state, worker);
    case MOVES:
        break;
    }
    fail_msg("no such move");
    return false;
}
