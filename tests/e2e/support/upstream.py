"""A fake OpenAI-compatible endpoint: answers chats, and misbehaves where a test says so.

A request's content chooses what is done with it: "fault NAME ..." does what NAME says below, once
for each text unless it is "always NAME". Everything else is answered with its own text, backwards.
Run as a program with a port, a file and a delay in milliseconds, it serves on the port and writes
the path, key and body of each request to the file, a JSON line each.
"""

import http.server
import json
import socket
import sys
import threading
import time

TOKENS = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


def completion(body, text):
    message = {"role": "assistant", "content": text}
    if body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"a": 1}'}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1700000000,
        "model": body["model"] + "-2024",
        "system_fingerprint": "fp_fake",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "tool_calls" if body.get("tools") else "stop",
            }
        ],
        "usage": TOKENS | {"prompt_tokens_details": {"cached_tokens": 4}},
    }


def chunks(whole):
    """The same answer as the chunks of a stream, a few characters each."""
    head = {key: whole[key] for key in ("id", "created", "model", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    choice = whole["choices"][0]
    message = choice["message"]
    deltas = [{"role": "assistant", "content": "" if message["content"] else None}]
    text = message["content"] or ""
    deltas += [{"content": text[i : i + 3]} for i in range(0, len(text), 3)]
    for i, call in enumerate(message.get("tool_calls", [])):
        first = call | {"index": i, "function": call["function"] | {"arguments": ""}}
        deltas.append({"tool_calls": [first]})
        for c in call["function"]["arguments"]:
            deltas.append({"tool_calls": [{"index": i, "function": {"arguments": c}}]})
    for delta in deltas:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    end = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    yield head | {"choices": [end]}
    yield head | {"choices": [], "usage": whole["usage"]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = set()
    lock = threading.Lock()
    log = None
    delay_s = 0.0

    def log_message(self, format, *arguments):
        pass

    def send_body(self, status, data, headers=(), length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, status, value, headers=()):
        kind = ("Content-Type", "application/json")
        self.send_body(status, json.dumps(value).encode(), (kind, *headers))

    def send_error_object(self, status, headers=()):
        self.send_json(status, {"error": {"message": f"fault {status}", "type": "fault"}}, headers)

    def send_stream(self, whole):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in [*map(json.dumps, chunks(whole)), "[DONE]"]:
            data = f"data: {event}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def misbehave(self, name, whole):
        data = json.dumps(whole).encode()
        if name.isdigit():
            headers = [("Retry-After", "1")] if name in ("429", "503") else []
            headers += [("Location", "http://127.0.0.1:1/")] if name.startswith("3") else []
            self.send_error_object(int(name), headers)
        elif name == "broken":
            self.send_body(200, data[:-5])
        elif name == "close":
            self.send_body(200, data[: len(data) // 2], length=len(data))
            self.close_connection = True
        elif name == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif name == "hang":
            time.sleep(30)
        elif name == "huge":
            self.send_body(200, data + b" " * (1 << 20))
        else:
            raise ValueError(name)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = str(body["messages"][-1]["content"])
        with self.lock:
            is_new = text not in self.seen
            self.seen.add(text)
            if self.log is not None:
                line = {"path": self.path, "key": self.headers["Authorization"], "body": body}
                self.log.write(json.dumps(line) + "\n")
                self.log.flush()
        time.sleep(self.delay_s)
        whole = completion(body, text[::-1])
        words = text.split()
        if words[:2] == ["fault", "slow"]:
            time.sleep(0.3)
        elif words and (words[0] == "always" or (words[0] == "fault" and is_new)):
            self.misbehave(words[1], whole)
            return
        if body.get("stream"):
            self.send_stream(whole)
        else:
            self.send_json(200, whole)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that went away is what some tests are about."""


def main():
    port, log, delay_ms = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    Handler.log = open(log, "a")
    Handler.delay_s = delay_ms / 1000
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
