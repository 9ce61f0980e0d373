"""Requests for chat that somebody waits for: of the simulated provider directly, through `penstock gateway`, and
through Portkey's gateway; at a fixed rate, and as fast as 64 connections can."""
import contextlib
import os
import typing

import lab
import rows_http
from lab import harness
from peers import gateway as peer, portkey, support
from rows_echo import MODEL
from table import Difference, Figure, Ratio, Row, field

RATE = 1000
STREAM_RATE, STREAM_MS = 100, 10
CONNECTIONS = 64
WARM_UP_JOBS = 5000  # node compiles what it runs often
ADDED_P50_MS, ADDED_P99_MS = 0.5, 3
OUTSIDE = ("client", "provider")  # of the path that is compared


# ---- whom to ask: a context that gives a port, headers, the model's name there, and the processes of the path


@contextlib.contextmanager
def direct(o, provider):
    yield provider.process.port, peer.HEADERS, "gpt-test", {}


@contextlib.contextmanager
def penstock(o, provider, concurrency=256):
    with lab.cluster(*provider.config(f", limits: {{ concurrency: {concurrency} }}"), "logged", 1) as c:
        yield c.ports["gateway"], peer.HEADERS, MODEL, {**c.groups(), "gateway": c.gateway()}


@contextlib.contextmanager
def through_portkey(o, provider):
    port = harness.free_port()
    with portkey.started(o.peers, port, provider.process.port) as (process, headers):
        yield port, headers, "gpt-test", {"gateway": support.children_of(process.pid)}


WAYS = {"direct": direct, "gateway": penstock, "portkey": through_portkey}


def why_not(o, way):
    if way != "portkey":
        return ""
    if not o.peers:
        return "--peers names no directory of `peers.py --keep`"
    return "" if os.path.isdir(portkey.package(o.peers)) else f"it is not installed in {o.peers}"


def skipped(o):
    return [f"chat {way}: skipped: {why_not(o, way)}" for way in WAYS if why_not(o, way)]


# ---- measurements


def bench_http(port, headers, model, *how):
    options = [x for name, value in headers.items() for x in ("--header", f"{name}: {value}")]
    return lab.tool("bench_http", "--url", peer.chat(port), "--model", model, *options, *how)


def load(o, way, kind):
    requests = kind.requests
    if way == "portkey" and "--rate" not in kind.how:
        requests = max(requests // 10, 1)  # or it takes a minute
    with rows_http.server("h1", *kind.provider) as s, WAYS[way](o, s) as (*to, groups):
        how = "--in-flight", CONNECTIONS, *kind.how
        bench_http(*to, *how, "--requests", min(WARM_UP_JOBS, requests))
        return lab.measured(lambda: bench_http(*to, *how, "--requests", requests), {**groups, "provider": [s.pid]})


def in_flight(o):
    """What a call in flight takes of memory: the most each process held less what it held idle, over calls."""
    calls = o.chat_in_flight
    with rows_http.server("h1", "--latency-ms", o.chat_in_flight_ms) as s, penstock(o, s, calls) as (*to, groups):
        idle = {name: lab.memory_mib(pids[0], "VmRSS") for name, pids in groups.items()}
        sample = lab.measured(lambda: bench_http(*to, "--requests", calls, "--in-flight", calls),
                              {**groups, "provider": [s.pid]})
        most = s.stats()["max_in_flight"]
        if most < calls:
            raise AssertionError(f"only {most} of {calls} calls were in flight at once")
        sample.update({f"kib_{name}": (sample["rss"][name] - mib) * 1024 / calls for name, mib in idle.items()})
        del sample["jobs_per_s"]  # of a provider that sleeps: it says nothing
        return sample


# ---- rows


class Kind(typing.NamedTuple):
    """What is asked for, and how fast; times, what bench_http calls those that count."""
    what: str
    speed: str
    requests: int
    how: tuple
    provider: tuple = ()
    times: str = ""
    wanted: tuple = (None, None)  # ms added at the median and at the 99th percentile, at most

    def name(self, way):
        return f"{self.what} {way} {self.speed}"


def kinds(o):
    at_rate, streamed = ("--rate", RATE), ("--stream",)
    yield Kind("chat", f"{RATE}/s", RATE * o.chat_seconds, at_rate, wanted=(ADDED_P50_MS, ADDED_P99_MS))
    yield Kind("chat", f"c{CONNECTIONS}", o.http_jobs, ())
    yield Kind("stream", f"{STREAM_RATE}/s", STREAM_RATE * o.chat_seconds, ("--rate", STREAM_RATE, *streamed),
               ("--stream-ms", STREAM_MS), "first_")
    yield Kind("stream", f"c{CONNECTIONS}", max(o.http_jobs // 5, 1), streamed, times="first_")


def a_core(sample):
    """Requests a second of CPU of all the path's processes."""
    used = sum(us for name, us in sample["cpu"].items() if name not in OUTSIDE)
    return 1e6 / used if used else None


def a_core_with_provider(sample):
    return 1e6 / sum(us for name, us in sample["cpu"].items() if name != "client")


def waits_of(kind, way):
    until = "to the first event, " if kind.times else ""
    for p, most in zip(("p50", "p99"), kind.wanted):
        value = field(f"{kind.times}{p}_us", 1e-3)
        yield Figure(f"{until}{p} ms", value, 2)
        if way != "direct":
            yield Figure(f"{until}{p} added to direct ms", lambda r: r, 2, at_most=most if way == "gateway" else None,
                         ratio=Difference("direct", kind.name("direct"), value))


def cores_of(kind, way):
    """Of the path alone, which a direct call has not; and with the provider, which all have."""
    yield Figure("requests/s a core, the provider's too", a_core_with_provider)
    if way == "direct":
        return
    yield Figure("that ÷ direct's", lambda r: r, 2, ratio=Ratio("direct", kind.name("direct"), a_core_with_provider))
    yield Figure("requests/s a core of the path", a_core)
    if way == "gateway":
        yield Figure("that ÷ Portkey's", lambda r: r, 1, ratio=Ratio("portkey", kind.name("portkey"), a_core))


def family(o, kind):
    saturated = "--rate" not in kind.how
    for way in WAYS:
        if why_not(o, way):
            continue
        ratios = [Ratio(other, kind.name(other)) for other in ("direct", "portkey") if other != way]
        figures = [*waits_of(kind, way), *cores_of(kind, way)]
        if "--stream" in kind.how:
            figures.append(Figure("events/s", field("events_per_s")))
        yield Row(kind.name(way), lambda w=way: load(o, w, kind), ratios if saturated else [], figures)


def rows(o):
    for kind in kinds(o):
        yield from family(o, kind)
    if o.scale or o.only or o.quick:
        yield Row(f"chat in flight {o.chat_in_flight}", lambda: in_flight(o), [],
                  [Figure(f"KiB a call, {name}", field(f"kib_{name}"), 1) for name in ("gateway", "broker", "worker")])
