"""`penstock top`: what it counts is what receipts count, and a terminal is given back however it ends."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

from harness import Case, line, main, program, wait_for, write_lines

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
JOBS = 600


def picture(written):
    """The lines of the last picture drawn, without what steers the terminal."""
    last = written.rsplit(b"\x1b[H", 1)[-1].split(LEAVE)[0]
    return re.sub(r"\x1b\[[0-9?;]*[A-Za-z]", "", last.decode()).split("\r\n")


class Terminal:
    """A program on a terminal of its own, everything it writes, and how it left the terminal."""

    def __init__(self, args, rows=24, columns=100):
        self.fd, tty = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.fd)
        self.written = b""
        self.process = subprocess.Popen(args, stdin=tty, stdout=tty, stderr=subprocess.PIPE, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                        env={**os.environ, "TERM": "xterm"})
        os.close(tty)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                got = os.read(self.fd, 65536)
            except OSError:  # nobody has the other side open
                return self.written
            if not got:
                break
            self.written += got
        return self.written

    def until(self, what, condition, seconds=10):
        return wait_for(what, lambda: condition(self.read()), seconds, 0.05)

    def type(self, text):
        os.write(self.fd, text)

    def end(self, seconds=5):
        """The exit code; asserts that the terminal is as it was."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"top does not end; it wrote {self.written[-500:]!r}")
        self.read()
        assert self.written.count(ENTER) == self.written.count(LEAVE), self.written[-200:]
        assert self.written.endswith(LEAVE), self.written[-200:]
        assert b"\x1b[?25h" in self.written.rsplit(b"\x1b[?25l", 1)[1], "the cursor is still hidden"
        assert termios.tcgetattr(self.fd) == self.before, "the terminal is not as it was"
        return code

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.fd)


