"""A TCP proxy that can be a bad network: it cuts, stalls and delays what goes through it."""

import asyncio
import threading

CHUNK_BYTES = 65536
DIRECTIONS = ("to_server", "from_server")


class Proxy:
    """Forwards `port` to `target_port`, both of this machine, from start() to stop()."""

    def __init__(self, port, target_port):
        self.port, self.target_port = port, target_port
        self.delay_s = 0
        self.is_refusing = False
        self.connections = set()
        self.loop = asyncio.new_event_loop()
        self.open_ways = {direction: asyncio.Event() for direction in DIRECTIONS}
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def start(self):
        self.thread.start()
        self.heal()
        listening = asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.server = asyncio.run_coroutine_threadsafe(listening, self.loop).result(10)
        return self

    def stop(self):
        self.call(self.server.close)
        self.cut()
        self.call(self.loop.stop)
        self.thread.join()

    def call(self, function, *arguments):
        self.loop.call_soon_threadsafe(function, *arguments)

    def cut(self):
        """Resets every connection; new ones are served."""
        self.call(lambda: [writer.transport.abort() for writer in list(self.connections)])

    def refuse(self):
        """Resets every connection, and each new one, until heal()."""
        self.is_refusing = True
        self.cut()

    def stall(self, *directions):
        """Keeps what comes from now on, in these directions or in both, until heal()."""
        for direction in directions or DIRECTIONS:
            self.call(self.open_ways[direction].clear)

    def delay(self, delay_s):
        """Passes everything on later, until heal()."""
        self.delay_s = delay_s

    def heal(self):
        self.delay_s, self.is_refusing = 0, False
        for way in self.open_ways.values():
            self.call(way.set)

    async def serve(self, client_reader, client_writer):
        self.connections.add(client_writer)
        server_writer = None
        try:
            if self.is_refusing:
                return
            server_reader, server_writer = await asyncio.open_connection(
                "127.0.0.1", self.target_port
            )
            self.connections.add(server_writer)
            await asyncio.gather(
                self.pump(client_reader, server_writer, "to_server"),
                self.pump(server_reader, client_writer, "from_server"),
            )
        except OSError:
            pass  # cut, or nobody listens: the client sees its connection end
        finally:
            for writer in filter(None, (client_writer, server_writer)):
                writer.transport.abort()
                self.connections.discard(writer)

    async def pump(self, reader, writer, direction):
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_s > 0:
                await asyncio.sleep(self.delay_s)
            await self.open_ways[direction].wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side has ended, so the other one does
