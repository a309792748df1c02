"""What every line of figures says beside them, and where lines are kept."""

import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
ISAS = ("amx_int8", "amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()

    def value(name):
        return next(line.split(":")[1].strip() for line in info if line.startswith(name))

    flags = set(value("flags").split())
    isas = " ".join(isa for isa in ISAS if isa in flags)
    return f"{value('model name')}, {os.cpu_count()} cores, {isas}"


def commit():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def medians(runs, digits=2):
    """-> the median of each figure over runs that have the same ones."""
    return {name: round(statistics.median(run[name] for run in runs), digits) for name in runs[0]}


class OthersLoad:
    """The share of the machine's CPU time that others took while this process and those that it
    has waited for ran."""

    TICKS = os.sysconf("SC_CLK_TCK")

    def __init__(self):
        self.start = self.read()

    def read(self):
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        values = [int(field) / self.TICKS for field in fields]
        return sum(values), sum(values) - values[3] - values[4], sum(os.times()[:4])

    def share(self):
        total, busy, own = (b - a for a, b in zip(self.start, self.read()))
        return max(0.0, (busy - own) / total) if total > 0 else 0.0


def finish(bench, figures, keep, command=None):
    """Prints one line, and appends it to the results of the day if they are to be kept."""
    day = datetime.date.today().isoformat()
    line = {
        "bench": bench,
        "date": day,
        "commit": commit(),
        "machine": machine(),
        "command": command or " ".join([f"bench/{bench}", *sys.argv[1:]]),
        **figures,
    }
    print(json.dumps(line))
    if keep:
        path = ROOT / "bench/results" / f"{day}-{bench}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
