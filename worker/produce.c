/* produce: both passes walk the same source; what differs is what happens to a request. */
#include "worker/produce.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/partitioner.h"
#include "worker/progress.h"
#include "worker/prompt_fit.h"
#include "worker/registry.h"

enum {
    IDS_MAX = 16 << 20, // 256 MiB of hashes
    PARTITIONS_MAX = 4096,
    METADATA_TIMEOUT_MS = 10000,
    CLOSE_TIMEOUT_MS = 5000,
    POLL_MS = 100,
    // What a record costs the demo broker beside its key and value: headers and framing.
    RECORD_BYTES_EXTRA = 150,
};

/* The producer holds so much at a time; a broker that stays away for so long ends the command. */
#define QUEUE_KBYTES_MAX "65536"
#define DELIVERY_TIMEOUT_MS "120000"

struct produce {
    const struct produce_options *options;
    struct produce_result *result;
    struct record_codec *codec;
    struct id_set *ids;
    struct prompt_fit *fit; // NULL: no check
    rd_kafka_t *client;
    const char *topic;
    uint32_t schema_id;
    struct buffer value;
    int32_t partitions_count;
    int64_t partition_records[PARTITIONS_MAX];
    int64_t partition_bytes[PARTITIONS_MAX];
    int64_t total; // valid requests, after the first pass
    int64_t failed;
    rd_kafka_resp_err_t failure; // the first one
    struct progress progress;
};

/* What a pass does with a valid request. False ends the pass. */
typedef bool take_request(struct produce *produce, const struct inference_request *request,
                          struct error *error);

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
    (void)client;
    struct produce *produce = context;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->result->records++;
        return;
    }
    if (produce->failed++ == 0) {
        produce->failure = message->err;
    }
}

static bool open_client(struct produce *produce, struct error *error)
{
    rd_kafka_conf_t *conf;
    if (!kafka_client_conf(produce->options->config, KAFKA_PRODUCER, &conf, error)) {
        return false;
    }
    CHECK(rd_kafka_conf_set(conf, "queue.buffering.max.kbytes", QUEUE_KBYTES_MAX, NULL, 0) ==
          RD_KAFKA_CONF_OK);
    CHECK(rd_kafka_conf_set(conf, "message.timeout.ms", DELIVERY_TIMEOUT_MS, NULL, 0) ==
          RD_KAFKA_CONF_OK);
    rd_kafka_conf_set_opaque(conf, produce);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    return kafka_client_open(KAFKA_PRODUCER, conf, &produce->client, error) &&
           kafka_client_partitions(produce->client, produce->topic, METADATA_TIMEOUT_MS,
                                   &produce->partitions_count, error);
}

static bool register_schema(struct produce *produce, struct error *error)
{
    if (produce->options->format != WIRE_CONFLUENT) {
        return true;
    }
    const char *url = produce->options->config->registry_url;
    if (url[0] == '\0') {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "the format is confluent, but registry.url is not set");
    }
    char subject[300];
    (void)snprintf(subject, sizeof subject, "%s-value", produce->topic);
    return registry_register(url, subject, record_schema(RECORD_REQUEST), &produce->schema_id,
                             error);
}

static bool encode(struct produce *produce, const struct inference_request *request,
                   struct error *error)
{
    struct inference_request record = *request;
    record.run_id = bytes_of(produce->options->run_id);
    buffer_clear(&produce->value);
    return record_encode_request(produce->codec, &record, produce->options->format,
                                 produce->schema_id, &produce->value, error);
}

static void report_invalid(struct produce *produce, const struct error *error)
{
    FILE *file = produce->options->complaints;
    if (++produce->result->invalid <= PRODUCE_INVALID_SHOWN_MAX) {
        progress_stop(&produce->progress);
        fprintf(file, "invalid: %s\n", error->message);
    } else if (produce->result->invalid == PRODUCE_INVALID_SHOWN_MAX + 1) {
        fprintf(file, "invalid: more of them; the summary counts all\n");
    }
}

