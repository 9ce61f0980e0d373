"""What goes wrong on the way to a provider is told apart, costs no job, and is mended by a reload; connections are
used again."""
import os
import re
import signal

from harness import Case, line, main, wait_for, write_lines

JOBS = 40
FAILURES_TO_PARK = 10
# A label longer than any may be: no server of names is asked.
NO_NAME = "a" * 64 + ".test"


class Http(Case):
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
        # What an outage costs is no attempt of a job.
        self.assertLessEqual(c.receipt(batch)["endpoints"][0]["retried"], FAILURES_TO_PARK)

    def test_a_name_that_does_not_resolve(self):
        self.check_outage(f"http://{NO_NAME}/v1", "dns_failed", f"the name {NO_NAME} does not resolve\"")

    def test_a_server_without_tls(self):
        p = self.provider()
        self.check_outage(f"https://127.0.0.1:{p.port}/v1", "tls_failed", "TLS handshake failed: ")

    def test_nobody_there(self):
        self.check_outage("http://127.0.0.1:9/v1", "connection", "connection refused by 127.0.0.1 port 9\"")

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
