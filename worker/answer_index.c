/* answer_index: an open-addressing table over a spool of request lines that hold only an id and the
 * incumbent's answer, so that the record codec reads and writes them. */
#include "worker/answer_index.h"

#include <stdlib.h>

#include "schemas/base/buffer.h"
#include "worker/id_set.h"
#include "worker/spool.h"

enum { SLOTS_FIRST = 1024, LINE_BYTES_MAX = 256 << 20 };

struct slot {
    struct id_hash hash; // zero: free
    int64_t at;
    int64_t rank;
    size_t size;
};

struct answer_index {
    struct record_codec *codec;
    struct spool *spool;
    struct slot *slots;
    size_t slots_count; // a power of two, at least twice the count
    size_t count;
    struct buffer line;
};

bool answer_index_open(struct record_codec *codec, struct answer_index **index_out,
                       struct error *error)
{
    struct answer_index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for recorded answers");
    }
    index->codec = codec;
    buffer_init(&index->line, LINE_BYTES_MAX);
    index->slots_count = SLOTS_FIRST;
    index->slots = calloc(index->slots_count, sizeof *index->slots);
    bool ok = index->slots != NULL ||
              error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for recorded answers");
    if (!ok || !spool_open(&index->spool, error)) {
        answer_index_close(index);
        return false;
    }
    *index_out = index;
    return true;
}

void answer_index_close(struct answer_index *index)
{
    if (index != NULL) {
        spool_close(index->spool);
        buffer_close(&index->line);
        free(index->slots);
        free(index);
    }
}

static bool is_free(const struct slot *slot)
{
    return slot->hash.low == 0 && slot->hash.high == 0;
}

static struct slot *find_slot(struct slot *slots, size_t count, struct id_hash hash)
{
    size_t i = (size_t)hash.low & (count - 1);
    while (!is_free(&slots[i]) &&
           (slots[i].hash.low != hash.low || slots[i].hash.high != hash.high)) {
        i = (i + 1) & (count - 1);
    }
    return &slots[i];
}

static bool grow(struct answer_index *index, struct error *error)
{
    size_t count = index->slots_count * 2;
    struct slot *slots = index->count >= ANSWER_INDEX_MAX ? NULL : calloc(count, sizeof *slots);
    if (slots == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL,
                         "no room for more than %zu recorded answers, at most %d are possible",
                         index->count, ANSWER_INDEX_MAX);
    }
    for (size_t i = 0; i < index->slots_count; i++) {
        if (!is_free(&index->slots[i])) {
            *find_slot(slots, count, index->slots[i].hash) = index->slots[i];
        }
    }
    free(index->slots);
    index->slots = slots;
    index->slots_count = count;
    return true;
}

bool answer_index_add(struct answer_index *index, struct bytes custom_id,
                      const struct answer *answer, int64_t rank, struct error *error)
{
    struct id_hash hash = id_set_hash(custom_id);
    struct slot *slot = find_slot(index->slots, index->slots_count, hash);
    if (!is_free(slot) && rank < slot->rank) {
        return true;
    }
    if (is_free(slot) && index->count + 1 > index->slots_count / 2) {
        if (!grow(index, error)) {
            return false;
        }
        slot = find_slot(index->slots, index->slots_count, hash);
    }
    struct inference_request line = {
        .custom_id = custom_id, .body = bytes_of("{}"), .incumbent = answer};
    int64_t at;
    buffer_clear(&index->line);
    if (!record_encode_request(index->codec, &line, WIRE_JSON, 0, &index->line, error) ||
        !spool_add(index->spool, buffer_bytes(&index->line), &at, error)) {
        return false;
    }
    index->count += is_free(slot) ? 1 : 0;
    *slot = (struct slot){hash, at, rank, index->line.size};
    return true;
}

bool answer_index_find(struct answer_index *index, struct bytes custom_id, struct arena *arena,
                       const struct answer **answer_out, struct error *error)
{
    *answer_out = NULL;
    const struct slot *slot = find_slot(index->slots, index->slots_count, id_set_hash(custom_id));
    if (is_free(slot)) {
        return true;
    }
    char *line = arena_alloc(arena, slot->size);
    struct inference_request *request = arena_alloc(arena, sizeof *request);
    if (line == NULL || request == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a recorded answer");
    }
    if (!spool_read(index->spool, slot->at, line, slot->size, error)) {
        return false;
    }
    if (record_decode_request(index->codec, (struct bytes){line, slot->size}, arena, request,
                              error) != DECODED) {
        return error_prefix(error, "a recorded answer");
    }
    *answer_out = request->incumbent;
    return true;
}

size_t answer_index_count(const struct answer_index *index)
{
    return index->count;
}
