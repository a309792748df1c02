/* produce: both passes walk the same source; what differs is what happens to a request. */
#include "worker/produce.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/clock.h"
#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/manifest.h"
#include "worker/partitioner.h"
#include "worker/progress.h"
#include "worker/prompt_fit.h"
#include "worker/registry.h"
#include "worker/run_present.h"
#include "worker/runs.h"
#include "worker/sender.h"

enum {
    IDS_MAX = 16 << 20, // 256 MiB of hashes
    PARTITIONS_MAX = 4096,
    METADATA_TIMEOUT_MS = 10000,
    // What a record costs the demo broker beside its key and value: headers and framing.
    RECORD_BYTES_EXTRA = 150,
};

struct produce {
    const struct produce_options *options;
    struct produce_result *result;
    struct record_codec *codec;
    struct id_set *ids;     // of the run: what was there, and what the first pass has seen
    struct id_set *present; // --missing: what is on the topic; NULL: everything is sent
    struct prompt_fit *fit; // NULL: no check
    char transactional_id[RUNS_KEY_BYTES_MAX];
    struct sender *sender;
    struct manifest *manifest;
    bool was_begun; // a manifest is there
    const char *topic;
    uint32_t schema_id;
    struct buffer value;
    int32_t partitions_count;
    int64_t partition_records[PARTITIONS_MAX];
    int64_t partition_bytes[PARTITIONS_MAX];
    int64_t total;       // requests to be sent, after the first pass
    int64_t uncommitted; // sent, but not visible yet
    int64_t uncommitted_bytes;
    struct progress progress;
};

/* What a pass does with a valid request. False ends the pass. */
typedef bool take_request(struct produce *produce, const struct inference_request *request,
                          struct error *error);

