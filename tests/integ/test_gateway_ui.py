"""The page's API: the cluster and its last hour, events, a batch's account, sessions; and /metrics."""
import http.client
import json
import re
import signal
import socket
import threading
import time

from harness import Case, line, main, wait_for
from web import CHAT, Web, WebCase

POLICY = ("default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
          "frame-ancestors 'none'; base-uri 'none'; form-action 'self'")


def echo_line(i):
    return line(i, "echo/any")


def ask_echo(web, **more):
    return web.post(CHAT, {"model": "echo/any", "messages": [{"role": "user", "content": "Hi"}], **more})


class Listener:
    """GET /ui/api/events, read by a thread until it ends."""

    def __init__(self, web, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        headers = dict(headers or {})
        if web.key:
            headers["Authorization"] = f"Bearer {web.key}"
        self.connection.request("GET", "/ui/api/events", headers=headers)
        self.answer = self.connection.getresponse()
        self.events = []
        self.over = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        name = None
        try:
            while row := self.answer.readline():
                word, _, text = row.decode().rstrip("\n").partition(": ")
                if word == "event":
                    name = text
                elif word == "data":
                    self.events.append((name, json.loads(text)))
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass
        self.over = True

    def of(self, name):
        return [data for n, data in list(self.events) if n == name]

    def close(self):
        self.connection.sock and self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()


class Metrics:
    """What /metrics says: name and labels to value."""

    def __init__(self, text):
        self.samples = {}
        for row in text.decode().splitlines():
            if not row.startswith("#"):
                name, value = row.rsplit(" ", 1)
                self.samples[name] = float(value)

    def get(self, name, **labels):
        return sum(v for k, v in self.samples.items() if k.split("{")[0] == name and
                   all(f'{label}="{value}"' in k for label, value in labels.items()))


def metrics_of(web, **more):
    answer = web.get("/metrics", **more)
    return Metrics(answer.body) if answer.status == 200 else answer


class UiCase(WebCase):
    def listen(self, web, **more):
        listener = Listener(web, **more)
        self.addCleanup(listener.close)
        return listener


class Page(UiCase):
    def test_files_of_the_page(self):
        c, web = self.gateway()
        page = web.get("/")
        self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"))
        for name, value in (("content-security-policy", POLICY), ("referrer-policy", "no-referrer"),
                            ("x-frame-options", "DENY"), ("x-content-type-options", "nosniff")):
            self.assertEqual(page.headers[name], value)
        names = re.findall(r'(?:src|href)="(ui/[^"]+)"', page.body.decode())
        self.assertGreater(len(names), 2)
        for name in names:
            got = web.get(f"/{name}")
            self.assertEqual(got.status, 200, name)
            self.assertEqual(got.headers["content-security-policy"], POLICY)
            tag = got.headers["etag"]
            for known in (tag, f'"other", {tag}', f"W/{tag}"):
                again = web.get(f"/{name}", headers={"if-none-match": known})
                self.assertEqual((again.status, again.body, again.headers["etag"]), (304, b"", tag))
            self.assertEqual(web.get(f"/{name}", headers={"if-none-match": '"other"'}).status, 200)
        head = web.ask("HEAD", "/")
        self.assertEqual((head.status, head.body, head.headers["content-length"]), (200, b"", str(len(page.body))))
        for path in ("/ui/nothing.js", "/ui/../ui/app.js", "/ui/"):
            self.assertEqual(web.get(path).status, 404, path)
        self.assertEqual(web.post("/").status, 405)


class Cluster(UiCase):
    def test_the_cluster_as_top_shows_it(self):
        c, web = self.gateway(limits="rpm: 600, concurrency: 10")
        web.wait(web.submit([echo_line(i) for i in range(50)]))
        ours = wait_for("its count", lambda: (lambda x: x if x["completed"] == 50 else None)(
            web.get("/ui/api/cluster").json), 5, 0.2)
        top = json.loads(c.run("top", "--json").stdout)
        self.assertEqual(list(ours), list(top))
        for name in ("accepted", "completed", "failed", "workers"):
            self.assertEqual(ours[name], top[name], name)
        self.assertEqual([p["name"] for p in ours["providers"]], [p["name"] for p in top["providers"]])
        [echo] = [e for e in ours["endpoints"] if e["provider"] == "echo"]
        self.assertEqual(list(echo), list(top["endpoints"][0]))
        self.assertEqual((echo["calls"], echo["completed"]), (50, 50))
        limits = [p["limits"] for p in ours["providers"] if p["name"] == "simopenai"]
        self.assertEqual([(x["rate"], x["limit"]) for x in limits[0]], [("requests_per_minute", 600)])

    def test_its_last_hour(self):
        c, web = self.gateway()

        def steps(n):
            h = web.get("/ui/api/history").json
            return h if h["endpoints"] and len(h["endpoints"][0]["calls"]) >= n else None

        first = wait_for("a step", lambda: steps(1), 15)
        web.wait(web.submit([echo_line(i) for i in range(50)]))
        h = wait_for("another step", lambda: steps(len(first["endpoints"][0]["calls"]) + 1), 15, 0.2)
        self.assertEqual(h["step_s"], 10)
        self.assertLess(abs(h["end"] - time.time()), 12)
        [e] = [e for e in h["endpoints"] if e["provider"] == "echo"]
        n = len(e["calls"])
        for name in ("calls", "completed", "rate_limited", "failed", "tokens", "p50_ms", "in_flight"):
            self.assertEqual(len(e[name]), n, name)
        self.assertEqual([e[k][-1] for k in ("calls", "completed", "rate_limited", "failed")], [50, 50, 0, 0])
        self.assertIsNone(e["calls"][0])
        self.assertGreater(e["tokens"][-1], 50)
        [p] = [p for p in h["providers"] if p["name"] == "echo"]
        self.assertEqual((list(p), len(p["in_flight"]), p["calls"][-1]), (["name", "in_flight", "calls"], n, 50))

    def test_a_broker_that_does_not_answer(self):
        c, web = self.gateway()
        listener = self.listen(web)
        wait_for("the cluster", lambda: listener.of("cluster"), 5)
        broker = c.kill("penstock-broker", signal.SIGSTOP)
        self.addCleanup(c.kill, "penstock-broker", signal.SIGCONT)
        wait_for("words of it", lambda: "error" in listener.of("cluster")[-1], 20)
        self.assertIn("broker", listener.of("cluster")[-1]["error"]["message"])
        self.assertEqual(web.get("/ui/api/cluster").status, 503)
        c.kill("penstock-broker", signal.SIGCONT)
        wait_for("the cluster again", lambda: "workers" in listener.of("cluster")[-1], 30)
        self.assertTrue(broker)


class Account(UiCase):
    def test_receipt_and_lines_that_failed(self):
        p = self.provider("--seed", 3)
        c, web = self.gateway(p)
        b = web.submit([line(i, "test/gpt", f"[[400]] {i}" if i % 3 == 0 else None) for i in range(90)])
        web.wait(b)
        self.assertEqual(web.get(f"/ui/api/batches/{b}/receipt").json, c.receipt(b))
        shown = web.get(f"/ui/api/batches/{b}/failed").json
        self.assertEqual({r["custom_id"] for r in shown["data"]}, {f"c-{i}" for i in range(0, 90, 3)})
        self.assertEqual({r["penstock"]["error_type"] for r in shown["data"]}, {"invalid_request"})
        by_id = {r["custom_id"]: r for r in c.results(b, "--errors")}
        self.assertEqual({r["custom_id"]: r for r in shown["data"]}, by_id)
        self.assertFalse(shown["has_more"])
        part = web.get(f"/ui/api/batches/{b}/failed?limit=7").json
        self.assertEqual((part["data"], part["has_more"]), (shown["data"][:7], True))
        self.assertEqual(web.get(f"/ui/api/batches/{b}/failed?limit=30").json, shown)
        for limit in ("0", "1001", "x"):
            self.assertEqual(web.get(f"/ui/api/batches/{b}/failed?limit={limit}").status, 400)

    def test_of_a_batch_that_nobody_has(self):
        c, web = self.gateway()
        for b in ("batch_" + "0" * 26, "x"):
            for what in ("receipt", "failed"):
                self.assertEqual(web.get(f"/ui/api/batches/{b}/{what}").status, 404)

    def test_a_batch_without_failures_is_not_read(self):
        c, web = self.gateway()
        b = web.submit([echo_line(i) for i in range(20)])
        web.wait(b)
        self.assertEqual(web.get(f"/ui/api/batches/{b}/failed").json, {"data": [], "has_more": False})


class Events(UiCase):
    def test_news_of_the_cluster_and_of_batches(self):
        c, web = self.gateway()
        listener = self.listen(web)
        self.assertEqual(listener.answer.getheader("content-type"), "text/event-stream; charset=utf-8")
        wait_for("no batches", lambda: listener.of("batches"), 5)
        self.assertEqual(listener.of("batches")[0]["data"], [])
        b = web.submit([echo_line(i) for i in range(40)], metadata={"a": "line\nend"})
        shown = wait_for("its end", lambda: [x for x in listener.of("batches") if x["data"] and
                                             x["data"][0]["status"] == "completed"], 10)
        self.assertEqual(shown[-1]["data"][0], web.get(f"/v1/batches/{b}").json)
        wait_for("its count", lambda: listener.of("cluster")[-1]["completed"] == 40, 5)
        batches, clusters = len(listener.of("batches")), len(listener.of("cluster"))
        wait_for("three seconds", lambda: len(listener.of("cluster")) >= clusters + 3, 10)
        self.assertEqual(len(listener.of("batches")), batches, "nothing changed")
        self.assertLess(len(listener.of("cluster")), 40, "once a second")
        late = self.listen(web)
        wait_for("what there is", lambda: late.of("batches") and late.of("cluster"), 2)
        self.assertEqual(late.of("batches")[0], shown[-1])

    def listen_without_reading(self, web):
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", web.port))
        s.sendall(b"GET /ui/api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        return s

    def test_who_does_not_read_is_passed_over(self):
        endpoints = "".join(f"  test/many-{i}: [ {{ provider: echo, model: many-{i} }} ]\n" for i in range(900))
        c, web = self.gateway(more=endpoints)
        slow, deaf = (self.listen_without_reading(web) for _ in range(2))
        quick = self.listen(web)
        wait_for("some", lambda: len(quick.of("cluster")) >= 5, 30, 0.1)
        before = metrics_of(web).get("process_resident_memory_bytes")
        wait_for("many", lambda: len(quick.of("cluster")) >= 25, 60, 0.1)
        size = len(json.dumps(quick.of("cluster")[-1]))
        self.assertGreater(size, 200_000)
        grown = metrics_of(web).get("process_resident_memory_bytes") - before
        self.assertLess(grown, 10 * size, "texts pile up")
        # What the sockets' buffers held, then the latest.
        slow.settimeout(10)
        read, seen = b"", None
        last = quick.of("cluster")[-1]["wall_ms"]
        while not seen or seen[-1] < last:
            got = slow.recv(1 << 20)
            self.assertTrue(got, "cut")
            read += got
            seen = [int(x) for x in re.findall(rb'event: cluster\ndata: \{"wall_ms":(\d+)', read)]
        told = [x["wall_ms"] for x in quick.of("cluster")]
        self.assertLess(len(seen), len(told) - 3, "those between were passed over")
        self.assertEqual(seen, sorted(seen))
        began = time.monotonic()
        c.up.send_signal(signal.SIGTERM)
        c.up.wait(timeout=40)
        self.assertLess(time.monotonic() - began, 10, "who does not read keeps nothing from ending")
        deaf.close()

    def test_listeners_do_not_keep_a_gateway_from_ending(self):
        c, web = self.gateway()
        listener = self.listen(web)
        wait_for("the cluster", lambda: listener.of("cluster"), 5)
        began = time.monotonic()
        c.up.send_signal(signal.SIGTERM)
        wait_for("its end", lambda: listener.over, 5)
        c.up.wait(timeout=15)
        self.assertLess(time.monotonic() - began, 10)

    def test_nobody_listens_for_ever(self):
        c, web = self.gateway()
        listeners = [Listener(web) for _ in range(8)]
        for x in listeners:
            wait_for("the cluster", lambda x=x: x.of("cluster"), 5)
            x.close()
        wait_for("none under way", lambda: metrics_of(web).get("penstock_gateway_requests_in_flight") == 1, 10, 0.2)


class Sessions(UiCase):
    def cookie(self, answer):
        return answer.headers["set-cookie"].split(";")[0]

    def test_a_session_stands_for_a_key(self):
        c, web = self.gateway()
        self.assertEqual(web.get("/ui/api/session").json, {"needs_key": False, "tenant": None})
        key, other = self.key(c, "--tenant", "acme"), self.key(c)
        self.wait_for_keys(web, Web(web.port, key), Web(web.port, other))
        self.assertEqual(web.get("/ui/api/session").json, {"needs_key": True, "tenant": None})
        self.assertEqual(web.get("/").status, 200, "the page itself is open")
        for path in ("cluster", "history", "events", "batches/batch_0/receipt", "batches/batch_0/failed"):
            self.assertEqual(web.get(f"/ui/api/{path}").status, 401, path)
        made = web.post("/ui/api/session", {"key": key})
        self.assertEqual((made.status, made.json), (200, {"needs_key": True, "tenant": "acme"}))
        self.assertEqual(made.headers["set-cookie"],
                         f"penstock_key={key}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000")
        secure = web.post("/ui/api/session", {"key": key}, headers={"x-forwarded-proto": "https"})
        self.assertTrue(secure.headers["set-cookie"].endswith("; Secure"))
        cookie = {"Cookie": self.cookie(made)}
        self.assertEqual(web.get("/ui/api/session", headers=cookie).json, {"needs_key": True, "tenant": "acme"})
        self.assertEqual(web.get("/v1/models", headers=cookie).status, 200)
        gone = web.ask("DELETE", "/ui/api/session", headers=cookie)
        self.assertEqual(gone.status, 200)
        self.assertIn("penstock_key=; ", gone.headers["set-cookie"])
        self.assertIn("Max-Age=0", gone.headers["set-cookie"])

    def test_what_is_no_key_opens_nothing(self):
        c, web = self.gateway()
        key = self.key(c)
        self.wait_for_keys(web, Web(web.port, key))
        for body, status in (({"key": "psk_" + "x" * 43}, 401), ({"key": "a; Path=/x"}, 401), ({"key": "x" * 2000}, 401),
                             ({"key": 7}, 400), ({}, 400), ("no json", 400), ({"key": "x" * 5000}, 413)):
            refused = web.post("/ui/api/session", body)
            self.assertEqual(refused.status, status, body)
            self.assertIsNone(refused.headers["set-cookie"])
        across = web.post("/ui/api/session", {"key": key}, headers={"sec-fetch-site": "same-site"})
        self.assertEqual((across.status, across.headers["set-cookie"]), (403, None))
        own = web.post("/ui/api/session", {"key": key}, headers={"sec-fetch-site": "same-origin"})
        self.assertEqual(own.status, 200)

    def test_a_tenant_sees_its_own_and_nothing_of_the_cluster(self):
        c, web = self.gateway()
        a, b, admin = (Web(web.port, self.key(c, *o)) for o in (("--tenant", "a"), ("--tenant", "b"), ()))
        self.wait_for_keys(web, a, b, admin)
        listeners = [self.listen(x) for x in (a, b, admin)]
        batch = a.submit([echo_line(i) for i in range(10)])
        a.wait(batch)
        for what in ("receipt", "failed"):
            self.assertEqual([x.get(f"/ui/api/batches/{batch}/{what}").status for x in (a, b, admin)], [200, 404, 200])
        for x in (a, b):
            cluster = x.get("/ui/api/cluster").json
            self.assertEqual((cluster["restricted"], cluster["providers"], cluster["endpoints"], cluster["completed"],
                              cluster["cost_usd"]), (True, [], [], 0, 0))
            history = x.get("/ui/api/history").json
            self.assertEqual((history["restricted"], history["endpoints"], history["providers"]), (True, [], []))
        wait_for("its count", lambda: admin.get("/ui/api/cluster").json["completed"] == 10, 5, 0.2)
        for x, count in zip(listeners, (1, 0, 1)):
            wait_for("batches", lambda: x.of("batches") and len(x.of("batches")[-1]["data"]) == count and x.of("cluster"), 5)
            self.assertEqual("restricted" in x.of("cluster")[-1], x is not listeners[2])
        self.assertFalse(any(x["data"] for x in listeners[1].of("batches")))

    def test_a_revoked_key_hears_no_more(self):
        c, web = self.gateway()
        key, other = Web(web.port, self.key(c)), Web(web.port, self.key(c, "--name", "other"))
        self.wait_for_keys(web, key, other)
        listener, stays = self.listen(key), self.listen(other)
        wait_for("the cluster", lambda: listener.of("cluster"), 5)
        [record] = [k for k in json.loads(c.run("keys", "list", "--json", "--data", c.data).stdout)["data"] if not k["name"]]
        c.run("keys", "revoke", record["id"], "--data", c.data)
        wait_for("its end", lambda: listener.over, 10)
        self.assertFalse(stays.over)


class Counted(UiCase):
    def test_requests_and_calls(self):
        c, web = self.gateway()
        ask_echo(web)
        ask_echo(web)
        list(ask_echo(web, stream=True).body)
        web.post(CHAT, "{")
        for path in ("/v1/files/file-1", "/v1/files/file-2", "/no/such/path", "/nor/this"):
            self.assertEqual(web.get(path).status, 404)
        web.upload(echo_line(0) + "\n")
        m = wait_for("the cluster", lambda: (lambda m: m if m.get("penstock_endpoint_calls_total") >= 3 else None)(
            metrics_of(web)), 15, 0.2)
        total = "penstock_gateway_requests_total"
        self.assertEqual(m.get(total, route=CHAT, method="POST", code="200"), 3)
        self.assertEqual(m.get(total, route=CHAT, method="POST", code="400"), 1)
        self.assertEqual(m.get(total, route="/v1/files/{id}", method="GET", code="404"), 2, "a route is a pattern")
        self.assertEqual(m.get(total, route="other", code="404"), 2)
        duration = "penstock_gateway_request_duration_seconds"
        self.assertEqual(m.get(f"{duration}_count", route=CHAT), 4)
        self.assertEqual(m.get(f"{duration}_bucket", route=CHAT, le="+Inf"), 4)
        self.assertGreater(m.get(f"{duration}_sum", route=CHAT), 0)
        self.assertEqual(m.get("penstock_gateway_calls_total", outcome="completed"), 3)
        self.assertEqual(m.get("penstock_gateway_streams_in_flight"), 0)
        self.assertGreater(m.get("penstock_gateway_tokens_total", direction="input"), 0)
        self.assertGreater(m.get("penstock_gateway_tokens_total", direction="output"), 0)
        self.assertGreater(m.get("penstock_gateway_uploaded_bytes_total"), len(echo_line(0)))
        self.assertEqual(m.get("penstock_gateway_requests_in_flight"), 1, "this one")
        self.assertGreaterEqual(m.get("penstock_gateway_connections"), 1)
        self.assertEqual(m.get("penstock_endpoint_calls_total", provider="echo", model="any"), 3)
        self.assertEqual(m.get("penstock_provider_workers", provider="echo"), 1)
        self.assertLess(abs(m.get("process_start_time_seconds") - time.time()), 120)
        self.assertGreater(m.get("process_resident_memory_bytes"), 1 << 20)
        self.assertGreater(m.get("process_cpu_seconds_total"), 0)
        self.assertEqual(m.get("penstock_build_info"), 1)
        self.assertEqual((m.get("penstock_gateway_broker_up"), m.get("penstock_gateway_redis_up")), (1, 1))

    def test_calls_whose_clients_left(self):
        p = self.provider("--latency-ms", 20000)
        c, web = self.gateway(p)
        with self.assertRaises(TimeoutError):
            web.post(CHAT, {"model": "test/gpt", "messages": [{"role": "user", "content": "Hi"}]}, timeout=1)
        wait_for("it to be counted", lambda: metrics_of(web).get("penstock_gateway_calls_total", outcome="abandoned") == 1,
                 10, 0.2)
        self.assertEqual(metrics_of(web).get("penstock_gateway_requests_total", route=CHAT, code="499"), 1)

    def test_who_may_see_them(self):
        c, web = self.gateway()
        elsewhere = {"x-forwarded-for": "203.0.113.9"}
        self.assertEqual(web.get("/metrics").status, 200)
        self.assertEqual(web.get("/metrics", headers=elsewhere).status, 403)
        tenant, admin = Web(web.port, self.key(c, "--tenant", "a")), Web(web.port, self.key(c))
        self.wait_for_keys(web, tenant, admin)
        self.assertEqual([x.get("/metrics", headers=elsewhere).status for x in (web, tenant, admin)], [401, 403, 200])
        self.assertEqual(web.get("/metrics").status, 200, "from this machine")


if __name__ == "__main__":
    main()
