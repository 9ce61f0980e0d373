"""Providers behind TLS, with HTTP/1.1 and HTTP/2: jobs go through, and errors are errors."""
import json
import os
import signal
import ssl
import tempfile
import unittest.mock
import urllib.request

from harness import Case, Provider, line, main, wait_for, write_lines

JOBS = 600


class TlsProvider(Provider):
    """The simulated provider with a certificate of its own, which nobody trusts who is not told to."""

    def __init__(self, *options):
        self.dir = tempfile.TemporaryDirectory(prefix="pst")
        self.ca_file = os.path.join(self.dir.name, "cert.pem")
        super().__init__("--self-signed", self.dir.name, *options)
        self.context = ssl.create_default_context(cafile=self.ca_file)

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/_sim/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
            return json.loads(answer.read() or b"{}")

    def wire(self):
        return self.stats()["wire"]

    def stop(self):
        super().stop()
        self.dir.cleanup()


class Tls(Case):
    def tls_provider(self, *options):
        p = TlsProvider(*options)
        self.addCleanup(p.stop)
        return p

    def tls_cluster(self, provider, ca_file, **more):
        c = self.cluster(provider, up=False, **more)
        with open(c.config) as f:
            self.plain = f.read()
        self.trust(c, ca_file)
        c.start()
        return c

    def trust(self, cluster, ca_file):
        """Writes the configuration: https, and whom to trust."""
        trust = f'ca_file: "{ca_file}", ' if ca_file else ""
        text = self.plain.replace('base_url: "http:', 'base_url: "https:').replace("api_key:", trust + "api_key:")
        with open(cluster.config, "w") as f:
            f.write(text)

    def submit(self, c, lines):
        path = write_lines(os.path.join(c.dir, "in.jsonl"), lines)
        return c.run("submit", path).stdout.strip()

    def check_transport(self, p, http2):
        wire, requests = p.wire(), p.stats()["requests"]
        self.assertEqual(wire["h2_streams"], requests if http2 else 0, wire)
        self.assertEqual(wire["tls"], wire["connections"], wire)

    def test_jobs_of_three_protocols(self):
        for http2 in (False, True):
            with self.subTest(http2=http2):
                p = self.tls_provider(*([] if http2 else ["--http1"]), "--latency-ms", 5)
                c = self.tls_cluster(p, p.ca_file)
                batch = self.submit(c, (line(i) for i in range(JOBS)))
                c.wait(batch)
                self.check_every_job_once(c.results(batch), JOBS)
                stats = p.stats()
                self.assertEqual((stats["requests"], stats["answered"], stats["answered_again"]), (JOBS, JOBS, 0))
                self.check_transport(p, http2)
                if http2:  # one for 64 calls at a time, of three workers; and those who asked for counters
                    self.assertLess(p.wire()["connections"], 30)

    def test_large_bodies(self):
        """Many records and windows each way."""
        text = "x" * (3 << 20)
        for http2 in (False, True):
            with self.subTest(http2=http2):
                p = self.tls_provider(*([] if http2 else ["--http1"]))
                c = self.tls_cluster(p, p.ca_file)
                batch = self.submit(c, [line(i, text=f"{text} {i}") for i in range(6)])
                c.wait(batch)
                for r in c.results(batch):
                    answer = r["response"]["body"]["choices"][0]["message"]["content"]
                    self.assertEqual(answer, f"echo:{text} {r['custom_id'][2:]}")
                self.check_transport(p, http2)

    def test_cuts_are_retried(self):
        """Over HTTP/2 a cut is the stream's: its neighbours hear nothing of it."""
        marks = ["[[cutx1]]", "[[cutmidx1]]", "[[500x1]]", "[[429x1]]", "[[garbagex1]]"]
        for http2 in (False, True):
            with self.subTest(http2=http2):
                p = self.tls_provider(*([] if http2 else ["--http1"]), "--latency-ms", 20)
                c = self.tls_cluster(p, p.ca_file)
                jobs = 100
                texts = [f"{marks[i // 10]} {i}" if i % 10 == 0 and i // 10 < len(marks) else f"question {i}"
                         for i in range(jobs)]
                batch = self.submit(c, (line(i, "test/gpt", texts[i]) for i in range(jobs)))
                c.wait(batch)
                results = c.results(batch)
                self.assertEqual(len(results), jobs)
                for r in results:
                    i = int(r["custom_id"][2:])
                    self.assertEqual(r["penstock"]["status"], "completed", r)
                    self.assertEqual(r["response"]["body"]["choices"][0]["message"]["content"], f"echo:{texts[i]}")
                    self.assertEqual(len(r["penstock"]["attempts"]), 2 if texts[i][0] == "[" else 1, r)
                stats = p.stats()
                self.assertEqual((stats["cut"], stats["cut_mid"]), (1, 1))
                self.assertEqual(stats["requests"], jobs + len(marks))
                self.check_transport(p, http2)

    def test_trust_from_the_environment(self):
        p = self.tls_provider()
        with unittest.mock.patch.dict(os.environ, SSL_CERT_FILE=p.ca_file):
            c = self.tls_cluster(p, None)
        batch = self.submit(c, (line(i) for i in range(30)))
        c.wait(batch)
        self.check_every_job_once(c.results(batch), 30)

    def test_a_certificate_nobody_trusts_parks_and_trust_resumes(self):
        for http2 in (False, True):
            with self.subTest(http2=http2):
                p = self.tls_provider(*([] if http2 else ["--http1"]))
                c = self.tls_cluster(p, None)
                batch = self.submit(c, (line(i) for i in range(JOBS)))

                def parked():
                    return [x for x in c.run("status", batch).stdout.splitlines()
                            if "waiting" in x and "certificate_not_trusted" in x]

                wait_for("the parked provider in status", parked)
                # what was on its way when the provider was parked would park it once more
                wait_for("all jobs to wait", lambda: c.status(batch)["request_counts"]["running"] == 0)
                counts = c.status(batch)["request_counts"]
                self.assertEqual((counts["completed"], counts["failed"]), (0, 0), counts)
                self.assertEqual(p.stats()["requests"], 0)
                self.trust(c, p.ca_file)
                c.up.send_signal(signal.SIGHUP)
                self.assertEqual(c.wait(batch)["request_counts"]["completed"], JOBS)
                results = c.results(batch)
                self.check_every_job_once(results, JOBS)
                for r in results:
                    causes = [a.get("error_type") for a in r["penstock"]["attempts"]]
                    self.assertTrue(all(x == "certificate_not_trusted" for x in causes[:-1]), r)
                wire = p.wire()
                self.assertEqual(wire["h2_streams"], JOBS if http2 else 0, wire)


if __name__ == "__main__":
    main()
