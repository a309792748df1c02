/* scheduler: three passes over the running sequences and the head of those that wait. */
#include "pipeline/engine/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/engine/forecast.h"
#include "pipeline/engine/look_ahead.h"
#include "schemas/base/check.h"

struct scheduler {
    int block_tokens;
    int rows_max;
    int tokens_max;
    bool enable_prefix_caching;
    bool whole_prompts;
    struct kv_blocks *blocks;
    struct look_ahead waiting;

    struct running_sequence **running; // [running_max] in order of admission
    int running_count;
    int running_max;
    struct running_sequence **unused; // [running_max - running_count] stack
    struct running_sequence *pool;    // [running_max]
    int32_t *block_tables;            // [running_max, blocks_max] memory of pool[].blocks
    struct token_count *counts;       // [running_max, different_tokens_max], of pool[].counts
    int blocks_max;                   // of one sequence

    // The next one that waits, once it did not fit: it is not looked at again before a sequence has
    // left, so that a full pool costs nothing per step.
    const struct sequence_state *refused;
    uint64_t refused_at; // departures_count then
    uint64_t departures_count;

    struct forecast forecast;
    struct forecast_item *items; // [running_max] for one admission

    int32_t *scratch; // [block_tokens]
    struct step_plan plan;
};

static int divide_up(int value, int divisor)
{
    return value / divisor + (value % divisor != 0);
}

static bool open_arrays(struct scheduler *scheduler, const struct scheduler_options *options)
{
    size_t running_max = (size_t)options->running_max;
    size_t blocks_max = (size_t)scheduler->blocks_max;
    size_t different_max = (size_t)options->different_tokens_max;
    scheduler->running = calloc(running_max, sizeof(struct running_sequence *));
    scheduler->unused = calloc(running_max, sizeof(struct running_sequence *));
    scheduler->pool = calloc(running_max, sizeof *scheduler->pool);
    scheduler->block_tables = calloc(running_max * blocks_max, sizeof *scheduler->block_tables);
    // Most of it is never touched, and then costs no memory: penalties are rare.
    scheduler->counts = calloc(running_max * different_max, sizeof *scheduler->counts);
    scheduler->scratch = calloc((size_t)options->blocks.block_tokens, sizeof *scheduler->scratch);
    scheduler->plan.sequences = calloc(running_max, sizeof *scheduler->plan.sequences);
    scheduler->items = calloc(running_max, sizeof *scheduler->items);
    return scheduler->running != NULL && scheduler->unused != NULL && scheduler->pool != NULL &&
           scheduler->block_tables != NULL && scheduler->counts != NULL &&
           scheduler->scratch != NULL && scheduler->plan.sequences != NULL &&
           scheduler->items != NULL &&
           look_ahead_open(&scheduler->waiting, options->waiting_max, scheduler->block_tokens,
                           options->enable_prefix_caching && options->enable_look_ahead);
}

bool scheduler_open(const struct scheduler_options *options, struct scheduler **scheduler_out,
                    struct error *error)
{
    CHECK(options->running_max > 0 && options->running_max <= options->rows_max);
    CHECK(divide_up(options->tokens_max, options->blocks.block_tokens) <=
          options->blocks.blocks_count);
    struct scheduler *scheduler = calloc(1, sizeof *scheduler);
    if (scheduler == NULL) {
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL, "no memory for a scheduler");
    }
    scheduler->block_tokens = options->blocks.block_tokens;
    scheduler->rows_max = options->rows_max;
    forecast_init(&scheduler->forecast);
    scheduler->tokens_max = options->tokens_max;
    scheduler->enable_prefix_caching = options->enable_prefix_caching;
    scheduler->whole_prompts = options->whole_prompts;
    scheduler->running_max = options->running_max;
    scheduler->blocks_max = divide_up(options->tokens_max, options->blocks.block_tokens);
    if (!kv_blocks_open(&options->blocks, &scheduler->blocks, error)) {
        scheduler_close(scheduler);
        return false;
    }
    if (!open_arrays(scheduler, options)) {
        scheduler_close(scheduler);
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                         "no memory for %d running sequences of %d tokens; lower max_num_seqs or "
                         "max_model_len",
                         options->running_max, options->tokens_max);
    }
    for (int i = 0; i < options->running_max; i++) {
        struct running_sequence *running = &scheduler->pool[i];
        running->blocks = scheduler->block_tables + (size_t)i * (size_t)scheduler->blocks_max;
        running->counts.items =
            scheduler->counts + (size_t)i * (size_t)options->different_tokens_max;
        running->counts.capacity = options->different_tokens_max;
        scheduler->unused[i] = running;
    }
    *scheduler_out = scheduler;
    return true;
}

