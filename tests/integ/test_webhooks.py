"""Webhooks: what a receiver that fails, hangs, goes away or lies gets to see, and what gateways that die leave to others.

The schedule is not waited for: what is due later is made due by hand.
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import main, program, wait_for

SECRET = b"0123456789abcdef0123456789abcdef"
WHSEC = "whsec_" + base64.b64encode(SECRET).decode()
SET = "pst:{gateway}:hooks"
RECORD = "pst:{gateway}:hook:"


def batch(i):
    return f"batch_01J8ZQ4K7N9V0M2X3C4B5A{i:04d}"


class Redis:
    """redis-server on a socket in a directory, and commands to it."""

    def __init__(self, dir):
        self.path = os.path.join(dir, "redis.sock")
        self.url = f"unix://{self.path}"
        self.dir = dir
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path, "--dir", self.dir, "--save", "", "--appendonly",
             "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
        wait_for("redis", self.answers)

    def answers(self):
        try:
            return self("PING") == "PONG"
        except (OSError, AssertionError):
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __call__(self, *args):
        parts = [str(a).encode() for a in args]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            with s.makefile("rb") as f:
                return self.reply(f)

    def reply(self, f):
        line = f.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:].decode()
        if kind == b"*":
            return [self.reply(f) for _ in range(int(rest))]
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else f.read(n + 2)[:-2].decode()
        assert kind in (b"+", b":"), line
        return int(rest) if kind == b":" else rest

    def record(self, id):
        flat = self("HGETALL", RECORD + id)
        return dict(zip(flat[::2], flat[1::2]))


class Receiver(http.server.ThreadingHTTPServer):
    """Answers each path as its `plan` says: a list of statuses, the last for ever; or "hang"."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.plan = {}
        self.got = []       # (path, headers, body)
        self.now = self.most = 0
        self.delay = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path, *plan, scheme="http"):
        self.plan[path] = list(plan) or [200]
        return f"{scheme}://127.0.0.1:{self.server_address[1]}{path}"

    def of(self, path):
        with self.lock:
            return [g for g in self.got if g[0] == path]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            server.got.append((self.path, dict((k.lower(), v) for k, v in self.headers.items()), body))
            plan = server.plan[self.path]
            status = plan.pop(0) if len(plan) > 1 else plan[0]
        try:
            time.sleep(server.delay)
            self.answer(status)
        except OSError:
            pass
        finally:
            with server.lock:
                server.now -= 1

    def answer(self, status):
        if status == "hang":
            time.sleep(20)
            return
        endless = status == "endless"
        self.send_response(200 if endless else status)
        if status == 302:
            self.send_header("location", "/followed")
        if status == 503:
            self.send_header("retry-after", "1000")
        self.end_headers()
        while endless:
            self.wfile.write(b"x" * 65536)

    def log_message(self, *args):
        pass


