"""The program under test: its commands, and workers with a configuration of their own."""

import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request

from support.ports import free_ports
from support.server import ROOT, Server

BINARY = pathlib.Path(os.environ.get("MILLRACE_BIN", ROOT / "build/release/worker/millrace"))
DEMO = ROOT / "deploy/demo"


def run(*arguments, timeout_s=120, **options):
    """Runs a command to its end; the result has returncode, stdout and stderr as text."""
    return subprocess.run(
        [str(BINARY), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        **options,
    )


class DemoBroker(Server):
    """`millrace broker`: the in-memory broker."""

    def __init__(self, folder, partitions=3):
        (port,) = free_ports(1)
        self.bootstrap = f"127.0.0.1:{port}"
        command = [BINARY, "broker", "--port", port, "--partitions", partitions]
        super().__init__(command, folder / "broker.log")

    def is_up(self):
        return f"broker listening on {self.bootstrap}" in self.log_text()


class Worker(Server):
    """`millrace work` with the settings of `config`; started when /readyz says so."""

    def __init__(self, folder, config, name="worker"):
        (self.http_port,) = free_ports(1)
        config = {**config, "http.port": self.http_port}
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML
        super().__init__([BINARY, "work", "--config", path], folder / f"{name}.log")

    def get(self, path):
        """-> status and text of the worker's own HTTP server; status 0 when nobody answers."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def is_up(self):
        return self.get("/readyz")[0] == 200

    def metric(self, name):
        """The sum of a metric over its labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            if line.split("{")[0].split(" ")[0] == name:
                total += float(line.rsplit(" ", 1)[1])
        return total