/* First pass. */
static bool count_request(struct produce *produce, const struct inference_request *request,
                          struct error *error)
{
    enum id_set_result added = id_set_add(produce->ids, request->custom_id);
    if (added == ID_SET_FULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "the run has more than %d custom_ids, split it", IDS_MAX);
    }
    produce->result->duplicates += added == ID_SET_KNOWN ? 1 : 0;
    int32_t partition = partitioner_of_key(request->custom_id, produce->partitions_count);
    if (partition < PARTITIONS_MAX) {
        produce->partition_records[partition]++;
        produce->partition_bytes[partition] +=
            (int64_t)(produce->value.size + request->custom_id.size) + RECORD_BYTES_EXTRA;
    }
    produce->total++;
    progress_show(&produce->progress, produce->total, 0, -1);
    return true;
}

/* Second pass. */
static bool send_request(struct produce *produce, const struct inference_request *request,
                         struct error *error)
{
    const char *run_id = produce->options->run_id;
    int32_t partition = partitioner_of_key(request->custom_id, produce->partitions_count);
    struct bytes value = buffer_bytes(&produce->value);
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(
            produce->client, RD_KAFKA_V_TOPIC(produce->topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(request->custom_id.data, request->custom_id.size),
            // librdkafka takes a value that is not const, and copies it.
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
            RD_KAFKA_V_HEADER("millrace-run-id", run_id, (ssize_t)strlen(run_id)), RD_KAFKA_V_END);
        (void)rd_kafka_poll(produce->client, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? POLL_MS : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && produce->failed == 0);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && produce->failed > 0) {
        code = produce->failure;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "%.*s was not sent to %s: %s",
                         (int)request->custom_id.size, request->custom_id.data, produce->topic,
                         rd_kafka_err2str(code));
    }
    produce->result->bytes += (int64_t)value.size;
    progress_show(&produce->progress, produce->result->records, produce->total, -1);
    return true;
}

/* Whether the request may be sent: it can be encoded, and fits the model. */
static bool is_valid(struct produce *produce, const struct inference_request *request,
                     struct error *error)
{
    if (!encode(produce, request, error) ||
        (produce->fit != NULL && !prompt_fit_check(produce->fit, request, error))) {
        return error_prefix(error, "%.*s", (int)request->custom_id.size, request->custom_id.data);
    }
    return true;
}

static bool walk(struct produce *produce, take_request *take, bool reports, struct error *error)
{
    const struct produce_options *options = produce->options;
    struct job_source *source = NULL;
    if (!job_source_open(&options->source, produce->codec, &source, error)) {
        return false;
    }
    bool ok = true;
    enum job_source_result result = JOB_SOURCE_REQUEST;
    while (ok && (result == JOB_SOURCE_REQUEST || result == JOB_SOURCE_INVALID)) {
        struct arena *arena = arena_open(4 * options->source.record_bytes_max + (1 << 20));
        struct inference_request request;
        struct error reason = {0};
        ok = arena != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
        result = ok ? job_source_next(source, arena, &request, &reason) : JOB_SOURCE_END;
        if (result == JOB_SOURCE_REQUEST && !is_valid(produce, &request, &reason)) {
            result = JOB_SOURCE_INVALID;
        }
        if (result == JOB_SOURCE_REQUEST) {
            ok = take(produce, &request, error);
        } else if (result == JOB_SOURCE_INVALID && reports) {
            report_invalid(produce, &reason);
        } else if (result == JOB_SOURCE_FAILED) {
            *error = reason;
            ok = false;
        }
        arena_close(arena);
    }
    job_source_close(source);
    return ok;
}

/* The demo broker forgets what it cannot hold: better to say so before. */
static bool check_demo_broker(const struct produce *produce, struct error *error)
{
    if (!kafka_client_is_demo(produce->client, METADATA_TIMEOUT_MS)) {
        return true;
    }
    for (int32_t i = 0; i < produce->partitions_count && i < PARTITIONS_MAX; i++) {
        int64_t low = 0;
        int64_t high = 0;
        (void)rd_kafka_query_watermark_offsets(produce->client, produce->topic, i, &low, &high,
                                               METADATA_TIMEOUT_MS);
        int64_t records = produce->partition_records[i];
        int64_t mean = records == 0 ? 0 : produce->partition_bytes[i] / records;
        if (records > 0 && (high - low + records > DEMO_PARTITION_RECORDS_MAX ||
                            (high - low + records) * mean > DEMO_PARTITION_BYTES_MAX)) {
            return error_set(error, ERROR_FATAL, NULL, NULL,
                             "the demo broker keeps %d MB and %d records of a partition, partition "
                             "%d would have %" PRId64 " records of %" PRId64
                             " bytes: use fewer, or a real broker",
                             DEMO_PARTITION_BYTES_MAX >> 20, DEMO_PARTITION_RECORDS_MAX, (int)i,
                             high - low + records, mean);
        }
    }
    return true;
}

