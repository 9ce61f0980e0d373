"""The emulator as a process, and the tap that stands between it and the worker.

The emulator keeps what it understood of a request, not what it was sent: the tap keeps that.  It passes bytes on and
closes what either side closes, so a connection that the emulator cuts is cut for the worker too."""
import asyncio
import contextlib
import json
import os
import re
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass

from harness import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
KEY = "good-key"  # what the emulator takes; anything else is a 401
LATENCY_MS = 15   # of every answer
CHUNK = 64 << 10


def install(directory):
    """Why the emulator cannot be had; "" where it is there."""
    done = subprocess.run([os.path.join(HERE, "install.sh"), directory], capture_output=True, text=True)
    if done.returncode not in (0, SKIPPED):
        raise AssertionError(f"install.sh: exit {done.returncode}\n{done.stderr}")
    return done.stderr.strip().removeprefix("skipped: ") if done.returncode else ""


class Emulator:
    def __init__(self, directory, fixtures, folder):
        path = os.path.join(folder, "fixtures.json")
        with open(path, "w") as f:
            json.dump({"fixtures": fixtures}, f)
        self.log = os.path.join(folder, "emulator.log")
        program = os.path.join(directory, "node_modules/@copilotkit/aimock/dist/cli.js")
        args = ["node", program, "--port", "0", "--fixtures", path, "--strict", "--journal-max", "0",
                "--chaos-latency", str(LATENCY_MS)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=dict(os.environ, AIMOCK_API_KEYS=KEY))
        try:
            self.port = wait_for("the emulator listens", self._port)
        except BaseException:
            self.stop()
            raise

    def _port(self):
        with open(self.log) as f:
            text = f.read()
        if self.process.poll() is not None:
            raise AssertionError(f"the emulator ended with {self.process.returncode}:\n{text[-2000:]}")
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", text)
        return found and int(found[1])

    def journal(self):
        """Every request as the emulator understood it, in OpenAI's words, and what it answered."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/__aimock/journal",
                                         headers={"authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def stop(self):
        self.process.kill()
        self.process.wait()


@dataclass
class Call:
    at: float  # seconds
    path: str
    headers: dict
    body: bytes


class Requests:
    """HTTP requests out of the bytes of one connection."""

    def __init__(self, calls):
        self.calls, self.bytes = calls, b""

    def feed(self, data):
        self.bytes += data
        while (end := self.bytes.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.bytes[:end].decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines)}
            whole = end + 4 + int(headers["content-length"])
            if len(self.bytes) < whole:
                return
            self.calls.append(Call(time.monotonic(), first.split(" ")[1], headers, self.bytes[end + 4:whole]))
            self.bytes = self.bytes[whole:]


class Tap:
    def __init__(self, port):
        self.to, self.calls, self.port = port, [], None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._listen()))
        self.thread.start()
        self.ready.wait()

    async def _listen(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.over.wait()
        server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.CancelledError):  # it is refused or broken, or the test is over
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
            await asyncio.gather(self._pass_on(reader, back, Requests(self.calls).feed),
                                 self._pass_on(there, writer, lambda data: None))
        writer.close()

    @staticmethod
    async def _pass_on(reader, writer, see):
        try:
            while data := await reader.read(CHUNK):
                see(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()
