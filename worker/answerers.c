/* answerers: generators in the order in which the session polls them, and a route for each name. */
#include "worker/answerers.h"

#include "pipeline/local.h"
#include "pipeline/scripted.h"
#include "schemas/base/check.h"
#include "worker/engine_setup.h"
#include "worker/model_log.h"
#include "worker/remote_setup.h"

/* Choices of one call count each; a record has one call of at most OPENAI_INPUTS_MAX choices. */
static int calls_max(const struct config *config)
{
    return (int)config->intake_records_max + OPENAI_INPUTS_MAX;
}

static bool is_remote(const struct config_model *model)
{
    return model->endpoint[0] != '\0';
}

static bool open_local(const struct answerers_options *options, struct answerers *answerers,
                       struct error *error)
{
    const struct config *config = options->config;
    struct local_model_options models[CONFIG_MODELS_MAX];
    int models_count = 0;
    for (size_t i = 0; i < config->models_count; i++) {
        if (!is_remote(&config->models[i])) {
            models[models_count++] = (struct local_model_options){
                .name = config->models[i].name,
                .path = config->models[i].path,
                .adapter = config->models[i].adapter,
                .kv_share = config->models[i].kv_share,
            };
        }
    }
    struct local_options local = engine_setup_local(config);
    local.models = models;
    local.models_count = models_count;
    local.calls_max = calls_max(config);
    local.pool = options->pool;
    local.wake = options->wake;
    struct model_log log;
    model_log_start(&log);
    local.on_loading = model_log_loading;
    local.loading_context = &log;
    bool is_open = local_open(&local, &answerers->local, error);
    model_log_stop(&log);
    if (!is_open) {
        return false;
    }
    for (int i = 0; i < models_count; i++) {
        struct local_model_facts facts = local_facts(answerers->local, i);
        model_log_ready(&facts, local.weights == WEIGHTS_AUTO);
    }
    answerers->items[answerers->count++] = local_generator(answerers->local);
    return true;
}

static bool open_scripted(const struct answerers_options *options, struct answerers *answerers,
                          struct error *error)
{
    struct scripted_options scripted = {
        .latency_ms = (int)options->config->scripted_latency_ms,
        .calls_max = calls_max(options->config),
        .wake = options->wake,
    };
    if (!scripted_open(&scripted, &answerers->items[answerers->count], error)) {
        return false;
    }
    answerers->count++;
    return true;
}

/* A route for the model's name and each alias; *route has the rest. */
static bool add_routes(struct answerers *answerers, const struct config_model *model,
                       struct route *route, struct error *error)
{
    route->name = bytes_of(model->name);
    bool is_added = route_table_add(answerers->routes, route, error);
    for (size_t i = 0; is_added && i < model->aliases_count; i++) {
        route->name = bytes_of(model->aliases[i]);
        is_added = route_table_add(answerers->routes, route, error);
    }
    return is_added;
}

static bool open_remote(const struct answerers_options *options, struct answerers *answerers,
                        const struct config_model *model, struct error *error)
{
    struct remote *remote = NULL;
    struct remote_options from = {
        .loop = options->loop,
        .calls_max = calls_max(options->config),
        .pool = options->pool,
        .wake = options->wake,
    };
    if (!remote_setup_open(&from, model, &remote, error)) {
        return error_prefix(error, "model %s", model->name);
    }
    answerers->items[answerers->count++] = remote_generator(remote);
    struct route route = {
        .generator = remote_generator(remote),
        .served_by = *remote_served_by(remote),
    };
    return add_routes(answerers, model, &route, error);
}

static bool route_local(struct answerers *answerers, const struct config_model *model, int index,
                        struct error *error)
{
    struct route route = {.generator = answerers->items[0], .model = index};
    if (answerers->local != NULL) {
        route.served_by = *local_served_by(answerers->local, index);
    } else {
        route.served_by =
            (struct served_by){.kind = bytes_of("local"), .model = bytes_of("scripted")};
    }
    return add_routes(answerers, model, &route, error);
}

static bool has_local_models(const struct config *config)
{
    for (size_t i = 0; i < config->models_count; i++) {
        if (!is_remote(&config->models[i])) {
            return true;
        }
    }
    return config->models_count == 0; // refused by the local generator, which says what is missing
}

bool answerers_open(const struct answerers_options *options, struct answerers *answerers,
                    struct error *error)
{
    const struct config *config = options->config;
    *answerers = (struct answerers){0};
    if (!route_table_open(CONFIG_MODELS_MAX * (CONFIG_ALIASES_MAX + 1), &answerers->routes,
                          error)) {
        return false;
    }
    bool is_open = true;
    if (has_local_models(config)) { // these are the first item
        is_open = config->generator == GENERATOR_LOCAL ? open_local(options, answerers, error)
                                                       : open_scripted(options, answerers, error);
    }
    int local_index = 0;
    for (size_t i = 0; is_open && i < config->models_count; i++) {
        const struct config_model *model = &config->models[i];
        is_open = is_remote(model) ? open_remote(options, answerers, model, error)
                                   : route_local(answerers, model, local_index++, error);
    }
    return is_open;
}

void answerers_close(struct answerers *answerers)
{
    // Others may still ask for the local one's numbers while the loop turns below.
    answerers->local = NULL;
    while (answerers->count > 0) {
        struct generator *generator = answerers->items[--answerers->count];
        generator->ops->close(generator);
    }
}

void answerers_close_routes(struct answerers *answerers)
{
    route_table_close(answerers->routes);
    answerers->routes = NULL;
}

int answerers_index(const struct answerers *answerers, const struct generator *generator)
{
    for (int i = 0; i < answerers->count; i++) {
        if (answerers->items[i] == generator) {
            return i;
        }
    }
    CHECK(false);
    return 0;
}
