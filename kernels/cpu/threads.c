/* threads: worker threads, one job at a time. */
#include "kernels/cpu/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "schemas/base/check.h"

/* Multiplications that pay for waking a thread: 15 microseconds of one core's, at 140 a nanosecond.
 */
enum { COST_MIN = 1 << 21 };

struct worker {
    struct threads *threads;
    pthread_t id;
    int index; // 0 is the caller, which has no thread of its own
};

struct threads {
    int count;
    int started; // workers that run
    struct worker *workers;
    void **scratch; // [count]
    size_t scratch_bytes;

    pthread_mutex_t mutex; // guards what follows but next_task
    pthread_cond_t has_job;
    pthread_cond_t is_idle;
    unsigned long job; // number of the present job
    bool is_open;      // the job still takes workers
    bool is_closing;
    int active; // workers inside the job
    void (*task)(void *context, int index, int thread);
    void *context;
    int tasks_count;
    atomic_int next_task;
};

static void work(struct threads *threads, int thread)
{
    for (;;) {
        int index = atomic_fetch_add_explicit(&threads->next_task, 1, memory_order_relaxed);
        if (index >= threads->tasks_count) {
            return;
        }
        threads->task(threads->context, index, thread);
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct threads *threads = worker->threads;
    unsigned long seen = 0;
    pthread_mutex_lock(&threads->mutex);
    for (;;) {
        while (!threads->is_closing && (!threads->is_open || threads->job == seen)) {
            pthread_cond_wait(&threads->has_job, &threads->mutex);
        }
        if (threads->is_closing) {
            break;
        }
        seen = threads->job;
        threads->active++;
        pthread_mutex_unlock(&threads->mutex);
        work(threads, worker->index);
        pthread_mutex_lock(&threads->mutex);
        threads->active--;
        if (threads->active == 0) {
            pthread_cond_signal(&threads->is_idle);
        }
    }
    pthread_mutex_unlock(&threads->mutex);
    return NULL;
}

/* Workers take no signals: those belong to the program's own threads. */
static bool start_workers(struct threads *threads)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_ok = true;
    for (int i = 1; i < threads->count && is_ok; i++) {
        struct worker *worker = &threads->workers[i];
        *worker = (struct worker){.threads = threads, .index = i};
        is_ok = pthread_create(&worker->id, NULL, worker_main, worker) == 0;
        threads->started += is_ok ? 1 : 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_ok;
}

struct threads *threads_open(int count)
{
    CHECK(count > 0);
    struct threads *threads = calloc(1, sizeof(*threads));
    if (threads == NULL) {
        return NULL;
    }
    threads->count = count;
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->has_job, NULL);
    pthread_cond_init(&threads->is_idle, NULL);
    threads->workers = calloc((size_t)count, sizeof(*threads->workers));
    threads->scratch = calloc((size_t)count, sizeof(*threads->scratch));
    if (threads->workers == NULL || threads->scratch == NULL || !threads_reserve(threads, 64) ||
        !start_workers(threads)) { // with some scratch memory, so that it is never NULL
        threads_close(threads);
        return NULL;
    }
    return threads;
}

void threads_close(struct threads *threads)
{
    if (threads == NULL) {
        return;
    }
    pthread_mutex_lock(&threads->mutex);
    threads->is_closing = true;
    pthread_cond_broadcast(&threads->has_job);
    pthread_mutex_unlock(&threads->mutex);
    for (int i = 1; i <= threads->started; i++) {
        pthread_join(threads->workers[i].id, NULL);
    }
    for (int i = 0; threads->scratch != NULL && i < threads->count; i++) {
        free(threads->scratch[i]);
    }
    pthread_cond_destroy(&threads->is_idle);
    pthread_cond_destroy(&threads->has_job);
    pthread_mutex_destroy(&threads->mutex);
    free(threads->scratch);
    free(threads->workers);
    free(threads);
}

int threads_count(const struct threads *threads)
{
    return threads->count;
}

bool threads_reserve(struct threads *threads, size_t bytes)
{
    if (bytes <= threads->scratch_bytes) {
        return true;
    }
    size_t rounded = (bytes + 63) / 64 * 64;
    for (int i = 0; i < threads->count; i++) {
        void *memory = aligned_alloc(64, rounded);
        if (memory == NULL) {
            return false;
        }
        free(threads->scratch[i]);
        threads->scratch[i] = memory;
    }
    threads->scratch_bytes = rounded;
    return true;
}

void *threads_scratch(struct threads *threads, int thread)
{
    return threads->scratch[thread];
}

void threads_run(struct threads *threads, void (*task)(void *context, int index, int thread),
                 void *context, int tasks_count, size_t cost)
{
    if (threads->count == 1 || tasks_count <= 1 || cost < COST_MIN) {
        for (int i = 0; i < tasks_count; i++) {
            task(context, i, 0);
        }
        return;
    }
    pthread_mutex_lock(&threads->mutex);
    threads->task = task;
    threads->context = context;
    threads->tasks_count = tasks_count;
    atomic_store_explicit(&threads->next_task, 0, memory_order_relaxed);
    threads->job++;
    threads->is_open = true;
    pthread_cond_broadcast(&threads->has_job);
    pthread_mutex_unlock(&threads->mutex);

    work(threads, 0);

    // A worker that wakes only now finds the job closed and sleeps on: nobody waits for it.
    pthread_mutex_lock(&threads->mutex);
    threads->is_open = false;
    while (threads->active > 0) {
        pthread_cond_wait(&threads->is_idle, &threads->mutex);
    }
    pthread_mutex_unlock(&threads->mutex);
}
