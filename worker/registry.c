/* registry: a table of ids, and one request per unknown one. */
#include "worker/registry.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/log.h"

enum {
    IDS_MAX = 1024, // as many as the codec keeps
    URL_BYTES_MAX = 2048,
    ANSWER_BYTES_MAX = 4 << 20,
    CONNECT_TIMEOUT_MS = 3000,
    TIMEOUT_MS = 10000,
    RETRY_MS = 500, // doubled up to the next
    RETRY_MAX_MS = 10000,
    MISSING_MS = 60000, // how long an unknown id is not asked for again
};

#define CONTENT_TYPE "application/vnd.schemaregistry.v1+json"

struct entry {
    uint32_t id;
    enum registry_state state;
    bool is_asked; // a request is under way
    uint64_t ask_at_ms;
    uint64_t backoff_ms;
};

struct registry {
    uv_loop_t *loop;
    struct record_codec *codec; // borrowed
    struct registry_end end;
    char *url; // without a slash at its end
    struct entry entries[IDS_MAX];
    size_t entries_count;
    size_t requests_count; // under way
    bool is_closing;
};

/* One HTTP exchange; filled before and read after it runs on the pool. */
struct exchange {
    char url[URL_BYTES_MAX];
    char *body; // NULL: GET
    struct buffer answer;
    long status;
    CURLcode code;
};

struct request {
    uv_work_t work;
    struct registry *registry;
    uint32_t id;
    struct exchange exchange;
};

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
    struct buffer *answer = context;
    buffer_append(answer, data, size * count);
    return buffer_failed(answer) ? 0 : size * count;
}

/* Thread: any. Sets code, status, answer. */
static void exchange_run(struct exchange *exchange)
{
    exchange->code = CURLE_FAILED_INIT;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return;
    }
    struct curl_slist *headers =
        curl_slist_append(NULL, "Accept: " CONTENT_TYPE ", application/json");
    (void)curl_easy_setopt(curl, CURLOPT_URL, exchange->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange->answer);
    if (exchange->body != NULL) {
        headers = curl_slist_append(headers, "Content-Type: " CONTENT_TYPE);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body);
    }
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    exchange->code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &exchange->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

bool registry_open(uv_loop_t *loop, const char *url, struct record_codec *codec,
                   struct registry_end end, struct registry **registry_out, struct error *error)
{
    size_t size = strlen(url);
    if (size > URL_BYTES_MAX / 2) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "the registry's url has %zu bytes, at most %d are allowed", size,
                         URL_BYTES_MAX / 2);
    }
    struct registry *registry = calloc(1, sizeof *registry);
    char *copy = strdup(url);
    if (registry == NULL || copy == NULL) {
        free(registry);
        free(copy);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the registry");
    }
    while (size > 0 && copy[size - 1] == '/') {
        copy[--size] = '\0';
    }
    registry->loop = loop;
    registry->codec = codec;
    registry->end = end;
    registry->url = copy;
    *registry_out = registry;
    return true;
}

static void close_when_idle(struct registry *registry)
{
    if (registry->is_closing && registry->requests_count == 0) {
        free(registry->url);
        free(registry);
    }
}

void registry_close(struct registry *registry)
{
    if (registry != NULL) {
        registry->is_closing = true;
        close_when_idle(registry);
    }
}

static struct entry *find_entry(struct registry *registry, uint32_t id)
{
    for (size_t i = 0; i < registry->entries_count; i++) {
        if (registry->entries[i].id == id) {
            return &registry->entries[i];
        }
    }
    return NULL;
}

/* The table is full of ids only when somebody sends made-up ones: the oldest unknown one makes
 * room. */
static struct entry *add_entry(struct registry *registry, uint32_t id)
{
    struct entry *entry = NULL;
    if (registry->entries_count < IDS_MAX) {
        entry = &registry->entries[registry->entries_count++];
    }
    for (size_t i = 0; i < registry->entries_count && entry == NULL; i++) {
        if (registry->entries[i].state == REGISTRY_MISSING) {
            entry = &registry->entries[i];
        }
    }
    if (entry != NULL) {
        *entry = (struct entry){.id = id, .state = REGISTRY_PENDING, .backoff_ms = RETRY_MS};
    }
    return entry;
}

/* Gives the codec the schema that the registry answered with. */
static bool add_schema(struct record_codec *codec, uint32_t id, struct bytes answer,
                       struct error *error)
{
    json_t *root = json_loadb(answer.data, answer.size, 0, NULL);
    const char *schema = json_string_value(json_object_get(root, "schema"));
    bool is_usable =
        record_codec_add_schema(codec, id, bytes_of(schema == NULL ? "" : schema), error);
    json_decref(root);
    return is_usable;
}

static void use_schema(struct registry *registry, struct entry *entry, struct bytes answer)
{
    struct error error = {0};
    if (!add_schema(registry->codec, entry->id, answer, &error)) {
        log_event(LOG_WARN, "schema_not_usable", "id=%" PRIu32 " reason=%s", entry->id,
                  error.message);
    }
    entry->state = REGISTRY_READY;
}

static void take_answer(struct registry *registry, const struct request *request)
{
    struct entry *entry = find_entry(registry, request->id);
    if (entry == NULL) {
        return;
    }
    const struct exchange *exchange = &request->exchange;
    uint64_t now_ms = uv_now(registry->loop);
    entry->is_asked = false;
    if (exchange->code == CURLE_OK && exchange->status == 200) {
        use_schema(registry, entry, buffer_bytes(&exchange->answer));
    } else if (exchange->code == CURLE_OK && exchange->status == 404) {
        entry->state = REGISTRY_MISSING;
        entry->ask_at_ms = now_ms + MISSING_MS;
    } else {
        log_event(LOG_WARN, "registry_unavailable", "id=%" PRIu32 " status=%ld reason=%s",
                  entry->id, exchange->status, curl_easy_strerror(exchange->code));
        entry->ask_at_ms = now_ms + entry->backoff_ms;
        entry->backoff_ms =
            entry->backoff_ms * 2 < RETRY_MAX_MS ? entry->backoff_ms * 2 : RETRY_MAX_MS;
    }
}

