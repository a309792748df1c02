/* simulator: arrivals, steps, checks. */
#include "tests/support/simulator.h"

#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"

struct request {
    struct sequence sequence;
    struct sequence_state state;
    int32_t *output;
    double started_ms; // -1: not yet
    double arrived_ms;
    bool has_finished;
};

struct simulation {
    const struct trace *trace;
    const struct simulator_options *options;
    struct scheduler *scheduler;
    struct request *requests; // [trace->count], in order of arrival
    int32_t *outputs;
    int *references; // [blocks]
    double *waits;   // [trace->count]
    int arrived_count;
    int finished_count;
    int oldest; // requests before it have started
    double now_ms;
    double busy_until_ms;
    struct simulator_report report;
};

static double cpu_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void hold(struct simulation *simulation, bool condition, const char *text)
{
    if (!condition && simulation->report.broken == NULL) {
        simulation->report.broken = text;
    }
}

/* What the request asks for, of which the trace tells the outcome. */
static int max_tokens_of(const struct simulation *simulation, const struct trace_request *source)
{
    int percent = simulation->options->stops_at_percent;
    int room = simulation->options->scheduler.tokens_max - source->prompt_count;
    int tokens = percent == 0 ? source->output_count : source->output_count * 100 / percent;
    return tokens < room ? tokens : room;
}

static void open_requests(struct simulation *simulation)
{
    const struct trace *trace = simulation->trace;
    size_t outputs_count = (size_t)trace->output_tokens;
    simulation->requests = calloc((size_t)trace->count, sizeof *simulation->requests);
    simulation->outputs = calloc(outputs_count, sizeof *simulation->outputs);
    simulation->waits = calloc((size_t)trace->count, sizeof *simulation->waits);
    simulation->references = calloc((size_t)simulation->options->scheduler.blocks.blocks_count,
                                    sizeof *simulation->references);
    CHECK(simulation->requests != NULL && simulation->outputs != NULL &&
          simulation->waits != NULL && simulation->references != NULL);
    int32_t *output = simulation->outputs;
    for (int i = 0; i < trace->count; i++) {
        const struct trace_request *source = &trace->requests[i];
        struct request *request = &simulation->requests[i];
        request->sequence = (struct sequence){
            .prompt = source->prompt,
            .prompt_count = source->prompt_count,
            .params = {.max_tokens = max_tokens_of(simulation, source)},
            .output = output,
        };
        request->arrived_ms = simulation->options->is_backlog ? 0 : source->arrival_ms;
        request->started_ms = -1;
        output += source->output_count;
    }
}

static void close_requests(struct simulation *simulation)
{
    free(simulation->references);
    free(simulation->waits);
    free(simulation->outputs);
    free(simulation->requests);
}

static void add_arrived(struct simulation *simulation)
{
    int count = simulation->trace->count;
    if (!scheduler_has_work(simulation->scheduler) && simulation->arrived_count < count) {
        double next_ms = simulation->requests[simulation->arrived_count].arrived_ms;
        simulation->now_ms = simulation->now_ms < next_ms ? next_ms : simulation->now_ms;
    }
    while (simulation->arrived_count < count &&
           simulation->requests[simulation->arrived_count].arrived_ms <= simulation->now_ms) {
        struct request *request = &simulation->requests[simulation->arrived_count];
        request->sequence.timing.submitted_ms = request->arrived_ms;
        sequence_state_init(&request->state, &request->sequence,
                            (uint64_t)simulation->arrived_count, 0);
        if (simulation->options->is_first_come) {
            request->state.rank_ms = 0;
        }
        scheduler_add(simulation->scheduler, &request->state);
        simulation->arrived_count++;
    }
}

static struct request *request_of(const struct step_sequence *planned)
{
    return (struct request *)(void *)planned->running->sequence;
}

