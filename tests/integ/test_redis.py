"""A Redis of the user's own that cannot be used says so, and one that fills up refuses work but keeps its promises."""
import os
import subprocess
import time

from harness import Case, line, main, program, wait_for, write_lines


class OwnRedis(Case):
    def redis(self, c, *options):
        os.makedirs(c.data, exist_ok=True)
        path = os.path.join(c.data, "own.sock")
        r = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--dir", c.data, "--save", "",
                              *options], stdout=subprocess.DEVNULL)
        self.addCleanup(r.wait)
        self.addCleanup(r.kill)
        wait_for("redis", lambda: os.path.exists(path))
        return f"unix://{path}"

    def broker(self, c, url):
        return subprocess.run([program("penstock-broker"), "--config", c.config, "--redis", url], capture_output=True,
                              text=True, timeout=30)

    def test_refused(self):
        for options, word in ((("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "noeviction"),
                              (("--appendonly", "no"), "appendonly")):
            with self.subTest(options):
                c = self.cluster(up=False)
                done = self.broker(c, self.redis(c, *options))
                self.assertEqual(done.returncode, 1)
                self.assertIn(word, done.stderr)

    def test_down(self):
        c = self.cluster(up=False)
        done = self.broker(c, f"unix://{c.data}/none.sock")
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.sock", done.stderr)

    def test_full(self):
        p = self.provider()
        c = self.cluster(p, up=False)
        url = self.redis(c, "--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "24mb")
        with open(c.config) as f:
            text = f.read()
        with open(c.config, "w") as f:
            f.write(f'redis: {{ url: "{url}" }}\n' + text)
        c.start()
        first = c.run("submit", write_lines(os.path.join(c.dir, "a.jsonl"), (line(i) for i in range(50)))).stdout.strip()
        noise = (line(i, text=os.urandom(3000).hex()) for i in range(20000))
        client = c.popen("submit", write_lines(os.path.join(c.dir, "b.jsonl"), noise))
        time.sleep(8)
        self.assertIsNone(client.poll(), "the client waits for room")
        client.kill()
        client.communicate()
        c.wait(first)
        self.check_every_job_once(c.results(first), 50)


if __name__ == "__main__":
    main()
