/* route: which generator and model answer for a public name.
 *
 * A public name (a model's name or one of its aliases) is a route: one model now, a policy later.
 * Responses echo the public name; served_by names the model. Immutable after it is filled, so any
 * thread may look up.
 */
#ifndef PIPELINE_ROUTE_ROUTE_H
#define PIPELINE_ROUTE_ROUTE_H

#include <stddef.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct generator;

struct route {
    struct bytes name; // public
    struct generator *generator;
    int model;                  // the generator's own index
    struct served_by served_by; // endpoint, model, weights hash, ...
};

struct route_table;

MUST_CHECK bool route_table_open(size_t routes_max, struct route_table **table_out,
                                 struct error *error);
void route_table_close(struct route_table *table); // accepts NULL
/* Copies *route; the bytes inside are borrowed until route_table_close. False when the name is
 * taken. */
MUST_CHECK bool route_table_add(struct route_table *table, const struct route *route,
                                struct error *error);
/* The route of that name, otherwise the one named "*", otherwise NULL. */
const struct route *route_table_find(const struct route_table *table, struct bytes name);

#endif
