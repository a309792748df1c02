"""Free TCP ports of this machine, and waiting for a server to come up."""

import random
import socket
import time


# Below the range from which the system takes the ports of outgoing connections: those could take
# a server's port while it is down, or, on one machine, connect to themselves.
LOWEST, HIGHEST = 15000, 32000


def free_ports(count):
    """Ports that nobody listens on now; asked for together, so that they differ."""
    sockets = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.randint(LOWEST, HIGHEST)))
                sockets.append(one)
            except OSError:
                one.close()
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def wait_until(condition, timeout_s, what):
    """Calls condition() until it is true; a TimeoutError names what did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s} s")
        time.sleep(0.05)