void scheduler_close(struct scheduler *scheduler)
{
    if (scheduler == NULL) {
        return;
    }
    look_ahead_close(&scheduler->waiting);
    kv_blocks_close(scheduler->blocks);
    free(scheduler->items);
    free(scheduler->plan.sequences);
    free(scheduler->scratch);
    free(scheduler->counts);
    free(scheduler->block_tables);
    free(scheduler->pool);
    free(scheduler->unused);
    free(scheduler->running);
    free(scheduler);
}

bool scheduler_has_work(const struct scheduler *scheduler)
{
    return scheduler->running_count > 0 || look_ahead_count(&scheduler->waiting) > 0;
}

int scheduler_running_count(const struct scheduler *scheduler)
{
    return scheduler->running_count;
}

const struct kv_blocks *scheduler_blocks(const struct scheduler *scheduler)
{
    return scheduler->blocks;
}

const struct sequence_state *scheduler_waiting_first(const struct scheduler *scheduler)
{
    return waiting_first(&scheduler->waiting.waiting);
}

void scheduler_add(struct scheduler *scheduler, struct sequence_state *state)
{
    CHECK(state->sequence->prompt_count > 0 &&
          state->sequence->prompt_count < scheduler->tokens_max);
    look_ahead_add(&scheduler->waiting, state);
}

/* Takes running[index] out and gives its blocks and its struct back. */
static struct sequence_state *stop_running(struct scheduler *scheduler, int index)
{
    struct running_sequence *running = scheduler->running[index];
    struct sequence_state *state = running->state;
    kv_blocks_release(scheduler->blocks, running->blocks, running->blocks_count);
    scheduler->running_count--;
    scheduler->departures_count++;
    memmove(scheduler->running + index, scheduler->running + index + 1,
            (size_t)(scheduler->running_count - index) * sizeof(struct running_sequence *));
    scheduler->unused[scheduler->running_max - scheduler->running_count - 1] = running;
    state->running = NULL;
    return state;
}

void scheduler_remove(struct scheduler *scheduler, struct sequence_state *state)
{
    if (scheduler->refused == state) {
        scheduler->refused = NULL;
    }
    if (state->running == NULL) {
        look_ahead_remove(&scheduler->waiting, state);
        return;
    }
    int index = 0;
    while (scheduler->running[index] != state->running) {
        index++;
    }
    (void)stop_running(scheduler, index);
}

struct sequence_state *scheduler_any(const struct scheduler *scheduler)
{
    return scheduler->running_count > 0 ? scheduler->running[0]->state
                                        : waiting_first(&scheduler->waiting.waiting);
}

void scheduler_learn(struct scheduler *scheduler, const struct sequence *sequence)
{
    int output_count = atomic_load_explicit(&sequence->output_count, memory_order_relaxed);
    forecast_learn(&scheduler->forecast, output_count, sequence->params.max_tokens);
}

/* Another thread may say at any time that the sequence is ready, so a step asks once. */
static void note_ready(struct running_sequence *running)
{
    const struct sequence *sequence = running->sequence;
    int output_count = running->known_count - sequence->prompt_count;
    running->is_ready =
        !sequence->params.waits_for_ready ||
        atomic_load_explicit(&sequence->ready_count, memory_order_acquire) > output_count;
}

static int last_in_order(const struct scheduler *scheduler)
{
    int last = 0;
    for (int i = 1; i < scheduler->running_count; i++) {
        if (sequence_state_precedes(scheduler->running[last]->state,
                                    scheduler->running[i]->state)) {
            last = i;
        }
    }
    return last;
}

/* The last known token's row gives the logits of the next one, which must be wanted. */
static int rows_wanted(const struct running_sequence *running)
{
    return running->known_count - running->computed_count - (running->is_ready ? 0 : 1);
}

/* False when the next position needs a block and none is idle. */
static bool has_block_for_next(struct scheduler *scheduler, struct running_sequence *running)
{
    if (rows_wanted(running) == 0 ||
        running->computed_count < running->blocks_count * scheduler->block_tokens) {
        return true;
    }
    CHECK(running->blocks_count < scheduler->blocks_max);
    int32_t block = kv_blocks_take(scheduler->blocks);
    if (block == KV_NO_BLOCK) {
        return false;
    }
    running->blocks[running->blocks_count++] = block;
    return true;
}

/* Pass 1a: afterwards every running sequence has the blocks of its next rows. A prompt got all of
 * its blocks at admission. */
static void obtain_blocks(struct scheduler *scheduler)
{
    for (int i = 0; i < scheduler->running_count;) {
        if (has_block_for_next(scheduler, scheduler->running[i])) {
            i++;
            continue;
        }
        CHECK(scheduler->running_count > 1); // any one sequence fits the pool
        int victim = last_in_order(scheduler);
        look_ahead_add(&scheduler->waiting, stop_running(scheduler, victim));
        scheduler->plan.preempted_count++;
        if (victim < i) {
            i--;
        }
    }
}

