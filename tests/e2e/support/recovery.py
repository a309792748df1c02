"""How soon results came again after a fault, how long requests waited for theirs, and how much of
the time results came at all: as a read_committed client saw it."""

import statistics

PROMPT_S = 1  # a request that waits no longer has met a service that is available


class Recovery:
    def __init__(self, acknowledged, outcomes):
        """`acknowledged`: number -> (partition, offset, time); `outcomes`: number -> outcomes."""
        self.waits = []
        self.results = {}  # partition of the requests -> [(created, seen)]
        for number, (partition, _, written_s) in acknowledged.items():
            if number in outcomes:
                first = outcomes[number][0]
                self.waits.append(first.seen_s - written_s)
                results = self.results.setdefault(partition, [])
                results.append((first.created_s, first.seen_s))

    def after(self, fault_s):
        """-> for each partition, seconds until a result that was made after the fault was seen."""
        firsts = (
            min((seen for created, seen in results if created > fault_s), default=None)
            for results in self.results.values()
        )
        return [first - fault_s for first in firsts if first is not None]

    def share_prompt(self):
        """Of the requests, the part that waited no longer than PROMPT_S."""
        return sum(wait <= PROMPT_S for wait in self.waits) / max(1, len(self.waits))

    def availability(self):
        """The part of the seconds between the first result and the last in which one was seen, as
        the mean over the partitions of the requests. Requests come all the time, so a second
        without any result is one without the service."""
        shares = []
        for results in self.results.values():
            seconds = {int(seen) for _, seen in results}
            shares.append(len(seconds) / (max(seconds) - min(seconds) + 1))
        return statistics.mean(shares) if shares else 0


def summary(seconds):
    """Median, 95th percentile and maximum, in seconds."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "median_s": round(statistics.median(ordered), 3),
        "p95_s": round(ordered[-(-len(ordered) * 95 // 100) - 1], 3),
        "max_s": round(ordered[-1], 3),
    }
