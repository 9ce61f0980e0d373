#!/usr/bin/env python3
"""Runs the benchmarks in interleaved rounds and prints medians, ratios, and CPU a job of every process.

README.md says what each row means.  A rate says little on a shared machine: the ratios, whose two sides are measured
within the same round, are what a claim may rest on.  --quick is the smoke test: results are checked, times are not.
"""
import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integ"))
import harness  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PROBE_S = 0.2
WARM_UP_JOBS = 2000
TEXT_BYTES = 500   # of an answer; bench_submit's default
BODY_BYTES = 1024
TIMEOUT_S = 600


def log(text):
    print(text, file=sys.stderr, flush=True)


# ---- what the machine and its processes do


def spin(seconds):
    """The share of a core that this process got while it wanted one."""
    cpu, wall = time.process_time(), time.perf_counter()
    while time.perf_counter() < wall + seconds:
        pass
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def quiet_percent():
    """What two spinning processes get of two cores, in %: 100 on a machine with nothing else to do."""
    free = os.sched_getaffinity(0)
    first, second = (sorted(free) * 2)[:2]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {second})
        os.write(write, str(spin(PROBE_S)).encode())
        os._exit(0)
    os.sched_setaffinity(0, {first})
    own = spin(PROBE_S)
    os.sched_setaffinity(0, free)
    os.close(write)
    other = float(os.read(read, 64))
    os.close(read)
    os.waitpid(child, 0)
    return 50 * (own + other)


def cpu_ticks():
    """(all, stolen) ticks of the machine since it started."""
    with open("/proc/stat") as f:
        fields = list(map(int, f.readline().split()[1:9]))
    return sum(fields), fields[7]


def cpu_of(pid):
    """User and system time of a process, seconds."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def tool(*args):
    """A program of ours that prints one JSON object."""
    done = subprocess.run([harness.program(args[0]), *map(str, args[1:])], capture_output=True, text=True,
                          timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def measured(run, groups):
    """run() -> dict with jobs and cpu_s, with the CPU a job and the peak memory of groups {name: pids} added."""
    sample = {"quiet": quiet_percent()}
    all_before, stolen_before = cpu_ticks()
    before = {name: sum(map(cpu_of, pids)) for name, pids in groups.items()}
    got = run()
    all_after, stolen_after = cpu_ticks()
    sample.update(got)
    sample["stolen"] = 100 * (stolen_after - stolen_before) / max(all_after - all_before, 1)
    sample["cpu"] = {"client": got["cpu_s"] * 1e6 / got["jobs"]} if "cpu_s" in got else {}
    sample["rss"] = {"client": got["rss_kib"] / 1024} if "rss_kib" in got else {}
    for name, pids in groups.items():
        sample["cpu"][name] = (sum(map(cpu_of, pids)) - before[name]) * 1e6 / got["jobs"]
        sample["rss"][name] = max(map(peak_mib, pids))
    return sample


# ---- what is started


class Cluster(harness.Cluster):
    """`penstock up` with one provider, and more workers of it."""

    def __init__(self, provider, model, durability, workers):
        super().__init__(up=False)
        with open(self.config, "w") as f:
            f.write(f'redis: {{ durability: {durability} }}\n'
                    f'broker: {{ clients: "tcp://127.0.0.1:{self.ports["clients"]}", '
                    f'workers: "tcp://127.0.0.1:{self.ports["workers"]}", '
                    f'metrics: "127.0.0.1:{self.ports["metrics"]}" }}\n'
                    f'gateway: {{ listen: "127.0.0.1:{self.ports["gateway"]}" }}\n'
                    f'providers:\n  {provider}\n'
                    f'models:\n  bench/model: [ {{ {model} }} ]\n')
        self.start()
        for _ in range(workers - 1):
            self.worker()

    def groups(self):
        return {"broker": self.children("penstock-broker"), "redis": self.children("redis-server"),
                "worker": self.children("penstock-worker") + [w.pid for w in self.extra]}


@contextlib.contextmanager
def cluster(*args):
    c = Cluster(*args)
    try:
        yield c
    except Exception:
        log(f"--- log of the cluster\n{c.tail()}")
        raise
    finally:
        c.stop()


@contextlib.contextmanager
def redis_server(durability):
    """A Redis as `penstock up` runs it, without penstock."""
    directory = tempfile.mkdtemp(prefix="pst")
    socket = os.path.join(directory, "redis.sock")
    fsync = {"logged": "everysec", "fsynced": "always"}[durability]
    process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", "",
                                "--appendonly", "yes", "--appendfsync", fsync, "--maxmemory-policy", "noeviction"],
                               stdout=subprocess.DEVNULL)
    try:
        harness.wait_for("redis-server", lambda: os.path.exists(socket))
        yield socket, process.pid
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def provider(*options):
    process = subprocess.Popen([harness.program("pst-sim-provider"), "--port", "0", *map(str, options)],
                               stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


# ---- measurements: each returns a sample


def bare_redis(o, durability):
    with redis_server(durability) as (socket, pid):
        return measured(lambda: tool("bare_redis", "--socket", socket, "--jobs", o.jobs, *o.prompts), {"redis": [pid]})


def submit(o, c, jobs, *more):
    return tool("bench_submit", "--broker", c.broker, "--model", "bench/model", "--jobs", jobs, *o.prompts, *more)


ECHO = (f"echo: {{ api: echo, answer_bytes: {TEXT_BYTES}b, limits: {{ concurrency: 1024 }} }}",
        "provider: echo, model: bench")


def echo(o, durability, workers):
    with cluster(*ECHO, durability, workers) as c:
        submit(o, c, min(WARM_UP_JOBS, o.jobs))
        return measured(lambda: submit(o, c, o.jobs), c.groups())


def latency(o, durability):
    with cluster(*ECHO, durability, 1) as c:
        submit(o, c, min(20, o.samples), "--latency")
        return measured(lambda: submit(o, c, o.samples, "--latency"), c.groups())


def http(o, concurrency):
    with provider() as (port, pid):
        base = f"http://127.0.0.1:{port}/v1"
        config = (f'sim: {{ api: openai, base_url: "{base}", api_key: good-key, limits: {{ concurrency: {concurrency} }} }}',
                  "provider: sim, model: gpt-test")
        with cluster(*config, "logged", 1) as c:
            submit(o, c, min(WARM_UP_JOBS, o.http_jobs), "--prefix", "echo:")
            return measured(lambda: submit(o, c, o.http_jobs, "--prefix", "echo:"), {**c.groups(), "provider": [pid]})


def bare_curl(o, concurrency):
    with provider() as (port, pid):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        return measured(lambda: tool("bare_curl", "--url", url, "--jobs", o.http_jobs, "--concurrency", concurrency,
                                     *o.prompts), {"provider": [pid]})


WRK = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer good-key"
wrk.body = '{"model":"gpt-test","messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s"}]}'
done = function(summary) io.write(string.format("%%d %%f %%d\\n", summary.requests, summary.duration / 1e6,
  summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status)) end
"""


