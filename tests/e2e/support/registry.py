"""A real schema registry (Apicurio), which speaks Confluent's REST interface under a path."""

import urllib.error
import urllib.request

from support.ports import free_ports
from support.server import Server, fetch

VERSION = "3.0.9"


class Registry(Server):
    def __init__(self, folder):
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        jar = f"{fetch('registry', VERSION)}/apicurio-registry-app-{VERSION}-runner.jar"
        command = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1"]
        command += ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}", "-jar", jar]
        super().__init__(command, folder / "registry.log", start_timeout_s=120)

    def is_up(self):
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False
