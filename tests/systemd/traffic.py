"""Traffic for the checks: a backend, open streams that are watched to their last byte, and new connections at a steady pace.

    traffic.py backend PORT                  answers everything; /backend/stream is a stream that ends when somebody asks
                                             for /end
    traffic.py streams HOST:PORT COUNT       opens so many streams, says `open` when each has begun, and at the end of all
                                             how many were whole
    traffic.py knock HOST:PORT LOOPS         new connections with one request each, until INT; then how many were answered
    traffic.py back HOST:PORT LIMIT COMMAND  runs the command, which ends what answers there, and says after how many
                                             milliseconds somebody answers again; LIMIT is in seconds

A stream is whole when its answer is 200, its events come in order without a gap, the last of them says so, and the body
ends as HTTP wants it. Only the standard library is used.
"""

import asyncio
import collections
import re
import signal
import sys
import time

EVENT_EVERY = 0.5
PATIENCE = 60


class Backend:
    def __init__(self):
        self.end = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while head := await self.head(reader):
                path = head.split(b" ", 2)[1]
                if path.startswith(b"/backend/stream"):
                    await self.stream(writer)
                    return
                if path == b"/end":
                    self.end.set()
                    self.end = asyncio.Event()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nbackend\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def head(reader):
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""

    async def stream(self, writer):
        end = self.end
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        number = 0
        while not end.is_set():
            writer.write(chunk(b"data: %d\n\n" % number))
            await writer.drain()
            number += 1
            try:
                await asyncio.wait_for(end.wait(), EVENT_EVERY)
            except asyncio.TimeoutError:
                pass
        writer.write(chunk(b"data: end\n\n") + b"0\r\n\r\n")
        await writer.drain()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def request(path, host):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode()


async def backend(port):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    server = await asyncio.start_server(Backend().serve, "127.0.0.1", port, backlog=4096)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


class Streams:
    def __init__(self, address, count):
        self.host, self.port = address.rsplit(":", 1)
        self.count = count
        self.begun = 0
        self.cut = collections.Counter()

    async def run(self):
        done = await asyncio.gather(*(self.watch(index) for index in range(self.count)))
        whole = sum(done)
        print(f"whole {whole} cut {self.count - whole}", flush=True)
        for reason, times in self.cut.most_common(5):
            print(f"  {times} times: {reason}")
        return whole == self.count

    async def watch(self, index):
        # Not all in the same moment: this is not about the queue of new connections.
        await asyncio.sleep(index * 0.002)
        expected = 0
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(request("/backend/stream", self.host) + b"\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            if not head.startswith(b"HTTP/1.1 200 "):
                return self.lost(f"answer {head.splitlines()[0]!r}")
            if b"transfer-encoding: chunked" not in head.lower():
                return self.lost("the answer is not chunked")
            ended = False
            async for event in self.events(reader):
                if ended:
                    return self.lost("an event after the last one")
                if event == b"end":
                    ended = True
                elif event != b"%d" % expected:
                    return self.lost(f"event {event!r}, {expected} was due")
                elif expected == 0:
                    self.note_begun()
                expected += 1
            writer.close()
            return True if ended else self.lost("the body ended before the last event")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            return self.lost(f"{type(error).__name__} after event {expected}")

    async def events(self, reader):
        rest = b""
        while True:
            size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE), 16)
            data = await reader.readexactly(size + 2)
            if size == 0:
                return
            rest += data[:-2]
            *whole, rest = rest.split(b"\n\n")
            for event in whole:
                yield re.sub(rb"^data: ", b"", event)

    def note_begun(self):
        self.begun += 1
        if self.begun == self.count:
            print("open", flush=True)

    def lost(self, reason):
        print(f"  at {time.strftime('%H:%M:%S')}: {reason}", file=sys.stderr, flush=True)
        self.cut[reason] += 1
        return False


class Knock:
    def __init__(self, address, loops):
        self.host, self.port = address.rsplit(":", 1)
        self.loops = loops
        self.stop = False
        self.good = 0
        self.bad = collections.Counter()

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.leave)
        await asyncio.gather(*(self.loop() for _ in range(self.loops)))
        print(f"answered {self.good} failed {sum(self.bad.values())}", flush=True)
        for reason, times in self.bad.most_common(5):
            print(f"  {times} times: {reason}")
        return not self.bad

    def leave(self):
        self.stop = True

    async def loop(self):
        while not self.stop:
            try:
                answer = await asyncio.wait_for(self.once(), PATIENCE)
                if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nbackend\n"):
                    self.good += 1
                else:
                    self.bad[repr(answer[:60])] += 1
            except (OSError, asyncio.TimeoutError) as error:
                self.bad[f"{type(error).__name__}: {error} at {time.strftime('%H:%M:%S')}"] += 1
            await asyncio.sleep(0.01)

    async def once(self):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(request("/backend/", self.host) + b"Connection: close\r\n\r\n")
            return await reader.read(-1)
        finally:
            writer.close()


async def back(address, limit, command):
    host, port = address.rsplit(":", 1)
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait() != 0:
        print(f"{command} failed")
        return 1
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        try:
            if (await asyncio.wait_for(health(host, port), 0.25)).startswith(b"HTTP/1.1 200 "):
                print(round((time.monotonic() - begun) * 1000))
                return 0
        except (OSError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(0.01)
    print(f"no answer within {limit} s")
    return 1


async def health(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request("/health", host) + b"Connection: close\r\n\r\n")
        return await reader.read(-1)
    finally:
        writer.close()


def main():
    match sys.argv[1:]:
        case ["backend", port]:
            try:
                asyncio.run(backend(int(port)))
            except RuntimeError:
                # TERM stops the loop.
                return 0
        case ["streams", address, count]:
            return 0 if asyncio.run(Streams(address, int(count)).run()) else 1
        case ["knock", address, loops]:
            return 0 if asyncio.run(Knock(address, int(loops)).run()) else 1
        case ["back", address, limit, *command]:
            return asyncio.run(back(address, float(limit), command))
        case _:
            print(__doc__, file=sys.stderr)
            return 64


if __name__ == "__main__":
    sys.exit(main())