def wrk(o, concurrency):
    with provider() as (port, pid), tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK % ("s" * (BODY_BYTES - TEXT_BYTES - 110), "t" * TEXT_BYTES))
        script.flush()

        def run():
            before = resource_children()
            done = subprocess.run(["wrk", "-t1", f"-c{concurrency}", f"-d{o.wrk_seconds}s", "-s", script.name,
                                   f"http://127.0.0.1:{port}/v1/chat/completions"], capture_output=True, text=True,
                                  timeout=TIMEOUT_S, check=True)
            jobs, seconds, errors = done.stdout.split("\n")[-2].split()
            if int(errors):
                raise AssertionError(f"wrk had {errors} errors")
            return {"jobs": int(jobs), "seconds": float(seconds), "jobs_per_s": int(jobs) / float(seconds),
                    "cpu_s": resource_children() - before}

        return measured(run, {"provider": [pid]})


def resource_children():
    t = os.times()
    return t.children_user + t.children_system


# ---- the table


def rows(o):
    """(name, measurement) in the order of a round: what is divided by what stands next to it."""
    for durability in ("logged", "fsynced"):
        yield f"bare_redis {durability}", lambda d=durability: bare_redis(o, d)
        for workers in (1,) if o.quick else (1, 4):
            yield f"echo {durability} w{workers}", lambda d=durability, w=workers: echo(o, d, w)
        yield f"one job {durability}", lambda d=durability: latency(o, d)
    for concurrency in (64,) if o.quick else (64, 256):
        if shutil.which("wrk"):
            yield f"wrk c{concurrency}", lambda c=concurrency: wrk(o, c)
        yield f"bare_curl c{concurrency}", lambda c=concurrency: bare_curl(o, c)
        yield f"http c{concurrency}", lambda c=concurrency: http(o, c)


def divisor(name):
    """The row that a row is compared with."""
    words = name.split()
    if words[0] == "echo":
        return f"bare_redis {words[1]}"
    return {"http": "bare_curl", "bare_curl": "wrk"}.get(words[0], "") + f" {words[-1]}"


def spread(values, digits=0):
    values = list(values)
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} [{low:,.{digits}f}–{high:,.{digits}f}]"


def rate(samples):
    return [s["jobs_per_s"] for s in samples if s and "jobs_per_s" in s]


def paired(samples, others, value):
    """Ratios within the rounds in which both were measured."""
    return [value(a) / value(b) for a, b in zip(samples, others) if a and b and value(a) and value(b)]


PROCESSES = ["client", "broker", "redis", "worker", "provider"]


