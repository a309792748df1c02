"""The program under test: its commands, and workers with a configuration of their own."""

import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

from support.ports import free_ports
from support.server import ROOT, Server

BINARY = pathlib.Path(os.environ.get("E2E_BINARY", ROOT / "build/release/worker/millrace"))
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
    """`millrace broker`: the in-memory broker, on a free port that it names itself."""

    def __init__(self, folder, partitions=3):
        command = [BINARY, "broker", "--port", 0, "--partitions", partitions]
        super().__init__(command, folder / "broker.log")
        self.bootstrap = None

    def is_up(self):
        found = re.search(r"^broker listening on (\S+)$", self.log_text(), re.MULTILINE)
        self.bootstrap = found and found.group(1)
        return found is not None


class Worker(Server):
    """`millrace work` with the settings of `config`; started when /readyz says so."""

    def __init__(self, folder, config, name="worker", options=()):
        (self.http_port,) = free_ports(1)
        self.config = config
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML
        port = f"http.port={self.http_port}"
        command = [BINARY, "work", "--config", path, "--set", port, *options]
        super().__init__(command, folder / f"{name}.log")

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

    def metric(self, name, **labels):
        """The sum of a metric over its series that have these labels."""
        total = 0.0
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for line in self.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(text in series for text in wanted):
                total += float(value)
        return total
