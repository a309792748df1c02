/* world: a runner on simulated devices with a workload, stepped by hand and always checked. */
#ifndef TESTS_UNIT_ENGINE_WORLD_H
#define TESTS_UNIT_ENGINE_WORLD_H

#include "pipeline/engine/runner.h"
#include "tests/unit/engine/simulated_device.h"
#include "tests/unit/engine/workload.h"

enum { MODELS_MAX = 3, OUTPUT_MAX = 64 };

struct world {
    struct simulated_device devices[MODELS_MAX];
    struct simulated_options options;
    int models_count;
    bool has_look_ahead;
    struct runner *runner;
    struct workload workload;
    int steps_count;
    int inside_count;
    int finished_count;
    int progress_count;
};

struct world_options {
    struct simulated_options device;
    struct workload_options workload;
    int models_count;
    int max_num_seqs;
    int max_num_batched_tokens;
    int max_model_len;
    bool enable_prefix_caching;
};

void world_open(struct world *world, const struct world_options *options, struct random *random);
void world_close(struct world *world);

void world_submit(struct world *world, int index);
/* One step, then all invariants. */
void world_step(struct world *world);
/* Submits everything over time, ends some of it meanwhile, and steps until all is done. */
void world_run(struct world *world, struct random *random, int cancel_percent);

/* The output and finish reason are those that the sequence has alone. */
void world_check_output(const struct world *world, const struct test_job *job);
/* All outputs; each finished once; none was passed by one that it precedes, but for a shared
 * prefix. */
void world_check(const struct world *world);

#endif
