"""Requests for chat that somebody waits for: of the simulated provider directly, through `penstock gateway`, and
through Portkey's gateway; at a fixed rate, and as fast as 64 connections can."""
import contextlib
import os

import lab
import rows_http
from lab import harness
from peers import gateway as peer, portkey, support
from rows_echo import MODEL
from table import Difference, Figure, Ratio, Row, field

RATE = 1000
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


def load(o, way, *how):
    with rows_http.server("h1") as s, WAYS[way](o, s) as (*to, groups):
        how = "--in-flight", CONNECTIONS, *how
        bench_http(*to, *how, "--requests", min(WARM_UP_JOBS, o.http_jobs))
        return lab.measured(lambda: bench_http(*to, *how), {**groups, "provider": [s.pid]})


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


def a_core(sample):
    """Requests a second of CPU of all the path's processes."""
    used = sum(us for name, us in sample["cpu"].items() if name not in OUTSIDE)
    return 1e6 / used if used else None


def a_core_with_provider(sample):
    return 1e6 / sum(us for name, us in sample["cpu"].items() if name != "client")


def waits_of(way, name):
    figures = [Figure(f"{p} ms", field(f"{p}_us", 1e-3), 2) for p in ("p50", "p99")]
    if way == "direct":
        return figures
    for p, most in (("p50", ADDED_P50_MS), ("p99", ADDED_P99_MS)):
        added = Difference("direct", f"chat direct {name}", field(f"{p}_us", 1e-3))
        figures.append(Figure(f"{p} added to direct ms", lambda r: r, 2, ratio=added,
                              at_most=most if way == "gateway" and name == f"{RATE}/s" else None))
    return figures


def cores_of(way, name):
    """Of the path alone, which a direct call has not; and with the provider, which all have."""
    whole = Figure("requests/s a core, the provider's too", a_core_with_provider)
    if way == "direct":
        return [whole]
    to_direct = Ratio("direct", f"chat direct {name}", a_core_with_provider)
    figures = [Figure("requests/s a core of the path", a_core), whole,
               Figure("that ÷ direct's", lambda r: r, 2, ratio=to_direct)]
    if way == "gateway":
        to_portkey = Ratio("portkey", f"chat portkey {name}", a_core)
        figures.append(Figure("a core of the path ÷ Portkey's", lambda r: r, 1, ratio=to_portkey))
    return figures


def family(o, name, *how):
    for way in WAYS:
        if why_not(o, way):
            continue
        ratios = [Ratio(other, f"chat {other} {name}") for other in ("direct", "portkey") if other != way]
        yield Row(f"chat {way} {name}", lambda w=way: load(o, w, *how), ratios if per_s_says(name) else [],
                  waits_of(way, name) + cores_of(way, name))


def per_s_says(name):
    return not name.endswith("/s")


def rows(o):
    yield from family(o, f"{RATE}/s", "--rate", RATE, "--requests", RATE * o.chat_seconds)
    yield from family(o, f"c{CONNECTIONS}", "--requests", o.http_jobs)
    if o.scale or o.only or o.quick:
        yield Row(f"chat in flight {o.chat_in_flight}", lambda: in_flight(o), [],
                  [Figure(f"KiB a call, {name}", field(f"kib_{name}"), 1) for name in ("gateway", "broker", "worker")])
