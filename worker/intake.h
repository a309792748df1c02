/* intake: a Kafka message becomes a job.
 *
 * What cannot be decoded becomes a job that has its outcome already, a dead letter; what can be
 * decoded but is wrong in a field of the envelope has an error response. Both skip the session's
 * work and cost nobody else anything. Thread: loop.
 */
#ifndef WORKER_INTAKE_H
#define WORKER_INTAKE_H

#include <librdkafka/rdkafka.h>

#include "pipeline/job.h"
#include "schemas/records/record_codec.h"
#include "worker/config.h"
#include "worker/consumer.h"
#include "worker/registry.h"
#include "worker/session.h"

struct intake {
    const struct config *config;
    struct session *session;
    struct record_codec *codec;
    struct registry *registry; // NULL: none is configured
};

/* Bytes of the message that a job copies. */
size_t intake_bytes(const rd_kafka_message_t *message);
/* What a message of `bytes` takes of intake.bytes.max. */
size_t intake_credit(const struct intake *intake, size_t bytes);

/* `bytes` is the message's intake_bytes. INTAKE_TAKEN: *job_out is the caller's, with its record
 * decoded and perhaps its outcome set; it refers to nothing of the message. Otherwise nothing was
 * taken. */
enum intake_result intake_take(const struct intake *intake, const rd_kafka_message_t *message,
                               size_t bytes, struct job **job_out);

#endif
