/* relay: each connection is a pair of sockets; what one side reads is written to the other before
 * it reads on, so nothing is queued. */
#include "worker/relay.h"

#include <stdlib.h>

#include "schemas/base/check.h"

enum { CONNECTIONS_MAX = 256, CHUNK_BYTES = 64 << 10, BACKLOG = 64 };

struct side {
    uv_tcp_t socket;
    uv_write_t write;
    struct side *other;
    struct pair *pair;
    char chunk[CHUNK_BYTES];
};

struct pair {
    struct relay *relay;
    struct pair *previous, *next;
    struct side client, target;
    uv_connect_t connect;
    int handles_open;
    bool is_closing;
};

struct relay {
    uv_loop_t *loop;
    int target_port;
    uv_tcp_t listener;
    struct pair *pairs;
    int pairs_count;
    bool is_closing;
    bool is_listener_closed;
};

static void free_when_closed(struct relay *relay)
{
    if (relay->is_listener_closed && relay->pairs == NULL) {
        free(relay);
    }
}

static void on_side_closed(uv_handle_t *handle)
{
    struct side *side = handle->data;
    struct pair *pair = side->pair;
    struct relay *relay = pair->relay;
    if (--pair->handles_open > 0) {
        return;
    }
    if (pair->previous == NULL) {
        relay->pairs = pair->next;
    } else {
        pair->previous->next = pair->next;
    }
    if (pair->next != NULL) {
        pair->next->previous = pair->previous;
    }
    relay->pairs_count--;
    free(pair);
    free_when_closed(relay);
}

static void close_pair(struct pair *pair)
{
    if (!pair->is_closing) {
        pair->is_closing = true;
        uv_close((uv_handle_t *)&pair->client.socket, on_side_closed);
        uv_close((uv_handle_t *)&pair->target.socket, on_side_closed);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)size;
    struct side *side = handle->data;
    *buffer = uv_buf_init(side->chunk, CHUNK_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

static void on_written(uv_write_t *write, int status)
{
    struct side *side = write->data;
    if (status != 0 || side->pair->is_closing ||
        uv_read_start((uv_stream_t *)&side->socket, on_alloc, on_read) != 0) {
        close_pair(side->pair);
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct side *side = stream->data;
    if (size == 0) {
        return;
    }
    uv_buf_t chunk = uv_buf_init(buffer->base, size > 0 ? (unsigned)size : 0);
    (void)uv_read_stop(stream);
    side->write.data = side;
    if (size < 0 ||
        uv_write(&side->write, (uv_stream_t *)&side->other->socket, &chunk, 1, on_written) != 0) {
        close_pair(side->pair);
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct pair *pair = connect->data;
    if (status != 0 || pair->is_closing ||
        uv_read_start((uv_stream_t *)&pair->client.socket, on_alloc, on_read) != 0 ||
        uv_read_start((uv_stream_t *)&pair->target.socket, on_alloc, on_read) != 0) {
        close_pair(pair);
    }
}

static void init_side(struct pair *pair, struct side *side, struct side *other)
{
    CHECK(uv_tcp_init(pair->relay->loop, &side->socket) == 0);
    side->socket.data = side;
    side->other = other;
    side->pair = pair;
    pair->handles_open++;
}

static struct sockaddr_in local_address(int port)
{
    struct sockaddr_in address;
    CHECK(uv_ip4_addr("127.0.0.1", port, &address) == 0);
    return address;
}

/* Freed when both of its sockets are closed. */
static struct pair *open_pair(struct relay *relay)
{
    struct pair *pair = calloc(1, sizeof *pair);
    CHECK(pair != NULL);
    pair->relay = relay;
    pair->next = relay->pairs;
    if (pair->next != NULL) {
        pair->next->previous = pair;
    }
    relay->pairs = pair;
    relay->pairs_count++;
    init_side(pair, &pair->client, &pair->target);
    init_side(pair, &pair->target, &pair->client);
    pair->connect.data = pair;
    return pair;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct relay *relay = listener->data;
    if (status != 0 || relay->is_closing) {
        return;
    }
    struct pair *pair = open_pair(relay);
    struct sockaddr_in target = local_address(relay->target_port);
    if (uv_accept(listener, (uv_stream_t *)&pair->client.socket) != 0 ||
        relay->pairs_count > CONNECTIONS_MAX ||
        uv_tcp_connect(&pair->connect, &pair->target.socket, (const struct sockaddr *)&target,
                       on_connected) != 0) {
        close_pair(pair);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct relay *relay = handle->data;
    relay->is_listener_closed = true;
    free_when_closed(relay);
}

bool relay_open(uv_loop_t *loop, int port, int target_port, struct relay **relay_out,
                struct error *error)
{
    struct relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a listener");
    }
    relay->loop = loop;
    relay->target_port = target_port;
    CHECK(uv_tcp_init(loop, &relay->listener) == 0);
    relay->listener.data = relay;
    struct sockaddr_in address = local_address(port);
    int status = uv_tcp_bind(&relay->listener, (const struct sockaddr *)&address, 0);
    if (status == 0) {
        status = uv_listen((uv_stream_t *)&relay->listener, BACKLOG, on_connection);
    }
    if (status != 0) {
        relay_close(relay);
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot listen on 127.0.0.1:%d: %s", port,
                         uv_strerror(status));
    }
    *relay_out = relay;
    return true;
}

void relay_close(struct relay *relay)
{
    if (relay == NULL) {
        return;
    }
    relay->is_closing = true;
    for (struct pair *pair = relay->pairs; pair != NULL; pair = pair->next) {
        close_pair(pair);
    }
    uv_close((uv_handle_t *)&relay->listener, on_listener_closed);
}
