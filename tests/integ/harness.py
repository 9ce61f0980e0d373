"""A real cluster for tests: `penstock up` with its private Redis, and the simulated provider.

Everything runs in a directory of its own, on ports that were free a moment ago, and is ended with the test.
PST_BIN names the directory of the programs.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

BIN = os.environ.get("PST_BIN", os.path.join(os.path.dirname(__file__), "../../build/release/bin"))
NIGHTLY = os.environ.get("PST_NIGHTLY") == "1"
MODELS = ["test/gpt", "test/claude", "test/gemini"]


def program(name):
    return os.path.join(BIN, name)


def free_ports(n):
    """No two of them the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def free_port():
    return free_ports(1)[0]


def wait_for(what, condition, seconds=30.0, step=0.02):
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(step)


class Provider:
    """The simulated provider: tests/provider/README.md."""

    def __init__(self, *options):
        self.process = subprocess.Popen([program("pst-sim-provider"), "--port", "0", "--track", *map(str, options)],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.rsplit(":", 1)[1])

    def get(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_sim/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")

    def stats(self):
        return self.get("stats")

    def set(self, **values):
        query = "&".join(f"{k}={v}" for k, v in values.items())
        return self.get(f"set?{query}", "POST")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


CONFIG = """\
broker: {{ clients: "tcp://127.0.0.1:{clients}", workers: "tcp://127.0.0.1:{workers}", metrics: "127.0.0.1:{metrics}" }}
gateway: {{ listen: "127.0.0.1:{gateway}" }}
{redis}providers:
  simopenai: {{ api: openai, base_url: "http://127.0.0.1:{provider}/v1", api_key: good-key, limits: {{ {limits} }},
    options: [no_responses] }}
  simanthropic: {{ api: anthropic, base_url: "http://127.0.0.1:{provider}", api_key: good-key, limits: {{ {limits} }} }}
  simgemini: {{ api: gemini, base_url: "http://127.0.0.1:{provider}/v1beta", api_key: good-key, limits: {{ {limits} }} }}
  echo: {{ api: echo, answer_bytes: 100b }}
models:
  test/gpt: [ {{ provider: simopenai, model: gpt-test, price: {{ input: 1, output: 2 }} }} ]
  test/claude: [ {{ provider: simanthropic, model: claude-test, price: {{ input: 3, output: 4 }} }} ]
  test/gemini: [ {{ provider: simgemini, model: gemini-test, price: {{ input: 5, output: 6 }} }} ]
{more}"""


class Cluster:
    def __init__(self, provider=None, limits="concurrency: 200", redis="", more="", up=True, durability=None):
        self.dir = tempfile.mkdtemp(prefix="pst")
        self.data = os.path.join(self.dir, "data")
        self.config = os.path.join(self.dir, "penstock.yaml")
        names = ("clients", "workers", "metrics", "gateway")
        self.ports = dict(zip(names, free_ports(len(names))))
        if durability:
            redis = f"redis: {{ durability: {durability} }}\n"
        with open(self.config, "w") as f:
            f.write(CONFIG.format(provider=provider.port if provider else 9, limits=limits, redis=redis, more=more,
                                  **self.ports))
        self.broker = f"tcp://127.0.0.1:{self.ports['clients']}"
        self.log = open(os.path.join(self.dir, "log"), "ab")
        self.up = None
        self.extra = []
        if up:
            self.start()

    def start(self, seconds=30):
        self.up = subprocess.Popen([program("penstock"), "up", "--data", self.data, "--config", self.config],
                                   stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.up.stdout.readline()
        if not line.startswith("penstock ready"):
            self.up.wait(timeout=10)
            raise AssertionError(f"up said {line!r}, log:\n{self.tail()}")
        return line

    def tail(self, lines=60):
        with open(self.log.name, errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def run(self, *args, check=True, input=None, timeout=300, **more):
        done = subprocess.run([program("penstock"), *args, "--broker", self.broker, "--config", self.config],
                              input=input, capture_output=True, text=True, timeout=timeout, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"penstock {' '.join(args)}: exit {done.returncode}\n{done.stderr[-2000:]}\n"
                                 f"log:\n{self.tail()}")
        return done

    def popen(self, *args, **more):
        return subprocess.Popen([program("penstock"), *args, "--broker", self.broker, "--config", self.config],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def status(self, batch):
        return json.loads(self.run("status", batch, "--json").stdout)

    def wait(self, batch, seconds=120):
        def ended():
            s = self.status(batch)
            return s if s["status"] in ("completed", "failed", "expired", "cancelled") else None

        return wait_for(f"{batch} to end", ended, seconds, 0.1)

    def results(self, batch, *args):
        return [json.loads(x) for x in self.run("results", batch, *args).stdout.splitlines()]

    def receipt(self, batch):
        return json.loads(self.run("receipt", batch, "--json").stdout)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.split("{")[0].split(" ")[0] == name:
                    return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def children(self, name):
        """Pids of up's children whose program is `name` (a prefix of the command)."""
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat") as f:
                    stat = f.read()
                parent = int(stat.rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    command = f.read().split(b"\0")[0].decode()
                if parent == self.up.pid and os.path.basename(command).startswith(name):
                    found.append(pid)
        return found

    def kill(self, name, sig=signal.SIGKILL):
        """Kills one child of that name, chosen at random."""
        pid = random.choice(wait_for(f"a {name}", lambda: self.children(name), 10))
        os.kill(pid, sig)
        return pid

    def kill_all(self):
        pids = [self.up.pid] + [p for n in ("penstock", "redis-server") for p in self.children(n)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.up.wait()
        self.up.stdout.close()

    def worker(self, *args):
        address = f"tcp://127.0.0.1:{self.ports['workers']}"
        w = subprocess.Popen([program("penstock-worker"), "--broker", address, "--config", self.config, *args],
                             stderr=self.log)
        self.extra.append(w)
        return w

    def stop(self):
        for w in self.extra:
            w.kill()
            w.wait()
        if self.up and self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            try:
                self.up.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError("up did not stop within 40 s of SIGTERM")
        if self.up:
            self.up.stdout.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def line(i, model=None, text=None, **body):
    text = text if text is not None else f"question {i}"
    return json.dumps({"custom_id": f"c-{i}", "body": {
        "model": model or MODELS[i % len(MODELS)], "messages": [{"role": "user", "content": text}], "max_tokens": 64,
        **body}})


def write_lines(path, lines):
    with open(path, "w") as f:
        for x in lines:
            f.write(x + "\n")
    return path


def text_of(result):
    return result["response"]["body"]["choices"][0]["message"]["content"]


class Case(unittest.TestCase):
    """Ends what a test started, also when it failed, and shows the cluster's log then."""

    def provider(self, *options):
        p = Provider(*options)
        self.addCleanup(p.stop)
        return p

    def cluster(self, *args, **more):
        c = Cluster(*args, **more)
        self.addCleanup(self._stop, c)
        return c

    def _stop(self, c):
        if self._failed():
            sys.stderr.write(f"--- log of the cluster\n{c.tail()}\n")
        c.stop()

    def _failed(self):
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        return bool(result) and any(test is self for test, _ in result.failures + result.errors)

    def check_every_job_once(self, results, count, texts=True):
        """Exactly one line a job, the right text for its id, OpenAI's shape."""
        self.assertEqual(len(results), count)
        self.assertEqual(len({r["custom_id"] for r in results}), count)
        for r in results:
            i = int(r["custom_id"].split("-")[1])
            self.assertTrue(r["id"].endswith(f".{i}"), r["id"])
            self.assertEqual(r["penstock"]["status"], "completed", r)
            self.assertEqual(r["response"]["status_code"], 200)
            self.assertEqual(r["response"]["body"]["object"], "chat.completion")
            if texts:
                self.assertEqual(text_of(r), f"echo:question {i}")
            self.assertGreater(r["response"]["body"]["usage"]["prompt_tokens"], 0)
            self.assertGreater(r["penstock"]["cost_usd"], 0)


def main():
    unittest.main(verbosity=2)
