"""A server process of the tests: its log, its end, and the reason when it ends too early."""

import pathlib
import signal
import subprocess

from support.ports import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[3]


def fetch(name, version):
    """The folder of a Java server, fetched on first use."""
    command = [ROOT / "tests/support/java-server", name, version]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Server:
    """Runs `command` with its output in `log`; start() returns when is_up() says so."""

    def __init__(self, command, log, start_timeout_s=60):
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(log)
        self.start_timeout_s = start_timeout_s
        self.process = None

    def is_up(self):
        raise NotImplementedError

    def launch(self):
        """Starts the process and does not wait for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self):
        self.launch()

        def is_up():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended at start:\n{self.log_tail()}")
            return self.is_up()

        try:
            wait_until(is_up, self.start_timeout_s, f"start of {self.command[0]}")
        except BaseException:
            self.kill()
            raise
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL: no goodbye."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s=30):
        """SIGTERM; returns the exit code. A server that does not end in time is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise TimeoutError(f"no end after SIGTERM:\n{self.log_tail()}") from None
        return self.process.returncode

    def log_text(self):
        return self.log.read_text(errors="replace")

    def log_tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])
