"""What grows: jobs queued, workers, a batch beside, results to read.  Durability `logged` unless a row says
otherwise."""
import os
import subprocess
import time

import lab
from lab import harness
from rows_echo import ECHO, WARM_UP_JOBS, bench_submit, waits
from table import Figure, Ratio, Row, field, per_s, wanted_ratio

STATUS_CALLS = 100
STATUS_MS_MAX = 20
BROKER_MIB = 150
BROKER_BYTES_A_JOB = 40
REDIS_SHARE_MAX = 0.35
LINE_BYTES = len('{"custom_id":"c-0000000001","body":}\n')  # what a job's line in a file has around the body
RESULTS_PER_S = 300000
RECOVERY_S = {10**6: 2, 10**7: 15}
CALLS_A_WORKER = 200
PROVIDER_MS = 200
# While the window's end is noticed, jobs go on: so many more are queued, a fifth of a second's.
SLACK_JOBS = 30000


# ---- jobs queued


def wait_for(c, counter, count, seconds=600):
    """Until the broker has counted so many; (when, how many it were then)."""
    def enough():
        if c.broker_process.poll() is not None:
            raise AssertionError(f"the broker ended: {c.broker_process.returncode}")
        try:
            value = lab.metrics(c)[counter]
        except OSError:
            return None  # it is only starting
        return (time.monotonic(), value) if value >= count else None

    return harness.wait_for(f"{count} {counter}", enough, seconds, 0.01)


def status_times(c, batch, prefix):
    got = bench_submit(c, "--status", batch, "--jobs", STATUS_CALLS)
    return {f"{prefix}_p50_ms": got["p50_us"] / 1e3, f"{prefix}_max_ms": got["max_us"] / 1e3}


def recover(c, batch):
    """kill -9 of the broker while it sends, another started at once: how long until that one has sent a job."""
    begin = time.monotonic()
    c.kill_broker()
    c.start_broker()
    sent, _ = wait_for(c, "dispatches_total", 1)
    queued = lab.metrics(c)["jobs_queued"]
    return {"recovery_s": sent - begin, "recovered_jobs": queued, **status_times(c, batch, "status_running"),
            "recovered_mib": lab.memory_mib(c.broker_process.pid)}


