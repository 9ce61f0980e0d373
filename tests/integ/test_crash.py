"""kill -9 of every process in the middle of a batch: every accepted job ends in exactly one result.

PST_NIGHTLY=1 kills at twenty random moments each; otherwise one.  PST_SEED repeats the moments.
"""
import json
import os
import random
import signal
import time

from harness import NIGHTLY, Case, line, main, text_of, wait_for, write_lines

JOBS = 8000
ROUNDS = 20 if NIGHTLY else 1
READ_JOBS, READ_BYTES = 3000, 8192  # letters that do not compress below half: 12 MiB, of which 2 are fetched at a time
SEED = int(os.environ.get("PST_SEED", random.SystemRandom().randrange(1 << 32)))


class Crash(Case):
    @classmethod
    def setUpClass(cls):
        print(f"PST_SEED={SEED}", flush=True)
        cls.random = random.Random(SEED)

    def begin(self):
        self.p = self.provider("--latency-ms", 100)
        self.c = self.cluster(self.p, limits="concurrency: 200")
        self.path = write_lines(os.path.join(self.c.dir, "in.jsonl"), (line(i) for i in range(JOBS)))

    def run_and_kill(self, kill):
        """Submits, kills at a random moment while jobs are in flight, waits, and checks every job."""
        self.p.get("reset", "POST")
        batch = self.c.run("submit", self.path).stdout.strip()
        wait_for("calls in flight", lambda: self.p.stats()["in_flight"] > 0)
        time.sleep(self.random.random() * 0.8)
        self.assertNotIn(self.c.status(batch)["status"], ("completed",), "ended before the kill: the test shows nothing")
        kill()
        self.c.wait(batch)
        self.check_every_job_once(self.c.results(batch), JOBS)
        receipt = self.c.receipt(batch)
        self.assertEqual((receipt["jobs"], receipt["completed"]), (JOBS, JOBS))
        stats = self.p.stats()
        self.c.run("delete", batch)
        return stats

    def test_broker(self):
        self.begin()
        for _ in range(ROUNDS):
            stats = self.run_and_kill(lambda: self.c.kill("penstock-broker"))
            self.assertEqual(stats["repeated_texts"], 0, "a broker's crash repeats no call")

    def test_redis(self):
        self.begin()
        for _ in range(ROUNDS):
            stats = self.run_and_kill(lambda: self.c.kill("redis-server"))
            self.assertEqual(stats["repeated_texts"], 0, "Redis's crash repeats no call")

    def test_worker(self):
        self.begin()
        for _ in range(ROUNDS):
            stats = self.run_and_kill(lambda: self.c.kill("penstock-worker"))
            self.assertLessEqual(stats["repeated_texts"], 200, "at most the calls it had in flight")

    def test_everything(self):
        self.begin()

        def kill():
            self.c.kill_all()
            self.c.start()

        for _ in range(ROUNDS):
            stats = self.run_and_kill(kill)
            # 600 in flight, and the answers that were on their way to Redis: no more than as many again
            self.assertLessEqual(stats["repeated_texts"], 1200)

    def test_client(self):
        self.begin()
        for i in range(ROUNDS):
            self.p.get("reset", "POST")
            client = self.c.popen("submit", self.path, "--idempotency-key", f"key-{i}")
            time.sleep(self.random.random() * 0.15)
            client.send_signal(signal.SIGKILL)
            client.communicate()
            batch = self.c.run("submit", self.path, "--idempotency-key", f"key-{i}").stdout.strip()
            self.assertEqual(self.c.run("submit", self.path, "--idempotency-key", f"key-{i}").stdout.strip(), batch)
            self.c.wait(batch)
            self.check_every_job_once(self.c.results(batch), JOBS)
            self.assertEqual(self.p.stats()["repeated_texts"], 0)
            self.c.run("delete", batch)

    def test_reading(self):
        """The reader of results is in the middle, with more asked for ahead: it goes on where it was."""
        p = self.provider()
        self.c = self.cluster(p, limits="concurrency: 200")
        noise = [self.random.randbytes(READ_BYTES // 2).hex() for _ in range(READ_JOBS)]
        path = write_lines(os.path.join(self.c.dir, "long.jsonl"), (line(i, text=t) for i, t in enumerate(noise)))
        batch = self.c.run("submit", path).stdout.strip()
        self.c.wait(batch)
        for victim in ("penstock-broker", "redis-server"):
            reader = self.c.popen("results", batch)
            results = []
            for text in reader.stdout:
                results.append(json.loads(text))
                # all that was read and asked for ahead is less than what lies between two kills
                if len(results) in (READ_JOBS // 8, READ_JOBS // 2):
                    self.c.kill(victim)
            self.assertEqual(reader.wait(timeout=60), 0, reader.stderr.read())
            reader.stderr.close()
            reader.stdout.close()
            self.check_every_job_once(results, READ_JOBS, texts=False)
            for r in results:
                self.assertEqual(text_of(r), f"echo:{noise[int(r['custom_id'].split('-')[1])]}")


if __name__ == "__main__":
    main()
