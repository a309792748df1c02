"""Requests go in, answers come out: what an independent reader of the topics sees."""

import json

import jsonschema
import pytest

from support.jobs import chat, demo_jobs, encode, line, text_of
from support.ports import wait_until
from support.records import consume, headers_of, lag, produce


def answers(kafka, topics, count, timeout_s=120):
    """-> {custom_id: (message, decoded line)}; no id twice."""
    messages = consume(kafka.bootstrap, topics.responses, count, timeout_s)
    lines = [(m, json.loads(m.value())) for m in messages]
    by_id = {decoded["custom_id"]: (m, decoded) for m, decoded in lines}
    assert len(by_id) == len(messages) == count
    return by_id


def assert_drained(kafka, topics, worker):
    assert worker.stop() == 0, worker.log_tail()
    assert lag(kafka.bootstrap, topics.requests, topics.requests) == 0


@pytest.mark.smoke
def test_jobs_are_answered_as_well_as_the_model_can(kafka, topics, config, run_worker):
    jobs = demo_jobs(60)
    worker = run_worker(config)
    records = [(name, encode(request), None) for name, (request, _) in jobs.items()]
    produce(kafka.bootstrap, topics.requests, records)
    by_id = answers(kafka, topics, len(jobs))
    assert by_id.keys() == jobs.keys()
    wrong = []
    for name, (_, reference) in jobs.items():
        response = by_id[name][1]["response"]
        assert response["status_code"] == 200, response
        if text_of(response["body"]) != reference:
            wrong.append((name, text_of(response["body"]), reference))
    assert len(wrong) <= 1, wrong  # 299 of 300 are exact
    assert_drained(kafka, topics, worker)


@pytest.mark.smoke
def test_a_result_carries_key_headers_and_source(kafka, topics, config, run_worker):
    run_worker(config)
    headers = [("traceparent", "00-aaaa-bbbb-01"), ("team", "billing")]
    request = chat("one", millrace=dict(run_id="nightly", labels=dict(prompt="p1")))
    produce(kafka.bootstrap, topics.requests, [("a key", encode(request), headers)])
    message, decoded = answers(kafka, topics, 1)["one"]
    assert message.key() == b"a key"
    seen = headers_of(message)
    assert seen["traceparent"] == "00-aaaa-bbbb-01"
    assert seen["team"] == "billing"
    assert seen["millrace-run-id"] == "nightly"
    assert seen["ce_specversion"] == "1.0"
    source = decoded["millrace"]["source"]
    coordinates = f"{source['topic']}/{source['partition']}/{source['offset']}"
    assert seen["ce_id"] == coordinates
    assert source["topic"] == topics.requests
    assert source["partition"] == message.partition()
    assert source["offset"] == 0
    assert {"ce_type", "ce_source", "ce_time", "content-type"} <= seen.keys()
    assert decoded["millrace"]["run_id"] == "nightly"
    assert decoded["millrace"]["served_by"]["model"] == "scribe"


