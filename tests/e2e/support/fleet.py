"""Workers of one group that come and go."""

import re
import signal
import time

from support.millrace import Worker

TROUBLE = re.compile(r"Sanitizer|runtime error|broken invariant")
NO_BROKER = "no broker answered"  # why a worker may end that starts while the broker is away


class Fleet:
    def __init__(self, folder, config, is_static=False):
        """`is_static`: the group knows each worker by its worker.id, so that one that is started
        again gets its partitions back without waiting for its session to end."""
        self.folder, self.config, self.is_static = folder, config, is_static
        self.count = 0  # of workers so far
        self.members = []  # processes that have not been seen to end
        self.launched = {}  # worker -> size of its log at its last start
        self.expected = {}  # worker that may end -> allowed exit codes
        self.told = set()  # to end
        self.fenced = set()  # workers that may end because another one took their worker.id
        self.asleep = set()
        self.surprises = []

    def launch(self, config=None, worker_id=None):
        """A new worker, with a fresh worker.id unless it is given one."""
        self.count += 1
        name = f"worker-{self.count}"
        worker_id = worker_id or name
        options = ["--set", f"worker.id={worker_id}"]
        if self.is_static:
            options += ["--set", f"kafka.group.instance.id={worker_id}"]
        worker = Worker(self.folder, config or self.config, name, options)
        worker.id = worker_id
        self.relaunch(worker)
        return worker

    def relaunch(self, worker):
        self.launched[worker] = worker.log.stat().st_size if worker.log.exists() else 0
        self.members.append(worker)
        worker.launch()

    def running(self):
        """Workers that nothing holds up and nobody has told to end."""
        self.reap()
        return [w for w in self.members if w not in self.expected and w not in self.asleep]

    def kill(self, worker):
        self.expected[worker] = {-signal.SIGKILL}
        worker.kill()
        self.reap()

    def terminate(self, worker):
        self.told.add(worker)
        # Before it has started it does not listen to signals, and has nothing to lose.
        codes = {0} if self.has_started(worker) else {0, -signal.SIGTERM}
        self.expected[worker] = codes | self.expected.get(worker, set())
        worker.signal(signal.SIGTERM)

    def freeze(self, worker):
        self.asleep.add(worker)
        worker.signal(signal.SIGSTOP)

    def wake(self, worker):
        self.asleep.discard(worker)
        worker.signal(signal.SIGCONT)

    def reap(self):
        """Forgets the workers that have ended; notes those that did so unasked or not cleanly."""
        for worker in list(self.members):
            code = worker.process.poll()
            if code is None:
                continue
            allowed = self.expected.pop(worker, set())
            if worker in self.fenced or self.has_given_up(worker):
                allowed = allowed | {1}
            if code not in allowed:
                tail = worker.log_tail(15)
                self.surprises.append(f"{worker.log.name} ended with {code}:\n{tail}")
            self.members.remove(worker)
            self.asleep.discard(worker)

    def log_since_launch(self, worker):
        with worker.log.open("rb") as log:
            log.seek(self.launched[worker])
            return log.read().decode(errors="replace")

    def has_started(self, worker):
        return "event=worker_started" in self.log_since_launch(worker)

    def has_given_up(self, worker):
        log = self.log_since_launch(worker)
        return "event=worker_started" not in log and NO_BROKER in log

    def stop_all(self, timeout_s=60):
        """Wakes and stops everything that runs."""
        for worker in list(self.asleep):
            self.wake(worker)
        self.reap()
        for worker in self.members:
            if worker not in self.told:
                self.terminate(worker)
        deadline = time.monotonic() + timeout_s
        while self.members and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.05)
        for worker in self.members:
            self.surprises.append(f"{worker.log.name} did not end:\n{worker.log_tail()}")
        self.kill_all()

    def kill_all(self):
        for worker in self.members:
            worker.kill()

    def logs(self):
        return sorted(self.folder.glob("worker-*.log"))

    def troubles(self):
        """Lines of the logs that no run may have."""
        return [
            f"{path.name}: {line}"
            for path in self.logs()
            for line in path.read_text(errors="replace").splitlines()
            if TROUBLE.search(line)
        ]
