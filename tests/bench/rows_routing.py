"""Routing and limits on real processes, against simulated providers: what market.py measures in virtual time.

Prompts are all of one length, so that every call takes and costs the same.  Durability `logged`."""
import contextlib
import threading
import time

import lab
from lab import harness
from rows_echo import bench_submit
from table import Figure, Ratio, Row, field

LATENCY_S = 0.1
CALLS_A_WORKER = "256"  # in flight: several times what the limits ask for, so that nothing but limits holds jobs back
STEADY_RPM, STEADY_BURST = 12000, 20
WINDOWS_RPM = 6000

OUTAGE_RPM = 6000
LOOK_S = 0.05

CHEAP_RPM, CHEAP_PRICE, DEAR_PRICE = 3000, 1, 4


class Provider(lab.Provider):
    get, stats, set = harness.Provider.get, harness.Provider.stats, harness.Provider.set


@contextlib.contextmanager
def market(workers, *sides):
    """A cluster with `workers` workers for each provider, all serving one model, and the providers.  A side is (options
    of a provider, limits in the configuration, price)."""
    with contextlib.ExitStack() as stack:
        providers = []
        for options, _, _ in sides:
            p = Provider("--latency-ms", LATENCY_S * 1000, *options)
            stack.callback(p.stop)
            providers.append(p)
        names = [f"sim{i}" for i in range(len(sides))]
        lines = [f'{name}: {{ api: openai, base_url: "http://127.0.0.1:{p.port}/v1", api_key: good-key, '
                 f'limits: {{ {limits} }} }}' for name, p, (_, limits, _) in zip(names, providers, sides)]
        models = [f"provider: {name}, model: gpt-test, price: {{ input: {price}, output: {price} }}"
                  for name, (_, _, price) in zip(names, sides)]
        c = stack.enter_context(lab.parts("\n  ".join(lines), " }, { ".join(models), "logged"))
        for name in names * workers:
            c.worker("--provider", name, "--concurrency", CALLS_A_WORKER)
        lab.wait_for_workers(c, workers * len(sides))
        yield c, providers


def groups(c, providers):
    return {**c.groups(), "provider": [p.pid for p in providers]}


# ---- as fast as limits allow


def least_seconds(jobs):
    """No routing is faster, but by luck of less than a window.

    In T seconds the one bucket lets its burst and 200 T through.  Of windows of a second, each with 100 calls, T
    seconds touch T + 1 on average over when they begin: 100 T, and 100 that one may use at once.  So for N jobs
        T >= (N - burst - 100) / 300
    and the last call takes its time on top.  (market_fluid.c gives the windows 200 at once, the most there can be: it
    must hold for every run of its kind.  Here these are a thirtieth of all jobs, and who sends them cannot know when a
    window begins.)"""
    at_once = STEADY_BURST + WINDOWS_RPM / 60
    return max(jobs - at_once, 0) / ((STEADY_RPM + WINDOWS_RPM) / 60) + LATENCY_S


def limited(o, told, workers):
    """One batch over two limited endpoints.  Told: configured, by headers, or by nothing but 429s."""
    headers = ("--headers", int(told != "429s"))
    steady = ("--rpm", STEADY_RPM, "--bucket", "continuous", "--burst", STEADY_BURST, *headers)
    windows = ("--rpm", WINDOWS_RPM, "--bucket", "second", *headers)
    limits = [f"rpm: {rpm}" if told == "configured" else "" for rpm in (STEADY_RPM, WINDOWS_RPM)]
    with market(workers, (steady, limits[0], 1), (windows, limits[1], 1)) as (c, providers):
        sample = lab.measured(lambda: bench_submit(c, "--jobs", o.limited_jobs, "--prefix", "echo:", *o.prompts),
                              groups(c, providers))
        counted = [p.stats() for p in providers]
    calls = sum(s["requests"] for s in counted)
    sample["refused_share"] = sum(s["refused_429"] for s in counted) / calls
    sample["of_bound"] = sample["run_s"] / least_seconds(o.limited_jobs)
    for name, s in zip(("steady", "windows"), counted):
        sample[f"calls_{name}"], sample[f"refused_{name}"] = s["accepted"], s["refused_429"]
    del sample["jobs_per_s"]  # of limits: it says nothing of penstock
    return sample


def limited_row(o, told, workers):
    most, refused = {"configured": (1.05, 0.005), "headers": (1.15, 0.005), "429s": (None, None)}[told]
    figures = [Figure("makespan ÷ bound", field("of_bound"), 3, at_most=most),
               Figure("429s ÷ calls", field("refused_share"), 4, at_most=refused)]
    for name in ("steady", "windows"):
        figures += [Figure(f"calls accepted at {name}", field(f"calls_{name}")),
                    Figure(f"429s at {name}", field(f"refused_{name}"))]
    if workers > 1:
        beside = Ratio("one", f"limits {told} w1", field("of_bound"))
        figures.append(Figure("makespan beside w1's, the longer ÷ the shorter", lambda r: max(r, 1 / r), 3,
                              at_most=1.05, ratio=beside))
    return Row(f"limits {told} w{workers}", lambda: limited(o, told, workers), [], figures)


# ---- a provider that was dead


