#!/usr/bin/env python3
"""Runs the benchmarks in interleaved rounds and prints medians, ratios, CPU a job of every process, and what is wanted.

README.md says what each row means.  A rate says little on a shared machine: the ratios, whose two sides are measured
within the same round, are what a claim may rest on.  --quick is the smoke test: results are checked, times are not.
"""
import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

import lab
import rows_adapters
import rows_echo
import rows_gateway
import rows_http
import rows_routing
import rows_scale
import table
from lab import harness, log


def first_line(*command):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # wrk says its version with its usage, and exits 1
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return done.stdout.splitlines()[0].strip()
    return "not installed"


def libraries():
    """The files that a worker and a broker are linked with: their names end in their versions."""
    found = set()
    for program in ("penstock-worker", "penstock-broker"):
        done = subprocess.run(["ldd", harness.program(program)], capture_output=True, text=True, timeout=10)
        for path in re.findall(r"=> (\S*/lib(?:curl|zmq|zstd|hiredis|ssl|nghttp2)\S*)", done.stdout):
            found.add(os.path.basename(os.path.realpath(path)))
    return sorted(found)


def machine():
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name\s*:\s*(.*)", f.read(), re.M)
    return {"cores": os.cpu_count(), "model": found.group(1) if found else "unknown", "kernel": platform.release(),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
            "date": time.strftime("%Y-%m-%d"),
            "penstock": first_line(harness.program("penstock"), "--version"),
            "redis": first_line("redis-server", "--version"), "wrk": first_line("wrk", "-v"), "libraries": libraries()}


def chosen(o):
    """The rows of a round, in order: what is divided by what stands near it.  The long ones only if asked for."""
    rows = [*rows_echo.rows(o), *rows_http.rows(o), *rows_adapters.rows(o), *rows_gateway.rows(o)]
    if o.scale or o.only or o.quick:
        rows += rows_scale.rows(o)
    if o.routing or o.only or o.quick:
        rows += rows_routing.rows(o)
    return [row for row in rows if re.search(o.only, row.name)]


def shown(sample):
    if "jobs_per_s" in sample:
        return f"{sample['jobs_per_s']:,.0f} jobs/s"
    return f"p50 {sample['p50_us']:,.0f} us" if "p50_us" in sample else f"{sample['seconds']:.1f} s"


def run_round(number, rows, results, wait_quiet_s):
    for row in rows:
        sample = None
        waited = lab.wait_until_quiet(wait_quiet_s) if wait_quiet_s else 0
        begin = time.monotonic()
        try:
            sample = {**row.measure(), "waited_s": waited}
            log(f"round {number + 1} {row.name}: {shown(sample)} (waited {waited:.0f} s, quiet {sample['quiet']:.0f} %, "
                f"stolen {sample['stolen']:.0f} %; {time.monotonic() - begin:.0f} s in all)")
        except Exception as e:
            log(f"round {number + 1} {row.name}: FAILED: {e}")
        results.setdefault(row.name, []).append(sample)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--jobs", type=int, default=200000,
                   help="of an echo batch of 1 KiB bodies (default 200000); of other sizes in proportion")
    p.add_argument("--http-jobs", type=int, default=20000, help="of a batch over the simulated provider (20000)")
    p.add_argument("--samples", type=int, default=1000, help="one-job batches (1000)")
    p.add_argument("--wrk-seconds", type=int, default=3)
    p.add_argument("--unique", action="store_true", help="prompts that share nothing, in all rows")
    p.add_argument("--wait-quiet", type=float, default=0, metavar="S",
                   help="before each row wait up to S seconds until the host takes nothing from this machine")
    p.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches, the long ones too")
    p.add_argument("--scale", action="store_true", help="the long rows too: queued, workers, beside, results")
    p.add_argument("--routing", action="store_true",
                   help="limits, an outage, a window, against simulated providers: three minutes a round")
    p.add_argument("--chat-seconds", type=int, default=5, help="of requests for chat at a fixed rate (5)")
    p.add_argument("--peers", metavar="DIR", help="of `peers.py --keep`: Portkey's gateway is measured too")
    p.add_argument("--jobs-max", type=int, default=10**6,
                   help="queued at most (1000000; 10000000 takes 4 GiB of memory and twice that of disk)")
    p.add_argument("--quick", action="store_true", help="one small round: does everything work?")
    p.add_argument("--list", action="store_true", help="the names of the rows, and nothing else")
    p.add_argument("--json", metavar="FILE", help="every sample")
    o = p.parse_args()
    o.prompts = ["--unique"] if o.unique else []
    o.in_flight, o.in_flight_ms, o.worker_jobs, o.large_jobs, o.beside_seconds = 4096, 5000, 6000, 10**6, 4
    o.results_jobs = o.large_jobs
    o.chat_in_flight, o.chat_in_flight_ms = 10000, 20000
    o.limited_jobs, o.outage_before_s, o.outage_s, o.outage_after_s, o.window_s = 3000, 8, 10, 15, 30
    if o.quick:
        o.rounds, o.jobs, o.http_jobs, o.samples, o.wrk_seconds = 1, 3000, 1000, 20, 1
        o.in_flight, o.in_flight_ms, o.worker_jobs, o.large_jobs, o.beside_seconds = 128, 300, 400, 300000, 1
        o.results_jobs = 50000
        o.chat_seconds, o.chat_in_flight, o.chat_in_flight_ms = 1, 128, 500
        o.limited_jobs, o.outage_before_s, o.outage_s, o.outage_after_s = 400, 2, 2, 3
    return o


def print_head(o, about):
    print(f"{about['cores']} x {about['model']}, {about['memory_gib']} GiB, Linux {about['kernel']}; {about['date']}; "
          f"{about['penstock']}; {about['redis']}; wrk: {about['wrk']}; {' '.join(about['libraries'])}")
    shared = "nothing" if o.unique else "the system text"
    print(f"{o.rounds} rounds of {o.jobs} echo jobs of 1 KiB (of other sizes in proportion), {o.http_jobs} HTTP jobs, "
          f"{o.samples} one-job batches; {shared} shared unless a row says unique; median [min–max]\n")


def main():
    o = options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # what was started is ended on the way out
    lab.allow_many_files()
    if not os.path.exists(harness.program("penstock")):
        log(f"{harness.BIN}: no penstock is there: build it (cmake --preset release, cmake --build --preset release), "
            "or set PST_BIN")
        return 1
    rows, results = chosen(o), {}
    if o.list:
        print("\n".join(row.name for row in rows))
        return 0
    about = machine()
    for number in range(o.rounds):
        run_round(number, rows, results, o.wait_quiet)
    print_head(o, about)
    table.print_results(rows, results, judge=not o.quick)
    if o.quick:
        print("--quick: too little work to hold anything against what is wanted\n")
    skipped = [*rows_http.skipped(), *rows_gateway.skipped(o)]
    print("\n".join(skipped))
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"machine": about, "options": vars(o), "skipped": skipped, **table.as_json(rows, results)}, f,
                      indent=1)
    failed = [name for name, samples in results.items() if None in samples]
    if failed or not results:
        log(f"FAILED: {', '.join(failed) or 'no row matches --only'}")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
