/* registry: a client of a Confluent-compatible schema registry.
 *
 * Looks up writer's schemas by id while their records wait, and registers ours at start. An id that
 * the registry does not know is remembered for a while; a registry that does not answer is asked
 * again, later and later, and the records wait. HTTP runs on libuv's pool; everything else, the
 * codec included, on the loop. The URL may have a path: http://host:8081/apis/ccompat/v7.
 */
#ifndef WORKER_REGISTRY_H
#define WORKER_REGISTRY_H

#include <stdint.h>
#include <uv.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/records/record_codec.h"
#include "worker/config.h"

enum registry_state {
    REGISTRY_READY,   // the codec knows the id, or knows why it cannot be used
    REGISTRY_PENDING, // asked; on_change is called when that has changed
    REGISTRY_MISSING, // the registry does not know it
};

struct registry;

struct registry_end {
    void (*on_change)(void *context); // thread: loop
    void *context;
};

/* `codec` is borrowed; `url` is copied. */
MUST_CHECK bool registry_open(uv_loop_t *loop, const char *url, struct record_codec *codec,
                              struct registry_end end, struct registry **registry_out,
                              struct error *error);
/* The loop must run on until the struct has freed itself: requests under way take up to 15 s.
 * Accepts NULL. */
void registry_close(struct registry *registry);

enum registry_state registry_resolve(struct registry *registry, uint32_t id);

/* Asks for the schema of one id and gives it to the codec. Blocks. */
MUST_CHECK bool registry_load(const char *url, uint32_t id, struct record_codec *codec,
                              struct error *error);

/* The same for the schema that a value asks for; false too where there is no registry (url ""). */
bool registry_knows(const char *url, struct bytes value, struct record_codec *codec);

/* Registers the schema and gives its id. Blocks; for the start. Thread: any. */
MUST_CHECK bool registry_register(const char *url, const char *subject, struct bytes schema,
                                  uint32_t *id_out, struct error *error);
/* Registers the schema of the values of `topic` with registry.url, an error where that is not set:
 * `setting` is what asks for it. Blocks; for the start. Thread: any. */
MUST_CHECK bool registry_register_values(const struct config *config, const char *setting,
                                         const char *topic, enum record_kind kind, uint32_t *id_out,
                                         struct error *error);

#endif
