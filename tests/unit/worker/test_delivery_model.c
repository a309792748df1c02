/* delivery model: all interleavings of one partition's life under two workers and their group.
 *
 * A log of a few records with markers between and behind them; workers that fetch, begin, finish,
 * put results into transactions, are revoked, lose the partition without noticing, crash and start
 * again; a broker that is as strict as Kafka, and no stricter:
 *   - offsets enter a transaction only from a member of the present generation, but once they are
 * in it, who holds the transaction may commit it, also as a zombie;
 *   - a member that lost one partition and joined again is of the present generation;
 *   - who is assigned the partition reads its offset when no transaction with offsets is open.
 * offsets.c, attempts.c and offset_map.c are the real ones, so the states hold their bytes. The
 * search visits every state that the faults allowed by a scenario can lead to, and checks
 *   - at each commit: what the broker's offset and map call done is what a read_committed reader
 * has seen, once;
 *   - at each start of a record: the broker knows that its owner may die of it;
 *   - from each state: without further faults each record gets its one outcome and no lag is left;
 *     and a record that does not end keeps no other one waiting.
 * Scenarios with a broken rule must be caught, or the model proves nothing.
 */
#include "tests/support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/unit/worker/delivery_model.h"

enum {
    STEPS_MAX = 400, // of a continuation
    SET_SLOTS = 1 << 22,
};

static const struct scenario *scenario;
static size_t moves_count;

static bool has_record(enum move move)
{
    return move == MOVE_BEGIN || move == MOVE_FINISH;
}

/* A set of hashes of states. */
struct set {
    uint64_t *slots; // 0: free
    size_t count;
};

static struct set explored;
static struct set verified; // states from which it goes on well without further faults

static void set_open(struct set *set)
{
    set->slots = calloc(SET_SLOTS, sizeof *set->slots);
    assert_non_null(set->slots);
    set->count = 0;
}

static void set_close(struct set *set)
{
    free(set->slots);
    set->slots = NULL;
}

static uint64_t hash_of(const struct state *state, uint64_t seed)
{
    return XXH3_64bits_withSeed(state, sizeof *state, seed) | 1;
}

static size_t slot_of(const struct set *set, uint64_t hash)
{
    size_t slot = (size_t)(hash >> 1) % SET_SLOTS;
    while (set->slots[slot] != 0 && set->slots[slot] != hash) {
        slot = (slot + 1) % SET_SLOTS;
    }
    return slot;
}

static bool set_has(const struct set *set, uint64_t hash)
{
    return set->slots[slot_of(set, hash)] != 0;
}

static void set_add(struct set *set, uint64_t hash)
{
    uint64_t *slot = &set->slots[slot_of(set, hash)];
    set->count += *slot == 0 ? 1 : 0;
    *slot = hash;
    assert_true(set->count < SET_SLOTS / 2);
}