/* Notes first steps, and by how much they passed the first of those that wait on. */
static void note_started(struct simulation *simulation, const struct step_plan *plan)
{
    for (int i = 0; i < plan->sequences_count; i++) {
        struct request *request = request_of(&plan->sequences[i]);
        int cached_count = plan->sequences[i].running->computed_count;
        if (request->started_ms < 0) {
            request->started_ms = simulation->now_ms;
            int index = (int)(request - simulation->requests);
            simulation->waits[index] = simulation->now_ms - request->arrived_ms;
            simulation->report.cached_tokens += cached_count;
        }
    }
    while (simulation->oldest < simulation->arrived_count &&
           simulation->requests[simulation->oldest].started_ms >= 0) {
        simulation->oldest++;
    }
}

/* Every sequence waits only for those that precede it, or that may pass it. */
static void check_passed(struct simulation *simulation, const struct step_plan *plan)
{
    const struct sequence_state *first = scheduler_waiting_first(simulation->scheduler);
    for (int i = 0; first != NULL && i < plan->sequences_count; i++) {
        const struct request *request = request_of(&plan->sequences[i]);
        double passed_ms = (double)(request->state.rank_ms - first->rank_ms);
        bool is_new = request->started_ms == simulation->now_ms;
        if (is_new && passed_ms > simulation->report.passed_most_ms) {
            simulation->report.passed_most_ms = passed_ms;
        }
    }
    hold(simulation, simulation->report.passed_most_ms <= LOOK_AHEAD_MS,
         "nobody is passed by more than the bound");
}

static void check_budget(struct simulation *simulation, const struct step_plan *plan)
{
    const struct scheduler_options *options = &simulation->options->scheduler;
    int rows = 0;
    hold(simulation, plan->sequences_count > 0, "a step has rows while there is work");
    for (int i = 0; i < plan->sequences_count; i++) {
        const struct step_sequence *planned = &plan->sequences[i];
        const struct running_sequence *running = planned->running;
        rows += planned->rows;
        hold(simulation, planned->rows > 0, "each sequence of a step has rows");
        hold(simulation, running->computed_count + planned->rows <= running->known_count,
             "no row is planned beyond what is known");
        hold(simulation,
             running->computed_count + planned->rows <=
                 running->blocks_count * options->blocks.block_tokens,
             "all rows have blocks");
    }
    hold(simulation, rows == plan->rows_count, "the rows of a step are the sum of its parts");
    hold(simulation, rows <= options->rows_max, "no step is over the budget of rows");
    hold(simulation, plan->sequences_count <= options->running_max, "no step is over the slots");
}

/* Every block has as many references as block tables name it. */
static void check_references(struct simulation *simulation)
{
    int blocks_count = simulation->options->scheduler.blocks.blocks_count;
    const struct kv_blocks *blocks = scheduler_blocks(simulation->scheduler);
    for (int i = 0; i < blocks_count; i++) {
        simulation->references[i] = 0;
    }
    for (int i = 0; i < simulation->arrived_count; i++) {
        const struct request *request = &simulation->requests[i];
        const struct running_sequence *running =
            request->has_finished ? NULL : request->state.running;
        for (int b = 0; running != NULL && b < running->blocks_count; b++) {
            simulation->references[running->blocks[b]]++;
        }
    }
    int idle_count = 0;
    for (int32_t block = 0; block < blocks_count; block++) {
        hold(simulation, simulation->references[block] == kv_blocks_references(blocks, block),
             "each block is held as often as tables name it");
        idle_count += simulation->references[block] == 0;
    }
    hold(simulation, idle_count == kv_blocks_idle_count(blocks), "idle blocks are those not held");
}

static double cost_ms(const struct simulation *simulation, const struct step_plan *plan)
{
    const struct simulator_cost *cost = &simulation->options->cost;
    double context = 0;
    for (int i = 0; i < plan->sequences_count; i++) {
        context += plan->sequences[i].running->computed_count + plan->sequences[i].rows;
    }
    double products_ms = plan->rows_count * cost->row_ms;
    return (products_ms > cost->weights_ms ? products_ms : cost->weights_ms) +
           context * cost->context_us / 1e3;
}

