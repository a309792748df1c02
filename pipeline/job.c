/* job: opened inside its own arena, closed with it. */
#include "pipeline/job.h"

#define XXH_INLINE_ALL
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

enum { ID_DIGITS = 32 };

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

bool job_identify(struct job *job)
{
    uint64_t place[2] = {(uint64_t)(uint32_t)job->source.partition, (uint64_t)job->source.offset};
    uint64_t topic = XXH3_64bits(job->source.topic.data, job->source.topic.size);
    XXH128_hash_t hash = XXH3_128bits_withSeed(place, sizeof place, topic);
    char *digits = arena_alloc(job->arena, ID_DIGITS + 1);
    if (digits == NULL) {
        return false;
    }
    (void)snprintf(digits, ID_DIGITS + 1, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    job->id = (struct bytes){digits, ID_DIGITS};
    job->seed = hash.low64;
    return true;
}
