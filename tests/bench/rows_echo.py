"""End to end through the echo provider, beside a bare loop that stores the same in the same Redis."""

from lab import cluster, measured, redis_server, tool
from table import Figure, Ratio, Row, cpu, field, per_s, wanted_ratio

WARM_UP_JOBS = 2000
MODEL = "bench/model"  # of lab.write_config

ECHO = "echo: { api: echo, limits: { concurrency: 1024 } }", "provider: echo, model: bench"

# Name, bytes of a body, jobs of a row as a share of --jobs: so many that it takes seconds, and that no row writes more
# than some 300 MB, beyond which a disk slows down.
SIZES = [("1KiB", 1024, 1), ("100B", 100, 2), ("10KiB", 10240, 0.15), ("180KiB", 184320, 0.01)]


def bench_submit(c, *args):
    return tool("bench_submit", "--broker", c.broker, "--model", MODEL, *args)


def echo(durability, workers, jobs, prompts):
    with cluster(*ECHO, durability, workers) as c:
        bench_submit(c, "--jobs", max(min(WARM_UP_JOBS, jobs // 10), 1), *prompts)
        return measured(lambda: bench_submit(c, "--jobs", jobs, *prompts), c.groups())


def bare_redis(durability, jobs, prompts, raw):
    # compressed prompts are so few bytes that the loop needs more of them to run as long
    jobs = int(jobs * (2 if not raw and "--unique" not in prompts else 0.5))
    with redis_server(durability) as r:
        def run():
            got = tool("bare_redis", "--socket", r.socket, "--jobs", jobs, *prompts, *(["--raw"] if raw else []))
            return {**got, "body_bytes": int(prompts[1])}

        return measured(run, {"redis": [r.pid]})


def latency(o, durability):
    with cluster(*ECHO, durability, 1) as c:
        bench_submit(c, "--jobs", min(20, o.samples), "--latency", *o.prompts)
        return measured(lambda: bench_submit(c, "--jobs", o.samples, "--latency", *o.prompts), c.groups())


def waits(p50_ms, p99_ms):
    """Figures of one-job batches, with what is wanted of them."""
    return [Figure("least ms", field("min_us", 1e-3), 2), Figure("p50 ms", field("p50_us", 1e-3), 2, at_most=p50_ms),
            Figure("p99 ms", field("p99_us", 1e-3), 2, at_most=p99_ms)]


def call(in_flight, calls):
    with cluster(*ECHO, "logged", 1) as c:
        args = ["--broker", c.broker, "--model", MODEL, "--in-flight", in_flight, "--calls"]
        tool("bench_call", *args, max(calls // 10, 1))
        return measured(lambda: tool("bench_call", *args, calls), c.groups())


def wants(size, unique, durability, raw):
    if size == "180KiB":
        return [wanted_ratio(raw, 0.6)]
    if size != "1KiB" or unique:
        return []
    return [Figure("jobs/s", per_s, at_least={"logged": 100000, "fsynced": 80000}[durability]), wanted_ratio(raw, 0.5),
            Figure("CPU of the broker us/job", cpu("broker"), 1, at_most=4),
            Figure("CPU of Redis us/job", cpu("redis"), 1, at_most=3)]


def family(o, durability, size, bytes_, share, unique):
    """The bare loops in both forms, and what is divided by them."""
    jobs = max(int(o.jobs * share), 20)
    prompts = ["--bytes", str(bytes_), *(["--unique"] if unique else [])]
    name = f"{durability} {size}" + (" unique" if unique else "")
    packed = Ratio("bare own packs", f"bare_redis {name} packed")
    raw = Ratio("bare raw packs", f"bare_redis {name} raw")
    yield Row(packed.other, lambda: bare_redis(durability, jobs, prompts, False), durability=durability)
    yield Row(raw.other, lambda: bare_redis(durability, jobs, prompts, True), durability=durability)
    for workers in (1,) if o.quick else (1, 4):
        yield Row(f"echo {name} w{workers}", lambda w=workers: echo(durability, w, jobs, prompts), [raw, packed],
                  wants(size, unique, durability, raw), durability)


def rows(o):
    for durability in ("logged", "fsynced"):
        for size, bytes_, share in SIZES:
            for unique in (True,) if o.unique else (False, True):
                plain = (durability == "logged") + (not unique) + (size == "1KiB")
                if not o.quick or plain >= 2:  # each kind once
                    yield from family(o, durability, size, bytes_, share, unique)
        yield Row(f"one job {durability}", lambda d=durability: latency(o, d), [], waits(1, 5), durability)
    yield Row("call c1", lambda: call(1, 5 * o.samples), [], waits(0.5, 2))
    yield Row("call c64", lambda: call(64, o.jobs), [], [Figure("calls/s", per_s, at_least=30000), *waits(None, None)])
