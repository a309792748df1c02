/* simulator: the scheduler over a trace, against a device that only takes time.
 *
 * A step costs max(weights, rows * row) + context tokens read * context; nothing is computed, no
 * thread runs, and the clock is the sum of the costs, so an hour of a service passes in
 * milliseconds. Invariants are checked after every step. */
#ifndef TESTS_SUPPORT_SIMULATOR_H
#define TESTS_SUPPORT_SIMULATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/engine/scheduler.h"
#include "tests/support/trace.h"

struct simulator_cost {
    double weights_ms; // the least that a step takes: the weights are read once
    double row_ms;     // of one row's products
    double context_us; // of reading one token of a sequence's keys and values
};

/* An 8 B model in bf16 on one H100: 16 GB of weights at 3.35 TB/s, 16 GF a row at 400 TF/s, 128 kB
 * of keys and values a token. */
#define SIMULATOR_8B ((struct simulator_cost){4.8, 0.04, 0.038})

struct simulator_options {
    struct scheduler_options scheduler;
    struct simulator_cost cost;
    bool is_first_come; // order of arrival, without look-ahead
    bool is_backlog;    // all requests are there at the start
    // Outputs end at this part of max_tokens; 0: at max_tokens itself.
    int stops_at_percent;
    int checked_every; // steps between two checks of all references; 0: never
};

struct simulator_report {
    double makespan_ms;
    double tail_ms; // of it, after the last step that had rows enough to hide the weights' reading
    double wait_median_ms; // from arrival to the first step
    double wait_most_ms;
    int64_t steps;
    int64_t rows;
    int64_t prompt_tokens;
    int64_t cached_tokens;  // of prompts, at the first admission
    int64_t computed_again; // rows that preemption cost
    int64_t preemptions;
    double passed_most_ms; // the most by which one was started before another that precedes it
    double plan_us;        // CPU time of scheduler_plan and scheduler_advance, all steps
    int64_t generated;
    const char *broken; // the first invariant that did not hold, or NULL
};

void simulator_run(const struct trace *trace, const struct simulator_options *options,
                   struct simulator_report *report_out);

#endif
