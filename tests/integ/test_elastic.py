"""Workers come and go while a batch runs: used, or drained, within a second, and no job fails."""
import os
import signal
import time

from harness import Case, line, main, wait_for, write_lines


class Elastic(Case):
    def test_a_worker_is_added_and_drained(self):
        p = self.provider("--latency-ms", 200)
        c = self.cluster(p, limits="")
        jobs = 6000
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i, "test/gpt") for i in range(jobs)))
        batch = c.run("submit", path).stdout.strip()
        wait_for("calls in flight", lambda: p.stats()["in_flight"] >= 60)
        before = p.stats()["in_flight"]
        worker = c.worker("--provider", "simopenai", "--concurrency", "100")
        began = time.monotonic()
        wait_for("the new worker's calls", lambda: p.stats()["in_flight"] >= before + 90, 5)
        self.assertLess(time.monotonic() - began, 1.0)
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        worker.wait(timeout=10)
        self.assertLess(time.monotonic() - began, 1.0)
        self.assertEqual(worker.returncode, 0)
        self.assertEqual(c.wait(batch)["request_counts"]["completed"], jobs)
        self.check_every_job_once(c.results(batch), jobs)
        self.assertEqual(p.stats()["repeated_texts"], 0)


if __name__ == "__main__":
    main()
