"""A commit whose answer is lost may have been executed or not. The worker finds out, and repeats
only what was not."""

import re
import socket
import struct
import threading
import time

import pytest
from confluent_kafka import Producer

from support.ports import wait_until
from support.records import produce, wait_for_drain
from test_exactly_once import assert_each_once, request_records, scripted

__all__ = ["scripted"]  # the fixture

END_TXN = 26


class CommitThief:
    """Forwards requests to a broker, until steal(): then the next EndTxn is the last that it
    forwards, or the first that it does not, and nobody gets through until heal()."""

    def __init__(self, port, target_port):
        self.target_port = target_port
        self.forwards_last = None  # None: not stealing
        self.is_closed = threading.Event()
        self.sockets = []
        self.server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def steal(self, forwards_last):
        self.forwards_last = forwards_last

    def heal(self):
        self.forwards_last = None
        self.is_closed.clear()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return  # closed
            if self.is_closed.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target_port))
            self.sockets += [client, server]
            threading.Thread(target=self.requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self.answers, args=(server, client), daemon=True).start()

    def requests(self, client, server):
        try:
            with client.makefile("rb") as stream:
                while size := stream.read(4):
                    request = stream.read(struct.unpack(">i", size)[0])
                    is_end = struct.unpack(">h", request[:2])[0] == END_TXN
                    if is_end and self.forwards_last is not None:
                        self.is_closed.set()
                        if self.forwards_last:
                            server.sendall(size + request)
                            time.sleep(0.5)  # it is executed; nobody passes the answer on
                        self.cut()
                        return
                    server.sendall(size + request)
        except OSError:
            pass
        self.end(client, server)

    def answers(self, server, client):
        try:
            while data := server.recv(65536):
                if self.is_closed.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass
        self.end(client, server)

    @staticmethod
    def end(*sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.end(*self.sockets)
        self.sockets.clear()


@pytest.fixture
def thief(kafka):
    thief = CommitThief(kafka.proxy_port, kafka.detour_port)
    yield thief
    thief.end(thief.server)
    thief.server.close()
    thief.cut()


@pytest.mark.parametrize("is_executed", [True, False])
def test_a_commit_whose_answer_is_lost(kafka, topics, scripted, run_worker, thief, is_executed):
    scripted["kafka"]["bootstrap.servers"] = f"127.0.0.1:{kafka.proxy_port}"
    scripted["kafka"]["session.timeout.ms"] = 20000
    worker = run_worker(scripted)
    assert "guarantee=exactly_once" in worker.log_text()
    records = request_records(300)
    produce(kafka.bootstrap, topics.requests, records[:50])
    wait_for_drain(kafka, topics)
    thief.steal(is_executed)
    produce(kafka.bootstrap, topics.requests, records[50:])
    assert thief.is_closed.wait(30)
    # Somebody raises the epoch, so that asking again does not help: the producer is fenced.
    worker_id = re.search(r"event=worker_started worker=(\S+)", worker.log_text()).group(1)
    other = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "transactional.id": f"{topics.requests}/{worker_id}",
        }
    )
    other.init_transactions(30)
    thief.heal()
    wait_until(lambda: "event=transaction_resolved" in worker.log_text(), 60, "the end of doubt")
    assert f"event=transaction_resolved is_committed={int(is_executed)}" in worker.log_text()
    wait_for_drain(kafka, topics)
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [key for key, _, _ in records])
