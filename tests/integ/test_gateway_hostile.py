"""Bad clients at the gateway: refused or cut, in time, while a good one beside them is served, and nothing is left of them."""
import contextlib
import json
import os
import random
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

from harness import line, main, wait_for
from web import CHAT, Web, WebCase, gateway_pid, memory_peak_mib

IDLE, SILENT, PACE = 3, 4, 4  # seconds; real ones are 75, 120 and 20
MIB = 1 << 20
HOST = b"Host: localhost\r\n"
QUESTION = {"model": "echo/any", "messages": [{"role": "user", "content": "hello"}]}
TEXT = json.dumps(QUESTION).encode()
ULID = "01J8ZQ4K7N9V0M2X3C4B5A6F7G"


def head(method, path, *headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    return "".join(x + "\r\n" for x in lines).encode() + b"\r\n"


def chat(*headers, body=TEXT):
    return head("POST", CHAT, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers) + body


def form(mark, *parts, end=True):
    """parts: (header line's rest, bytes)."""
    body = b"".join(b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (mark, h, b) for h, b in parts)
    return body + (b"--%s--\r\n" % mark if end else b"")


FILE = (b'name="file"; filename="a.jsonl"', line(0, "echo/any").encode() + b"\n")
PURPOSE = (b'name="purpose"', b"batch")


def upload(body, mark="MARK", length=None, kind="multipart/form-data; boundary="):
    return head("POST", "/v1/files", f"Content-Type: {kind}{mark}", f"Content-Length: {length or len(body)}") + body


class Socket:
    """A client that sends what it likes, and sees what comes back and when the connection is closed."""

    def __init__(self, port, small=False):
        self.s = socket.socket()
        if small:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.s.settimeout(20)
        self.s.connect(("127.0.0.1", port))
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        """False: it was cut meanwhile."""
        try:
            self.s.sendall(data)
            return True
        except OSError:
            return False

    def read(self, seconds=15, until=None):
        """All that comes before the end; closed: whether it came to one."""
        end = time.monotonic() + seconds
        self.closed = False
        while time.monotonic() < end and not (until and until in self.got):
            self.s.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self.s.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:
                more = b""
            self.got += more
            if not more:
                self.closed = True
                break
        return self.got

    @property
    def statuses(self):
        return [int(x[:3]) for x in self.got.split(b"HTTP/1.1 ")[1:] if x[:3].isdigit() and x[:3] != b"100"]

    @property
    def status(self):
        return self.statuses[0] if self.statuses else None


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") / MIB


class Good:
    """Asks again and again, each time on a connection of its own."""

    def __init__(self, web):
        self.web, self.took, self.wrong = web, [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def once(self):
        began = time.monotonic()
        try:
            status = self.web.post(CHAT, QUESTION, timeout=30).status
        except OSError as e:
            status = str(e)
        self.took.append(time.monotonic() - began)
        if status != 200:
            self.wrong.append(status)

    def run(self):
        while not self.stopping.is_set():
            self.once()
            self.stopping.wait(0.02)


class Hostile(WebCase):
    patience = (IDLE, SILENT, PACE)
    grows_mib = 24         # what the memory may have grown by in the end: arenas that are kept
    more = ""

    def setUp(self):
        os.environ["PENSTOCK_TEST_PATIENCE"] = ",".join(map(str, self.patience))
        self.addCleanup(os.environ.pop, "PENSTOCK_TEST_PATIENCE")
        self.c, self.web = self.gateway()
        self.pid = gateway_pid(self.c)
        good = Good(self.web)
        for _ in range(40):
            good.once()
        self.assertEqual(good.wrong, [])
        self.usual = statistics.median(good.took[10:])
        self.descriptors, self.mib = descriptors(self.pid), resident_mib(self.pid)
        self.keys = self.all_keys()

    def all_keys(self):
        out = subprocess.run(["redis-cli", "-s", os.path.join(self.c.data, "redis.sock"), "--scan"],
                             capture_output=True, text=True).stdout
        return {k for k in out.split("\n") if ":text:" in k or ":file" in k or ":batch" in k or ":idem" in k}

    def connect(self, **more):
        return Socket(self.web.port, **more)

    @contextlib.contextmanager
    def served_beside(self):
        """A good client is served all the while, about as fast as before; in the end nothing is left of the bad ones."""
        good = Good(self.web)
        good.thread.start()
        try:
            yield good
        finally:
            good.stopping.set()
            good.thread.join()
        self.assertEqual(good.wrong, [])
        now = statistics.median(good.took)
        self.assertLess(now, 10 * self.usual + 0.2, f"{self.usual * 1e3:.1f} ms before")
        self.check_nothing_is_left()

    def check_nothing_is_left(self):
        wait_for("the descriptors to be given back", lambda: descriptors(self.pid) <= self.descriptors + 3, 30)
        wait_for("the keys to be gone", lambda: self.all_keys() == self.keys, 10)
        wait_for("the memory to be given back", lambda: resident_mib(self.pid) < self.mib + self.grows_mib, 10)
        self.assertEqual(gateway_pid(self.c), self.pid, "it is the same process")

    def say(self, data, seconds=15, half_close=False):
        """One connection, one thing said; the socket in the end."""
        with self.connect() as s:
            s.send(data)
            if half_close:
                with contextlib.suppress(OSError):
                    s.s.shutdown(socket.SHUT_WR)
            s.read(seconds, until=None)
        return s

    def check_refused(self, data, statuses=(400,), seconds=IDLE + PACE + 4, cut=False, **more):
        """An answer of 4xx or, with cut, none; the connection is closed in the end."""
        began = time.monotonic()
        s = self.say(data, seconds, **more)
        what = (data[:120], s.got[:300])
        self.assertTrue(s.closed, what)
        self.assertLess(time.monotonic() - began, seconds, what)
        if s.status is not None or not cut:
            self.assertIn(s.status, statuses, what)
        self.assertNotIn(200, s.statuses, what)


class Headers(Hostile):
    def test_headers_that_come_byte_by_byte_for_ever(self):
        with self.served_beside():
            with self.connect() as s, self.connect() as silent:
                began = time.monotonic()
                for byte in chat("X-Long: " + "x" * 5000):
                    if not s.send(bytes([byte])) or select.select([s.s], [], [], 0.02)[0]:
                        break
                self.assertLess(time.monotonic() - began, IDLE + 3)
                self.assertGreater(time.monotonic() - began, IDLE - 1)
                s.read(5)
                self.assertTrue(s.closed)
                self.assertEqual(s.statuses, [])
                silent.read(IDLE + 3)
                self.assertTrue(silent.closed, "one that said nothing is cut too")

    def test_too_much_of_a_header(self):
        mib = "x" * MIB
        with self.served_beside():
            for data in (chat(f"X-Long: {mib}"),
                         chat(f"Authorization: Bearer {mib}"),
                         chat(f"Idempotency-Key: {mib}"),
                         chat(f"Cookie: a={mib}"),
                         chat(*[f"X-{i}: {i}" for i in range(10_000)]),
                         head("GET", "/" + mib),
                         head("GET", f"/v1/files?after={mib}"),
                         head("GET", "/v1/files?" + "a=b&" * (MIB // 4)),
                         (mib * 2).encode(), b"\n" * MIB + b" " * MIB):
                self.check_refused(data, (400, 413, 414, 431), cut=True)
            with self.connect() as s:
                s.send(chat("X-Long: " + "x" * 8000))
                s.read(10, until=b"chat.completion")
                self.assertEqual(s.status, 200, "a long one, but not too long")
        self.assertLess(memory_peak_mib(self.pid), self.mib + 64)

    def test_what_is_no_http(self):
        hello = bytes.fromhex("16030100c8010000c40303") + bytes(random.Random(1).randbytes(190))
        with self.served_beside():
            for data in (hello, b"\0" * 4096, bytes(random.Random(2).randbytes(60_000)), b"GET\r\n\r\n", b"\r\n\r\n\r\n",
                         b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                         b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
                         b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\ny\r\n", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"):
                self.check_refused(data, (400, 404, 405, 505), cut=True)
            old = self.say(b"GET /healthz HTTP/1.0\r\n\r\n")
            self.assertTrue(old.closed and old.got.endswith(b"ok\n"), old.got)
            oldest = self.say(b"GET /healthz\r\n\r\n", IDLE + 4)
            self.assertTrue(oldest.closed, "no HTTP/0.9 is left hanging")

    def test_methods(self):
        with self.served_beside():
            for method in ("TRACE", "CONNECT", "OPTIONS", "PATCH", "FROB", "get", "X" * 2000):
                for path in (CHAT, "/healthz", "/v1/files", "*"):
                    with self.connect() as s:
                        s.send(head(method, path, "Connection: close"))
                        s.read(10)
                        self.assertIn(s.status, (400, 404, 405, 501), (method, path, s.got))
                        self.assertTrue(s.closed)
            for allowed in ("GET", "POST"):
                self.assertIn(allowed, self.web.ask("PUT", "/v1/files").headers["Allow"])

    def test_pipelined_requests_are_answered_in_order(self):
        with self.served_beside(), self.connect() as s:
            many = b"".join(chat(body=json.dumps({**QUESTION, "messages": [{"role": "user", "content": f"no {i}."}]}).encode())
                            for i in range(50))
            s.send(many + head("GET", "/healthz", "Connection: close"))
            s.read(30)
            self.assertEqual(s.statuses, [200] * 51)
            at = [s.got.index(b"no %d." % i) for i in range(50)]
            self.assertEqual(at, sorted(at))


class Framing(Hostile):
    """Where a request ends: never in doubt, for what one takes for a body is to another the next request."""

    def test_lengths_that_contradict(self):
        inner = head("GET", "/v1/models")
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(TEXT), TEXT)
        kind = "Content-Type: application/json"
        with self.served_beside():
            for data in (head("POST", CHAT, kind, "Content-Length: -1") + TEXT,
                         head("POST", CHAT, kind, "Content-Length: +5") + TEXT,
                         head("POST", CHAT, kind, "Content-Length: 0x10") + TEXT,
                         head("POST", CHAT, kind, "Content-Length: 5, 5") + TEXT,
                         head("POST", CHAT, kind, "Content-Length: ") + inner,
                         head("POST", CHAT, kind, "Content-Length: 99999999999999999999999") + TEXT,
                         head("POST", CHAT, kind, f"Content-Length: {len(TEXT)}", "Content-Length: 5") + TEXT + inner,
                         head("POST", CHAT, kind, "Content-Length: 0", f"Content-Length: {len(inner)}") + inner,
                         head("POST", CHAT, kind, f"Content-Length: {len(TEXT)}", f"Content-Length: {len(TEXT)}") + TEXT,
                         head("POST", CHAT, kind, f"Content-Length: {len(chunked)}", "Transfer-Encoding: chunked") + chunked,
                         head("POST", CHAT, kind, "Content-Length: 4", "Transfer-Encoding: chunked") + chunked + inner,
                         head("POST", CHAT, kind, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunked,
                         head("POST", CHAT, kind, "Transfer-Encoding: gzip, chunked") + chunked,
                         head("POST", CHAT, kind, "Transfer-Encoding: xchunked") + chunked,
                         head("POST", CHAT, kind, f"Content-Length : {len(inner)}") + inner,
                         head("POST", CHAT, kind, f"Content-Length\t: {len(inner)}") + inner,
                         head("GET", "/healthz", "Transfer-Encoding: gzip") + inner,
                         head("GET", "/healthz", "Content-Length: 0", "Content-Length: 9") + inner):
                self.check_refused(data, (400, 413))

    def test_lengths_that_lie(self):
        with self.served_beside():
            for more in (1, 1000, 10 * MIB):
                short = head("POST", CHAT, f"Content-Length: {len(TEXT) + more}") + TEXT
                self.check_refused(short, cut=True)
                self.check_refused(short, cut=True, half_close=True, seconds=3.5)
            # what is beyond the length is the next request, and is none
            s = self.say(head("POST", CHAT, f"Content-Length: {len(TEXT) - 2}") + TEXT + b"\r\n\r\n")
            self.assertTrue(s.closed)
            self.assertNotIn(200, s.statuses)

    def test_chunks_that_are_none(self):
        begin = head("POST", CHAT, "Content-Type: application/json", "Transfer-Encoding: chunked")
        good = b"%x\r\n%s\r\n0\r\n\r\n" % (len(TEXT), TEXT)
        with self.served_beside():
            for body in (b"zz\r\n", b"-5\r\nhello\r\n", b"\r\n\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"f" * 17 + b"\r\n",
                         b"ffffffffffffffff\r\nx", b"0x5\r\nhello\r\n0\r\n\r\n", b"1;" + b"x" * MIB, b"0" * MIB,
                         b"0\r\nX-Footer: " + b"x" * MIB, b"5\r\nhel"):
                self.check_refused(begin + body, (400, 413, 431), cut=True)
            s = self.say(head("POST", CHAT, "Transfer-Encoding: chunked", "Connection: close") + good)
            self.assertEqual(s.status, 200, s.got)

    def endless(self, s, begin, piece, most):
        """Sent until the connection is cut or an answer came; how much went."""
        s.send(begin)
        sent = 0
        while sent < most and not select.select([s.s], [], [], 0)[0]:
            if not s.send(piece):
                break
            sent += len(piece)
        return sent

    def test_a_body_without_an_end_is_refused_at_its_limit(self):
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for path, most in (("/v1/batches", 1), (CHAT, 32)):
            with self.served_beside(), self.connect() as s:
                sent = self.endless(s, head("POST", path, "Transfer-Encoding: chunked"), piece, 300 * MIB)
                self.assertLess(sent, (most + 16) * MIB)
                s.read(5, until=b"\r\n\r\n")
                self.assertEqual(s.status, 413)
                while s.send(piece) and sent < 300 * MIB:
                    sent += len(piece)
                self.assertLess(sent, (most + 90) * MIB, "and cut, if that does not stop it")
        self.assertLess(memory_peak_mib(self.pid), self.mib + 128)

    def test_a_body_that_is_refused_is_read_before_the_answer(self):
        with self.served_beside(), self.connect() as s:
            s.send(head("POST", "/v1/nothing", f"Content-Length: {4 * MIB}"))
            for _ in range(64):
                self.assertTrue(s.send(b"x" * 65536))
            s.send(head("GET", "/healthz", "Connection: close"))
            s.read(10)
            self.assertEqual(s.statuses, [404, 200], "and the connection goes on")
            self.check_refused(head("POST", "/v1/batches", f"Content-Length: {1 << 40}"), (413,), seconds=3)
            self.check_refused(head("POST", "/v1/batches", f"Content-Length: {MIB + 1}", "Expect: 100-continue"), (413,),
                               seconds=3)


class Slow(Hostile):
    def test_bodies_that_dribble_are_cut(self):
        mark = form(b"MARK", PURPOSE, FILE)
        with self.served_beside():
            begun = []
            for data in (head("POST", CHAT, "Content-Length: 100000") + TEXT[:10],
                         head("POST", CHAT, "Transfer-Encoding: chunked") + b"1\r\nx",
                         upload(mark[:-10], length=100000),
                         # fast at first, which does not count later
                         head("POST", CHAT, "Content-Length: 4000000") + b" " * 2_000_000,
                         # an answer is there: still no reason to wait for ever
                         head("POST", "/v1/nothing", "Content-Length: 100000") + b"x"):
                s = self.connect()
                self.addCleanup(s.s.close)
                s.send(data)
                begun.append(s)
            began, ended = time.monotonic(), {}
            while len(ended) < len(begun) and time.monotonic() - began < 4 * PACE + 6:
                for i, s in enumerate(begun):
                    if i not in ended and (not s.send(b"x") or select.select([s.s], [], [], 0)[0]):
                        ended[i] = time.monotonic() - began
                time.sleep(0.1)
            self.assertEqual(len(ended), len(begun), ended)
            for i, s in enumerate(begun):
                s.read(5)
                self.assertNotIn(200, s.statuses)

    def test_half_closed_sockets(self):
        with self.served_beside():
            for data in (chat(), head("GET", "/healthz"), head("GET", "/v1/models")):
                for _ in range(20):  # the answer comes or not, as it happens; the connection ends
                    s = self.say(data, 4, half_close=True)
                    self.assertTrue(s.closed)
                    self.assertIn(s.status, (200, None), s.got)
            for data in (b"", b"GET", head("POST", CHAT, "Content-Length: 10"), upload(form(b"MARK", FILE, end=False), length=9999)):
                s = self.say(data, 3, half_close=True)
                self.assertTrue(s.closed)
                self.assertEqual(s.got, b"")

    def test_a_download_that_is_not_read(self):
        text = "\n".join(line(i, "echo/any", random.Random(i).randbytes(1500).hex()) for i in range(12_000))
        file = self.web.upload(text).json["id"]
        self.keys = self.all_keys()
        peak = memory_peak_mib(self.pid)
        with self.served_beside():
            lazy = [self.connect(small=True) for _ in range(20)]
            for s in lazy:
                self.addCleanup(s.s.close)
                s.send(head("GET", f"/v1/files/{file}/content"))
            wait_for("all to have come in", lambda: descriptors(self.pid) >= self.descriptors + 20, 5)
            self.assertEqual(len(self.web.get(f"/v1/files/{file}/content").body), len(text), "others read it")
            wait_for("them to be cut", lambda: descriptors(self.pid) <= self.descriptors + 3, SILENT + 10)
            self.assertLess(memory_peak_mib(self.pid), peak + 20 * 4, "a few pieces of text for each")
            with self.connect(small=True) as s:
                s.send(head("GET", f"/v1/files/{file}/content"))
        self.web.ask("DELETE", f"/v1/files/{file}")

    def test_a_stream_that_is_not_read(self):
        long = json.dumps({**QUESTION, "stream": True,
                           "messages": [{"role": "user", "content": "long " * 1_500_000}]}).encode()
        with self.served_beside():
            lazy = [self.connect(small=True) for _ in range(8)]
            wait_for("all to have come in", lambda: descriptors(self.pid) >= self.descriptors + 8, 5)
            for s in lazy:  # the first may be cut before the last has been heard
                self.addCleanup(s.s.close)
                s.send(chat(body=long))
            wait_for("them to be cut", lambda: descriptors(self.pid) <= self.descriptors + 3, 60)
            for s in lazy:
                s.read(10)
                self.assertTrue(s.closed)
                self.assertNotIn(b"[DONE]", s.got[-100:], "it is not made to look whole")
                self.assertFalse(s.got.endswith(b"0\r\n\r\n"))


class Paths(Hostile):
    def test_tricks_with_paths(self):
        self.web.upload(line(0, "echo/any") + "\n")
        self.keys = self.all_keys()
        ids = ["..", ".", "%2e%2e", "%00", f"file-{ULID}%00", "*", "?", "[a-z]", "}", "{gateway}", "file-*", "a:b", "a%0d%0ab",
               "file-" + "x" * 5000, "text:file:0", "%c3%28", "%ff%fe", "%", "%zz", "%25", f"file-{ULID}:x", f"file-{ULID}",
               f"file-output-{ULID}", f"file-output-{ULID}%2fcontent", f"batch_{ULID}", "batch_*", "'\"<b>", "%e2%80%a8"]
        paths = ["/../v1/files", "//v1/files", "/v1//files", "/v1/files/", "/v1/files//content", "/./v1/files", "/v1/files/.",
                 "/v1/files/../batches", "/v1/files/%2e%2e/batches", "/v1/files%00", "/v1/files%2f", "/api", "/api/", "/api/v1",
                 "/api/api/v1/files", "/api/v1/../v1/files", "http://x/v1/nothing", "*", "", "%2fv1%2fnothing", "/v1/files\\x"]
        for i in ids:
            paths += [f"/v1/files/{i}", f"/v1/files/{i}/content", f"/v1/batches/{i}", f"/v1/models/{i}/{i}"]
        with self.served_beside():
            for path in paths:
                with self.connect() as s:
                    s.send(head("GET", path, "Connection: close"))
                    s.read(10)
                    self.assertIn(s.status, (400, 404, 405, 431), (path, s.got))
                    if b"{" in s.got:
                        self.assertIn("error", json.loads(s.got[s.got.index(b"{"):]), path)
            for i in ids:
                for data in (head("DELETE", f"/v1/files/{i}", "Connection: close"),
                             head("POST", f"/v1/batches/{i}/cancel", "Content-Length: 0", "Connection: close")):
                    with self.connect() as s:
                        s.send(data)
                        s.read(10)
                        self.assertIn(s.status, (400, 404, 405, 431), (i, s.got))

    def test_ids_in_bodies_and_queries(self):
        made = 0
        with self.served_beside():
            for i in ("*", "}", "../x", "a:b", "file-*", "x" * 5000, "\u0000", "", "file-" + ULID.lower()):
                refused = self.web.batch(i)
                if refused.status == 200:
                    made += 1
                    self.assertEqual(refused.json["status"], "failed")
                else:
                    self.assertEqual(refused.status, 400, i)
            for limit in ("-1", "1e9", "NaN", "", "0", "99999999999999999999", "-18446744073709551615", "0x10", "1%00", "1 1"):
                for path in ("/v1/files", "/v1/batches"):
                    self.assertEqual(self.web.get(f"{path}?limit={limit.replace(' ', '%20')}").status, 400, (path, limit))
            for after in ("*", "%00", "x" * 5000, "%ff", "batch_" + "Z" * 26, "file-" + ULID):
                for path in ("/v1/files", "/v1/batches"):
                    self.assertIn(self.web.get(f"{path}?after={after}").status, (200, 400), (path, after))
            self.keys = self.all_keys()
        self.assertLessEqual(sum(":batch:" in k for k in self.keys), made)


class Bodies(Hostile):
    def test_forms(self):
        other = (b'name="note"', b"x" * MIB)
        two = form(b"MARK", PURPOSE, FILE, (FILE[0], b'{"a": 1}\n'))
        with self.served_beside():
            for data in (upload(form(b"MARK", PURPOSE, FILE), mark="", kind="multipart/form-data"),
                         upload(form(b"MARK", PURPOSE, FILE), mark=""),
                         upload(form(b"MARK", PURPOSE, FILE), mark="OTHER"),
                         upload(form(b"MARK", PURPOSE, FILE), mark="x" * 3000),
                         upload(form(b"MARK", PURPOSE, FILE), kind="text/plain; boundary="),
                         upload(form(b"MARK", PURPOSE, FILE, end=False)),
                         upload(form(b"MARK", PURPOSE, FILE)[:-20]),
                         upload(two), upload(b""), upload(b"--MARK--\r\n"), upload(b"\r\n" * 1000),
                         upload(form(b"MARK", PURPOSE)), upload(form(b"MARK", FILE)), upload(form(b"MARK", PURPOSE, other, FILE)),
                         upload(form(b"MARK", PURPOSE, (b'name="file"', FILE[1]))),
                         upload(form(b"MARK", (b'name="purpose"', b"batch" * 100), FILE)),
                         upload(b"--MARK\r\n" + b"X-Y: " + b"z" * 200_000 + b"\r\n\r\n" + FILE[1]),
                         upload(b"--MARK\r\nnothing\r\n\r\n" + FILE[1] + b"\r\n--MARK--\r\n")):
                with self.connect() as s:
                    s.send(data)
                    s.read(5, until=b'"error"')
                    self.assertEqual(s.status, 400, (data[:300], s.got))
            name = (b'name="file"; filename="\xff\xfe\\\x01.jsonl"', FILE[1])
            with self.connect() as s:
                s.send(upload(form(b"MARK", PURPOSE, name)))
                s.read(5, until=b"}")
                self.assertEqual(s.status, 200, s.got)
                made = json.loads(s.got[s.got.index(b"{"):])
            self.assertEqual(self.web.ask("DELETE", f"/v1/files/{made['id']}").status, 200)

    def test_forms_that_go_on_for_ever(self):
        with self.served_beside():
            for begin in (b"", b"--MARK\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n",
                          b"--MARK\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"):
                with self.connect() as s:
                    s.send(upload(begin, length=1 << 30))
                    sent = 0
                    while sent < 1 << 30 and not select.select([s.s], [], [], 0)[0] and s.send(b"x" * 65536):
                        sent += 65536
                    self.assertLess(sent, 32 * MIB)
                    s.read(5, until=b"\r\n\r\n")
                    self.assertEqual(s.status, 400)

    def test_many_long_requests_of_batches_at_once(self):
        """Half of a request is kept until it is whole: all together they are bounded."""
        begin = b'{"model":"echo/any","endpoint":"/v1/chat/completions","requests":[{"custom_id":"'
        with self.served_beside():
            many = [self.connect() for _ in range(20)]
            for s in many:
                self.addCleanup(s.s.close)
                s.send(head("POST", "/api/v1/batches", f"Content-Length: {len(begin) + 25 * MIB}") + begin)
            for _ in range(25):
                for s in many:
                    s.send(b"x" * MIB)
            self.assertLess(memory_peak_mib(self.pid), self.mib + 400)
            for s in many:
                s.read(10, until=b"\r\n\r\n")
                s.s.close()
            self.assertEqual({s.status for s in many}, {400, 503}, "some are read to their end, which is none")

    def test_batches_with_their_requests_cut_anywhere_leave_nothing(self):
        whole = json.dumps({"model": "echo/any", "endpoint": CHAT, "requests": [
            {"custom_id": f"c{i}", "body": {"messages": QUESTION["messages"]}} for i in range(3)]}).encode()
        messages = json.dumps({"requests": [{"custom_id": "a", "params": {**QUESTION, "max_tokens": 9}}]}).encode()
        with self.served_beside():
            for path, body in (("/api/v1/batches", whole), ("/v1/messages/batches", messages)):
                data = head("POST", path, f"Content-Length: {len(body)}") + body
                for at in range(0, len(data), 3):
                    with self.connect() as s:
                        s.send(data[:at])
                for bad in (body[:-1], b"[" * 100_000, b'{"requests":' + b"[" * 100_000, body + body, b"{}", b"", b"\xff" + body):
                    with self.connect() as s:
                        s.send(head("POST", path, f"Content-Length: {len(bad)}", "Connection: close") + bad)
                        s.read(10)
                        self.assertEqual(s.status, 400, (path, bad[:50], s.got))

    def test_json(self):
        deep = 100_000
        long = json.dumps({**QUESTION, "messages": [{"role": "user", "content": "x" * (32 * MIB)}]}).encode()
        with self.served_beside():
            for body, statuses in ((b"[" * deep + b"]" * deep, (400,)), (b'{"a":' * deep + b"1" + b"}" * deep, (400,)),
                                   (TEXT[:-1] + b',"x":' + b"[" * deep + b"]" * deep + b"}", (400,)),
                                   (long, (413,)), (TEXT[:-10], (400,)), (b"", (400,)), (b"\0" * 100, (400,)),
                                   (b"\xff\xfe" + TEXT, (400,)), (TEXT.replace(b"hello", b"\xff\xc0\x80"), (200, 400)),
                                   (TEXT.replace(b"hello", b"\\ud800"), (200, 400)), (TEXT + b"{}", (400,)),
                                   (TEXT[:-1] + b',"model":"no/such"}', (200, 400, 404)),
                                   (b'{"model":"echo/any","messages":' + b"9" * 1000 + b"}", (200, 400))):
                with self.connect() as s:
                    s.send(chat("Connection: close", body=body))
                    s.read(30)
                    self.assertIn(s.status, statuses, (body[:60], s.got[:300]))
                    json.loads(s.got[s.got.index(b"\r\n\r\n"):])
                if len(body) <= MIB:
                    self.assertEqual(self.web.post("/v1/batches", body).status, 400)
        self.assertLess(memory_peak_mib(self.pid), self.mib + 256)

    def test_an_upload_cut_at_every_byte_leaves_nothing(self):
        whole = upload(form(b"MARK", PURPOSE, FILE))
        with self.served_beside():
            for at in range(len(whole)):
                with self.connect() as s:
                    s.send(whole[:at])
                    if at % 2:
                        s.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        # pieces that were stored already go too
        with self.served_beside():
            big = b"".join(line(i, "echo/any", "y" * 1000).encode() + b"\n" for i in range(8000))
            data = upload(form(b"MARK", PURPOSE, (FILE[0], big)))
            for share in (0.3, 0.6, 0.999):
                with self.connect() as s:
                    s.send(data[:int(len(data) * share)])
                    wait_for("pieces to be stored", lambda: len(self.all_keys()) > len(self.keys), 10)
        self.assertEqual(self.web.get("/v1/files").json["data"], [])


class Strangers(WebCase):
    def test_a_key_of_another_tenant_reaches_nothing(self):
        c, web = self.gateway()
        a, b = (Web(web.port, self.key(c, "--tenant", t)) for t in "ab")
        self.wait_for_keys(web, a, b)
        file = a.upload("".join(line(i, "echo/any") + "\n" for i in range(20))).json
        batch = a.wait(a.batch(file["id"]).json["id"])
        output = batch["output_file_id"]
        theirs = b.wait(b.batch(b.upload(line(0, "echo/any") + "\n").json["id"]).json["id"])["id"]
        own = [a.get(p).body for p in ("/v1/files", "/v1/batches", f"/v1/files/{output}", f"/v1/files/{output}/content")]
        for api in ("/v1", "/api/v1"):
            for method, path in (("GET", f"/files/{file['id']}"), ("GET", f"/files/{file['id']}/content"),
                                 ("DELETE", f"/files/{file['id']}"), ("GET", f"/files/{output}"),
                                 ("GET", f"/files/{output}/content"), ("GET", f"/batches/{batch['id']}"),
                                 ("POST", f"/batches/{batch['id']}/cancel")):
                refused = b.ask(method, api + path)
                self.assertEqual(refused.status, 404, (method, path, refused.body))
                self.assertEqual(web.ask(method, api + path).status, 401, (method, path))
        for path in (f"/ui/api/batches/{batch['id']}/receipt", f"/ui/api/batches/{batch['id']}/failed"):
            self.assertEqual((a.get(path).status, b.get(path).status, web.get(path).status), (200, 404, 401), path)
        for method, path in (("GET", f"/v1/messages/batches/{batch['id']}"), ("GET", f"/v1/messages/batches/{batch['id']}/results"),
                             ("POST", f"/v1/messages/batches/{batch['id']}/cancel")):
            self.assertEqual((b.ask(method, path).status, web.ask(method, path).status), (404, 401), path)
        events = self.events(b)
        self.assertNotIn(batch["id"].encode(), events)
        self.assertIn(theirs.encode(), events)
        self.assertIn(b'"restricted":true', events.replace(b" ", b""))
        taken = b.batch(file["id"]).json
        self.assertEqual((taken["status"], taken["errors"]["data"][0]["param"]), ("failed", "file_id"))
        for path in ("/v1/files", "/v1/batches"):
            seen = {x["id"] for x in b.get(path).json["data"]}
            self.assertFalse(seen & {file["id"], batch["id"], output})
            self.assertFalse({x["id"] for x in b.get(f"{path}?after={batch['id']}").json.get("data", [])} & {batch["id"]})
        again = [a.get(p).body for p in ("/v1/files", "/v1/batches", f"/v1/files/{output}", f"/v1/files/{output}/content")]
        self.assertEqual(again, own, "nothing changed")
        # a key as long as a header may be, and one with all there is in it
        for bad in ("x" * 10_000, "sk-\x7f'\"{}:*", ""):
            self.assertEqual(web.get("/v1/models", headers={"Authorization": f"Bearer {bad}"}).status, 401)


    def events(self, web):
        """What the page is told in the first seconds."""
        with Socket(web.port) as s:
            s.send(head("GET", "/ui/api/events", f"Authorization: Bearer {web.key}"))
            return s.read(4)


class Crowds(Hostile):
    patience = (25, 10, 10)
    crowd = 10_000

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < self.crowd + 500:
            sys.stderr.write(f"SKIPPED: {self.crowd} connections need more descriptors than the hard limit of {hard}\n")
            self.skipTest("RLIMIT_NOFILE")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        super().setUp()

    def open(self, n, data=b""):
        many = []
        for _ in range(n):
            s = socket.socket()
            s.connect(("127.0.0.1", self.web.port))
            if data:
                s.send(data)
            many.append(s)
        self.addCleanup(lambda: [s.close() for s in many])
        return many

    def test_ten_thousand_connections_that_say_nothing(self):
        self.grows_mib = 200
        began = time.monotonic()
        with self.served_beside() as good:
            many = self.open(self.crowd // 2) + self.open(self.crowd // 2, b"GET /healthz HTTP/1.1\r\nX: ")
            wait_for("all to be in", lambda: descriptors(self.pid) >= self.descriptors + self.crowd - 20, 20)
            kib = (resident_mib(self.pid) - self.mib) * 1024 / self.crowd
            sys.stderr.write(f"{kib:.1f} KiB a connection; all in after {time.monotonic() - began:.1f} s\n")
            self.assertLess(kib, 16)
            good.took.clear()
            time.sleep(5)
            beside = list(good.took)
            sys.stderr.write(f"calls: {self.usual * 1e3:.1f} ms alone, {statistics.median(beside) * 1e3:.1f} ms beside them\n")
            self.assertLess(statistics.median(beside), 5 * self.usual + 0.1)
            wait_for("all to be cut", lambda: descriptors(self.pid) <= self.descriptors + 3, 40)
            for s in random.Random(3).sample(many, 100):
                s.settimeout(1)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(s.recv(1), b"")

    def test_many_that_come_and_go_at_once(self):
        with self.served_beside():
            def churn(seed):
                rng = random.Random(seed)
                for i in range(1500):
                    with contextlib.suppress(OSError), socket.socket() as s:
                        s.connect(("127.0.0.1", self.web.port))
                        if rng.random() < 0.7:
                            s.send(chat()[:rng.randrange(len(chat()) + 60)])
                        if rng.random() < 0.5:
                            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

            threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()

    def test_it_stops_though_clients_hang_on(self):
        file = self.web.upload("\n".join(line(i, "echo/any", "z" * 2000) for i in range(3000))).json["id"]
        hanging = self.open(50) + self.open(50, head("GET", f"/v1/files/{file}/content"))
        hanging += self.open(50, head("POST", CHAT, "Content-Length: 1000") + b"{") + self.open(50, upload(b"", length=10000))
        wait_for("all to be in", lambda: descriptors(self.pid) >= self.descriptors + 180, 10)
        os.kill(self.pid, signal.SIGTERM)
        time.sleep(0.3)
        os.kill(self.pid, signal.SIGTERM)  # the second: now
        wait_for("another to be in its place", lambda: gateway_pid(self.c) not in (None, self.pid), 15)
        wait_for("it to serve", lambda: self.served_again(), 15)
        died = [x for x in self.c.tail().splitlines() if "child.died" in x]
        self.assertEqual(len(died), 1, died)
        self.assertIn('child="gateway" how="exit code 0"', died[0])
        del hanging

    def served_again(self):
        with contextlib.suppress(OSError):
            return self.web.post(CHAT, QUESTION).status == 200
        return False


if __name__ == "__main__":
    main()
