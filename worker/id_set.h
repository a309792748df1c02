/* id_set: which custom_ids a run has, in 16 bytes each, and a digest of them that does not depend
 * on their order. Two ids are told apart by 128 bits of hash. Thread: one at a time. */
#ifndef WORKER_ID_SET_H
#define WORKER_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

struct id_set;

struct id_hash {
    uint64_t low, high;
};

enum { ID_SET_DIGEST_SIZE = 33 }; // 32 hexadecimal digits and the NUL

/* Holds at most ids_max ids. NULL when out of memory. */
struct id_set *id_set_open(size_t ids_max);
/* Holds what `set` holds now. NULL when out of memory. */
struct id_set *id_set_open_copy(const struct id_set *set);
void id_set_close(struct id_set *set); // accepts NULL

enum id_set_result { ID_SET_NEW, ID_SET_KNOWN, ID_SET_FULL };

/* FULL also when out of memory. */
enum id_set_result id_set_add(struct id_set *set, struct bytes id);
bool id_set_has(const struct id_set *set, struct bytes id);
size_t id_set_count(const struct id_set *set);
/* The same with an id's hash. */
struct id_hash id_set_hash(struct bytes id);
enum id_set_result id_set_add_hash(struct id_set *set, struct id_hash hash);
/* Of all ids in the set: equal for equal sets. */
void id_set_digest(const struct id_set *set, char digest_out[ID_SET_DIGEST_SIZE]);

#endif