/* The step's rows are computed: a token for each sequence that is at its last one. */
static void take_results(struct simulation *simulation, const struct step_plan *plan)
{
    double start_us = cpu_us();
    for (int i = 0; i < plan->sequences_count; i++) {
        scheduler_advance(simulation->scheduler, plan->sequences[i].running,
                          plan->sequences[i].rows);
    }
    simulation->report.plan_us += cpu_us() - start_us;
    for (int i = 0; i < plan->sequences_count; i++) {
        struct running_sequence *running = plan->sequences[i].running;
        struct request *request = request_of(&plan->sequences[i]);
        struct sequence *sequence = &request->sequence;
        if (running->computed_count < running->known_count) {
            continue;
        }
        int output_count = running->known_count - sequence->prompt_count;
        sequence->output[output_count] = (int32_t)(request->state.arrival % TRACE_VOCABULARY);
        atomic_store_explicit(&sequence->output_count, output_count + 1, memory_order_relaxed);
        running->known_count++;
        simulation->report.generated++;
        const struct trace_request *source =
            &simulation->trace->requests[request - simulation->requests];
        if (output_count + 1 == source->output_count) {
            scheduler_learn(simulation->scheduler, sequence);
            scheduler_remove(simulation->scheduler, &request->state);
            request->has_finished = true;
            simulation->finished_count++;
        }
    }
}

static void run_step(struct simulation *simulation)
{
    struct simulator_report *report = &simulation->report;
    double start_us = cpu_us();
    const struct step_plan *plan = scheduler_plan(simulation->scheduler);
    report->plan_us += cpu_us() - start_us;
    note_started(simulation, plan);
    check_budget(simulation, plan);
    check_passed(simulation, plan);
    report->steps++;
    report->rows += plan->rows_count;
    report->preemptions += plan->preempted_count;
    simulation->now_ms += cost_ms(simulation, plan);
    const struct simulator_cost *cost = &simulation->options->cost;
    if (plan->rows_count * cost->row_ms >= cost->weights_ms) {
        simulation->busy_until_ms = simulation->now_ms;
    }
    take_results(simulation, plan);
    int every = simulation->options->checked_every;
    if (every > 0 && report->steps % every == 0) {
        check_references(simulation);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return (first > second) - (first < second);
}

static void finish_report(struct simulation *simulation)
{
    struct simulator_report *report = &simulation->report;
    const struct trace *trace = simulation->trace;
    hold(simulation, simulation->finished_count == trace->count, "all requests finish");
    hold(simulation,
         kv_blocks_idle_count(scheduler_blocks(simulation->scheduler)) ==
             simulation->options->scheduler.blocks.blocks_count,
         "all blocks are idle at the end");
    qsort(simulation->waits, (size_t)trace->count, sizeof *simulation->waits, compare_doubles);
    report->makespan_ms = simulation->now_ms;
    report->tail_ms = simulation->now_ms - simulation->busy_until_ms;
    report->wait_median_ms = simulation->waits[trace->count / 2];
    report->wait_most_ms = simulation->waits[trace->count - 1];
    report->prompt_tokens = trace->prompt_tokens;
    // Each output token but the last of each request is a row of its own.
    report->computed_again = report->rows - (trace->prompt_tokens - report->cached_tokens) -
                             (trace->output_tokens - trace->count);
}

void simulator_run(const struct trace *trace, const struct simulator_options *options,
                   struct simulator_report *report_out)
{
    struct error error = {0};
    struct simulation simulation = {.trace = trace, .options = options};
    CHECK(trace->count > 0);
    CHECK(scheduler_open(&options->scheduler, &simulation.scheduler, &error));
    open_requests(&simulation);
    while (simulation.finished_count < trace->count && simulation.report.broken == NULL) {
        add_arrived(&simulation);
        run_step(&simulation);
    }
    if (simulation.report.broken == NULL) {
        finish_report(&simulation);
    }
    *report_out = simulation.report;
    close_requests(&simulation);
    scheduler_close(simulation.scheduler);
}
