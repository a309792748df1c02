/* headers: the Kafka headers of what Millrace publishes, as data. Thread: any.
 *
 * Results carry CloudEvents' binary mode, the run, and what the request brought that we do not set
 * ourselves; dead letters carry everything the request brought, and Kafka Connect's
 * `__connect.errors.*` as text. A request's headers are untrusted: of them at most
 * HEADERS_COPIED_MAX and HEADERS_COPIED_BYTES_MAX are copied, traceparent and tracestate first.
 * What is left out is counted, so that it can be seen.
 */
#ifndef SCHEMAS_RECORDS_HEADERS_H
#define SCHEMAS_RECORDS_HEADERS_H

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "schemas/records/record_codec.h"

enum { HEADERS_COPIED_MAX = 64, HEADERS_COPIED_BYTES_MAX = 16 * 1024, RUN_ID_BYTES_MAX = 512 };

/* What the headers of a result are made from. */
struct result_event {
    const struct source *source;   // of the request
    struct bytes run_id;           // may be absent: then the request's header counts
    enum record_kind kind;         // ce_type: "millrace.v1.InferenceResponse"
    enum wire_format format;       // content-type
    struct bytes origin;           // ce_source, a URI reference: "/millrace/<group>"
    int64_t time_ms;               // ce_time, Unix time
    const struct headers *request; // what the request brought; may be NULL
};

/* The array and its own texts are in the arena; copied headers borrow from the request's. False
 * when the arena is full. `dropped_out` counts request headers that did not fit. */
bool headers_of_result(const struct result_event *event, struct arena *arena, struct headers *out,
                       size_t *dropped_out, struct error *error) MUST_CHECK;

bool headers_of_dead_letter(const struct dead_letter *letter, const struct headers *request,
                            struct arena *arena, struct headers *out, size_t *dropped_out,
                            struct error *error) MUST_CHECK;

/* The last header of that name, which is the one that counts; absent where there is none. */
struct bytes headers_find(const struct headers *headers, const char *name);

/* The run that the record says it belongs to: millrace-run-id, where it is UTF-8 of 1 to 512 bytes.
 */
struct bytes headers_run_id(const struct headers *headers);

#endif
