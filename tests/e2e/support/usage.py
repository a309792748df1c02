"""CPU time, memory and files of processes, from /proc."""

import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def cpu_s(self):
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, name):
        """VmRSS: now; VmHWM: the most there was."""
        for line in (self.folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise KeyError(name)

    def files(self):
        return len(os.listdir(self.folder / "fd"))


def cpu_times(*usages):
    """-> seconds of all cores, those not idle, those of the given processes."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    values = [int(field) / TICKS for field in fields]
    return sum(values), sum(values) - values[3] - values[4], sum(u.cpu_s() for u in usages)


def other_load(before, after):
    """The share of the machine's CPU time that others took between two reads of cpu_times()."""
    total, busy, own = (b - a for a, b in zip(before, after))
    return max(0.0, (busy - own) / total) if total > 0 else 0.0
