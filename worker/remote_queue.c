/* remote_queue: a list in the order of arrival, and an array in the order of prompts. */
#include "worker/remote_queue.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

static const double passing_max_ms = 60000; // how much later than one that it passes

bool remote_queue_open(struct remote_queue *queue, int max)
{
    *queue = (struct remote_queue){.max = max};
    queue->sorted = calloc((size_t)max, sizeof(struct remote_queue_entry *));
    return queue->sorted != NULL;
}

void remote_queue_close(struct remote_queue *queue)
{
    free(queue->sorted);
}

static int compare(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static size_t common(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < size && a.data[i] == b.data[i]) {
        i++;
    }
    return i;
}

/* Of the first that is not before `prompt`. */
static int lower_bound(const struct remote_queue *queue, struct bytes prompt)
{
    int low = 0;
    int high = queue->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (compare(queue->sorted[middle]->prompt, prompt) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void insert_sorted(struct remote_queue *queue, struct remote_queue_entry *entry)
{
    CHECK(queue->count < queue->max);
    int at = lower_bound(queue, entry->prompt);
    memmove(&queue->sorted[at + 1], &queue->sorted[at],
            (size_t)(queue->count - at) * sizeof queue->sorted[0]);
    queue->sorted[at] = entry;
    queue->count++;
}

void remote_queue_add(struct remote_queue *queue, struct remote_queue_entry *entry)
{
    insert_sorted(queue, entry);
    struct remote_queue_entry *before = queue->last;
    while (before != NULL && before->priority > entry->priority) {
        before = before->previous;
    }
    entry->previous = before;
    entry->next = before == NULL ? queue->first : before->next;
    *(entry->previous == NULL ? &queue->first : &entry->previous->next) = entry;
    *(entry->next == NULL ? &queue->last : &entry->next->previous) = entry;
}

static void remove_sorted(struct remote_queue *queue, const struct remote_queue_entry *entry)
{
    int at = lower_bound(queue, entry->prompt);
    while (queue->sorted[at] != entry) { // among those with the same prompt
        at++;
        CHECK(at < queue->count);
    }
    queue->count--;
    memmove(&queue->sorted[at], &queue->sorted[at + 1],
            (size_t)(queue->count - at) * sizeof queue->sorted[0]);
}

void remote_queue_remove(struct remote_queue *queue, struct remote_queue_entry *entry)
{
    remove_sorted(queue, entry);
    *(entry->previous == NULL ? &queue->first : &entry->previous->next) = entry->next;
    *(entry->next == NULL ? &queue->last : &entry->next->previous) = entry->previous;
}

static bool may_pass(const struct remote_queue_entry *entry, const struct remote_queue_entry *first)
{
    return entry->priority == first->priority && !first->has_deadline &&
           entry->arrived_ms - first->arrived_ms <= passing_max_ms;
}

struct remote_queue_entry *remote_queue_take(struct remote_queue *queue)
{
    struct bytes last = {queue->last_prompt, queue->last_size};
    struct remote_queue_entry *best = queue->first;
    CHECK(best != NULL);
    size_t most = common(best->prompt, last);
    int at = lower_bound(queue, last);
    for (int i = at - 1; i <= at; i++) { // the neighbours in order share the most
        struct remote_queue_entry *entry = i >= 0 && i < queue->count ? queue->sorted[i] : NULL;
        size_t shared = entry == NULL ? 0 : common(entry->prompt, last);
        if (shared > most && may_pass(entry, queue->first)) {
            most = shared;
            best = entry;
        }
    }
    remote_queue_remove(queue, best);
    queue->last_size = best->prompt.size < sizeof queue->last_prompt ? best->prompt.size
                                                                     : sizeof queue->last_prompt;
    if (queue->last_size > 0) {
        memcpy(queue->last_prompt, best->prompt.data, queue->last_size);
    }
    return best;
}
