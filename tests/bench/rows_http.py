"""Calls of one worker to the simulated provider, beside libcurl and wrk without penstock: over HTTP/1.1, over the same
in TLS, and over HTTP/2."""
import contextlib
import functools
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import urllib.request

import lab
from lab import harness
from rows_echo import WARM_UP_JOBS, bench_submit
from table import Figure, Ratio, Row, field, per_s, wanted_ratio

PROTOCOLS = ("h1", "tls", "h2")
CONCURRENCIES = (64, 256, 1024)
TEXT_BYTES = 500  # bench_submit's default
BODY_BYTES = 1024
KIB_A_CALL_MAX = 64
# The provider's key in penstock's configuration that names the certificates to trust.
TRUST_KEY = "ca_file"


# ---- the provider, and who can speak with it how


class Server:
    """The simulated provider speaking one protocol; the certificate it made itself is in `cert` ("" without TLS)."""

    def __init__(self, protocol, directory, *options):
        tls = {"h1": [], "tls": ["--self-signed", directory, "--http1"], "h2": ["--self-signed", directory]}[protocol]
        self.process = lab.Provider(*tls, *options)
        self.pid = self.process.pid
        self.cert = os.path.join(directory, "cert.pem") if tls else ""
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{self.process.port}"
        self.url = f"{self.base}/v1/chat/completions"
        self.curl_options = [*(["--cacert", self.cert] if tls else []), *(["--http2"] if protocol == "h2" else [])]

    def config(self, limits="", api="openai", path="/v1"):
        """The provider in a configuration, and its model."""
        trust = f', {TRUST_KEY}: "{self.cert}"' if self.cert else ""
        return (f'sim: {{ api: {api}, base_url: "{self.base}{path}", api_key: good-key{trust}{limits} }}',
                "provider: sim, model: gpt-test")

    def stats(self):
        context = ssl.create_default_context(cafile=self.cert) if self.cert else None
        with urllib.request.urlopen(f"{self.base}/_sim/stats", timeout=10, context=context) as answer:
            return json.load(answer)


@contextlib.contextmanager
def server(protocol, *options):
    with tempfile.TemporaryDirectory(prefix="pst") as directory:
        s = Server(protocol, directory, *options)
        try:
            yield s
        finally:
            s.process.stop()