def line_of(name, results):
    samples = [s for s in results[name] if s]
    others = results.get(divisor(name), [])
    cpu = {p: [s["cpu"][p] for s in samples if p in s["cpu"]] for p in PROCESSES}
    rss = [f"{p} {max(s['rss'][p] for s in samples):.0f}" for p in PROCESSES if samples and p in samples[0]["rss"]]
    return [name, spread(rate(samples)), spread(paired(results[name], others, lambda s: s.get("jobs_per_s")), 2),
            *(spread(cpu[p], 1) for p in PROCESSES), ", ".join(rss),
            spread(s["quiet"] for s in samples), spread(s["stolen"] for s in samples)]


HEADER = ["what", "jobs/s", "ratio", *(f"{p} us/job" for p in PROCESSES), "peak MiB", "quiet %", "stolen %"]


def print_table(header, lines):
    widths = [max(len(x[i]) for x in [header, *lines]) for i in range(len(header))]
    for x in [header, ["-" * w for w in widths], *lines]:
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(x, widths)) + " |")


def print_results(results):
    print_table(HEADER, [line_of(name, results) for name in results])
    print()
    phases = [[n, *(spread(s[k] * 1e3 for s in v if s) for k in ("accepted_s", "first_result_s", "run_s"))]
              for n, v in results.items() if any(s and "run_s" in s for s in v)]
    if phases:
        print_table(["what", "accepted after ms", "first result after ms", "accepted to last result ms"], phases)
        print()
    waits = [[n, *(spread((s[k] for s in v if s), 0) for k in ("min_us", "p50_us", "p99_us"))]
             for n, v in results.items() if any(s and "p50_us" in s for s in v)]
    if waits:
        print_table(["what", "least us", "p50 us", "p99 us"], waits)
        print()
    for name in results:
        if name.startswith("http "):
            def worker(s):
                return s["cpu"].get("worker") or s["cpu"].get("client")

            cost = paired(results[name], results.get(divisor(name), []), worker)
            print(f"{name}: CPU of the worker a call ÷ bare_curl's: {spread(cost, 2)}")


def first_line(*command):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # wrk says its version with its usage, and exits 1
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return done.stdout.splitlines()[0].strip()
    return "not installed"


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name\s*:\s*(.*)", f.read(), re.M)
        model = found.group(1) if found else model
    return {"cores": os.cpu_count(), "model": model, "kernel": platform.release(),
            "penstock": first_line(harness.program("penstock"), "--version"),
            "redis": first_line("redis-server", "--version"), "wrk": first_line("wrk", "-v")}


def run_round(number, o, results):
    for name, measure in rows(o):
        if not re.search(o.only, name):
            continue
        sample = None
        try:
            sample = measure()
            what = f"{sample['jobs_per_s']:,.0f} jobs/s" if "jobs_per_s" in sample else f"p50 {sample['p50_us']:,.0f} us"
            log(f"round {number + 1} {name}: {what} (quiet {sample['quiet']:.0f} %, stolen {sample['stolen']:.0f} %)")
        except Exception as e:
            log(f"round {number + 1} {name}: FAILED: {e}")
        results.setdefault(name, []).append(sample)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--jobs", type=int, default=100000, help="of an echo batch (default 100000)")
    p.add_argument("--http-jobs", type=int, default=20000, help="of a batch over the simulated provider (20000)")
    p.add_argument("--samples", type=int, default=1000, help="one-job batches (1000)")
    p.add_argument("--wrk-seconds", type=int, default=3)
    p.add_argument("--unique", action="store_true", help="prompts that share nothing")
    p.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    p.add_argument("--quick", action="store_true", help="one small round: does everything work?")
    p.add_argument("--json", metavar="FILE", help="every sample")
    o = p.parse_args()
    o.prompts = ["--unique"] if o.unique else []
    if o.quick:
        o.rounds, o.jobs, o.http_jobs, o.samples, o.wrk_seconds = 1, 3000, 1000, 20, 1
    return o


def main():
    o = options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # what was started is ended on the way out
    about, results = machine(), {}
    for number in range(o.rounds):
        run_round(number, o, results)
    print(f"{about['cores']} x {about['model']}, Linux {about['kernel']}; {about['penstock']}; {about['redis']}; "
          f"wrk: {about['wrk']}")
    print(f"{o.rounds} rounds of {o.jobs} echo jobs, {o.http_jobs} HTTP jobs, {o.samples} one-job batches; bodies "
          f"{BODY_BYTES} B, {'nothing' if o.unique else 'the system text'} shared; answers' text {TEXT_BYTES} B; "
          "median [min–max]\n")
    print_results(results)
    if "not installed" in about["wrk"]:
        print("wrk is not installed: its rows were skipped")
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"machine": about, "options": vars(o), "results": results}, f, indent=1)
    failed = [name for name, samples in results.items() if None in samples]
    if failed or not results:
        log(f"FAILED: {', '.join(failed) or 'no row matches --only'}")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
