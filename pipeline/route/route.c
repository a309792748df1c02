/* route: a small table searched in order; there are a few dozen names at most. */
#include "pipeline/route/route.h"

#include <stdlib.h>

struct route_table {
    size_t count;
    size_t count_max;
    struct route routes[]; // [count_max]
};

bool route_table_open(size_t routes_max, struct route_table **table_out, struct error *error)
{
    struct route_table *table = calloc(1, sizeof *table + routes_max * sizeof table->routes[0]);
    if (table == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %zu routes",
                         routes_max);
    }
    table->count_max = routes_max;
    *table_out = table;
    return true;
}

void route_table_close(struct route_table *table)
{
    free(table);
}

static const struct route *find_exactly(const struct route_table *table, struct bytes name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (bytes_equal(table->routes[i].name, name)) {
            return &table->routes[i];
        }
    }
    return NULL;
}

bool route_table_add(struct route_table *table, const struct route *route, struct error *error)
{
    if (find_exactly(table, route->name) != NULL) {
        return error_set(error, ERROR_CONFIG, NULL, "models",
                         "the name %.*s is given to two models; names and aliases must differ",
                         (int)route->name.size, route->name.data);
    }
    if (table->count == table->count_max) {
        return error_set(error, ERROR_CONFIG, NULL, "models",
                         "more than %zu model names and aliases", table->count_max);
    }
    table->routes[table->count++] = *route;
    return true;
}

const struct route *route_table_find(const struct route_table *table, struct bytes name)
{
    const struct route *route = find_exactly(table, name);
    return route == NULL ? find_exactly(table, bytes_of("*")) : route;
}