/* The first move that goes on, all faults being used up. */
static bool go_on(struct state *state, int stuck)
{
    for (enum move move = 0; move < MOVE_REVOKE; move++) {
        for (int w = 0; w < WORKERS; w++) {
            for (int r = 0; r < (has_record(move) ? scenario->records : 1); r++) {
                bool is_stuck = move == MOVE_FINISH && r == stuck;
                if (!is_stuck && model_move(state, move, w, r)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Without further faults, and with a record that does not end (or NO_RECORD), all others get their
 * outcome. Ends early in a state that was seen to go on well. */
static void check_continuation(const struct state *from, int stuck)
{
    struct state state = *from;
    uint64_t path[STEPS_MAX];
    size_t steps = 0;
    bool is_verified = false;
    state.crashes = state.losses = state.revokes = state.aborts = 0;
    do {
        path[steps] = hash_of(&state, (uint64_t)stuck);
        is_verified = set_has(&verified, path[steps]);
        steps++;
    } while (!is_verified && steps < STEPS_MAX && go_on(&state, stuck));
    model_violate(steps == STEPS_MAX, "a continuation does not end");
    if (!is_verified) {
        model_violate(!model_has_all(&state, stuck), stuck == NO_RECORD
                                                         ? "a record gets no outcome"
                                                         : "a record waits for one that is stuck");
        model_violate(stuck == NO_RECORD && state.committed != model_log_end(), "lag is left");
    }
    for (size_t i = 0; i < steps; i++) {
        set_add(&verified, path[i]);
    }
}

/* Depth first; no state comes twice, and faults are bounded, so it ends. */
static void explore(const struct state *state)
{
    uint64_t hash = hash_of(state, 0);
    if (model_violation() != NULL || set_has(&explored, hash)) {
        return;
    }
    set_add(&explored, hash);
    check_continuation(state, NO_RECORD);
    if (scenario->poison == NO_RECORD) { // whose last attempt keeps the others waiting
        check_continuation(state, 0);
    }
    for (enum move move = 0; move < MOVES; move++) {
        for (int w = 0; w < WORKERS; w++) {
            for (int r = 0; r < (has_record(move) ? scenario->records : 1); r++) {
                struct state next = *state;
                if (model_move(&next, move, w, r)) {
                    moves_count++;
                    explore(&next);
                }
            }
        }
    }
}

/* The first violation, or NULL. */
static const char *search(const struct scenario *chosen)
{
    struct state state;
    scenario = chosen;
    moves_count = 0;
    model_open(&state, chosen);
    set_open(&explored);
    set_open(&verified);
    explore(&state);
    print_message("%-36s %8zu states, %8zu moves: %s\n", chosen->name, explored.count, moves_count,
                  model_violation() == NULL ? "holds" : model_violation());
    set_close(&explored);
    set_close(&verified);
    return model_violation();
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void assert_all_hold(const struct scenario *scenarios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *found = search(&scenarios[i]);
        if (found != NULL) {
            fail_msg("%s: %s", scenarios[i].name, found);
        }
    }
}

static void test_no_interleaving_loses_or_repeats_a_result(void **state)
{
    (void)state;
    static const struct scenario scenarios[] = {
        {.name = "no fault, 3 records", .records = 3, .poison = NO_RECORD},
        {.name = "2 crashes", .records = 2, .poison = NO_RECORD, .crashes = 2},
        {.name = "loss", .records = 2, .poison = NO_RECORD, .losses = 1},
        {.name = "2 losses, 1 record", .records = 1, .poison = NO_RECORD, .losses = 2},
        {.name = "abort, crash", .records = 2, .poison = NO_RECORD, .aborts = 1, .crashes = 1},
        {.name = "abort, revoke", .records = 2, .poison = NO_RECORD, .aborts = 1, .revokes = 1},
        {.name = "revoke, crash", .records = 2, .poison = NO_RECORD, .revokes = 1, .crashes = 1},
        {.name = "abort, crash, loss, 1 record",
         .records = 1,
         .poison = NO_RECORD,
         .aborts = 1,
         .crashes = 1,
         .losses = 1},
    };
    assert_all_hold(scenarios, COUNT(scenarios));
}

static void test_a_record_that_ends_its_owner_is_given_up_and_no_other_is(void **state)
{
    (void)state;
    static const struct scenario scenarios[] = {
        {.name = "the first is poison", .records = 2, .poison = 0},
        {.name = "the second is poison", .records = 2, .poison = 1},
        {.name = "poison, revoke", .records = 2, .poison = 0, .revokes = 1},
        {.name = "poison, abort", .records = 2, .poison = 1, .aborts = 1},
    };
    assert_all_hold(scenarios, COUNT(scenarios));
}

static void test_a_broken_rule_is_caught(void **state)
{
    (void)state;
    static const struct {
        struct scenario scenario;
        const char *violation;
    } cases[] = {
        {{.name = "offsets of an epoch that is over",
          .records = 1,
          .poison = NO_RECORD,
          .losses = 1,
          .sends_old_epochs = true},
         "a committed result will be repeated"},
        {{.name = "assigned while offsets are pending",
          .records = 1,
          .poison = NO_RECORD,
          .losses = 1,
          .reads_open_offsets = true},
         "a committed result will be repeated"},
        {{.name = "a broker that does not fence",
          .records = 1,
          .poison = NO_RECORD,
          .losses = 1,
          .has_no_fencing = true},
         "a committed result will be repeated"},
        {{.name = "maps without what is done",
          .records = 2,
          .poison = NO_RECORD,
          .crashes = 1,
          .forgets_done = true},
         "a committed result will be repeated"},
        {{.name = "records that run before the commit",
          .records = 1,
          .poison = NO_RECORD,
          .runs_uncommitted = true},
         "a record runs that the next owner will not suspect"},
        {{.name = "poison that is not counted in time",
          .records = 2,
          .poison = 1,
          .runs_uncommitted = true},
         "a record runs that the next owner will not suspect"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *found = search(&cases[i].scenario);
        assert_non_null(found);
        assert_string_equal(found, cases[i].violation);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_interleaving_loses_or_repeats_a_result),
        cmocka_unit_test(test_a_record_that_ends_its_owner_is_given_up_and_no_other_is),
        cmocka_unit_test(test_a_broken_rule_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
