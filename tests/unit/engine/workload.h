/* workload: random sequences for tests of the engine, from a seed that a failing test prints. */
#ifndef TESTS_UNIT_ENGINE_WORKLOAD_H
#define TESTS_UNIT_ENGINE_WORKLOAD_H

#include "pipeline/engine/engine.h"
#include "pipeline/engine/sequence_state.h"

struct random {
    uint64_t state;
};

/* TEST_SEED of the environment, or `otherwise`; printed. */
uint64_t random_seed(uint64_t otherwise);
uint64_t random_next(struct random *random);
/* At least `low` and at most `high`. */
int random_between(struct random *random, int low, int high);
bool random_chance(struct random *random, int percent);

struct workload_options {
    int jobs_count;
    int models_count;
    int vocabulary;
    int prompt_max;
    int output_max;
    int shared_prefixes_count; // prompts begin with one of so many texts; 0: none
    int priorities_count;
    int not_ready_percent; // of sequences that wait before each token
};

/* A sequence with its memory and what the test saw of it. */
struct test_job {
    struct sequence sequence; // first, so that a sequence leads back to its job
    struct sequence_state state;
    int32_t *prompt;
    int32_t *output;
    float *logprobs;
    int32_t stop_tokens[2];
    int submitted_at; // step, -1: not yet
    int scheduled_at; // step, -1: never
    int finished_count;
    bool was_asked;   // to end, by the test
    bool was_running; // before the present step
};

struct workload {
    struct test_job *jobs;
    int jobs_count;
};

void workload_open(struct workload *workload, const struct workload_options *options,
                   struct random *random);
void workload_close(struct workload *workload);

#endif