static bool register_schema(struct produce *produce, struct error *error)
{
    return produce->options->format != WIRE_CONFLUENT ||
           registry_register_values(produce->options->config, "the format", produce->topic,
                                    RECORD_REQUEST, &produce->schema_id, error);
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
    if (added == ID_SET_KNOWN && produce->present != NULL) {
        produce->result->present++;
        return true;
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

static bool commit(struct produce *produce, struct error *error)
{
    if (!sender_commit(produce->sender, error)) {
        return false;
    }
    produce->result->records += produce->uncommitted;
    produce->result->bytes += produce->uncommitted_bytes;
    produce->uncommitted = 0;
    produce->uncommitted_bytes = 0;
    return true;
}

/* Second pass. */
static bool send_request(struct produce *produce, const struct inference_request *request,
                         struct error *error)
{
    if (produce->present != NULL &&
        id_set_add(produce->present, request->custom_id) == ID_SET_KNOWN) {
        return true;
    }
    struct header run_id = {bytes_of("millrace-run-id"), bytes_of(produce->options->run_id)};
    struct sender_record record = {
        .topic = produce->topic,
        .partition = partitioner_of_key(request->custom_id, produce->partitions_count),
        .key = request->custom_id,
        .value = buffer_bytes(&produce->value),
        .headers = {&run_id, 1},
    };
    if (!sender_send(produce->sender, &record, error)) {
        return error_prefix(error, "%.*s was not sent", (int)request->custom_id.size,
                            request->custom_id.data);
    }
    produce->uncommitted++;
    produce->uncommitted_bytes += (int64_t)record.value.size;
    int64_t sent = produce->result->records + produce->uncommitted;
    progress_show(&produce->progress, sent, produce->total, -1);
    return !sender_is_due(produce->sender) || commit(produce, error);
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
    if (!kafka_client_is_demo(sender_client(produce->sender), METADATA_TIMEOUT_MS)) {
        return true;
    }
    for (int32_t i = 0; i < produce->partitions_count && i < PARTITIONS_MAX; i++) {
        int64_t low = 0;
        int64_t high = 0;
        (void)rd_kafka_query_watermark_offsets(sender_client(produce->sender), produce->topic, i,
                                               &low, &high, METADATA_TIMEOUT_MS);
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

/* The ends of the topic now; a topic that cannot be looked at leaves it open where they are. */
static bool note_ends(const struct config *config, const char *topic,
                      struct manifest_offsets *offsets, struct error *error)
{
    struct topic_range *range;
    struct error reason = {0};
    if (!topic_range_open(config, topic, &range, &reason)) {
        if (reason.kind == ERROR_BUSY) {
            *error = reason;
        }
        return reason.kind != ERROR_BUSY;
    }
    offsets->count = (size_t)range->partitions_count;
    memcpy(offsets->items, range->end, offsets->count * sizeof offsets->items[0]);
    topic_range_close(range);
    return true;
}

/* Of a run that begins now. */
static bool begin_manifest(struct produce *produce, struct error *error)
{
    const struct config *config = produce->options->config;
    struct manifest *manifest = produce->manifest;
    manifest->started_ms = (int64_t)time(NULL) * 1000;
    return note_ends(config, produce->topic, &manifest->requests, error) &&
           note_ends(config, config->topics.responses, &manifest->responses, error) &&
           note_ends(config, config->topics.dead_letters, &manifest->dead_letters, error);
}

static bool send_manifest(struct produce *produce, bool is_complete, struct error *error)
{
    produce->manifest->is_complete = is_complete;
    return runs_send_manifest(produce->options->config, produce->sender, produce->manifest,
                              error) &&
           commit(produce, error);
}

/* The manifest is there before the first request, and says with the last one that it was the last.
 */
static bool send_all(struct produce *produce, struct error *error)
{
    double started_ms = clock_monotonic_ms();
    progress_start(&produce->progress, "records", produce->options->is_quiet);
    bool ok = send_manifest(produce, false, error) && walk(produce, send_request, false, error) &&
              send_manifest(produce, true, error);
    progress_stop(&produce->progress);
    produce->result->seconds = (clock_monotonic_ms() - started_ms) / 1000;
    return ok ||
           error_prefix(error,
                        "%" PRId64 " of %" PRId64 " records were sent, --missing sends the others",
                        produce->result->records, produce->total);
}

/* Too large for a stack. */
static struct produce *produce_open(const struct produce_options *options,
                                    struct produce_result *result)
{
    struct produce *produce = calloc(1, sizeof *produce);
    if (produce != NULL) {
        produce->options = options;
        produce->result = result;
        produce->topic = options->topic;
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
    produce->manifest = manifest_open();
    if (produce->codec == NULL || produce->manifest == NULL) {
        return produce->codec != NULL && error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    return options->model_dir == NULL || prompt_fit_open(options->model_dir, &produce->fit, error);
}

/* Whether the run is begun already, and may go on. */
static bool find_run(struct produce *produce, struct error *error)
{
    const struct produce_options *options = produce->options;
    struct run_state state;
    if (!runs_find(options->config, options->run_id, produce->manifest, &state, error)) {
        return false;
    }
    produce->was_begun = state.has_manifest;
    if (state.has_manifest && !options->sends_missing) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "run %s is %s: --missing sends what is not there, another --run-id makes "
                         "a new run",
                         options->run_id,
                         produce->manifest->is_complete ? "sent already" : "begun already");
    }
    if (state.has_manifest && strcmp(produce->manifest->topic, produce->topic) != 0) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "run %s is on topic %s, not %s",
                         options->run_id, produce->manifest->topic, produce->topic);
    }
    (void)snprintf(produce->manifest->run_id, sizeof produce->manifest->run_id, "%s",
                   options->run_id);
    (void)snprintf(produce->manifest->topic, sizeof produce->manifest->topic, "%s", produce->topic);
    return true;
}

/* The run's sender. The run is looked for before, so that a refusal harms no other process, and
 * after: only then nothing changes any more. */
static bool open_run(struct produce *produce, struct error *error)
{
    const struct config *config = produce->options->config;
    (void)snprintf(produce->transactional_id, sizeof produce->transactional_id,
                   "millrace/produce/%s/%s", produce->topic, produce->options->run_id);
    return find_run(produce, error) &&
           sender_open(config, produce->transactional_id, &produce->sender, error) &&
           runs_create(config, produce->sender, error) && find_run(produce, error) &&
           kafka_client_partitions(sender_client(produce->sender), produce->topic,
                                   METADATA_TIMEOUT_MS, &produce->partitions_count, error) &&
           register_schema(produce, error);
}

static bool read_present(struct produce *produce, struct run_present *present, struct error *error)
{
    const struct produce_options *options = produce->options;
    if (!options->sends_missing) {
        return true;
    }
    if (!run_present_read(options->config, produce->manifest, options->is_quiet, produce->ids,
                          present, error)) {
        return false;
    }
    produce->present = id_set_open_copy(produce->ids);
    return produce->present != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
}

static bool send_run(struct produce *produce, struct error *error)
{
    struct manifest *manifest = produce->manifest;
    struct run_present present = {0};
    if (!read_present(produce, &present, error) || !check(produce, error)) {
        return false;
    }
    // Of a run whose beginning is not known the offsets stay open.
    if (!produce->was_begun && present.records == 0 && !begin_manifest(produce, error)) {
        return false;
    }
    (void)snprintf(manifest->digest, sizeof manifest->digest, "%s", produce->result->digest);
    manifest->records = present.records + produce->total;
    manifest->duplicates = present.duplicates + produce->result->duplicates;
    return send_all(produce, error);
}

static void produce_close(struct produce *produce)
{
    sender_close(produce->sender);
    prompt_fit_close(produce->fit);
    record_codec_close(produce->codec);
    id_set_close(produce->ids);
    id_set_close(produce->present);
    manifest_close(produce->manifest);
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
    bool ok =
        open_parts(produce, error) && open_run(produce, error) && send_run(produce, error) &&
        (options->manifest == NULL || manifest_save(produce->manifest, options->manifest, error));
    produce_close(produce);
    return ok;
}
