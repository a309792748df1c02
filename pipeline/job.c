/* job: opened inside its own arena, closed with it. */
#include "pipeline/job.h"

struct job *job_open(size_t bytes_max)
{
    struct arena *arena = arena_open(bytes_max);
    if (arena == NULL) {
        return NULL;
    }
    struct job *job = arena_alloc(arena, sizeof *job);
    if (job == NULL) {
        arena_close(arena);
        return NULL;
    }
    job->arena = arena;
    job->attempt = 1;
    return job;
}

void job_close(struct job *job)
{
    if (job == NULL) {
        return;
    }
    for (int i = 0; i < job->calls_count; i++) {
        openai_request_close(&job->calls[i].request);
    }
    arena_close(job->arena);
}
