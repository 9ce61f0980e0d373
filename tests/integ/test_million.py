"""A million lines: streamed in bounded memory, cancelled, deleted, and Redis as it was."""
import os
import re
import subprocess
import time

from harness import Case, main, wait_for

LINES = 1000000
MIB = 1 << 20


def peak_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


class Million(Case):
    def write(self, path, lines):
        system = "You are a careful assistant. " * 20
        with open(path, "w") as f:
            for i in range(lines):
                f.write('{"custom_id":"c-%d","body":{"model":"test/gpt","messages":[{"role":"system","content":"%s"},'
                        '{"role":"user","content":"question %d"}],"max_tokens":16}}\n' % (i, system, i))
        return path

    def test_submit_cancel_delete(self):
        p = self.provider("--latency-ms", 2000)
        c = self.cluster(p, limits="concurrency: 4")
        redis = "redis-cli -s %s/redis.sock" % c.data
        # Redis keeps what its function library's interpreter and buffers once needed: a first batch shows how much that is.
        first = c.run("submit", self.write(os.path.join(c.dir, "first.jsonl"), 50000)).stdout.strip()
        c.run("cancel", first)
        c.wait(first)
        c.run("delete", first)
        time.sleep(2)
        before = self.used(redis)
        path = self.write(os.path.join(c.dir, "in.jsonl"), LINES)
        client = c.popen("submit", path)
        peak = 0
        while client.poll() is None:
            try:
                peak = max(peak, peak_mib(client.pid))
            except (OSError, AttributeError):
                pass
            time.sleep(0.05)
        out, err = client.communicate()
        self.assertEqual(client.returncode, 0, err)
        batch = out.strip()
        broker = peak_mib(c.children("penstock-broker")[0])
        raw = os.path.getsize(path)
        stored = self.used(redis) - before
        print(f"client peak {peak:.1f} MiB, broker peak {broker:.1f} MiB, Redis {stored / raw:.3f} of the raw JSON",
              flush=True)
        self.assertLess(peak, 64)
        self.assertLess(broker, 150 + 40 * LINES / MIB)
        status = c.status(batch)
        self.assertEqual(status["request_counts"]["total"], LINES)
        c.run("cancel", batch)
        status = c.wait(batch, 300)
        counts = status["request_counts"]
        self.assertEqual(counts["completed"] + counts["cancelled"] + counts["failed"], LINES)
        broker = peak_mib(c.children("penstock-broker")[0])
        print(f"broker peak after cancel {broker:.1f} MiB", flush=True)
        self.assertLess(broker, 150 + 40 * LINES / MIB)
        c.run("delete", batch)
        wait_for("Redis's memory", lambda: self.used(redis) <= before * 1.05, 60, 0.5)
        print(f"Redis before {before / MIB:.2f} MiB, after {self.used(redis) / MIB:.2f} MiB", flush=True)

    def used(self, redis):
        text = subprocess.run([*redis.split(), "info", "memory"], capture_output=True, text=True, check=True).stdout
        return int(re.search(r"used_memory:(\d+)", text).group(1))


if __name__ == "__main__":
    main()
