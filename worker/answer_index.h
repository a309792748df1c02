/* answer_index: recorded answers by custom_id, to be joined with their requests.
 *
 * The answers lie in a temporary file; in memory are 40 bytes of each, in a table that is a quarter
 * full at least and half full at most: 80 to 160 bytes an answer. Of several answers to
 * one id the one of the highest rank counts, and of equal ones the last that came, so that the
 * order in which partitions are read does not matter. Thread: one at a time; blocks.
 */
#ifndef WORKER_ANSWER_INDEX_H
#define WORKER_ANSWER_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "schemas/records/record_codec.h"

enum { ANSWER_INDEX_MAX = 16 << 20 };

struct answer_index;

/* `codec` is borrowed. */
MUST_CHECK bool answer_index_open(struct record_codec *codec, struct answer_index **index_out,
                                  struct error *error);
void answer_index_close(struct answer_index *index); // accepts NULL

MUST_CHECK bool answer_index_add(struct answer_index *index, struct bytes custom_id,
                                 const struct answer *answer, int64_t rank, struct error *error);
/* *answer_out is NULL where there is none; otherwise in the arena. */
MUST_CHECK bool answer_index_find(struct answer_index *index, struct bytes custom_id,
                                  struct arena *arena, const struct answer **answer_out,
                                  struct error *error);
size_t answer_index_count(const struct answer_index *index);

#endif
