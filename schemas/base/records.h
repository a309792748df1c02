/* records: what travels on the topics, as structs in memory. The `.avsc` files beside this folder
 * say what each field means to the outside; their names are the names here.
 *
 * Ownership: every pointer and every `struct bytes` is borrowed from the record's arena (decoded
 * records) or from whoever filled the struct in (records to be encoded). Nothing here is freed
 * alone. Absent: a `struct bytes` with data NULL, a NULL pointer, a `has_` flag that is false, a
 * count of 0. A zeroed struct is a record in which everything is absent. Thread: any; plain data.
 */
#ifndef SCHEMAS_BASE_RECORDS_H
#define SCHEMAS_BASE_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

enum { CUSTOM_ID_BYTES_MAX = 512 };

/* Where a record stands in Kafka. `batch` uses the file's name, partition 0 and the line, from 0.
 */
struct source {
    struct bytes topic;
    int32_t partition;
    int64_t offset;
};

struct header {
    struct bytes name;
    struct bytes value; // may be absent: Kafka knows headers without a value
};

struct headers {
    struct header *items;
    size_t count;
};

struct label {
    struct bytes name;
    struct bytes value;
};

struct labels {
    struct label *items;
    size_t count;
};

struct names {
    struct bytes *items;
    size_t count;
};

enum body_encoding { BODY_IDENTITY, BODY_ZSTD };

/* One answer to a request: the incumbent's or the candidate's. */
struct answer {
    int32_t status_code; // 0 when not known
    struct bytes body;   // an OpenAI response or error object; absent when there was no answer
    struct bytes model;
    bool has_latency_ms;
    double latency_ms;
    bool has_first_token_ms;
    double first_token_ms;
    bool has_cost_usd;
    double cost_usd;
    bool has_prompt_tokens;
    int64_t prompt_tokens;
    bool has_completion_tokens;
    int64_t completion_tokens;
};

/* `body` is always a JSON object in plain bytes, untouched but for decompression. `body_encoding`
 * is how the wire had it, and how the encoder writes it. */
struct inference_request {
    struct bytes custom_id; // 1 to CUSTOM_ID_BYTES_MAX bytes
    struct bytes run_id;    // the nightly run it belongs to
    struct bytes url;       // "/v1/chat/completions"; may be absent or unknown: a 404 response
    struct bytes body;
    enum body_encoding body_encoding;
    bool has_deadline_ms;
    int64_t deadline_ms; // Unix time
    int32_t priority;    // a lower one runs first
    struct labels labels;
    struct bytes reference; // a labelled right answer, text
    const struct answer *incumbent;
};

/* A failure that is not HTTP-like. */
struct failure {
    struct bytes code; // "deadline_exceeded"
    struct bytes message;
};

/* Who answered. All but `kind` may be absent. */
struct served_by {
    struct bytes kind;     // "local" or "remote"
    struct bytes endpoint; // the remote one's URL
    struct bytes model;    // the model itself, not the public name
    struct bytes weights_hash;
    struct bytes weights_format; // "bf16", "int8"
    struct bytes template_hash;  // of the chat template
    struct bytes backend;        // "cpu", "cuda"
    struct bytes device;         // instruction set or name of the GPU
    struct bytes rollout_phase;
    struct bytes version;     // of Millrace
    struct bytes fingerprint; // as the remote endpoint names what answered: system_fingerprint
};

struct usage {
    int64_t prompt_tokens;
    int64_t cached_tokens; // part of prompt_tokens
    int64_t completion_tokens;
};

struct timing {
    double queued_ms;
    double prefill_ms;
    double decode_ms;
    double total_ms;
    bool has_first_token_ms;
    double first_token_ms;
};

/* Either `body` with a status code (200, or >= 400 with an OpenAI error object), or `error`. */
struct inference_response {
    struct bytes custom_id;
    struct bytes run_id;
    struct source source; // of the request
    int32_t status_code;  // 0 with `error`
    struct bytes body;
    const struct failure *error;
    const struct served_by *served_by;
    struct bytes prompt_template;
    struct bytes prompt_variant;
    struct names changed; // request parameters that were given another value
    struct names dropped; // request parameters that were left out
    const struct usage *usage;
    const struct timing *timing;
    int32_t attempt; // 1 for the first
};

struct score {
    struct bytes name;    // "rougeL"
    double value;         // may be NaN
    struct bytes version; // of the score's definition
    struct bytes against; // "reference" or "incumbent"
};

struct scores {
    struct score *items;
    size_t count;
};

struct verdict {
    struct bytes name; // "json", "schema", "fields", "tool_calls"
    bool passed;
    struct bytes reason; // why not; may be absent
};

struct verdicts {
    struct verdict *items;
    size_t count;
};

struct comparison {
    struct bytes custom_id;
    struct bytes run_id;
    struct source source;
    struct labels labels;
    struct bytes reference;
    struct bytes prompt_template;
    struct bytes prompt_variant;
    const struct answer *incumbent;
    const struct answer *candidate;
    const struct served_by *served_by; // the candidate
    const struct failure *error;       // why the candidate has no answer
    struct names changed;
    struct names dropped;
    struct scores scores;
    struct verdicts verdicts;
    struct scores noise; // the incumbent's agreement with itself, when known
};

struct threshold {
    struct bytes name; // of a score, or "latency_ms"
    double value;
};

struct thresholds {
    struct threshold *items;
    size_t count;
};

/* A route's rollout state. The topic is compacted, the key is the route. */
struct control {
    struct bytes route;
    struct bytes phase; // "off", "shadow", "canary", "majority", "full", "rolled_back"
    double percent;     // share of the traffic for the candidate, 0 to 100
    struct bytes salt;  // of the hash that chooses the share
    struct thresholds thresholds;
    struct bytes decided_by;
    struct bytes reason;
    bool has_decided_at_ms;
    int64_t decided_at_ms; // Unix time
    int64_t version;       // grows with each decision
};

/* Why a record became a dead letter; its value is carried byte-identical, this goes into headers.
 */
struct dead_letter {
    struct source source;
    struct bytes run_id;        // as the value says; may be absent: then the header counts
    struct bytes group;         // the consumer group
    struct bytes worker_id;     // worker.id
    struct bytes stage;         // "decode", "answer", "publish"
    struct bytes class_name;    // what was at work: "millrace.record_codec"
    struct bytes error_kind;    // "undecodable"
    struct bytes error_message; // for people; never a prompt's text
};

#endif
