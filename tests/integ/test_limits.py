"""Configured limits are kept, by the counters in Redis, over every worker."""
import os
import time

from harness import Case, line, main, write_lines


class Limits(Case):
    def test_requests_a_minute_are_kept(self):
        p = self.provider("--rpm", 1200, "--bucket", "continuous", "--burst", 25, "--latency-ms", 20)
        c = self.cluster(p, limits="rpm: 1200, concurrency: 100")
        c.worker("--provider", "simopenai")
        jobs = 200
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i, "test/gpt") for i in range(jobs)))
        began = time.monotonic()
        batch = c.run("submit", path).stdout.strip()
        c.wait(batch)
        took = time.monotonic() - began
        self.check_every_job_once(c.results(batch), jobs)
        self.assertGreaterEqual(took, (jobs - 25) / 20 * 0.9)
        self.assertEqual(c.receipt(batch)["endpoints"][0]["rate_limited"], 0)

    def test_concurrency_is_kept_over_two_workers(self):
        p = self.provider("--latency-ms", 50)
        c = self.cluster(p, limits="concurrency: 7")
        c.worker("--provider", "simopenai")
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i, "test/gpt") for i in range(300)))
        batch = c.run("submit", path).stdout.strip()
        c.wait(batch)
        self.assertEqual(p.stats()["max_in_flight"], 7)

    def test_429s_wait_and_spend_no_attempt(self):
        p = self.provider("--rpm", 1200, "--bucket", "continuous", "--burst", 10)
        c = self.cluster(p, limits="concurrency: 50")
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i) for i in range(120)))
        batch = c.run("submit", path).stdout.strip()
        c.wait(batch)
        self.check_every_job_once(c.results(batch), 120)
        receipt = c.receipt(batch)
        self.assertGreater(sum(e["rate_limited"] for e in receipt["endpoints"]), 0, "the test made no 429")
        self.assertEqual(sum(e["retried"] for e in receipt["endpoints"]), 0)


if __name__ == "__main__":
    main()
