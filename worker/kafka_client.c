/* kafka_client: defaults as tables, errors as one switch. */
#include "worker/kafka_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schemas/base/check.h"
#include "worker/log.h"

#define DEFAULT_GROUP "millrace"
/* The partitions of a worker that dies with a transaction open wait for so long. */
#define TRANSACTION_TIMEOUT_MS "15000"

struct property {
    const char *name;
    const char *value;
};

/* A broker that comes back is found within half a second instead of ten. */
static const struct property common_defaults[] = {
    {"reconnect.backoff.max.ms", "500"},
};

/* The prefetch is bounded by bytes. librdkafka looks for room in it no more than once a second, so
 * it must hold what a worker takes in that time. */
static const struct property consumer_defaults[] = {
    {"group.id", DEFAULT_GROUP},
    {"auto.offset.reset", "earliest"}, // librdkafka's own default would skip what is there
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "65536"},
    {"fetch.error.backoff.ms", "100"},
    // A request topic that is created later is found so soon; librdkafka's own is 5 minutes.
    {"topic.metadata.refresh.interval.ms", "30000"},
};

static const struct property consumer_owned[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"isolation.level", "read_committed"},
    {"enable.partition.eof", "true"},
};

static const struct property group_defaults[] = {
    {"statistics.interval.ms", "1000"}, // they say whether a broker is there
};

static const struct property group_owned[] = {
    {"partition.assignment.strategy", "cooperative-sticky"},
};

static const struct property producer_defaults[] = {
    {"compression.type", "zstd"},
    {"linger.ms", "5"},
    {"message.timeout.ms", "0"}, // never gives a result up while the broker is away
};

/* No message.timeout.ms here: librdkafka makes it the transaction's. */
static const struct property transactional_defaults[] = {
    {"compression.type", "zstd"},
    {"linger.ms", "5"},
    {"transaction.timeout.ms", TRANSACTION_TIMEOUT_MS},
};

static const struct property producer_owned[] = {
    {"enable.idempotence", "true"},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum kafka_verdict kafka_verdict_of(rd_kafka_resp_err_t code)
{
    // Everything that librdkafka knows and that is not named here stops the worker: a repetition of
    // what the broker refuses would never end.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return KAFKA_DELIVERED;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return KAFKA_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
    case RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER:
        return KAFKA_REPLACE;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR_INVALID_MSG: // damaged on its way
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        return KAFKA_RETRY;
    default:
        return KAFKA_STOP;
    }
#pragma GCC diagnostic pop
}

