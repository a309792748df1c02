/* pool: threads that take tasks from one list, oldest first. */
#include "pipeline/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { POOL_THREADS_MAX = 64 };

struct pool {
    pthread_mutex_t mutex; // holds first, last, is_closing
    pthread_cond_t has_task;
    struct task *first; // singly linked by task->next
    struct task *last;
    bool is_closing;
    int threads_count;
    pthread_t threads[POOL_THREADS_MAX];
};

/* The oldest task, or NULL when the pool closes and nothing is left. */
static struct task *take_task(struct pool *pool)
{
    CHECK(pthread_mutex_lock(&pool->mutex) == 0);
    while (pool->first == NULL && !pool->is_closing) {
        CHECK(pthread_cond_wait(&pool->has_task, &pool->mutex) == 0);
    }
    struct task *task = pool->first;
    if (task != NULL) {
        pool->first = task->next;
        pool->last = pool->first == NULL ? NULL : pool->last;
        task->next = NULL;
    }
    CHECK(pthread_mutex_unlock(&pool->mutex) == 0);
    return task;
}

static void *run_thread(void *context)
{
    struct pool *pool = context;
    for (struct task *task = take_task(pool); task != NULL; task = take_task(pool)) {
        task->run(task);
    }
    return NULL;
}

bool pool_open(int threads_count, struct pool **pool_out, struct error *error)
{
    if (threads_count < 1 || threads_count > POOL_THREADS_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, "pool.threads",
                         "pool.threads is %d, must be between 1 and %d", threads_count,
                         POOL_THREADS_MAX);
    }
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the thread pool");
    }
    CHECK(pthread_mutex_init(&pool->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&pool->has_task, NULL) == 0);
    for (int i = 0; i < threads_count; i++) {
        int code = pthread_create(&pool->threads[i], NULL, run_thread, pool);
        if (code != 0) {
            pool_close(pool);
            return error_set(error, ERROR_FATAL, NULL, NULL,
                             "cannot start thread %d of %d: error %d", i + 1, threads_count, code);
        }
        pool->threads_count++;
    }
    *pool_out = pool;
    return true;
}

void pool_close(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    CHECK(pthread_mutex_lock(&pool->mutex) == 0);
    pool->is_closing = true;
    CHECK(pthread_cond_broadcast(&pool->has_task) == 0);
    CHECK(pthread_mutex_unlock(&pool->mutex) == 0);
    for (int i = 0; i < pool->threads_count; i++) {
        CHECK(pthread_join(pool->threads[i], NULL) == 0);
    }
    CHECK(pthread_cond_destroy(&pool->has_task) == 0);
    CHECK(pthread_mutex_destroy(&pool->mutex) == 0);
    free(pool);
}

void pool_submit(struct pool *pool, struct task *task)
{
    task->next = NULL;
    CHECK(pthread_mutex_lock(&pool->mutex) == 0);
    if (pool->last == NULL) {
        pool->first = task;
    } else {
        pool->last->next = task;
    }
    pool->last = task;
    CHECK(pthread_cond_signal(&pool->has_task) == 0);
    CHECK(pthread_mutex_unlock(&pool->mutex) == 0);
}