def test_a_response_is_what_openai_describes(kafka, topics, config, run_worker, data):
    openapi = json.loads((data / "openai/openapi/openapi.json").read_text())
    run_worker(config)
    requests = [
        chat("chat"),
        line("text", dict(model="scribe", prompt="Note 1", max_tokens=4), "/v1/completions"),
        line("ids", dict(model="scribe", prompt=[40, 41], max_tokens=4), "/v1/completions"),
    ]
    produce(kafka.bootstrap, topics.requests, map(encode, requests))
    by_id = answers(kafka, topics, 3)
    for name, schema in [
        ("chat", "CreateChatCompletionResponse"),
        ("text", "CreateCompletionResponse"),
        ("ids", "CreateCompletionResponse"),
    ]:
        response = by_id[name][1]["response"]
        assert response["status_code"] == 200, response
        reference = {"$ref": f"#/components/schemas/{schema}", "components": openapi["components"]}
        jsonschema.Draft202012Validator(reference).validate(response["body"])
        usage = response["body"]["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_public_name_is_echoed_and_the_model_is_named(kafka, topics, config, run_worker):
    run_worker(config)
    produce(kafka.bootstrap, topics.requests, [encode(chat("alias", model="gpt-4o-mini"))])
    decoded = answers(kafka, topics, 1)["alias"][1]
    assert decoded["response"]["body"]["model"] == "gpt-4o-mini"
    assert decoded["millrace"]["served_by"]["model"] == "scribe"


INVALID = {
    "unknown model": (dict(model="gpt-9"), 404, "model"),
    "temperature too high": (dict(temperature=2.5), 400, "temperature"),
    "temperature as text": (dict(temperature="hot"), 400, "temperature"),
    "top_p too low": (dict(top_p=-1), 400, "top_p"),
    "stream": (dict(stream=True), 400, "stream"),
    "max_tokens negative": (dict(max_tokens=-1), 400, "max_tokens"),
    "messages empty": (dict(messages=[]), 400, "messages"),
    "prompt too long": (dict(messages=[dict(role="user", content="word " * 4000)]), 400, None),
}


def test_an_invalid_request_is_answered_with_its_parameter(kafka, topics, config, run_worker):
    worker = run_worker(config)
    requests = [chat(name, **body) for name, (body, _, _) in INVALID.items()]
    requests.append(line("unknown url", dict(model="scribe"), "/v1/unknown"))
    requests.append(chat("good"))
    produce(kafka.bootstrap, topics.requests, map(encode, requests))
    by_id = answers(kafka, topics, len(requests))
    assert by_id["good"][1]["response"]["status_code"] == 200
    assert by_id["unknown url"][1]["response"]["status_code"] == 404
    for name, (_, status, parameter) in INVALID.items():
        response = by_id[name][1]["response"]
        assert response["status_code"] == status, (name, response)
        error = response["body"]["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        if parameter is not None:
            assert error["param"] == parameter, (name, error)
    assert_drained(kafka, topics, worker)


UNDECODABLE = {
    "not json": b"{not json",
    "no custom_id": b'{"method":"POST","url":"/v1/chat/completions","body":{}}',
    "custom_id empty": b'{"custom_id":"","body":{}}',
    "custom_id too long": encode(chat("x" * 513)),
    "body is text": b'{"custom_id":"a","body":"text"}',
    "empty": b"",
    "null": None,
    "unknown first byte": b"\x07\x01\x02",
    "single object, unknown schema": b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08data",
    "single object, cut": b"\xc3\x01",
    "registry framing without a registry": b"\x00\x00\x00\x00\x01data",
    "binary": bytes(range(256)),
}


@pytest.mark.smoke
def test_what_cannot_be_decoded_is_a_dead_letter_byte_for_byte(kafka, topics, config, run_worker):
    worker = run_worker(config)
    records = [(name, value, [("case", name)]) for name, value in UNDECODABLE.items()]
    records.insert(5, ("good", encode(chat("good")), None))
    produce(kafka.bootstrap, topics.requests, records)
    letters = consume(kafka.bootstrap, topics.dead_letters, len(UNDECODABLE))
    assert {m.key().decode(): m.value() for m in letters} == UNDECODABLE
    for message in letters:
        headers = headers_of(message)
        assert headers["case"] == message.key().decode()
        assert headers["__connect.errors.topic"] == topics.requests
        assert headers["__connect.errors.partition"].isdigit()
        assert headers["__connect.errors.offset"].isdigit()
        assert headers["__connect.errors.exception.message"]
    assert answers(kafka, topics, 1).keys() == {"good"}
    assert_drained(kafka, topics, worker)


def test_a_passed_deadline_is_answered_as_such(kafka, topics, config, run_worker):
    run_worker(config)
    requests = [chat("late", millrace=dict(deadline_ms=1)), chat("in time")]
    produce(kafka.bootstrap, topics.requests, map(encode, requests))
    by_id = answers(kafka, topics, 2)
    late = by_id["late"][1]
    outcome = late["error"] or late["response"]["body"]["error"]
    assert outcome["code"] == "deadline_exceeded"
    assert by_id["in time"][1]["response"]["status_code"] == 200


def test_metrics_count_what_happened_and_logs_hold_no_text(kafka, topics, config, run_worker):
    worker = run_worker(config)
    secret = "zanzibar"
    requests = [chat("a", f"Note {secret}"), chat("b", secret), chat("c", secret, temperature=9)]
    produce(kafka.bootstrap, topics.requests, [*map(encode, requests), secret.encode()])
    by_id = answers(kafka, topics, 3)
    consume(kafka.bootstrap, topics.dead_letters, 1)
    wait_until(lambda: worker.metric("millrace_records_total") == 4, 30, "the last commit")
    for outcome, count in dict(response=2, error=1, dead_letter=1, dropped=0).items():
        assert worker.metric("millrace_records_total", outcome=outcome) == count, outcome
    usage = [by_id[name][1]["response"]["body"]["usage"] for name in ("a", "b")]
    for metric, field in [
        ("millrace_prompt_tokens_total", "prompt_tokens"),
        ("millrace_generation_tokens_total", "completion_tokens"),
    ]:
        assert worker.metric(metric, model="scribe") == sum(u[field] for u in usage)
    assert worker.get("/healthz")[0] == 200
    assert worker.stop() == 0
    assert secret not in worker.log_text()