bool kafka_is_fence(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

rd_kafka_headers_t *kafka_headers(const struct headers *headers)
{
    if (headers->count == 0) {
        return NULL;
    }
    rd_kafka_headers_t *copy = rd_kafka_headers_new(headers->count);
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *header = &headers->items[i];
        CHECK(rd_kafka_header_add(copy, header->name.data, (ssize_t)header->name.size,
                                  header->value.data,
                                  (ssize_t)header->value.size) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    return copy;
}

/* Thread: librdkafka's. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    enum log_level mapped = level <= 3 ? LOG_ERROR : level <= 4 ? LOG_WARN : LOG_INFO;
    // One `kafka` section serves consumer and producer, and each warns of the other's properties.
    bool is_noise = level >= 7 || strcmp(facility, "CONFWARN") == 0;
    log_event(is_noise ? LOG_DEBUG : mapped, "kafka", "facility=%s text=%s", facility, text);
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK) {
        return true;
    }
    return error_set(error, ERROR_CONFIG, NULL, NULL, "kafka.%s: %s", name, reason);
}

static bool set_all(rd_kafka_conf_t *conf, const struct property *properties, size_t count,
                    struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!set(conf, properties[i].name, properties[i].value, error)) {
            return false;
        }
    }
    return true;
}

static bool set_defaults(rd_kafka_conf_t *conf, enum kafka_role role, struct error *error)
{
    bool is_set = set_all(conf, common_defaults, COUNT_OF(common_defaults), error);
    if (role == KAFKA_PRODUCER) {
        return is_set && set_all(conf, producer_defaults, COUNT_OF(producer_defaults), error);
    }
    if (role == KAFKA_TRANSACTIONAL) {
        return is_set &&
               set_all(conf, transactional_defaults, COUNT_OF(transactional_defaults), error);
    }
    is_set = is_set && set_all(conf, consumer_defaults, COUNT_OF(consumer_defaults), error);
    return is_set &&
           (role != KAFKA_GROUP || set_all(conf, group_defaults, COUNT_OF(group_defaults), error));
}

static bool set_transactional_id(rd_kafka_conf_t *conf, const struct config *config,
                                 struct error *error)
{
    char id[512];
    const char *group = kafka_client_group(config);
    int size = snprintf(id, sizeof id, "%s/%s", group, config->worker_id);
    if (size < 0 || (size_t)size >= sizeof id) { // a shortened one may be another worker's
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "kafka.group.id and worker.id have more than %zu bytes together",
                         sizeof id - 2);
    }
    return set(conf, "transactional.id", id, error);
}

static bool set_owned(rd_kafka_conf_t *conf, const struct config *config, enum kafka_role role,
                      struct error *error)
{
    if (role == KAFKA_PRODUCER || role == KAFKA_TRANSACTIONAL) {
        return set_all(conf, producer_owned, COUNT_OF(producer_owned), error) &&
               (role == KAFKA_PRODUCER || set_transactional_id(conf, config, error));
    }
    return set_all(conf, consumer_owned, COUNT_OF(consumer_owned), error) &&
           (role != KAFKA_GROUP || set_all(conf, group_owned, COUNT_OF(group_owned), error));
}

static bool set_configured(rd_kafka_conf_t *conf, const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->kafka_count; i++) {
        if (!set(conf, config->kafka[i].name, config->kafka[i].value, error)) {
            return false;
        }
    }
    return true;
}

bool kafka_client_conf(const struct config *config, enum kafka_role role,
                       rd_kafka_conf_t **conf_out, struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    bool is_set = set_defaults(conf, role, error) && set_configured(conf, config, error) &&
                  set_owned(conf, config, role, error);
    if (!is_set) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    *conf_out = conf;
    return true;
}

bool kafka_client_open(enum kafka_role role, rd_kafka_conf_t *conf, rd_kafka_t **client_out,
                       struct error *error)
{
    char reason[256];
    bool is_producer = role == KAFKA_PRODUCER || role == KAFKA_TRANSACTIONAL;
    rd_kafka_type_t type = is_producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (client == NULL) {
        rd_kafka_conf_destroy(conf);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "kafka client: %s", reason);
    }
    rd_kafka_resp_err_t code =
        is_producer ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_poll_set_consumer(client);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_destroy(client);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "kafka client: %s",
                         rd_kafka_err2str(code));
    }
    *client_out = client;
    return true;
}

const char *kafka_client_group(const struct config *config)
{
    const char *group = config_kafka(config, "group.id");
    return group == NULL ? DEFAULT_GROUP : group;
}

int kafka_client_transaction_timeout_ms(const struct config *config)
{
    const char *text = config_kafka(config, "transaction.timeout.ms");
    // librdkafka has refused what is no number within its bounds.
    return (int)strtol(text == NULL ? TRANSACTION_TIMEOUT_MS : text, NULL, 10);
}

static bool read_topic(const struct rd_kafka_metadata *metadata, const char *topic,
                       int32_t *count_out, struct error *error)
{
    if (metadata->topic_cnt != 1) {
        return error_set(error, ERROR_BUSY, NULL, NULL, "no broker described topic %s", topic);
    }
    const rd_kafka_metadata_topic_t *found = &metadata->topics[0];
    if (found->err == RD_KAFKA_RESP_ERR_NO_ERROR && found->partition_cnt > 0) {
        *count_out = found->partition_cnt;
        return true;
    }
    enum error_kind kind = ERROR_BUSY;
    if (found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        found->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
        kind = ERROR_NOT_FOUND;
    } else if (kafka_verdict_of(found->err) == KAFKA_STOP) {
        kind = ERROR_CONFIG;
    }
    return error_set(error, kind, NULL, NULL, "topic %s: %s", topic, rd_kafka_err2str(found->err));
}

bool kafka_client_partitions(rd_kafka_t *client, const char *topic, int timeout_ms,
                             int32_t *count_out, struct error *error)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    if (handle == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "topic %s: %s", topic,
                         rd_kafka_err2str(rd_kafka_last_error()));
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, timeout_ms);
    bool is_read;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        is_read = error_set(error, ERROR_BUSY, NULL, NULL, "no broker answered within %d ms: %s",
                            timeout_ms, rd_kafka_err2str(code));
    } else {
        is_read = read_topic(metadata, topic, count_out, error);
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    return is_read;
}

bool kafka_client_is_demo(rd_kafka_t *client, int timeout_ms)
{
    char *id = rd_kafka_clusterid(client, timeout_ms);
    bool is_demo = id != NULL && strncmp(id, "mockCluster", strlen("mockCluster")) == 0;
    if (id != NULL) {
        rd_kafka_mem_free(client, id);
    }
    return is_demo;
}

/* Shared by the caller and the thread that destroys; the last of both frees it. */
struct destruction {
    rd_kafka_t *client;
    pthread_mutex_t mutex; // holds the flags
    pthread_cond_t is_changed;
    bool is_destroyed;
    bool is_abandoned;
};

static void destruction_free(struct destruction *destruction)
{
    CHECK(pthread_cond_destroy(&destruction->is_changed) == 0);
    CHECK(pthread_mutex_destroy(&destruction->mutex) == 0);
    free(destruction);
}

static void *destroy_client(void *context)
{
    struct destruction *destruction = context;
    rd_kafka_destroy_flags(destruction->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    CHECK(pthread_mutex_lock(&destruction->mutex) == 0);
    destruction->is_destroyed = true;
    bool is_abandoned = destruction->is_abandoned;
    CHECK(pthread_cond_signal(&destruction->is_changed) == 0);
    CHECK(pthread_mutex_unlock(&destruction->mutex) == 0);
    if (is_abandoned) {
        destruction_free(destruction);
    }
    return NULL;
}

/* NULL when out of memory. */
static struct destruction *destruction_new(rd_kafka_t *client)
{
    struct destruction *destruction = calloc(1, sizeof *destruction);
    if (destruction == NULL) {
        return NULL;
    }
    destruction->client = client;
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&destruction->is_changed, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
    CHECK(pthread_mutex_init(&destruction->mutex, NULL) == 0);
    return destruction;
}

static bool destruction_wait(struct destruction *destruction, int timeout_ms)
{
    struct timespec until;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    CHECK(pthread_mutex_lock(&destruction->mutex) == 0);
    int status = 0;
    while (!destruction->is_destroyed && status != ETIMEDOUT) {
        status = pthread_cond_timedwait(&destruction->is_changed, &destruction->mutex, &until);
    }
    bool is_destroyed = destruction->is_destroyed;
    destruction->is_abandoned = !is_destroyed;
    CHECK(pthread_mutex_unlock(&destruction->mutex) == 0);
    return is_destroyed;
}

bool kafka_client_destroy(rd_kafka_t *client, int timeout_ms)
{
    if (client == NULL) {
        return true;
    }
    struct destruction *destruction = destruction_new(client);
    pthread_t thread;
    if (destruction == NULL || pthread_create(&thread, NULL, destroy_client, destruction) != 0) {
        if (destruction != NULL) {
            destruction_free(destruction);
        }
        // Without memory for a thread, however long it takes.
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return true;
    }
    bool is_destroyed = destruction_wait(destruction, timeout_ms);
    if (is_destroyed) {
        CHECK(pthread_join(thread, NULL) == 0);
        destruction_free(destruction);
    } else {
        CHECK(pthread_detach(thread) == 0);
    }
    return is_destroyed;
}
