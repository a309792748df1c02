"""Requests as a team writes them: OpenAI batch lines, from the demo's documents or by hand."""

import importlib.util
import json

from support.millrace import DEMO

spec = importlib.util.spec_from_file_location("documents", DEMO / "documents.py")
documents = importlib.util.module_from_spec(spec)
spec.loader.exec_module(documents)


def line(custom_id, body, url="/v1/chat/completions", **millrace):
    """One request as a dict; keywords are Millrace's own fields."""
    request = dict(custom_id=custom_id, method="POST", url=url, body=body)
    return {**request, "millrace": millrace} if millrace else request


def chat(custom_id, text="What is it about?", millrace=None, **body):
    """A chat request with a short user message; keywords go into the body."""
    messages = [dict(role="user", content=text)]
    body = {"model": "scribe", "messages": messages, "max_tokens": 8, "temperature": 0, **body}
    return line(custom_id, body, **(millrace or {}))


def demo_jobs(count, seed=11, prefix="demo"):
    """-> {custom_id: (line, the right answer)} of fresh documents."""
    rng, jobs = documents.stream("test", seed), {}
    for i in range(count):
        job = documents.job(rng)
        body = dict(model="scribe", messages=job["messages"], temperature=0, max_tokens=160)
        jobs[f"{prefix}-{i:06d}"] = (line(f"{prefix}-{i:06d}", body), job["reference"])
    return jobs


def encode(request):
    return json.dumps(request).encode()


def write_lines(path, requests):
    path.write_bytes(b"".join(encode(request) + b"\n" for request in requests))
    return path


def read_lines(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def text_of(body):
    """The answer in an OpenAI chat or completion response."""
    choice = body["choices"][0]
    return choice["message"]["content"] if "message" in choice else choice["text"]
