/* answerers: who answers calls in this process, and under which public names.
 *
 * The models with a path share one local generator (or the scripted one), each model with an
 * endpoint has a remote one. Thread: loop; the routes may be read by any.
 */
#ifndef WORKER_ANSWERERS_H
#define WORKER_ANSWERERS_H

#include <uv.h>

#include "pipeline/generator.h"
#include "pipeline/pool.h"
#include "pipeline/route/route.h"
#include "schemas/base/error.h"
#include "worker/config.h"

enum { ANSWERERS_MAX = CONFIG_MODELS_MAX + 1 };

struct answerers {
    struct generator *items[ANSWERERS_MAX];
    int count;
    struct local *local; // among them, if there is one
    struct route_table *routes;
};

struct answerers_options {
    uv_loop_t *loop;
    const struct config *config; // borrowed until close
    struct pool *pool;           // likewise
    struct generator_wake wake;
};

/* Opens models, engine, endpoints and routes. Takes seconds. What is open on failure is closed by
 * answerers_close. */
MUST_CHECK bool answerers_open(const struct answerers_options *options, struct answerers *answerers,
                               struct error *error);
/* Everything submitted must have come back. Routes stay until answerers_close_routes, because
 * outcomes borrow from them. */
void answerers_close(struct answerers *answerers);
void answerers_close_routes(struct answerers *answerers);
/* The index of a generator among the items. */
int answerers_index(const struct answerers *answerers, const struct generator *generator);

#endif
