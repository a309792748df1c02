/* producer: librdkafka's calls, and the verdict on each report. */
#include "worker/producer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/log.h"

enum { CLOSE_TIMEOUT_MS = 5000 };

struct producer {
    const struct config *config; // borrowed
    enum kafka_role role;
    rd_kafka_t *client;
    size_t sent_count; // deliveries in state DELIVERY_SENT
    bool is_broken;
};

static void judge(struct producer *producer, struct delivery *delivery, rd_kafka_resp_err_t code)
{
    delivery->code = (int)code;
    switch (kafka_verdict_of(code)) {
    case KAFKA_DELIVERED:
        delivery->state = DELIVERY_DONE;
        return;
    case KAFKA_TOO_LARGE:
        delivery->state = DELIVERY_TOO_LARGE;
        return;
    case KAFKA_STOP:
        delivery->state = DELIVERY_REFUSED;
        return;
    case KAFKA_REPLACE:
        producer->is_broken = true;
        delivery->state = DELIVERY_ENCODED;
        return;
    case KAFKA_RETRY:
        delivery->state = DELIVERY_ENCODED;
        return;
    }
    CHECK(false);
}

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
    (void)client;
    struct producer *producer = context;
    struct delivery *delivery = message->_private;
    CHECK(delivery->state == DELIVERY_SENT && producer->sent_count > 0);
    producer->sent_count--;
    judge(producer, delivery, message->err);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *context)
{
    struct producer *producer = context;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[256];
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(client, text, sizeof text);
        producer->is_broken = true;
        log_event(LOG_WARN, "producer_broken", "code=%s reason=%s", rd_kafka_err2name(fatal), text);
        return;
    }
    log_event(LOG_WARN, "producer_error", "code=%s reason=%s",
              rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static bool open_client(struct producer *producer, struct error *error)
{
    rd_kafka_conf_t *conf;
    if (!kafka_client_conf(producer->config, producer->role, &conf, error)) {
        return false;
    }
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return kafka_client_open(producer->role, conf, &producer->client, error);
}

bool producer_open(const struct config *config, enum kafka_role role,
                   struct producer **producer_out, struct error *error)
{
    struct producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a producer");
    }
    producer->config = config;
    producer->role = role;
    if (!open_client(producer, error)) {
        free(producer);
        return false;
    }
    *producer_out = producer;
    return true;
}

void producer_close(struct producer *producer, int timeout_ms)
{
    if (producer == NULL) {
        return;
    }
    CHECK(producer->sent_count == 0);
    if (!kafka_client_destroy(producer->client, timeout_ms)) {
        log_event(LOG_WARN, "producer_not_closed", "timeout_ms=%d", timeout_ms);
    }
    free(producer);
}

bool producer_send(struct producer *producer, struct delivery *delivery)
{
    CHECK(delivery->state == DELIVERY_ENCODED);
    rd_kafka_headers_t *headers = kafka_headers(&delivery->headers);
    delivery->state = DELIVERY_SENT; // before librdkafka's thread can report it
    rd_kafka_resp_err_t code = rd_kafka_producev(
        producer->client, RD_KAFKA_V_TOPIC(delivery->topic),
        RD_KAFKA_V_PARTITION(delivery->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(delivery->key.data, delivery->key.size),
        // librdkafka takes a value that is not const, and copies it.
        RD_KAFKA_V_VALUE((void *)(uintptr_t)delivery->value.data, delivery->value.size),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        producer->sent_count++;
        return true;
    }
    if (headers != NULL) {
        rd_kafka_headers_destroy(headers);
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        delivery->state = DELIVERY_ENCODED;
        return false;
    }
    judge(producer, delivery, code);
    return true;
}

size_t producer_wait(struct producer *producer, int timeout_ms)
{
    // Flushing sends what lingers at once. With callbacks it also serves them; its status says no
    // more than the count does.
    if (producer->client != NULL) { // a replacement may have failed
        (void)rd_kafka_flush(producer->client, timeout_ms);
    }
    return producer->sent_count;
}

void producer_purge(struct producer *producer)
{
    if (producer->client != NULL) {
        (void)rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
}

bool producer_is_broken(const struct producer *producer)
{
    return producer->is_broken;
}

rd_kafka_t *producer_client(const struct producer *producer)
{
    return producer->client;
}

bool producer_replace(struct producer *producer, struct error *error)
{
    CHECK(producer->sent_count == 0);
    if (!kafka_client_destroy(producer->client, CLOSE_TIMEOUT_MS)) {
        log_event(LOG_WARN, "producer_not_closed", "timeout_ms=%d", CLOSE_TIMEOUT_MS);
    }
    producer->client = NULL;
    producer->is_broken = false;
    return open_client(producer, error);
}
