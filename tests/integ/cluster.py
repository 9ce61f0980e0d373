"""A whole cluster of real processes in a folder of its own, for the tests here: Redis, broker, workers.

Everything listens on unix sockets inside that folder, so that any number of tests run side by side.  Programs come
from $PST_BIN (a build's bin folder)."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

BIN = os.environ.get("PST_BIN", os.path.join(os.path.dirname(__file__), "../../build/release/bin"))
TEST_SECONDS_MAX = 120
ECHO = "providers:\n  echo: { api: echo }\n"


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def wait_for(condition, what, seconds=10):
    """Until condition() is true; it is tried at least once."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failure(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


class Cluster:
    def __init__(self, config=ECHO, redis_args=()):
        self.dir = tempfile.mkdtemp(prefix="penstock-integ.")
        self.redis_args = list(redis_args)
        self.processes = {}
        self.config = self.path("penstock.yaml")
        self.write_config(config)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write_config(self, text):
        head = f"""\
redis: {{ url: "unix://{self.path('redis.sock')}" }}
broker: {{ clients: "ipc://{self.path('clients.ipc')}", workers: "ipc://{self.path('workers.ipc')}", metrics: "" }}
gateway: {{ listen: "" }}
"""
        with open(self.config, "w") as f:
            f.write(head + text)

    # ---- processes ----

    def start(self, name, args, ready=None, env=None):
        """Starts a process; `ready` is a text its log must come to show."""
        log = open(self.path(name + ".log"), "ab")
        at = log.tell()
        environment = dict(os.environ, **(env or {}))
        p = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir, env=environment)
        log.close()
        self.processes[name] = p
        if ready:
            def is_ready():
                check(p.poll() is None, f"{name} ended with {p.returncode}: {self.log(name)[-2000:]}")
                return ready in self.log(name)[at:]
            wait_for(is_ready, f"{name} says \"{ready}\"", 15)
        return p

    def redis(self):
        args = ["redis-server", "--port", "0", "--unixsocket", self.path("redis.sock"), "--dir", self.dir, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        return self.start("redis", args + self.redis_args, "eady to accept connections")

    def broker(self, *args):
        return self.start("broker", [os.path.join(BIN, "penstock-broker"), "--config", self.config, *args],
                          "broker.ready")

    def worker(self, name="worker", *args):
        return self.start(name, [os.path.join(BIN, "penstock-worker"), "--config", self.config, *args], "broker.up")

    def log(self, name):
        try:
            with open(self.path(name + ".log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def kill(self, name, sig=signal.SIGKILL):
        p = self.processes.pop(name)
        p.send_signal(sig)
        return p.wait(15)

    def stop(self, name):
        return self.kill(name, signal.SIGTERM)

    def close(self, keep=False):
        for p in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGCONT)
                p.kill()
        for p in self.processes.values():
            p.wait()
        if keep:
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the command line ----

    def run(self, *args, code=0, stdin=None, timeout=60):
        """`penstock ARGS`; its standard output.  The exit code must be `code` (None: any)."""
        p = subprocess.run([os.path.join(BIN, "penstock"), *args, "--config", self.config], cwd=self.dir,
                           input=stdin, capture_output=True, text=True, timeout=timeout)
        check(code is None or p.returncode == code,
              f"penstock {' '.join(args)}: exit code {p.returncode}, not {code}: {p.stderr[-2000:]}")
        return p.stdout

    def jobs(self, name, n, model="echo/any", text="hello"):
        """A batch file of n jobs."""
        path = self.path(name)
        with open(path, "w") as f:
            for i in range(n):
                body = {"model": model, "messages": [{"role": "user", "content": f"{text} {i}"}]}
                f.write(json.dumps({"custom_id": f"job-{i}", "body": body}) + "\n")
        return path

    def status(self, batch):
        return json.loads(self.run("status", batch, "--json"))

    def results(self, batch, *args):
        return [json.loads(line) for line in self.run("results", batch, *args).splitlines()]

    def wait_end(self, batch, seconds=30):
        ends = ("completed", "failed", "expired", "cancelled")
        wait_for(lambda: self.status(batch)["status"] in ends, f"{batch} ends", seconds)
        return self.status(batch)

    def check_results(self, batch, n):
        """Each of n jobs has exactly one result."""
        lines = self.results(batch)
        ids = sorted(int(line["custom_id"].split("-")[1]) for line in lines)
        check(ids == list(range(n)), f"{len(lines)} results for {n} jobs, {len(set(ids))} of them different")
        return lines


def get(url):
    with urllib.request.urlopen(url, timeout=5) as r:
        return r.read().decode()


def on_alarm(sig, frame):
    raise Failure(f"it takes longer than {TEST_SECONDS_MAX} s")


def main(tests):
    """Runs the tests named on the command line, or all; each gets a cluster of its own."""
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="parts of names of the tests to run")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a test that fails")
    args = parser.parse_args()
    failed = 0
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, lambda sig, frame: sys.exit(1))
    for test in tests:
        if args.names and not any(re.search(name, test.__name__) for name in args.names):
            continue
        cluster = Cluster()
        word = "stopped"
        begin = time.monotonic()
        signal.alarm(TEST_SECONDS_MAX)
        try:
            test(cluster)
            word = "ok"
        except Exception as e:
            word = f"FAILED: {type(e).__name__}: {e}"
            failed += 1
        finally:
            signal.alarm(0)
            cluster.close(keep=args.keep and word != "ok")
        print(f"{test.__name__}: {word} ({time.monotonic() - begin:.1f} s)", flush=True)
    raise SystemExit(1 if failed else 0)
