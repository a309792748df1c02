"""Nothing is lost and nothing comes twice when workers end, die, or share the partitions."""

import json
import signal

import pytest

from support.jobs import chat, demo_jobs, encode
from support.ports import wait_until
from support.records import consume_quiet, lag, produce, wait_for_drain


def outcomes(kafka, topics):
    """-> ids answered and ids in dead letters, as lists with their repetitions."""
    responses = consume_quiet(kafka.bootstrap, topics.responses)
    letters = consume_quiet(kafka.bootstrap, topics.dead_letters)
    return [json.loads(m.value())["custom_id"] for m in responses], [m.value() for m in letters]


def wait_for_first_answer(worker):
    def answered():
        return worker.metric("millrace_generation_tokens_total") > 0

    wait_until(answered, 60, "the first answer")


@pytest.mark.smoke
def test_sigterm_drains_and_commits(kafka, topics, config, run_worker):
    jobs = demo_jobs(40)
    worker = run_worker(config)
    produce(kafka.bootstrap, topics.requests, [encode(job) for job, _ in jobs.values()])
    wait_for_first_answer(worker)
    assert worker.stop(60) == 0, worker.log_tail()
    answered, letters = outcomes(kafka, topics)
    assert len(answered) == len(set(answered))
    assert not letters
    # What was answered is committed: a second worker answers the rest and nothing again.
    second = run_worker(config)
    wait_for_drain(kafka, topics, 120)
    assert second.stop(60) == 0, second.log_tail()
    answered, _ = outcomes(kafka, topics)
    assert sorted(answered) == sorted(jobs)


@pytest.mark.smoke
def test_a_killed_worker_loses_nothing(kafka, topics, config, run_worker):
    jobs = demo_jobs(120)
    worker = run_worker(config)
    produce(kafka.bootstrap, topics.requests, [encode(job) for job, _ in jobs.values()])
    wait_for_first_answer(worker)
    worker.kill()
    second = run_worker(config)
    wait_for_drain(kafka, topics, 180)
    assert second.stop(60) == 0, second.log_tail()
    answered, letters = outcomes(kafka, topics)
    assert sorted(answered) == sorted(jobs)
    assert not letters


def test_a_broker_that_is_away_costs_nothing(kafka, topics, config, run_worker):
    jobs = demo_jobs(60)
    worker = run_worker(config)
    produce(kafka.bootstrap, topics.requests, [encode(job) for job, _ in jobs.values()])
    wait_for_first_answer(worker)
    kafka.kill()
    wait_until(lambda: worker.get("/readyz")[0] != 200, 60, "readyz telling that it is away")
    assert worker.get("/healthz")[0] == 200
    kafka.start()
    wait_for_drain(kafka, topics, 120)
    wait_until(lambda: worker.get("/readyz")[0] == 200, 60, "readyz telling that it is back")
    assert worker.stop(60) == 0, worker.log_tail()
    answered, _ = outcomes(kafka, topics)
    assert sorted(answered) == sorted(jobs)


def mixed_records(count):
    """-> records, ids to be answered, values to be dead letters: 1 % undecodable, 2 % invalid."""
    demo = iter(demo_jobs(count, seed=12, prefix="load").values())
    records, ids, letters = [], set(), []
    for i in range(count):
        if i % 100 == 17:
            letters.append(b"{undecodable %d" % i)
            records.append((f"key {i}", letters[-1], None))
            continue
        request = next(demo)[0]
        request["custom_id"] = f"load-{i}"
        if i % 100 in (33, 66):
            request = chat(f"load-{i}", temperature=9)
        elif i % 10:
            # Mixed length: most answers are cut short, so that ten thousand fit a test's time.
            request["body"]["max_tokens"] = 1 + i % 10
        ids.add(request["custom_id"])
        records.append((f"key {i}", encode(request), None))
    return records, ids, letters


def resident_kib(worker):
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.load
def test_every_record_of_many_has_one_outcome_in_flat_memory(kafka, topics, config, run_worker):
    records, ids, letters = mixed_records(10_000)
    # The KV cache takes its memory as blocks are first used; a small one is all in use early.
    config["engine"] = {"kv_cache_bytes": "64MiB"}
    workers = [run_worker(config), run_worker(config)]

    def remaining():
        return lag(kafka.bootstrap, topics.requests, topics.requests)

    produce(kafka.bootstrap, topics.requests, records)
    wait_until(lambda: remaining() <= 9_000, 600, "the first thousand")
    early = [resident_kib(worker) for worker in workers]
    wait_until(lambda: remaining() <= 500, 1_200, "the last thousand")
    late = [resident_kib(worker) for worker in workers]
    wait_for_drain(kafka, topics, 120)
    for worker in workers:
        assert worker.stop(60) == 0, worker.log_tail()
    answered, seen_letters = outcomes(kafka, topics)
    assert len(answered) == len(ids) and set(answered) == ids
    assert sorted(seen_letters) == sorted(letters)
    for before, after in zip(early, late):
        assert after < before * 1.1 + 16 * 1024, (early, late)


def test_a_stopped_worker_hands_its_partitions_over(kafka, topics, config, run_worker):
    config["kafka"]["session.timeout.ms"] = 6000
    frozen, other = run_worker(config), run_worker(config)
    frozen.signal(signal.SIGSTOP)
    jobs = demo_jobs(30)
    produce(kafka.bootstrap, topics.requests, [encode(job) for job, _ in jobs.values()])
    wait_for_drain(kafka, topics, 120)
    frozen.signal(signal.SIGCONT)
    for worker in (frozen, other):
        assert worker.stop(60) == 0, worker.log_tail()
    answered, _ = outcomes(kafka, topics)
    assert sorted(answered) == sorted(jobs)
