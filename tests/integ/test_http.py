"""What goes wrong on the way to a provider is told apart, costs no job, and is mended by a reload; connections are
used again; proxies and headers are those of the configuration."""
import base64
import contextlib
import os
import re
import signal
import socket
import threading
import unittest.mock

from harness import Case, line, main, wait_for, write_lines
from test_tls import TlsProvider

JOBS = 40
FAILURES_TO_PARK = 10
# A label longer than any may be: no server of names is asked.
NO_NAME = "a" * 64 + ".test"


class Relay:
    """Hands on what comes to a port, after a CONNECT if it is a proxy; keeps the beginnings of what clients said."""

    def __init__(self, port, is_proxy):
        self.to, self.is_proxy = port, is_proxy
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                got = client.recv(65536)
                if not got:
                    return
                head += got
            self.heads.append(head.decode(errors="replace"))
            if self.is_proxy:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head)
            back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
            back.start()
            self.pump(client, server)
            back.join()

    @staticmethod
    def pump(a, b):
        with contextlib.suppress(OSError):
            while got := a.recv(65536):
                b.sendall(got)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Http(Case):
    def relay(self, port, is_proxy):
        r = Relay(port, is_proxy)
        self.addCleanup(r.stop)
        return r

    def http_cluster(self, provider, base_url=None, **more):
        """Its simopenai is at base_url until mend()."""
        c = self.cluster(provider, up=False, **more)
        with open(c.config) as f:
            self.sound = f.read()
        if base_url:
            with open(c.config, "w") as f:
                f.write(self.sound.replace(f"http://127.0.0.1:{provider.port}/v1\"", f'{base_url}"', 1))
        c.start()
        return c

    def mend(self, c):
        with open(c.config, "w") as f:
            f.write(self.sound)
        c.up.send_signal(signal.SIGHUP)

    def submit(self, c, jobs):
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i, "test/gpt") for i in range(jobs)))
        return c.run("submit", path).stdout.strip()

    def check_outage(self, base_url, cause, why):
        p = self.provider()
        c = self.http_cluster(p, base_url)
        batch = self.submit(c, JOBS)
        parked = wait_for("the endpoint to be parked", lambda: c.status(batch)["parked"], 20)
        self.assertEqual([x["error_type"] for x in parked], [cause])
        self.assertIn(cause, c.run("status", batch).stdout)
        told = [x for x in c.tail(1000).splitlines() if "provider.no_answer" in x]
        self.assertRegex("\n".join(told), f"provider=simopenai cause={cause} calls=[0-9]+ why=\"{why}")
        self.assertLessEqual(len(told), 2, told)
        self.mend(c)
        self.assertEqual(c.wait(batch)["request_counts"]["completed"], JOBS)
        results = c.results(batch)
        self.check_every_job_once(results, JOBS)
        causes = {a.get("error_type") for r in results for a in r["penstock"]["attempts"][:-1]}
        self.assertLessEqual(causes, {cause})
        # An outage costs no attempts but those it is known by; a reload begins to count anew, perhaps a moment before the
        # worker has read it.
        self.assertLess(c.receipt(batch)["endpoints"][0]["retried"], 2 * FAILURES_TO_PARK)

    def test_a_name_that_does_not_resolve(self):
        self.check_outage(f"http://{NO_NAME}/v1", "dns_failed", f"the name {NO_NAME} does not resolve\"")

    def test_a_server_without_tls(self):
        p = self.provider()
        self.check_outage(f"https://127.0.0.1:{p.port}/v1", "tls_failed", "TLS handshake failed: ")

    def test_nobody_there(self):
        self.check_outage("http://127.0.0.1:9/v1", "connection", "connection refused by 127.0.0.1 port 9\"")

    def check_through(self, p, proxy, environment):
        """Jobs to a provider behind TLS go through; by whom is the caller's question."""
        c = self.cluster(p, up=False)
        with open(c.config) as f:
            text = f.read()
        trust = f'ca_file: "{p.ca_file}", {proxy}'
        with open(c.config, "w") as f:
            f.write(text.replace('base_url: "http:', 'base_url: "https:').replace("api_key:", trust + "api_key:"))
        with unittest.mock.patch.dict(os.environ, environment):
            c.start()
        batch = self.submit(c, JOBS)
        c.wait(batch)
        self.check_every_job_once(c.results(batch), JOBS)

    def tls_provider(self):
        p = TlsProvider()
        self.addCleanup(p.stop)
        return p

    def test_tls_goes_through_proxies(self):
        p = self.tls_provider()
        names = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"),
                              "")
        own, other = self.relay(p.port, True), self.relay(p.port, True)
        self.check_through(p, f'proxy: "http://me:secret@127.0.0.1:{own.port}", ',
                           names | {"https_proxy": f"http://127.0.0.1:{other.port}"})
        said = base64.b64encode(b"me:secret").decode()
        self.assertTrue(own.heads)
        for head in own.heads:
            self.assertTrue(head.startswith(f"CONNECT 127.0.0.1:{p.port} HTTP/1.1\r\n"), head)
            self.assertIn(f"Proxy-Authorization: Basic {said}\r\n", head)
            self.assertNotIn("good-key", head)
        self.assertEqual(other.heads, [])
        self.check_through(p, "", names | {"https_proxy": f"http://127.0.0.1:{other.port}"})
        self.assertTrue(other.heads)
        other.heads.clear()
        self.check_through(p, "", names | {"https_proxy": f"http://127.0.0.1:{other.port}", "no_proxy": "127.0.0.1"})
        self.check_through(p, 'proxy: "", ', names | {"https_proxy": f"http://127.0.0.1:{other.port}"})
        self.assertEqual(other.heads, [])

    def test_headers_of_the_configuration(self):
        p = self.provider()
        r = self.relay(p.port, False)
        c = self.cluster(r, up=False)
        with open(c.config) as f:
            text = f.read()
        with open(c.config, "w") as f:
            f.write(text.replace("api_key:", 'headers: { X-Title: My batches, X-Org: "${ORG}" }, compressed_answers: true, '
                                             "api_key:"))
        with unittest.mock.patch.dict(os.environ, {"ORG": "org-1"}):
            c.start()
        batch = self.submit(c, JOBS)
        c.wait(batch)
        self.check_every_job_once(c.results(batch), JOBS)
        self.assertTrue(r.heads)
        for head in r.heads:
            self.assertIn("X-Title: My batches\r\nX-Org: org-1\r\n", head)
            self.assertIn("Accept-Encoding: gzip\r\n", head)

    def test_connections_are_used_again(self):
        p = self.provider()
        c = self.http_cluster(p, limits="concurrency: 8")
        jobs, places = 1000, 8
        batch = self.submit(c, jobs)
        c.wait(batch)
        self.check_every_job_once(c.results(batch), jobs)
        made = p.stats()["wire"]["connections"]
        c.up.send_signal(signal.SIGTERM)
        c.up.wait(timeout=40)
        said = [tuple(map(int, x)) for x in re.findall(r"worker\.stats .* calls=(\d+) .* connections=(\d+) reused=(\d+)",
                                                       c.tail(1000))]
        [(calls, connections, reused)] = [x for x in said if x[0]]
        # An idle one may have been closed before the next job came.
        self.assertLessEqual(connections, places + 2)
        self.assertLessEqual(connections, made)  # the provider's number has those who asked it, too
        self.assertEqual((calls, reused), (jobs, jobs - connections))


if __name__ == "__main__":
    main()