def usage_of(program, *args):
    done = subprocess.run([harness.program(program), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=10)
    return done.stdout


@functools.lru_cache(maxsize=None)
def why_not(protocol, who):
    """Why `who` (bare_curl, penstock, wrk) cannot be measured with a protocol; "" if it can."""
    if who == "wrk" and not shutil.which("wrk"):
        return "wrk is not installed"
    if who == "wrk" and protocol == "h2":
        return "wrk speaks no HTTP/2"
    if protocol == "h1":
        return ""
    if "--self-signed" not in usage_of("pst-sim-provider", "--help"):
        return "the simulated provider of this build speaks no TLS"
    if who == "bare_curl" and "--cacert" not in usage_of("bare_curl"):
        return "bare_curl of this build takes no --cacert"
    if who == "penstock":
        return "" if config_takes_trust() else f"the configuration of this build has no {TRUST_KEY} for a provider"
    return ""


def config_takes_trust():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(f'providers: {{ sim: {{ api: openai, base_url: "https://127.0.0.1:1/v1", api_key: "", {TRUST_KEY}: '
                f'"{f.name}" }} }}\n')
        f.flush()
        return f"unknown key `{TRUST_KEY}`" not in usage_of("penstock", "check", "--config", f.name)


def skipped():
    """What this machine or build cannot show, with the reason, to be said aloud."""
    names = {"wrk": "wrk", "bare_curl": "bare_curl", "penstock": "http"}
    return [f"{names[who]} {protocol}: skipped: {why_not(protocol, who)}" for protocol in PROTOCOLS for who in names
            if why_not(protocol, who)]


# ---- measurements


def http(o, protocol, concurrency, *sizes, **adapter):
    """One batch through one worker; sizes: options of bench_submit; adapter: of Server.config, where it is another."""
    limits = f", limits: {{ concurrency: {concurrency} }}"
    with server(protocol) as s, lab.cluster(*s.config(limits, **adapter), "logged", 1) as c:
        args = "--prefix", "echo:", *o.prompts, *sizes
        # bare_curl too has its connections before its stopwatch starts
        warm_up = max(min(WARM_UP_JOBS, o.http_jobs), 2 * concurrency)
        bench_submit(c, "--jobs", warm_up, *args)
        return lab.measured(lambda: bench_submit(c, "--jobs", o.http_jobs, *args), {**c.groups(), "provider": [s.pid]})


def bare_curl(o, protocol, concurrency):
    with server(protocol) as s:
        return lab.measured(lambda: lab.tool("bare_curl", "--url", s.url, "--jobs", o.http_jobs, "--concurrency",
                                             concurrency, *s.curl_options, *o.prompts), {"provider": [s.pid]})


WRK = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer good-key"
wrk.body = '{"model":"gpt-test","messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s"}]}'
done = function(summary) io.write(string.format("%%d %%f %%d\\n", summary.requests, summary.duration / 1e6,
  summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status)) end
"""


def wrk(o, protocol, concurrency):
    with server(protocol) as s, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK % ("s" * (BODY_BYTES - TEXT_BYTES - 110), "t" * TEXT_BYTES))
        script.flush()

        # wrk's seconds begin before its first connection is made: a thousand of them in TLS take some
        duration = o.wrk_seconds + (concurrency // 200 if s.cert else 0)

        def run():
            before = lab.children_cpu()
            done = subprocess.run(["wrk", "-t1", f"-c{concurrency}", f"-d{duration}s", "-s", script.name, s.url],
                                  capture_output=True, text=True, timeout=lab.TIMEOUT_S, check=True)
            jobs, seconds, errors = done.stdout.split("\n")[-2].split()
            if int(errors) or not int(jobs):
                raise AssertionError(f"wrk had {errors} errors and {jobs} answers in {duration} s")
            return {"jobs": int(jobs), "seconds": float(seconds), "jobs_per_s": int(jobs) / float(seconds),
                    "cpu_s": lab.children_cpu() - before}

        return lab.measured(run, {"provider": [s.pid]})


def in_flight(o, protocol, calls):
    """What a call in flight costs the worker in memory: the most it held less what it held idle, over calls."""
    with server(protocol, "--latency-ms", o.in_flight_ms) as s, lab.parts(*s.config(), "logged") as c:
        worker = c.worker("--concurrency", str(calls))
        lab.wait_for_workers(c, 1)
        idle = lab.memory_mib(worker.pid, "VmRSS")
        # the second wave finds every connection made: then all are in flight, however long the making took
        sample = lab.measured(lambda: bench_submit(c, "--jobs", 2 * calls, "--prefix", "echo:", *o.prompts),
                              {**c.groups(), "provider": [s.pid]})
        most = s.stats()["max_in_flight"]
        if most < calls - -(-calls // 64):  # a 64th is left to the highest priority
            raise AssertionError(f"only {most} of {calls} calls were in flight at once")
        sample.update({"idle_mib": idle, "kib_a_call": (sample["rss"]["worker"] - idle) * 1024 / most})
        del sample["jobs_per_s"]  # of a provider that sleeps: it says nothing
        return sample


# ---- rows


def a_call(sample):
    """Calls a second of CPU, of the one who makes them: a ratio of these is one of CPU a call, the other way round."""
    used = sample["cpu"].get("worker") or sample["cpu"].get("client")
    return 1 / used if used else None


def family(o, protocol, concurrency):
    name = f"{protocol} c{concurrency}"
    if not why_not(protocol, "wrk"):
        yield Row(f"wrk {name}", lambda: wrk(o, protocol, concurrency))
    if not why_not(protocol, "bare_curl"):
        yield Row(f"bare_curl {name}", lambda: bare_curl(o, protocol, concurrency), [Ratio("wrk", f"wrk {name}")])
    if not why_not(protocol, "penstock"):
        figures = [wanted_ratio(Ratio("CPU", f"bare_curl {name}", a_call), 0.85,
                                "bare_curl's CPU a call ÷ the worker's")]
        if protocol == "h1":
            figures.append(Figure("jobs/s", per_s, at_least=15000))
        yield Row(f"http {name}", lambda: http(o, protocol, concurrency), [Ratio("bare_curl", f"bare_curl {name}")],
                  figures)


def rows(o):
    for protocol in PROTOCOLS:
        for concurrency in CONCURRENCIES[:1] if o.quick else CONCURRENCIES:
            yield from family(o, protocol, concurrency)
        if not why_not(protocol, "penstock"):
            yield Row(f"in flight {protocol} {o.in_flight}", lambda p=protocol: in_flight(o, p, o.in_flight), [],
                      [Figure("KiB a call in flight", field("kib_a_call"), 1, at_most=KIB_A_CALL_MAX),
                       Figure("worker idle MiB", field("idle_mib"), 1)])