static void on_pool(uv_work_t *work)
{
    struct request *request = work->data;
    exchange_run(&request->exchange);
}

static void on_answered(uv_work_t *work, int status)
{
    struct request *request = work->data;
    struct registry *registry = request->registry;
    registry->requests_count--;
    if (status == 0 && !registry->is_closing) {
        take_answer(registry, request);
        registry->end.on_change(registry->end.context);
    }
    buffer_close(&request->exchange.answer);
    free(request);
    close_when_idle(registry);
}

static void ask(struct registry *registry, struct entry *entry)
{
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        return; // asked again with the next record
    }
    request->registry = registry;
    request->id = entry->id;
    request->work.data = request;
    buffer_init(&request->exchange.answer, ANSWER_BYTES_MAX);
    (void)snprintf(request->exchange.url, sizeof request->exchange.url, "%s/schemas/ids/%" PRIu32,
                   registry->url, entry->id);
    entry->is_asked = true;
    registry->requests_count++;
    CHECK(uv_queue_work(registry->loop, &request->work, on_pool, on_answered) == 0);
}

enum registry_state registry_resolve(struct registry *registry, uint32_t id)
{
    struct entry *entry = find_entry(registry, id);
    if (entry == NULL) {
        entry = add_entry(registry, id);
    }
    if (entry == NULL) {
        return REGISTRY_MISSING;
    }
    bool is_due = !entry->is_asked && uv_now(registry->loop) >= entry->ask_at_ms;
    if (entry->state == REGISTRY_MISSING && is_due) {
        entry->state = REGISTRY_PENDING;
    }
    if (entry->state == REGISTRY_PENDING && is_due) {
        ask(registry, entry);
    }
    return entry->state;
}

bool registry_load(const char *url, uint32_t id, struct record_codec *codec, struct error *error)
{
    struct exchange exchange = {.code = CURLE_FAILED_INIT};
    int size = (int)strlen(url);
    while (size > 0 && url[size - 1] == '/') {
        size--;
    }
    (void)snprintf(exchange.url, sizeof exchange.url, "%.*s/schemas/ids/%" PRIu32, size, url, id);
    buffer_init(&exchange.answer, ANSWER_BYTES_MAX);
    exchange_run(&exchange);
    bool is_loaded;
    if (exchange.code != CURLE_OK || exchange.status != 200) {
        is_loaded = error_set(error, ERROR_FATAL, NULL, NULL,
                              "the registry gave no schema for id %" PRIu32 ": status %ld, %s", id,
                              exchange.status, curl_easy_strerror(exchange.code));
    } else {
        is_loaded = add_schema(codec, id, buffer_bytes(&exchange.answer), error);
    }
    buffer_close(&exchange.answer);
    return is_loaded;
}

static bool read_id(const struct exchange *exchange, const char *subject, uint32_t *id_out,
                    struct error *error)
{
    if (exchange->code != CURLE_OK || exchange->status != 200) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "cannot register the schema of subject %s: status %ld, %s, %.200s",
                         subject, exchange->status, curl_easy_strerror(exchange->code),
                         buffer_bytes(&exchange->answer).data);
    }
    struct bytes answer = buffer_bytes(&exchange->answer);
    json_t *root = json_loadb(answer.data, answer.size, 0, NULL);
    const json_t *id = json_object_get(root, "id");
    bool is_valid =
        json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) <= UINT32_MAX;
    if (is_valid) {
        *id_out = (uint32_t)json_integer_value(id);
    } else {
        (void)error_set(error, ERROR_CONFIG, NULL, NULL, "the registry gave no id for subject %s",
                        subject);
    }
    json_decref(root);
    return is_valid;
}

bool registry_knows(const char *url, struct bytes value, struct record_codec *codec)
{
    uint32_t id;
    struct error reason = {0};
    return url[0] != '\0' && record_schema_id(value, &id) && registry_load(url, id, codec, &reason);
}

bool registry_register(const char *url, const char *subject, struct bytes schema, uint32_t *id_out,
                       struct error *error)
{
    struct exchange exchange = {.code = CURLE_FAILED_INIT};
    int size = (int)strlen(url);
    while (size > 0 && url[size - 1] == '/') {
        size--;
    }
    int length = snprintf(exchange.url, sizeof exchange.url, "%.*s/subjects/%s/versions", size, url,
                          subject);
    json_t *root = json_pack("{s:s%}", "schema", schema.data, schema.size);
    exchange.body = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (length < 0 || (size_t)length >= sizeof exchange.url || exchange.body == NULL) {
        free(exchange.body);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot ask the registry for %s",
                         subject);
    }
    buffer_init(&exchange.answer, ANSWER_BYTES_MAX);
    exchange_run(&exchange);
    bool is_read = read_id(&exchange, subject, id_out, error);
    buffer_close(&exchange.answer);
    free(exchange.body);
    return is_read;
}

bool registry_register_values(const struct config *config, const char *setting, const char *topic,
                              enum record_kind kind, uint32_t *id_out, struct error *error)
{
    if (config->registry_url[0] == '\0') {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s is confluent, but registry.url is not set", setting);
    }
    char subject[300];
    (void)snprintf(subject, sizeof subject, "%s-value", topic);
    return registry_register(config->registry_url, subject, record_schema(kind), id_out, error);
}