class Watch:
    """What a provider has accepted, every LOOK_S, on a thread of its own."""

    def __init__(self, provider):
        self.provider, self.seen, self.over = provider, [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.over.wait(LOOK_S):
            stats = self.provider.stats()
            self.seen.append((time.monotonic(), stats["accepted"]))

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.seen


def accepted_until(seen, when):
    return max((accepted for at, accepted in seen if at <= when), default=0)


def lost_share_seconds(seen, before_s, begin, end):
    """The most that was missing at any moment since the provider was well again, in seconds of its rate before."""
    well = accepted_until(seen, end)
    rate = (accepted_until(seen, begin) - accepted_until(seen, begin - before_s)) / before_s
    return max((at - end) - (accepted - well) / rate for at, accepted in seen if at > end)


def outage(o, status):
    """Two endpoints, each as fast as its limit; one is dead for a while.  The batch is so large that both are busy to
    the end of the look, and every job must be completed."""
    side = (("--rpm", OUTAGE_RPM, "--outage-status", status), f"rpm: {OUTAGE_RPM}", 1)
    jobs = int(OUTAGE_RPM / 60 * (2 * (2 + o.outage_before_s + o.outage_after_s) + 1.1 * o.outage_s))
    meter = lab.Meter()
    with market(1, side, side) as (c, providers):
        meter.start(groups(c, providers))
        args = "--jobs", jobs, "--prefix", "echo:", *o.prompts
        batch = bench_submit(c, *args, "--submit")["batch"]
        watch = Watch(providers[0])
        time.sleep(o.outage_before_s + 1)
        begin = time.monotonic()
        providers[0].set(outage="on")
        time.sleep(o.outage_s)
        providers[0].set(outage="off")
        end = time.monotonic()
        time.sleep(o.outage_after_s)
        seen = watch.stop()
        still = c.status(batch)["status"]
        if still != "in_progress":
            raise AssertionError(f"the batch was {still} before the look was over: it had too few jobs")
        sample = meter.stop(bench_submit(c, "--read", batch, *args))  # fails unless each job is completed, once
        receipt = c.receipt(batch)
    during = accepted_until(seen, end - LOOK_S) - accepted_until(seen, begin + 2 * LOOK_S)
    if during > 0:
        raise AssertionError(f"{during} calls were accepted while the provider was dead")
    failed = sum(e["calls"] - e["completed"] - e["rate_limited"] for e in receipt["endpoints"])
    sample.update({"lost_s": lost_share_seconds(seen, o.outage_before_s, begin, end), "failed_calls": failed})
    del sample["jobs_per_s"]
    return sample


def outage_row(o, name, status):
    return Row(f"outage {name}", lambda: outage(o, status), [],
               [Figure("share-seconds lost after it", field("lost_s"), 2, at_most=1.5),
                Figure("calls that failed", field("failed_calls"))])


# ---- as cheap as a window allows


def least_cost(jobs, window_s):
    """In calls at the cheap price.  The cheap endpoint's bucket, full at first, lets a second's worth and 50 a second
    through, the last of them a call's time before the window ends; the dear one takes the rest."""
    cheap = min(jobs, CHEAP_RPM / 60 * (1 + window_s - LATENCY_S))
    return cheap + (jobs - cheap) * DEAR_PRICE / CHEAP_PRICE


def window(o):
    cheap = (("--rpm", CHEAP_RPM), f"rpm: {CHEAP_RPM}", CHEAP_PRICE)
    dear = ((), "", DEAR_PRICE)
    jobs = int(CHEAP_RPM / 60 * o.window_s * 5 / 3)  # of which the cheap one can do three fifths
    with market(1, cheap, dear) as (c, providers):
        submitted = []

        def run():
            args = "--jobs", jobs, "--prefix", "echo:", *o.prompts
            begin = time.monotonic()
            submitted.append(bench_submit(c, *args, "--window", o.window_s, "--submit")["batch"])
            # fails if a job has expired: the window is met
            return {**bench_submit(c, "--read", submitted[0], *args), "took_s": time.monotonic() - begin}

        sample = lab.measured(run, groups(c, providers))
        by_provider = {e["provider"]: e for e in c.receipt(submitted[0])["endpoints"]}
    at_cheap, at_dear = by_provider["sim0"], by_provider["sim1"]
    a_call = at_cheap["cost_usd"] / at_cheap["completed"]
    cost = at_cheap["cost_usd"] + at_dear["cost_usd"]
    sample.update({"of_least_cost": cost / (a_call * least_cost(jobs, o.window_s)), "cheap": at_cheap["completed"],
                   "of_window": sample["took_s"] / o.window_s})
    del sample["jobs_per_s"]
    return sample


# ---- rows


def rows(o):
    for told in ("configured", "headers", "429s"):
        for workers in (1,) if told == "429s" else (1, 4):
            yield limited_row(o, told, workers)
    for name, status in (("503", 503), ("connection", 0))[:1 if o.quick else 2]:
        yield outage_row(o, name, status)
    if o.quick:
        return  # the row below fails if a job comes late: that is a matter of time, which the smoke test does not judge
    yield Row(f"window {o.window_s}s", lambda: window(o), [],
              [Figure("cost ÷ least cost", field("of_least_cost"), 3, at_most=1.10),
               Figure("jobs at the cheap endpoint", field("cheap")),
               Figure("last result ÷ window", field("of_window"), 3, at_most=1)])