class Top(Case):
    def live(self, c):
        t = Terminal([program("penstock"), "top", "--broker", c.broker, "--config", c.config])
        self.addCleanup(t.close)
        t.until("the first picture", lambda w: b"so far" in w)
        return t

    def submit(self, c, jobs, *args):
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i) for i in range(jobs)))
        return c.run("submit", path, *args).stdout.strip()

    def test_its_sums_are_those_of_the_receipts(self):
        p = self.provider("--latency-ms", 5, "--fault-429", 0.05, "--retry-after-ms", 50)
        c = self.cluster(p)
        batch = self.submit(c, JOBS, "--tenant", "research", "--name", "night")
        c.wait(batch)
        receipt, top = c.receipt(batch), json.loads(c.run("top", "--json").stdout)
        self.assertEqual((top["accepted"], top["completed"], top["failed"]),
                         (JOBS, receipt["completed"], receipt["failed"]))
        self.assertEqual((top["batches"], top["jobs_queued"], top["jobs_running"], top["jobs_waiting"]), (0, 0, 0, 0))
        self.assertAlmostEqual(top["cost_usd"], receipt["cost_usd"], places=6)
        self.assertGreater(top["uptime_ms"], 0)
        self.assertEqual({x["name"]: x["workers"] for x in top["providers"]},
                         {"simopenai": 1, "simanthropic": 1, "simgemini": 1, "echo": 1})
        by_name = {(e["provider"], e["model"]): e for e in top["endpoints"]}
        self.assertEqual(len(receipt["endpoints"]), 3)
        for e in receipt["endpoints"]:
            shown = by_name[e["provider"], e["model"]]
            for key in ("calls", "completed", "rate_limited", "input_tokens", "output_tokens"):
                self.assertEqual(shown[key], e[key], (key, shown, e))
            self.assertAlmostEqual(shown["cost_usd"], e["cost_usd"], places=6)
            self.assertEqual(shown["calls"], shown["completed"] + shown["rate_limited"] + shown["failed"])
        self.assertGreater(sum(e["rate_limited"] for e in top["endpoints"]), 0, "the test made no 429")

    def test_without_a_terminal_it_is_one_table(self):
        p = self.provider("--latency-ms", 50)
        c = self.cluster(p, limits="rpm: 60000, concurrency: 5")
        batch = self.submit(c, 3000, "--tenant", "research", "--name", "night \x1b[31m")
        wait_for("some calls", lambda: c.status(batch)["request_counts"]["completed"] > 0)
        text = c.run("top").stdout
        self.assertNotIn("\x1b", text)
        self.assertRegex(text, r"(?m)^simgemini +1 +\d/\d+ +concurrency \d/5, rpm [\d,]+/60,000$")
        self.assertRegex(text, r"(?m)^simgemini gemini-test +\d+ +[\d.]+ ")
        self.assertRegex(text, rf"(?m)^{batch} +night \?\[31m +research +[\d,]+/3,000 +\d+% +[\d.]+ +\S+ +\$")
        self.assertRegex(c.run("list").stdout, rf"(?m)^{batch} .* research +night")
        self.assertIn("research", c.run("status", batch).stdout)
        self.assertEqual(c.status(batch)["tenant"], "research")
        c.run("cancel", batch)
        for args, env, tenant in (([], "lab", "lab"), (["--tenant", "own"], "lab", "own"), ([], "", None)):
            env = {**os.environ, "PENSTOCK_TENANT": env}
            other = c.run("submit", "-", *args, input=line(0), env=env).stdout.strip()
            self.assertEqual(c.status(other).get("tenant"), tenant)

    def test_a_terminal_is_drawn_on_and_given_back(self):
        p = self.provider("--latency-ms", 50)
        c = self.cluster(p, limits="concurrency: 5")
        batch = self.submit(c, 3000)
        t = self.live(c)
        t.until("a rate", lambda w: re.search(r"now .* [1-9]\d* jobs/s", "\n".join(picture(w))))
        lines = picture(t.written)
        self.assertTrue(any(x.startswith(batch) for x in lines), lines)
        self.assertLess(max(map(len, lines)), 100)
        self.assertLessEqual(len(lines), 24)

        t.resize(10, 40)
        t.until("a small picture", lambda w: max(map(len, picture(w))) < 40 and len(picture(w)) <= 10)
        self.assertIn("ENDPOINT", "\n".join(picture(t.written)))
        t.type(b"xyz q")
        self.assertEqual(t.end(), 0)
        c.run("cancel", batch)

    def test_signals_give_the_terminal_back(self):
        c = self.cluster()
        t = self.live(c)
        t.type(b"\x03")
        self.assertEqual(t.end(), 0)
        for sig in (signal.SIGTERM, signal.SIGHUP):
            t = self.live(c)
            t.process.send_signal(sig)
            self.assertEqual(t.end(), -sig)

    def test_a_stopped_one_goes_on(self):
        c = self.cluster()
        t = self.live(c)
        t.process.send_signal(signal.SIGTSTP)
        t.until("the terminal given back", lambda w: w.endswith(LEAVE))
        self.assertEqual(termios.tcgetattr(t.fd), t.before)
        seen = len(t.written)
        t.process.send_signal(signal.SIGCONT)
        t.until("another picture", lambda w: b"so far" in w[seen:])
        t.type(b"q")
        self.assertEqual(t.end(), 0)

    def test_a_broker_that_is_lost_ends_it(self):
        c = self.cluster()
        t = self.live(c)
        c.kill_all()
        t.until("a word of it", lambda w: b"no answer for" in w)
        self.assertEqual(t.end(20), 1)
        self.assertIn(b"no broker answers", t.process.stderr.read())

    def test_a_broker_that_returns_does_not(self):
        c = self.cluster()
        t = self.live(c)
        t.until("the broker to be some seconds old", lambda w: re.search(r"up [3-9]s ", picture(w)[0]))
        c.kill("penstock-broker")
        t.until("a picture of the new broker", lambda w: re.search(r"up [01]s .*batches$", picture(w)[0]), 20)
        t.type(b"q")
        self.assertEqual(t.end(), 0)

    def test_no_broker_is_said_where_it_stays(self):
        c = self.cluster(up=False)
        t = Terminal([program("penstock"), "top", "--broker", c.broker, "--config", c.config])
        self.addCleanup(t.close)
        self.assertEqual(t.process.wait(20), 1)
        self.assertIn(b"no broker answers", t.process.stderr.read())
        self.assertNotIn(ENTER, t.read())


if __name__ == "__main__":
    main()