class Webhooks(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="pst")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.redis = Redis(self.dir)
        self.addCleanup(lambda: self.redis.kill())
        self.receiver = Receiver()
        self.addCleanup(self.receiver.server_close)
        self.addCleanup(self.receiver.shutdown)
        self.drivers = []

    def driver(self, secret=WHSEC, where="private", **env):
        log = os.path.join(self.dir, f"log{len(self.drivers)}")
        with open(log, "w") as f:
            d = subprocess.Popen([program("webhook_driver"), self.redis.url, secret, where], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=f, text=True, bufsize=1, env={**os.environ, **env})
        d.log = log
        self.drivers.append(d)
        self.addCleanup(self.end, d)
        return d

    def end(self, d):
        if d.poll() is None:
            d.stdin.close()
            self.assertEqual(d.wait(timeout=20), 0)
        d.stdout.close()
        if not d.stdin.closed:
            d.stdin.close()

    def add(self, d, url, i=1, status="completed", dialect=0, want="stored"):
        d.stdin.write(f"{url} {batch(i)} {status} {dialect} 1700000000\n")
        self.assertEqual(d.stdout.readline().rstrip(), want)

    def ids(self):
        return self.redis("ZRANGE", SET, 0, -1)

    def make_due(self):
        """All that waits for its next try is due now; how long it would have waited, in seconds."""
        now = time.time()
        waits = [float(score) / 1000 - now for score in self.redis("ZRANGE", SET, 0, -1, "WITHSCORES")[1::2]]
        for id in self.ids():
            self.redis("ZADD", SET, "XX", 0, id)
        return waits

    def wait_tries(self, id, n):
        wait_for(f"{n} tries", lambda: self.redis.record(id).get("tries") == str(n), 15)

    def wait_ended(self, id, how):
        wait_for(how, lambda: self.redis.record(id).get("ended") == how, 15)
        self.assertNotIn(id, self.ids())

    def check_signed(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        want = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        self.assertEqual(headers["webhook-signature"], f"v1,{want}")
        self.assertLess(abs(time.time() - int(headers["webhook-timestamp"])), 300)
        self.assertEqual(headers["content-type"], "application/json")

    def test_retries_until_it_is_heard(self):
        d = self.driver()
        self.add(d, self.receiver.url("/a", 500, 302, 404, 200))
        id = wait_for("a delivery", self.ids)[0]
        for tries, least, most in ((1, 4, 6), (2, 29, 34), (3, 119, 133)):
            self.wait_tries(id, tries)
            wait, = self.make_due()
            self.assertTrue(least <= wait <= most, (tries, wait))
        self.wait_ended(id, "delivered")
        got = self.receiver.of("/a")
        self.assertEqual(len(got), 4)
        self.assertEqual(self.receiver.of("/followed"), [])
        for _, headers, body in got:
            self.check_signed(headers, body)
            self.assertEqual(headers["webhook-id"], id)
            self.assertEqual(json.loads(body), {"id": id, "object": "event", "type": "batch.completed",
                                                "created_at": 1700000000, "data": {"id": batch(1)}})
        self.assertEqual(self.redis.record(id)["status"], "200")
        self.assertTrue(0 < self.redis("TTL", RECORD + id) <= 3 * 86400)

    def test_the_same_event_is_told_once(self):
        d = self.driver()
        url = self.receiver.url("/a")
        self.add(d, url)
        wait_for("it", lambda: self.receiver.of("/a"))
        wait_for("its end", lambda: not self.ids())
        self.add(d, url)
        self.add(self.driver(), url, dialect=1)
        self.add(d, url, status="failed", dialect=1)
        wait_for("the other", lambda: len(self.receiver.of("/a")) == 2)
        time.sleep(1.5)
        first, second = (json.loads(body) for _, _, body in self.receiver.of("/a"))
        self.assertEqual((first["type"], second["type"]), ("batch.completed", "batch.failed"))
        self.assertEqual(second["data"], {"id": batch(1), "object": "batch", "status": "failed"})

    def test_gone_and_given_up(self):
        d = self.driver()
        self.add(d, self.receiver.url("/gone", 410))
        id = wait_for("it", lambda: self.receiver.of("/gone"))[0][1]["webhook-id"]
        self.wait_ended(id, "gone")
        self.add(d, self.receiver.url("/never", 500))
        id = wait_for("it", lambda: self.receiver.of("/never"))[0][1]["webhook-id"]
        for tries in range(1, 9):
            self.wait_tries(id, tries)
            self.make_due()
        self.wait_ended(id, "gave_up")
        self.assertEqual(len(self.receiver.of("/never")), 9)
        self.assertEqual(len(self.receiver.of("/gone")), 1)

    def test_retry_after(self):
        self.add(self.driver(), self.receiver.url("/a", 503))
        self.wait_tries(wait_for("it", self.ids)[0], 1)
        wait, = self.make_due()
        self.assertTrue(995 <= wait <= 1000, wait)

    def test_many_gateways_tell_each_once(self):
        self.receiver.delay = 0.02
        ds = [self.driver() for _ in range(3)]
        for i in range(60):
            self.add(ds[i % 3], self.receiver.url(f"/{i}"), i)

        def all_told():
            self.make_due_unleased()
            return not self.ids()

        wait_for("all", all_told, 60, 0.2)
        for i in range(60):
            self.assertEqual(len(self.receiver.of(f"/{i}")), 1, i)
        self.assertLessEqual(self.receiver.most, 6, "two calls to a host and a gateway")

    def make_due_unleased(self):
        """Due now is what went back because its host was busy: leases end later than that."""
        self.redis("EVAL", "for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do "
                           "redis.call('ZADD', KEYS[1], 0, id) end return 0", 1, SET, (time.time() + 12) * 1000)

    def test_a_gateway_that_dies_leaves_it_to_others(self):
        self.receiver.delay = 3
        first = self.driver()
        self.add(first, self.receiver.url("/a"))
        wait_for("the call", lambda: self.receiver.of("/a"))
        first.send_signal(signal.SIGKILL)
        first.wait()
        lease, = (float(s) / 1000 - time.time() for s in self.redis("ZRANGE", SET, 0, 0, "WITHSCORES")[1::2])
        self.assertTrue(50 < lease <= 60, lease)
        second = self.driver()
        time.sleep(1.5)
        self.assertEqual(len(self.receiver.of("/a")), 1, "it is leased")
        self.receiver.delay = 0
        id, = self.ids()
        self.make_due()
        self.wait_ended(id, "delivered")
        a, b = self.receiver.of("/a")
        self.assertEqual(a[1]["webhook-id"], b[1]["webhook-id"])
        self.assertIsNone(second.poll())

    def test_a_gateway_that_slept_changes_nothing(self):
        d = self.driver()
        self.receiver.delay = 1
        self.add(d, self.receiver.url("/a", 500, 200))
        wait_for("the call", lambda: self.receiver.of("/a"))
        id, = self.ids()
        self.redis("ZADD", SET, "XX", 9e12, id)  # as another's lease
        time.sleep(2)
        self.assertEqual(self.redis.record(id)["tries"], "0")
        self.assertEqual(self.redis("ZSCORE", SET, id), "9000000000000")

    def test_redis_that_dies_and_returns(self):
        d = self.driver()
        self.add(d, self.receiver.url("/a", 500, 200))
        id = wait_for("it", self.ids)[0]
        self.wait_tries(id, 1)
        self.redis.kill()
        d.stdin.write(f"{self.receiver.url('/b')} {batch(2)} completed 0 1\n")
        time.sleep(1)
        self.redis.start()
        self.assertEqual(d.stdout.readline(), "stored\n")
        self.make_due()
        wait_for("both", lambda: len(self.receiver.of("/a")) == 2 and self.receiver.of("/b"), 20)

    def test_a_host_that_hangs(self):
        """Two calls wait for it; others are told meanwhile; ten seconds later it was a failure."""
        other = Receiver()
        self.addCleanup(other.server_close)
        self.addCleanup(other.shutdown)
        d = self.driver()
        for i in range(20):
            self.add(d, self.receiver.url(f"/hang{i}", "hang"), i)
        start = time.monotonic()
        self.add(d, other.url("/a"), 99)
        wait_for("the other", lambda: other.of("/a"), 5)
        wait_for("a failure", lambda: any(self.redis.record(i).get("tries") == "1" for i in self.ids()), 20)
        self.assertGreater(time.monotonic() - start, 9)
        self.assertLessEqual(self.receiver.most, 4)  # a hanging handler outlives its call

    def test_what_an_answer_says_is_nothing_to_us(self):
        self.add(self.driver(), self.receiver.url("/a", "endless"))
        wait_for("its end", lambda: self.receiver.of("/a") and not self.ids(), 7)  # a call may take ten seconds
        self.assertEqual(len(self.receiver.of("/a")), 1)

    @unittest.skipUnless(shutil.which("openssl"), "makes its certificate with openssl")
    def test_tls(self):
        """A certificate that nobody vouches for is a failure like any other."""
        cert, key = os.path.join(self.dir, "cert"), os.path.join(self.dir, "key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days",
                        "2", "-subj", "/CN=t", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.receiver.socket = context.wrap_socket(self.receiver.socket, server_side=True)
        stranger = self.driver()
        self.add(stranger, self.receiver.url("/a", scheme="https"))
        id = wait_for("it", self.ids)[0]
        self.wait_tries(id, 1)
        self.assertIn("certificate", self.redis.record(id)["why"])
        self.end(stranger)
        self.driver(SSL_CERT_FILE=cert)
        self.make_due()
        self.wait_ended(id, "delivered")
        self.assertEqual(len(self.receiver.of("/a")), 1)

    def test_private_addresses(self):
        """Refused at once where it shows; where a name would hide it, when the socket is opened."""
        d = self.driver(where="public")
        port = self.receiver.server_address[1]
        d.stdin.write(f"http://127.0.0.1:{port}/a {batch(1)} completed 0 1\n")
        self.assertIn("public address", d.stdout.readline())
        self.receiver.url("/a")
        id = "evt_" + "0" * 32
        self.redis("HSET", RECORD + id, "url", f"http://127.0.0.1:{port}/a", "batch", batch(1), "event", "completed",
                   "dialect", 0, "created", 1, "tries", 0)
        self.redis("ZADD", SET, 0, id)
        self.wait_tries(id, 1)
        self.assertEqual(self.receiver.of("/a"), [])
        self.assertEqual(self.redis.record(id)["why"], "its address is not public")

    def test_records_that_are_none(self):
        d = self.driver(secret="")
        self.redis("ZADD", SET, 0, "evt_none", 0, "x" * 100, 0, "evt_odd")
        self.redis("HSET", RECORD + "evt_odd", "url", "ftp://h/")
        self.add(d, self.receiver.url("/a"))
        wait_for("the good one", lambda: self.receiver.of("/a"))
        wait_for("the others to go", lambda: self.ids() == ["x" * 100])
        self.assertNotIn("webhook-signature", self.receiver.of("/a")[0][1])

    def test_no_secret(self):
        d = subprocess.run([program("webhook_driver"), self.redis.url, "hunter2", "private"], capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, timeout=20)
        self.assertEqual(d.returncode, 2)
        self.assertIn("gateway.webhook_secret", d.stdout)
        self.assertNotIn("hunter2", d.stdout + d.stderr)


if __name__ == "__main__":
    main()