def run_window(c, jobs):
    """A worker comes, and is given time to settle; then how fast `jobs` are run, and by whose work."""
    meter = lab.Meter()
    c.worker()
    begin, first = wait_for(c, "jobs_completed_total", jobs // 10)
    meter.start(c.groups())
    end, last = wait_for(c, "jobs_completed_total", first + jobs)
    return meter.stop({"jobs": last - first, "seconds": end - begin, "jobs_per_s": (last - first) / (end - begin)})


def total_of(o, n):
    return n + window_of(o) + window_of(o) // 10 + SLACK_JOBS


def window_of(o):
    return o.jobs // 2


def queued(o, n, recovery):
    """All jobs are one batch, submitted while there is no worker.  Those beyond n are run, so that at least n wait all
    the time."""
    with lab.parts(*ECHO, "logged") as c:
        bench_submit(c, "--jobs", 1, "--submit", *o.prompts)  # what Redis needs for its function library is not a job's
        empty = lab.settled_memory(c.redis.socket)
        batch = bench_submit(c, "--jobs", total_of(o, n), "--submit", *o.prompts)
        stored = lab.settled_memory(c.redis.socket) - empty
        asked = status_times(c, batch["batch"], "status")
        lab.written_down(c.redis.socket)
        sample = run_window(c, window_of(o))
        left = lab.metrics(c)["jobs_queued"]
        if left < n:
            raise AssertionError(f"{left} jobs were left, not {n}: they ran too fast for the window to end in time")
        sample.update({"queued": total_of(o, n), "submit_per_s": batch["jobs_per_s"], **asked,
                       "redis_share": stored / (batch["body_bytes"] + LINE_BYTES) / batch["jobs"]})
        if recovery:
            sample.update(recover(c, batch["batch"]))
            sample["rss"]["broker"] = max(sample["rss"]["broker"], sample["recovered_mib"])
        return sample


def queued_row(o, n, least):
    name = f"queued {n}"
    of_least = Ratio(f"queued {least}", f"queued {least}")
    figures = [Figure("submitted jobs/s", field("submit_per_s")),
               Figure("broker peak MiB", lambda s: s["rss"]["broker"],
                      at_most=BROKER_MIB + BROKER_BYTES_A_JOB * total_of(o, n) / lab.MIB),
               Figure("Redis's memory ÷ JSON lines", field("redis_share"), 3,
                      at_most=None if o.unique else REDIS_SHARE_MAX),
               Figure("status idle p50 ms", field("status_p50_ms"), 2),
               Figure("status idle max ms", field("status_max_ms"), 2, at_most=STATUS_MS_MAX)]
    if n != least:
        # "within 10 % of each other": the smaller of the two over the larger
        figures.append(Figure(f"dispatch rate beside queued {least}", lambda r: min(r, 1 / r), 2, at_least=0.9,
                              ratio=of_least))
    recovery = n in RECOVERY_S or (o.quick and n != least)  # a short queue would have run dry before that
    if recovery:
        figures += [Figure("kill -9 to a job sent s", field("recovery_s"), 2, at_most=RECOVERY_S.get(n)),
                    Figure("status running p50 ms", field("status_running_p50_ms"), 2),
                    Figure("status running max ms", field("status_running_max_ms"), 2, at_most=STATUS_MS_MAX)]
    return Row(name, lambda: queued(o, n, recovery), [of_least] if n != least else [], figures)


# ---- workers


def workers(o, count):
    """Calls that take 200 ms, 200 a worker: a worker does 1,000 a second as long as nothing else is full."""
    with lab.provider("--latency-ms", PROVIDER_MS) as p:
        config = (f'sim: {{ api: openai, base_url: "http://127.0.0.1:{p.port}/v1", api_key: good-key }}',
                  "provider: sim, model: gpt-test")
        with lab.parts(*config, "logged") as c:
            for _ in range(count):
                c.worker("--concurrency", str(CALLS_A_WORKER))
            lab.wait_for_workers(c, count)
            args = "--prefix", "echo:", *o.prompts
            bench_submit(c, "--jobs", count * CALLS_A_WORKER, *args)  # connections are made
            groups = {**c.groups(), "provider": [p.pid]}
            sample = lab.measured(lambda: bench_submit(c, "--jobs", count * o.worker_jobs, *args), groups)
            sample["jobs_per_s"] = sample["jobs"] / sample["run_s"]
            sample["busiest_client"] = 100 * sample["cpu_s"] / sample["seconds"]
            for name in groups:
                sample[f"busiest_{name}"] = 100 * max(sample["cpu_seconds"][name]) / sample["seconds"]
            return sample


def workers_row(o, count):
    linear = Ratio(f"{count} times one" if count > 1 else "", "workers 1", times=count)
    figures = [Figure(f"busiest {name} % of a core", field(f"busiest_{name}"))
               for name in ("worker", "broker", "redis", "provider", "client")]
    figures.append(Figure("machine % of all cores", field("machine_busy")))
    if count > 1:
        figures.insert(0, wanted_ratio(linear, 0.95, f"share of {linear.label}, until a core is full"))
    return Row(f"workers {count}", lambda: workers(o, count), [linear] if count > 1 else [], figures)


# ---- a large batch


def beside(o, durability):
    """One-job batches of high priority while a large one runs."""
    with lab.cluster(*ECHO, durability, 1) as c:
        bench_submit(c, "--jobs", min(WARM_UP_JOBS, o.jobs), *o.prompts)
        meter = lab.Meter()
        batch = bench_submit(c, "--jobs", o.large_jobs, "--submit", *o.prompts)["batch"]
        meter.start({})  # CPU a job would mostly be the large batch's
        sample = meter.stop(bench_submit(c, "--jobs", o.samples, "--latency", "--seconds", o.beside_seconds,
                                         "--priority", 1, *o.prompts))
        still = c.status(batch)
        if still["status"] != "in_progress":
            raise AssertionError(f"the large batch was {still['status']} before the small ones were done")
        return sample


def count_lines(path):
    lines = 0
    with open(path, "rb") as f:
        while block := f.read(lab.MIB):
            lines += block.count(b"\n")
    return lines


def read_by_cli(c, batch, jobs):
    path = os.path.join(c.dir, "results.jsonl")
    cpu, begin = lab.children_cpu(), time.monotonic()
    subprocess.run([harness.program("penstock"), "results", batch, "--output", path, "--broker", c.broker, "--config",
                    c.config], check=True, timeout=lab.TIMEOUT_S)
    seconds, cpu = time.monotonic() - begin, lab.children_cpu() - cpu
    lines, size = count_lines(path), os.path.getsize(path)
    os.unlink(path)
    if lines != jobs:
        raise AssertionError(f"{lines} lines of {jobs} results")
    return {"jobs": jobs, "seconds": seconds, "jobs_per_s": jobs / seconds, "cpu_s": cpu, "file_bytes": size}


def reading(o):
    with lab.cluster(*ECHO, "logged", 1) as c:
        batch = bench_submit(c, "--jobs", o.results_jobs, "--submit", *o.prompts)["batch"]
        c.wait(batch, lab.TIMEOUT_S)
        sample = lab.measured(lambda: read_by_cli(c, batch, o.results_jobs), {k: v for k, v in c.groups().items()
                                                                          if k != "worker"})
        library = bench_submit(c, "--read", batch, "--jobs", o.results_jobs, *o.prompts)
        return {**sample, "library_per_s": library["jobs_per_s"]}


# ---- rows


def rows(o):
    sizes = [n for n in (10**4, 10**6, 10**7) if n <= o.jobs_max] if not o.quick else [1000, 100000]
    for n in sizes:
        yield queued_row(o, n, sizes[0])
    for count in (1, 2) if o.quick else (1, 2, 4, 8):
        yield workers_row(o, count)
    for durability in ("logged",) if o.quick else ("logged", "fsynced"):
        yield Row(f"one job beside {o.large_jobs} {durability}", lambda d=durability: beside(o, d), [],
                  [*waits(5, 50), Figure("one-job batches", field("jobs"))], durability)
    yield Row(f"results of {o.results_jobs}", lambda: reading(o), [],
              [Figure("penstock results, into a file: results/s", per_s, at_least=RESULTS_PER_S),
               Figure("library, every line checked: results/s", field("library_per_s"), at_least=RESULTS_PER_S)])