static bool check(struct produce *produce, struct error *error)
{
    progress_start(&produce->progress, "records checked", produce->options->is_quiet);
    bool ok = walk(produce, count_request, true, error);
    progress_stop(&produce->progress);
    id_set_digest(produce->ids, produce->result->digest);
    if (!ok) {
        return false;
    }
    if (produce->result->invalid > 0 && !produce->options->skips_invalid) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "%" PRId64 " of %" PRId64 " requests are invalid, nothing was sent; "
                         "--skip-invalid sends the others",
                         produce->result->invalid, produce->result->invalid + produce->total);
    }
    return check_demo_broker(produce, error);
}

static bool await_reports(struct produce *produce, struct error *error)
{
    while (rd_kafka_outq_len(produce->client) > 0) {
        (void)rd_kafka_flush(produce->client, POLL_MS);
        progress_show(&produce->progress, produce->result->records, produce->total, -1);
    }
    if (produce->failed > 0) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "%" PRId64 " of %" PRId64 " records were not delivered: %s",
                         produce->total - produce->result->records, produce->total,
                         rd_kafka_err2str(produce->failure));
    }
    return true;
}

static bool send_all(struct produce *produce, struct error *error)
{
    double started_ms = clock_monotonic_ms();
    progress_start(&produce->progress, "records", produce->options->is_quiet);
    bool ok = walk(produce, send_request, false, error);
    if (!ok) { // what was not sent yet stays unsent
        (void)rd_kafka_purge(produce->client, RD_KAFKA_PURGE_F_QUEUE);
    }
    struct error unsent = {0};
    ok = await_reports(produce, ok ? error : &unsent) && ok;
    progress_stop(&produce->progress);
    produce->result->seconds = (clock_monotonic_ms() - started_ms) / 1000;
    return ok;
}

/* Too large for a stack. */
static struct produce *produce_open(const struct produce_options *options,
                                    struct produce_result *result)
{
    struct produce *produce = calloc(1, sizeof *produce);
    if (produce != NULL) {
        produce->options = options;
        produce->result = result;
        produce->topic = options->config->topics.requests;
    }
    return produce;
}

static bool open_parts(struct produce *produce, struct error *error)
{
    const struct produce_options *options = produce->options;
    size_t bytes_max = options->source.record_bytes_max;
    struct record_codec_options codec_options = {.body_bytes_max = bytes_max};
    buffer_init(&produce->value, 2 * bytes_max + (1 << 20));
    produce->ids = id_set_open(IDS_MAX);
    if (produce->ids == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    produce->codec = record_codec_open(&codec_options, error);
    return produce->codec != NULL &&
           (options->model_dir == NULL ||
            prompt_fit_open(options->model_dir, &produce->fit, error)) &&
           open_client(produce, error) && register_schema(produce, error);
}

static void produce_close(struct produce *produce)
{
    (void)kafka_client_destroy(produce->client, CLOSE_TIMEOUT_MS);
    prompt_fit_close(produce->fit);
    record_codec_close(produce->codec);
    id_set_close(produce->ids);
    buffer_close(&produce->value);
    free(produce);
}

bool produce_run(const struct produce_options *options, struct produce_result *result_out,
                 struct error *error)
{
    memset(result_out, 0, sizeof *result_out);
    struct produce *produce = produce_open(options, result_out);
    if (produce == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    bool ok = open_parts(produce, error) && check(produce, error) && send_all(produce, error);
    produce_close(produce);
    return ok;
}