static void plan_add(struct step_plan *plan, struct running_sequence *running, int rows)
{
    plan->sequences[plan->sequences_count++] = (struct step_sequence){running, rows};
    plan->rows_count += rows;
}

/* Passes 1b and 2. */
static void plan_running(struct scheduler *scheduler)
{
    struct step_plan *plan = &scheduler->plan;
    for (int i = 0; i < scheduler->running_count; i++) {
        if (rows_wanted(scheduler->running[i]) == 1) {
            plan_add(plan, scheduler->running[i], 1);
        }
    }
    if (plan->sequences_count == scheduler->running_count) {
        return;
    }
    for (int i = 0; i < scheduler->running_count; i++) {
        int rows_left = scheduler->rows_max - plan->rows_count;
        int rows = rows_wanted(scheduler->running[i]);
        if (rows > 1 && rows_left > 0) {
            plan_add(plan, scheduler->running[i], rows < rows_left ? rows : rows_left);
        }
    }
}

/* Fills the block table with what the prefix cache has, and counts those blocks that are idle. The
 * last token is always computed, since its row gives the logits. */
static int find_prefix(struct scheduler *scheduler, struct running_sequence *running)
{
    if (!scheduler->enable_prefix_caching) {
        return 0;
    }
    int idle_count = 0;
    int full_blocks = (running->known_count - 1) / scheduler->block_tokens;
    while (running->blocks_count < full_blocks) {
        const int32_t *tokens =
            sequence_tokens(running->sequence, running->blocks_count * scheduler->block_tokens,
                            scheduler->block_tokens, scheduler->scratch);
        int32_t block = kv_blocks_find(scheduler->blocks, running->identity, tokens);
        if (block == KV_NO_BLOCK) {
            break;
        }
        running->blocks[running->blocks_count++] = block;
        running->identity = kv_blocks_identity(scheduler->blocks, block);
        idle_count += kv_blocks_references(scheduler->blocks, block) == 0;
    }
    return idle_count;
}

static void init_running(struct running_sequence *running, struct sequence_state *state)
{
    struct sequence *sequence = state->sequence;
    int output_count = atomic_load_explicit(&sequence->output_count, memory_order_relaxed);
    running->sequence = sequence;
    running->state = state;
    running->blocks_count = 0;
    running->found_count = 0;
    running->known_count = sequence->prompt_count + output_count;
    running->computed_count = 0;
    running->published_count = 0;
    running->identity = KV_ROOT;
    note_ready(running);
    running->counts.count = 0;
    if (sequence_has_penalty(sequence)) {
        for (int i = 0; i < output_count; i++) {
            token_counts_add(&running->counts, sequence->output[i]);
        }
    }
}

/* Tokens in whole blocks, from `first` on, that both have. */
static int shared_count(const struct scheduler *scheduler, const struct sequence *a,
                        const struct sequence *b, int first)
{
    int end = a->prompt_count < b->prompt_count ? a->prompt_count : b->prompt_count;
    int token = first;
    while (token < end && a->prompt[token] == b->prompt[token]) {
        token++;
    }
    return (token - first) / scheduler->block_tokens * scheduler->block_tokens;
}

/* True when a sequence that runs is just computing at least a quarter of what the newcomer would
 * have to compute: it is then found in the cache in a step or two. */
static bool is_being_computed(const struct scheduler *scheduler,
                              const struct running_sequence *newcomer)
{
    if (!scheduler->enable_prefix_caching) {
        return false;
    }
    int first = newcomer->blocks_count * scheduler->block_tokens;
    int needed = newcomer->known_count - first;
    for (int i = 0; i < scheduler->running_count; i++) {
        const struct running_sequence *running = scheduler->running[i];
        if (rows_wanted(running) > 1 && running->published_count == newcomer->blocks_count &&
            running->identity == newcomer->identity) {
            int shared = shared_count(scheduler, running->sequence, newcomer->sequence, first);
            if (shared > 0 && 4 * shared >= needed) {
                return true;
            }
        }
    }
    return false;
}

static struct forecast_item item_of(const struct scheduler *scheduler,
                                    const struct running_sequence *running)
{
    int output_count = running->known_count - running->sequence->prompt_count;
    int remaining = forecast_remaining(&scheduler->forecast, output_count,
                                       running->sequence->params.max_tokens);
    int room = scheduler->tokens_max - running->known_count;
    return (struct forecast_item){
        .remaining = remaining < room ? remaining : room,
        .own_blocks = running->blocks_count - running->found_count,
    };
}

