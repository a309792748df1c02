/* broker: librdkafka's mock cluster as an in-memory broker for trials. */
#include "worker/command.h"

// clang-format off: the mock's header needs the other one
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
// clang-format on
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "schemas/base/check.h"
#include "worker/config.h"
#include "worker/kafka_client.h"
#include "worker/options.h"
#include "worker/relay.h"

enum { DEFAULT_PORT = 9092, PARTITIONS_MAX = 64 };

struct demo_broker {
    rd_kafka_t *client; // the mock cluster lives in a client
    rd_kafka_mock_cluster_t *cluster;
    uv_loop_t loop;
    struct relay *relay; // NULL: clients use the cluster's own port
    uv_signal_t signals[2];
};

static bool open_cluster(struct demo_broker *broker, struct error *error)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    CHECK(rd_kafka_conf_set(conf, "log_level", "0", NULL, 0) == RD_KAFKA_CONF_OK);
    broker->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (broker->client == NULL) {
        rd_kafka_conf_destroy(conf);
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot start: %s", reason);
    }
    broker->cluster = rd_kafka_mock_cluster_new(broker->client, 1);
    if (broker->cluster == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot start the mock cluster");
    }
    return true;
}

static bool create_topic(struct demo_broker *broker, const char *topic, int partitions,
                         struct error *error)
{
    rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(broker->cluster, topic, partitions, 1);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ||
           error_set(error, ERROR_FATAL, NULL, NULL, "cannot create topic %s: %s", topic,
                     rd_kafka_err2str(code));
}

static bool create_topics(struct demo_broker *broker, const struct config *config, int partitions,
                          struct error *error)
{
    const struct config_names *requests = &config->topics.requests;
    for (size_t i = 0; i < requests->count; i++) {
        if (!create_topic(broker, requests->items[i], partitions, error)) {
            return false;
        }
    }
    const char *topics[] = {config->topics.responses, config->topics.comparisons,
                            config->topics.replay,    config->topics.dead_letters,
                            config->topics.control,   config->topics.runs};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (!create_topic(broker, topics[i], partitions, error)) {
            return false;
        }
    }
    return true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    struct demo_broker *broker = handle->data;
    relay_close(broker->relay);
    broker->relay = NULL;
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&broker->signals[i], NULL);
    }
}

static void watch_signals(struct demo_broker *broker)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        CHECK(uv_signal_init(&broker->loop, &broker->signals[i]) == 0);
        broker->signals[i].data = broker;
        CHECK(uv_signal_start(&broker->signals[i], on_signal, numbers[i]) == 0);
    }
}

static void announce(const char *address, int partitions, bool wants_json)
{
    if (wants_json) {
        printf("{\"bootstrap\": \"%s\", \"partitions\": %d}\n", address, partitions);
    } else {
        printf(
            "This broker is for trials: it is in memory, keeps nothing when it ends, and of each\n"
            "partition drops the oldest beyond %d MB or %d records. Each topic has %d\n"
            "partitions.\n"
            "broker listening on %s\n",
            DEMO_PARTITION_BYTES_MAX >> 20, DEMO_PARTITION_RECORDS_MAX, partitions, address);
    }
    (void)fflush(stdout);
}

static bool serve(struct demo_broker *broker, const struct config *config, int port, int partitions,
                  bool wants_json, struct error *error)
{
    if (!open_cluster(broker, error) || !create_topics(broker, config, partitions, error)) {
        return false;
    }
    char address[64];
    const char *own = rd_kafka_mock_cluster_bootstraps(broker->cluster);
    (void)snprintf(address, sizeof address, "%s", own);
    if (port != 0) {
        const char *colon = strrchr(own, ':');
        CHECK(colon != NULL);
        int own_port = (int)strtol(colon + 1, NULL, 10);
        if (!relay_open(&broker->loop, port, own_port, &broker->relay, error)) {
            return false;
        }
        (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    }
    watch_signals(broker);
    announce(address, partitions, wants_json);
    return true;
}

int command_broker(int argc, char **argv)
{
    int64_t port = DEFAULT_PORT;
    int64_t partitions = 3;
    const struct option_row rows[] = {
        {"port", "N", OPTION_NUMBER, &port, .min = 0, .max = 65535,
         .help = "on 127.0.0.1, default 9092; 0 takes a free one"},
        {"partitions", "N", OPTION_NUMBER, &partitions, .min = 1, .max = PARTITIONS_MAX,
         .help = "of each topic, default 3"},
    };
    struct options options = {
        .name = "broker",
        .arguments = "",
        .about = "Runs a broker in memory, with the configured topics, until SIGTERM or SIGINT.\n"
                 "It is for trials: it keeps nothing when it ends, and drops the oldest records\n"
                 "of a partition beyond 5 MB or 100000 records. Prints\n"
                 "'broker listening on ADDRESS' when it is ready.\n"
                 "Exit code: 0 stopped as told, 1 the port is taken, 2 configuration.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    struct demo_broker broker = {0};
    struct error error = {0};
    CHECK(uv_loop_init(&broker.loop) == 0);
    if (!serve(&broker, config, (int)port, (int)partitions, options.wants_json, &error)) {
        options_complain(&options, "%s", error.message);
    }
    (void)uv_run(&broker.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&broker.loop) == 0);
    if (broker.cluster != NULL) {
        rd_kafka_mock_cluster_destroy(broker.cluster);
    }
    if (broker.client != NULL) {
        rd_kafka_destroy(broker.client);
    }
    config_close(config);
    return options_exit_code(&error);
}
