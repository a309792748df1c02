/* mailbox: a ring under a mutex. */
#include "pipeline/mailbox.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "schemas/base/check.h"

struct mailbox {
    pthread_mutex_t mutex; // holds all below, and is held while on_wake runs
    size_t capacity;
    size_t first;
    size_t count;
    void (*on_wake)(void *context);
    void *context;
    void *items[]; // [capacity] ring
};

struct mailbox *mailbox_open(size_t capacity, void (*on_wake)(void *context), void *context)
{
    CHECK(capacity > 0 && capacity < SIZE_MAX / sizeof(void *) / 2);
    struct mailbox *mailbox = calloc(1, sizeof *mailbox + capacity * sizeof mailbox->items[0]);
    if (mailbox == NULL) {
        return NULL;
    }
    CHECK(pthread_mutex_init(&mailbox->mutex, NULL) == 0);
    mailbox->capacity = capacity;
    mailbox->on_wake = on_wake;
    mailbox->context = context;
    return mailbox;
}

void mailbox_close(struct mailbox *mailbox)
{
    if (mailbox == NULL) {
        return;
    }
    CHECK(pthread_mutex_destroy(&mailbox->mutex) == 0);
    free(mailbox);
}

bool mailbox_post(struct mailbox *mailbox, void *item)
{
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    bool has_room = mailbox->count < mailbox->capacity;
    bool was_empty = mailbox->count == 0;
    if (has_room) {
        mailbox->items[(mailbox->first + mailbox->count) % mailbox->capacity] = item;
        mailbox->count++;
    }
    if (has_room && was_empty && mailbox->on_wake != NULL) {
        mailbox->on_wake(mailbox->context);
    }
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
    return has_room;
}

size_t mailbox_take(struct mailbox *mailbox, void **items_out, size_t items_max)
{
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    size_t count = mailbox->count < items_max ? mailbox->count : items_max;
    for (size_t i = 0; i < count; i++) {
        items_out[i] = mailbox->items[(mailbox->first + i) % mailbox->capacity];
    }
    mailbox->first = (mailbox->first + count) % mailbox->capacity;
    mailbox->count -= count;
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
    return count;
}