/* Idle blocks that those that run will want, with a newcomer that takes needed_count now. */
static int64_t growth_with(const struct scheduler *scheduler,
                           const struct running_sequence *newcomer, int needed_count)
{
    int count = scheduler->running_count;
    for (int i = 0; i < count; i++) {
        scheduler->items[i] = item_of(scheduler, scheduler->running[i]);
    }
    scheduler->items[count] = item_of(scheduler, newcomer);
    scheduler->items[count].own_blocks = needed_count;
    return forecast_peak(scheduler->items, count + 1, scheduler->block_tokens);
}

/* Takes the first one from the waiting if there are blocks for all of its tokens, and nothing is
 * gained by taking it later. */
static struct running_sequence *admit(struct scheduler *scheduler, struct sequence_state *state)
{
    if (state == scheduler->refused && scheduler->departures_count == scheduler->refused_at) {
        return NULL;
    }
    int unused_top = scheduler->running_max - scheduler->running_count - 1;
    struct running_sequence *running = scheduler->unused[unused_top];
    init_running(running, state);
    int idle_found_count = find_prefix(scheduler, running);
    if (is_being_computed(scheduler, running)) {
        look_ahead_defer(&scheduler->waiting, state);
        return NULL;
    }
    int found_count = running->blocks_count;
    int needed_count = divide_up(running->known_count, scheduler->block_tokens) - found_count;
    int64_t wanted_count = needed_count + idle_found_count;
    if (scheduler->running_count > 0) { // any one alone fits
        wanted_count += growth_with(scheduler, running, needed_count);
    }
    if (kv_blocks_idle_count(scheduler->blocks) < wanted_count) {
        scheduler->refused = state;
        scheduler->refused_at = scheduler->departures_count;
        return NULL;
    }
    running->found_count = found_count;
    for (int i = 0; i < found_count; i++) {
        kv_blocks_share(scheduler->blocks, running->blocks[i]);
    }
    for (int i = 0; i < needed_count; i++) {
        running->blocks[running->blocks_count++] = kv_blocks_take(scheduler->blocks);
    }
    running->published_count = found_count;
    running->computed_count = found_count * scheduler->block_tokens;
    look_ahead_admit(&scheduler->waiting, state);
    state->running = running;
    scheduler->running[scheduler->running_count++] = running;
    return running;
}

/* Nobody passes a prompt that has to be whole, so it is first in the next step. */
static bool has_room(const struct scheduler *scheduler, const struct sequence_state *state)
{
    int rows_left = scheduler->rows_max - scheduler->plan.rows_count;
    return !scheduler->whole_prompts || state->sequence->prompt_count <= rows_left;
}

/* Pass 3. Ends: each turn admits a sequence or defers one of a few. */
static void plan_waiting(struct scheduler *scheduler)
{
    struct step_plan *plan = &scheduler->plan;
    struct look_ahead *waiting = &scheduler->waiting;
    look_ahead_begin(waiting);
    while (plan->rows_count < scheduler->rows_max &&
           scheduler->running_count < scheduler->running_max) {
        struct sequence_state *state = look_ahead_next(waiting);
        if (state != NULL && !has_room(scheduler, state)) {
            return;
        }
        struct running_sequence *running = state == NULL ? NULL : admit(scheduler, state);
        if (running == NULL && (state == NULL || state == scheduler->refused)) {
            return;
        }
        if (running == NULL) {
            continue; // deferred
        }
        int rows_left = scheduler->rows_max - plan->rows_count;
        int rows = rows_wanted(running);
        if (rows > 0) {
            plan_add(plan, running, rows < rows_left ? rows : rows_left);
        }
        plan->cached_count += running->computed_count;
    }
}

const struct step_plan *scheduler_plan(struct scheduler *scheduler)
{
    struct step_plan *plan = &scheduler->plan;
    *plan = (struct step_plan){.sequences = plan->sequences};
    for (int i = 0; i < scheduler->running_count; i++) {
        note_ready(scheduler->running[i]);
    }
    obtain_blocks(scheduler);
    plan_running(scheduler);
    if (plan->preempted_count == 0) {
        plan_waiting(scheduler);
    }
    CHECK(plan->rows_count <= scheduler->rows_max);
    return plan;
}

void scheduler_advance(struct scheduler *scheduler, struct running_sequence *running, int rows)
{
    running->computed_count += rows;
    if (!scheduler->enable_prefix_caching) {
        return;
    }
    int full_blocks = running->computed_count / scheduler->block_tokens;
    while (running->published_count < full_blocks) {
        int index = running->published_count++;
        const int32_t *tokens = sequence_tokens(running->sequence, index * scheduler->block_tokens,
                                                scheduler->block_tokens, scheduler->scratch);
        running->blocks[index] =
            kv_blocks_publish(scheduler->blocks, running->identity, tokens, running->blocks[index]);
        running->identity = kv_blocks_identity(scheduler->blocks, running->blocks[index]);
    }
}
