/* samples: what tests/golden/avro/make.py writes with fastavro, too; keep both alike. */
#include "tests/unit/records/samples.h"

static const struct answer incumbent = {
    .status_code = 200,
    .body = BYTES("{\"id\":\"chatcmpl-1\",\"choices\":[]}"),
    .model = BYTES("gpt-4o-mini"),
    .has_latency_ms = true,
    .latency_ms = 812.25,
    .has_first_token_ms = true,
    .first_token_ms = 210.5,
    .has_cost_usd = true,
    .cost_usd = 0.000123,
    .has_prompt_tokens = true,
    .prompt_tokens = 412,
    .has_completion_tokens = true,
    .completion_tokens = 87,
};
static const struct answer candidate = {
    .status_code = 200,
    .body = BYTES("{\"id\":\"chatcmpl-2\",\"choices\":[]}"),
};
static struct label labels[] = {{BYTES("prompt"), BYTES("summary-v3")},
                                {BYTES("team"), BYTES("kb\xC3\xA9")}};

const struct inference_request sample_request = {
    .custom_id = BYTES("doc-000001"),
    .run_id = BYTES("nightly-2026-01-31"),
    .url = BYTES("/v1/chat/completions"),
    .body = BYTES(
        "{\"model\":\"scribe\",\"messages\":[{\"role\":\"user\",\"content\":\"caf\xC3\xA9\"}]}"),
    .has_deadline_ms = true,
    .deadline_ms = 1769904000000,
    .priority = -5,
    .labels = {labels, 2},
    .reference = BYTES("the right \"answer\"\n"),
    .incumbent = &incumbent,
};

const struct inference_request sample_request_bare = {
    .custom_id = BYTES("x"),
    .url = BYTES("/v1/completions"),
    .body = BYTES("{}"),
};

static const struct served_by served_by = {
    .kind = BYTES("local"),
    .model = BYTES("scribe"),
    .weights_hash = BYTES("xxh64:0123456789abcdef"),
    .weights_format = BYTES("bf16"),
    .template_hash = BYTES("xxh64:fedcba9876543210"),
    .backend = BYTES("cpu"),
    .device = BYTES("avx512-amx"),
    .rollout_phase = BYTES("canary"),
    .version = BYTES("0.1.0"),
};
static const struct usage usage = {412, 384, 87};
static const struct timing timing = {
    .queued_ms = 1.5,
    .prefill_ms = 20.125,
    .decode_ms = 300,
    .total_ms = 321.625,
    .has_first_token_ms = true,
    .first_token_ms = 21.75,
};
static struct bytes changed[] = {BYTES("temperature")};
static struct bytes dropped[] = {BYTES("stream"), BYTES("stream_options")};
static const struct failure failure = {BYTES("deadline_exceeded"),
                                       BYTES("the deadline has passed")};

const struct inference_response sample_response = {
    .custom_id = BYTES("doc-000001"),
    .run_id = BYTES("nightly-2026-01-31"),
    .source = {BYTES("llm.requests.v1"), 7, 123456789012},
    .status_code = 200,
    .body = BYTES("{\"id\":\"chatcmpl-2\",\"choices\":[]}"),
    .served_by = &served_by,
    .prompt_template = BYTES("summary"),
    .prompt_variant = BYTES("b"),
    .changed = {changed, 1},
    .dropped = {dropped, 2},
    .usage = &usage,
    .timing = &timing,
    .attempt = 1,
};

const struct inference_response sample_response_failed = {
    .custom_id = BYTES("x"),
    .source = {BYTES("llm.requests.v1"), 0, 0},
    .error = &failure,
    .attempt = 3,
};

static struct score scores[] = {
    {BYTES("rougeL"), 0.625, BYTES("1"), BYTES("reference")},
    {BYTES("exact"), 0, {0}, {0}},
};
static struct score noise[] = {{BYTES("rougeL"), 0.875, BYTES("1"), BYTES("incumbent")}};
static struct verdict verdicts[] = {
    {BYTES("json"), true, {0}},
    {BYTES("schema"), false, BYTES("/total is missing")},
};

const struct comparison sample_comparison = {
    .custom_id = BYTES("doc-000001"),
    .run_id = BYTES("nightly-2026-01-31"),
    .source = {BYTES("llm.replay.v1"), 2, 99},
    .labels = {labels, 2},
    .reference = BYTES("the right answer"),
    .prompt_template = BYTES("summary"),
    .prompt_variant = BYTES("b"),
    .incumbent = &incumbent,
    .candidate = &candidate,
    .served_by = &served_by,
    .changed = {changed, 1},
    .dropped = {dropped, 2},
    .scores = {scores, 2},
    .verdicts = {verdicts, 2},
    .noise = {noise, 1},
};

static struct threshold thresholds[] = {{BYTES("rougeL"), 0.4}, {BYTES("error_rate"), 0.01}};

const struct control sample_control = {
    .route = BYTES("gpt-4o-mini"),
    .phase = BYTES("canary"),
    .percent = 7.5,
    .salt = BYTES("2026-01"),
    .thresholds = {thresholds, 2},
    .decided_by = BYTES("operator"),
    .reason = BYTES("gate passed"),
    .has_decided_at_ms = true,
    .decided_at_ms = 1769904000000,
    .version = 4,
};
