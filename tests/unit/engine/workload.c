/* workload: prompts, parameters and their memory. */
#include "tests/unit/engine/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

uint64_t random_seed(uint64_t otherwise)
{
    const char *text = getenv("TEST_SEED");
    uint64_t seed = text == NULL ? otherwise : strtoull(text, NULL, 0);
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t random_next(struct random *random)
{
    // splitmix64
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = random->state;
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

int random_between(struct random *random, int low, int high)
{
    return low + (int)(random_next(random) % (uint64_t)(high - low + 1));
}

bool random_chance(struct random *random, int percent)
{
    return random_between(random, 0, 99) < percent;
}

static void *allocate(int count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    CHECK(memory != NULL);
    return memory;
}

/* A prompt is the same as all others of its text up to a random length. */
static void fill_prompt(int32_t *prompt, int prompt_count, const struct workload_options *options,
                        struct random *random)
{
    struct random own = {random_next(random)};
    int shared_count = 0;
    struct random text = {0};
    if (options->shared_prefixes_count > 0) {
        text.state = (uint64_t)random_between(random, 1, options->shared_prefixes_count);
        shared_count = random_between(random, 0, prompt_count);
    }
    for (int i = 0; i < prompt_count; i++) {
        prompt[i] = random_between(i < shared_count ? &text : &own, 0, options->vocabulary - 1);
    }
}

static void fill_job(struct test_job *job, const struct workload_options *options,
                     struct random *random)
{
    int prompt_count = random_between(random, 1, options->prompt_max);
    int max_tokens = random_between(random, 1, options->output_max);
    job->prompt = allocate(prompt_count, sizeof *job->prompt);
    job->output = allocate(max_tokens, sizeof *job->output);
    job->submitted_at = -1;
    job->scheduled_at = -1;
    fill_prompt(job->prompt, prompt_count, options, random);
    struct sequence *sequence = &job->sequence;
    sequence->model = random_between(random, 0, options->models_count - 1);
    sequence->prompt = job->prompt;
    sequence->prompt_count = prompt_count;
    sequence->output = job->output;
    if (random_chance(random, 30)) {
        job->logprobs = allocate(max_tokens, sizeof *job->logprobs);
        sequence->logprobs = job->logprobs;
    }
    struct sequence_params *params = &sequence->params;
    params->max_tokens = max_tokens;
    job->stop_tokens[0] = options->vocabulary - 1;
    job->stop_tokens[1] = options->vocabulary - 2;
    params->stop_tokens = job->stop_tokens;
    params->stop_tokens_count = random_between(random, 0, 2);
    params->ignore_eos = random_chance(random, 50);
    params->wants_progress = random_chance(random, 30);
    params->waits_for_ready = random_chance(random, options->not_ready_percent);
    params->priority = random_between(random, 0, options->priorities_count);
    params->sample.temperature = random_chance(random, 50) ? 0.0F : 1.0F;
    params->sample.seed = random_next(random);
    params->sample.presence_penalty = random_chance(random, 20) ? 0.5F : 0.0F;
}

void workload_open(struct workload *workload, const struct workload_options *options,
                   struct random *random)
{
    workload->jobs_count = options->jobs_count;
    workload->jobs = allocate(options->jobs_count, sizeof *workload->jobs);
    for (int i = 0; i < options->jobs_count; i++) {
        fill_job(&workload->jobs[i], options, random);
    }
}

void workload_close(struct workload *workload)
{
    for (int i = 0; i < workload->jobs_count; i++) {
        free(workload->jobs[i].logprobs);
        free(workload->jobs[i].output);
        free(workload->jobs[i].prompt);
    }
    free(workload->jobs);
}
