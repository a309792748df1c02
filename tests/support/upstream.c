/* upstream: blocking sockets and threads, as simple as can be. */
#include "tests/support/upstream.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "schemas/base/check.h"

enum { REQUEST_BYTES_MAX = 1 << 16, CONNECTIONS_MAX = 256, ONCE_MAX = 64, POLL_MS = 20 };

static struct {
    const struct upstream_reply *replies;
    int listener;
    pthread_t acceptor;
    pthread_mutex_t mutex; // holds what follows
    bool is_stopping;
    int requests, at_once, most_at_once, delay_ms;
    pthread_t threads[CONNECTIONS_MAX];
    int threads_count;
    char latest[REQUEST_BYTES_MAX];
    char *once[ONCE_MAX];
    int once_count;
} server = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void)
{
    CHECK(pthread_mutex_lock(&server.mutex) == 0);
}

static void unlock(void)
{
    CHECK(pthread_mutex_unlock(&server.mutex) == 0);
}

static bool is_stopping(void)
{
    lock();
    bool is = server.is_stopping;
    unlock();
    return is;
}

static void pause_ms(int ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

/* Waits for input; false when the server stops. */
static bool wait_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (!is_stopping()) {
        if (poll(&poll_fd, 1, POLL_MS) > 0) {
            return true;
        }
    }
    return false;
}

/* A whole request, with its body; 0 at the end of the connection. */
static size_t read_request(int fd, char *text)
{
    size_t size = 0;
    size_t wanted = SIZE_MAX;
    while (size < wanted && wait_readable(fd)) {
        ssize_t count = recv(fd, text + size, REQUEST_BYTES_MAX - 1 - size, 0);
        if (count <= 0) {
            return 0;
        }
        size += (size_t)count;
        text[size] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        if (end != NULL && wanted == SIZE_MAX) {
            const char *length = strstr(text, "Content-Length: ");
            CHECK(length != NULL);
            wanted = (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10);
        }
    }
    return size == wanted ? size : 0;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t count = send(fd, data, size, MSG_NOSIGNAL);
        if (count <= 0) {
            return;
        }
        data += count;
        size -= (size_t)count;
    }
}

static bool was_seen(const char *body)
{
    for (int i = 0; i < server.once_count; i++) {
        if (strcmp(server.once[i], body) == 0) {
            return true;
        }
    }
    CHECK(server.once_count < ONCE_MAX);
    server.once[server.once_count++] = strdup(body);
    return false;
}

static const struct upstream_reply *find_reply(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n") + 4;
    const char *name = strstr(body, "do ");
    const char *once = strstr(body, "once ");
    if (once != NULL) {
        name = was_seen(body) ? NULL : once + 2; // "ce NAME", of the same length as "do NAME"
    }
    const struct upstream_reply *reply = server.replies; // the first is "ok"
    for (const struct upstream_reply *at = reply; name != NULL && at->name != NULL; at++) {
        size_t size = strlen(at->name);
        if (strncmp(name + 3, at->name, size) == 0 && strchr("\" ,", name[3 + size]) != NULL) {
            return at;
        }
    }
    return reply;
}

static void send_reply(int fd, const struct upstream_reply *reply)
{
    send_all(fd, reply->head, strlen(reply->head));
    if (reply->body == NULL) {
        return;
    }
    size_t size = strlen(reply->body);
    char length[64];
    bool is_stated = strstr(reply->head, "Content-Length") != NULL;
    int count = snprintf(length, sizeof length, "Content-Length: %zu\r\n", size);
    send_all(fd, length, is_stated ? 0 : (size_t)count);
    send_all(fd, "\r\n", 2);
    send_all(fd, reply->body, size / 2);
    pause_ms(reply->pause_ms);
    send_all(fd, reply->body + size / 2, size - size / 2);
}

static enum upstream_end answer(int fd, const char *text)
{
    lock();
    server.requests++;
    server.at_once++;
    server.most_at_once =
        server.at_once > server.most_at_once ? server.at_once : server.most_at_once;
    (void)snprintf(server.latest, sizeof server.latest, "%s", text);
    const struct upstream_reply *reply = find_reply(text);
    int delay_ms = server.delay_ms;
    unlock();
    pause_ms(delay_ms);
    lock();
    server.at_once--; // before the reply: its reader may send the next at once
    unlock();
    send_reply(fd, reply);
    return reply->end;
}

static void *serve(void *context)
{
    int fd = (int)(intptr_t)context;
    char *text = malloc(REQUEST_BYTES_MAX);
    CHECK(text != NULL);
    enum upstream_end end = UPSTREAM_KEEP;
    while (end == UPSTREAM_KEEP && read_request(fd, text) > 0) {
        end = answer(fd, text);
    }
    while (end == UPSTREAM_HANG && !is_stopping()) {
        pause_ms(POLL_MS);
    }
    (void)close(fd);
    free(text);
    return NULL;
}

static void *run_acceptor(void *context)
{
    (void)context;
    while (wait_readable(server.listener)) {
        int fd = accept(server.listener, NULL, NULL);
        CHECK(fd >= 0);
        lock();
        CHECK(server.threads_count < CONNECTIONS_MAX);
        CHECK(pthread_create(&server.threads[server.threads_count++], NULL, serve,
                             (void *)(intptr_t)fd) == 0);
        unlock();
    }
    return NULL;
}

int upstream_start(const struct upstream_reply *replies)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server.replies = replies;
    server.is_stopping = false;
    server.requests = server.at_once = server.most_at_once = server.delay_ms = 0;
    server.threads_count = server.once_count = 0;
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(server.listener >= 0);
    CHECK(bind(server.listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(server.listener, CONNECTIONS_MAX) == 0);
    CHECK(getsockname(server.listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(pthread_create(&server.acceptor, NULL, run_acceptor, NULL) == 0);
    return ntohs(address.sin_port);
}

void upstream_stop(void)
{
    lock();
    server.is_stopping = true;
    unlock();
    CHECK(pthread_join(server.acceptor, NULL) == 0);
    for (int i = 0; i < server.threads_count; i++) {
        CHECK(pthread_join(server.threads[i], NULL) == 0);
    }
    for (int i = 0; i < server.once_count; i++) {
        free(server.once[i]);
    }
    (void)close(server.listener);
}

static int read_locked(const int *value)
{
    lock();
    int now = *value;
    unlock();
    return now;
}

int upstream_requests(void)
{
    return read_locked(&server.requests);
}

int upstream_connections(void)
{
    return read_locked(&server.threads_count);
}

int upstream_most_at_once(void)
{
    return read_locked(&server.most_at_once);
}

void upstream_latest(char *text, size_t size)
{
    lock();
    (void)snprintf(text, size, "%s", server.latest);
    unlock();
}

void upstream_set_delay(int delay_ms)
{
    lock();
    server.delay_ms = delay_ms;
    unlock();
}
