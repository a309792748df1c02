/* model_numbers, generate: each line is a request to the local generator, as a worker's are. */
#include "worker/model_numbers.h"

#include <pthread.h>

#include "pipeline/clock.h"
#include "pipeline/local.h"
#include "pipeline/route/route.h"
#include "schemas/base/check.h"
#include "worker/engine_setup.h"
#include "worker/model_lines.h"

enum { JOB_BYTES_MAX = 1 << 30 };

/* Sleeps until the generator has something to give. */
struct bell {
    pthread_mutex_t mutex; // holds has_rung
    pthread_cond_t rings;
    bool has_rung;
};

struct generate {
    struct bell bell;
    struct pool *pool;
    struct local *local;
    struct route route;
};

static void ring(void *context)
{
    struct bell *bell = context;
    CHECK(pthread_mutex_lock(&bell->mutex) == 0);
    bell->has_rung = true;
    CHECK(pthread_cond_signal(&bell->rings) == 0);
    CHECK(pthread_mutex_unlock(&bell->mutex) == 0);
}

static void wait_for_ring(struct bell *bell)
{
    CHECK(pthread_mutex_lock(&bell->mutex) == 0);
    while (!bell->has_rung) {
        CHECK(pthread_cond_wait(&bell->rings, &bell->mutex) == 0);
    }
    bell->has_rung = false;
    CHECK(pthread_mutex_unlock(&bell->mutex) == 0);
}

/* {"ids", ...} is a completion whose prompt is the ids; greedy unless it says otherwise. */
static enum openai_endpoint make_body(json_t *line)
{
    (void)json_object_set_new(line, "model", json_string("*"));
    if (json_object_get(line, "messages") != NULL) {
        return ENDPOINT_CHAT;
    }
    json_t *ids = json_object_get(line, "ids");
    if (ids != NULL) {
        (void)json_object_set(line, "prompt", ids);
        (void)json_object_del(line, "ids");
    }
    if (json_object_get(line, "temperature") == NULL) {
        (void)json_object_set_new(line, "temperature", json_integer(0));
    }
    return ENDPOINT_COMPLETIONS;
}

static bool answer_call(struct generate *generate, struct call *call, struct error *error)
{
    struct generator *generator = call->route->generator;
    if (!generator->ops->prepare(generator, call, error)) {
        return false;
    }
    CHECK(generator->ops->submit(generator, call)); // the only one
    struct call *answered = NULL;
    while (generator->ops->poll(generator, &answered, 1) == 0) {
        wait_for_ring(&generate->bell);
    }
    CHECK(answered == call);
    if (call->answer.error.kind != ERROR_NONE) {
        *error = call->answer.error;
        return false;
    }
    return true;
}

/* ids, text and finish reason of the first choice. */
static json_t *answer_of(const struct call *call)
{
    const int32_t *ids = NULL;
    int ids_count = local_call_tokens(call, 0, &ids);
    json_t *body = json_loadb(call->answer.body.data, call->answer.body.size, JSON_ALLOW_NUL, NULL);
    json_t *choice = json_array_get(json_object_get(body, "choices"), 0);
    json_t *text = json_object_get(choice, "text");
    if (text == NULL) {
        text = json_object_get(json_object_get(choice, "message"), "content");
    }
    json_t *out =
        json_pack("{s:o, s:O?, s:O?}", "ids", model_lines_json_ids(ids, (size_t)ids_count), "text",
                  text, "finish_reason", json_object_get(choice, "finish_reason"));
    json_decref(body);
    return out;
}

/* The line as the bytes of a request body, in the arena. */
static struct bytes dump_body(const json_t *line, struct arena *arena)
{
    size_t size = json_dumpb(line, NULL, 0, JSON_COMPACT);
    char *data = arena_alloc(arena, size);
    if (data == NULL || json_dumpb(line, data, size, JSON_COMPACT) != size) {
        return (struct bytes){NULL, 0};
    }
    return (struct bytes){data, size};
}

static json_t *generate_line(void *context, json_t *line, struct arena *arena, struct error *error)
{
    struct generate *generate = context;
    enum openai_endpoint endpoint = make_body(line);
    struct bytes body = dump_body(line, arena);
    struct job *job = body.data == NULL ? NULL : job_open(JOB_BYTES_MAX);
    json_t *out = NULL;
    if (job == NULL) {
        (void)error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the line");
        return NULL;
    }
    struct call call = {.job = job, .body = body, .route = &generate->route};
    job->id = bytes_of("0");
    job->received_ms = clock_monotonic_ms();
    job->calls = &call;
    job->calls_count = 1;
    if (openai_request_parse(endpoint, body, job->arena, &call.request, error) &&
        answer_call(generate, &call, error)) {
        out = answer_of(&call);
    }
    job_close(job);
    return out;
}

static bool open_generate(struct generate *generate, const struct model_source *source,
                          const struct config *config, struct error *error)
{
    struct local_model_options model = {
        .name = source->path, .path = source->path, .adapter = source->adapter};
    struct local_options options = engine_setup_local(config);
    if (!pool_open(1, &generate->pool, error)) {
        return false;
    }
    options.models = &model;
    options.models_count = 1;
    options.may_lack_tokenizer = true;
    options.calls_max = OPENAI_CHOICES_MAX;
    options.pool = generate->pool;
    options.wake = (struct generator_wake){ring, &generate->bell};
    if (!local_open(&options, &generate->local, error)) {
        return false;
    }
    generate->route = (struct route){.generator = local_generator(generate->local)};
    return true;
}

bool model_numbers_generate(const struct model_source *source, const struct config *config,
                            struct error *error)
{
    struct generate generate = {
        .bell = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
    };
    struct model_lines lines = {generate_line, &generate};
    bool is_ok = open_generate(&generate, source, config, error) && model_lines_run(&lines, error);
    if (generate.local != NULL) {
        struct generator *generator = local_generator(generate.local);
        generator->ops->close(generator);
    }
    pool_close(generate.pool);
    return is_ok;
}
