/* run_present: the request topic, then, where it is needed, the outcomes. */
#include "worker/run_present.h"

#include "worker/run_reader.h"

struct reading {
    struct id_set *ids;
    struct run_present *present;
};

static bool is_full(enum id_set_result result, struct error *error)
{
    return result == ID_SET_FULL &&
           !error_set(error, ERROR_FATAL, NULL, NULL, "the run has too many custom_ids, split it");
}

static bool take_outcome(void *context, const struct run_record *record, struct error *error)
{
    struct reading *reading = context;
    if (record->custom_id.data == NULL) {
        return true;
    }
    enum id_set_result result = id_set_add(reading->ids, record->custom_id);
    reading->present->records += result == ID_SET_NEW ? 1 : 0;
    return !is_full(result, error);
}

static bool take_request(void *context, const struct run_record *record, struct error *error)
{
    struct reading *reading = context;
    if (record->is_replayed) { // counts only for a first request that is there no more
        return take_outcome(context, record, error);
    }
    reading->present->records++;
    if (record->custom_id.data == NULL) {
        return true;
    }
    enum id_set_result result = id_set_add(reading->ids, record->custom_id);
    reading->present->duplicates += result == ID_SET_KNOWN ? 1 : 0;
    return !is_full(result, error);
}

static const char *request_topic(const struct config *config, const struct manifest *manifest)
{
    return manifest->topic[0] == '\0' ? config->topics.requests.items[0] : manifest->topic;
}

/* Whether the request topic may have had records of the run that it has no more. */
static bool has_lost(const struct config *config, const struct manifest *manifest, bool *has_out,
                     struct error *error)
{
    struct topic_range *range;
    if (!topic_range_open(config, request_topic(config, manifest), &range, error)) {
        return false;
    }
    *has_out = false;
    for (int32_t i = 0; i < range->partitions_count; i++) {
        bool is_known = (size_t)i < manifest->requests.count;
        int64_t from = is_known ? manifest->requests.items[i] : 0;
        *has_out = *has_out || range->first[i] > from;
    }
    topic_range_close(range);
    return true;
}

/* A topic that is not there has no outcomes. */
static bool forgive_missing(bool ok, struct error *reason, struct error *error)
{
    if (!ok && reason->kind != ERROR_NOT_FOUND) {
        *error = *reason;
        return false;
    }
    return true;
}

bool run_present_read(const struct config *config, const struct manifest *manifest, bool is_quiet,
                      struct id_set *ids, struct run_present *present_out, struct error *error)
{
    *present_out = (struct run_present){0};
    struct reading reading = {.ids = ids, .present = present_out};
    struct run_reader reader = {
        .config = config,
        .run_id = manifest->run_id,
        .topic = request_topic(config, manifest),
        .is_quiet = is_quiet,
        .take = take_request,
        .context = &reading,
    };
    bool has_some_lost;
    if (!run_reader_requests(&reader, &manifest->requests, error) ||
        !has_lost(config, manifest, &has_some_lost, error) || !has_some_lost) {
        return error->kind == ERROR_NONE;
    }
    reader.take = take_outcome;
    struct error reason = {0};
    if (!forgive_missing(run_reader_responses(&reader, &manifest->responses, &reason), &reason,
                         error)) {
        return false;
    }
    reason = (struct error){0};
    return forgive_missing(run_reader_dead_letters(&reader, &manifest->dead_letters, &reason),
                           &reason, error);
}
