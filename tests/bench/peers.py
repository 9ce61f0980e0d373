#!/usr/bin/env python3
"""Measures penstock beside what people would use instead, in interleaved rounds on one machine, and prints two tables.

README.md says what each row means, peers/ how each peer is set up.  A ratio divides two rows of the same round.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import types

from peers import beanstalkd, bullmq, celery, gateway, litellm, nats, own, portkey, rq

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = [*own.QUEUES, *nats.ROWS, *bullmq.ROWS, *celery.ROWS, *rq.ROWS, *beanstalkd.ROWS,
        *own.GATEWAYS, *gateway.ROWS, *portkey.ROWS, *litellm.ROWS]
INSTALL_S = 3600
ROW_S = 300  # for one row of one round, whatever it hangs in
QUEUE_BASES = [row.name for row in own.QUEUES]
GATEWAY_BASE = own.GATEWAYS[0].name


def benchmarks(scale, directory):
    """What is borrowed of run.py and its modules: the only place that knows how they are arranged."""
    import lab
    import rows_echo
    import rows_gateway
    import rows_http
    import run

    def http_options(jobs):
        return types.SimpleNamespace(http_jobs=jobs, prompts=[])

    def http_latency(jobs):
        with rows_http.server("h1") as s, lab.cluster(*s.config(), "logged", 1) as c:
            args = "--latency", "--prefix", "echo:"
            rows_echo.bench_submit(c, "--jobs", min(20, jobs), *args)
            got = rows_echo.bench_submit(c, "--jobs", jobs, *args)
            return {k: got[k] for k in ("jobs", "p50_us", "p99_us")}

    @contextlib.contextmanager
    def penstock_gateway():
        with rows_http.server("h1") as s, rows_gateway.penstock(None, s) as (port, _, model, groups):
            yield s.process, port, model, groups

    return types.SimpleNamespace(
        scale=scale, gateway=penstock_gateway, dir=directory, python=sys.executable, harness=lab.harness, log=lab.log,
        measured=lab.measured, redis_server=lab.redis_server, provider=lab.provider, first_line=run.first_line,
        about=run.machine(), http_latency=http_latency,
        echo=lambda workers, jobs: rows_echo.echo("logged", workers, jobs, ["--bytes", "1024"]),
        http=lambda jobs: rows_http.http(http_options(jobs), "h1", 64))


# ---- what is there


def needed(row):
    return {row.peer, "wrk" if row.gateway and row.peer else ""} - {""}


def install(directory, rows):
    names = sorted(set().union(*map(needed, rows)))
    if not names:
        return
    done = subprocess.run([os.path.join(HERE, "peers", "install.sh"), directory, *names], timeout=INSTALL_S)
    if done.returncode != 0:
        raise SystemExit(f"peers/install.sh: exit {done.returncode}")


def why_not(bench, row):
    """Why a row cannot be measured; "" if it can."""
    for peer in needed(row):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(bench.dir, "skipped", peer)) as f:
            return f.read().strip() or "no reason was left"
    return ""


# ---- a round


def on_alarm(number, frame):
    raise AssertionError(f"it takes longer than {ROW_S} s (hung?)")


def run_round(bench, number, rows, results, reasons):
    for row in rows:
        sample = None
        signal.alarm(ROW_S)
        try:
            sample = row.measure(bench, row)
            bench.log(f"round {number + 1} {row.name}: {sample['jobs_per_s']:,.0f}/s in {sample['seconds']:.1f} s "
                      f"(quiet {sample['quiet']:.0f} %, stolen {sample['stolen']:.0f} %)")
        except Exception as e:
            reasons.setdefault(row.name, []).append(f"round {number + 1}: {e}")
            bench.log(f"round {number + 1} {row.name}: FAILED: {e}")
        finally:
            signal.alarm(0)
        results[row.name].append(sample)


# ---- the tables


def spread(values, digits=0):
    values = list(values)
    if not values:
        return "-"
    texts = [f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values))]
    return texts[0] if len(values) == 1 else f"{texts[0]} [{texts[1]}–{texts[2]}]"


def times(samples, others):
    """How many times as fast the other row was, in the rounds in which both were measured."""
    return [b["jobs_per_s"] / a["jobs_per_s"] for a, b in zip(samples, others) if a and b]


def by_process(samples):
    """Medians of CPU microseconds, of each group of processes."""
    return ", ".join(f"{name} {statistics.median(s['cpu'][name] for s in samples):,.1f}" for name in samples[0]["cpu"])


def all_processes(sample):
    return sum(sample["cpu"].values())


def peak(samples):
    return ", ".join(f"{name} {max(s['rss'][name] for s in samples):,.0f}" for name in samples[0]["rss"])


def quiet(samples):
    return [spread(s["quiet"] for s in samples), spread(s["stolen"] for s in samples)]


def wait_ms(samples, *path):
    def value(sample):
        for name in path:
            sample = sample.get(name, {})
        return sample

    got = [value(s) for s in samples]
    return spread((us / 1e3 for us in got if us), 2)


def queue_line(row, results):
    samples = [s for s in results[row.name] if s]
    return [row.name, f"{samples[0]['jobs']:,}", spread(s["jobs_per_s"] for s in samples),
            *(spread(times(results[row.name], results.get(base, [])), 2) for base in QUEUE_BASES),
            spread(map(all_processes, samples), 1), by_process(samples), peak(samples), row.keeps, *quiet(samples)]


QUEUE_HEADER = ["queue", "jobs", "jobs/s", *(f"{base} ÷ it" for base in QUEUE_BASES), "CPU us/job", "by process", "peak MiB",
                "keeps", "quiet %", "stolen %"]


def gateway_line(row, results):
    samples = [s for s in results[row.name] if s]
    return [row.name, spread(s["jobs_per_s"] for s in samples),
            spread(times(results[row.name], results.get(GATEWAY_BASE, [])), 2),
            spread(map(all_processes, samples), 1), by_process(samples), wait_ms(samples, "p50_us"),
            wait_ms(samples, "p99_us"), wait_ms(samples, "one", "p50_us"), wait_ms(samples, "one", "p99_us"),
            peak(samples), *quiet(samples)]


GATEWAY_HEADER = ["gateway", "requests/s", f"{GATEWAY_BASE} ÷ it", "CPU us/request", "by process", "p50 ms", "p99 ms",
                  "one by one p50 ms", "p99 ms", "peak MiB", "quiet %", "stolen %"]


def print_table(header, lines):
    widths = [max(len(x[i]) for x in [header, *lines]) for i in range(len(header))]
    for x in [header, ["-" * w for w in widths], *lines]:
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(x, widths)) + " |")
    print()


def result_lines(rows, results, skipped, header, line):
    for row in rows:
        if any(results[row.name]):
            yield line(row, results)
        else:
            yield [row.name, "skipped" if row.name in skipped else "FAILED", *[""] * (len(header) - 2)]


def print_results(rows, results, about, skipped, reasons):
    for header, line, is_gateway in ((QUEUE_HEADER, queue_line, False), (GATEWAY_HEADER, gateway_line, True)):
        lines = list(result_lines([r for r in rows if r.gateway == is_gateway], results, skipped, header, line))
        if lines:
            print_table(header, lines)
    print_table(["row", "version", "durability", "how"],
                [[row.name, about[row.name]["version"], row.durable or "keeps nothing", row.set_up] for row in rows])
    for name, texts in reasons.items():
        for text in texts:
            print(f"{name}: FAILED in {text}")


def run_all(o, bench, rows):
    skipped = {row.name: why_not(bench, row) for row in rows if why_not(bench, row)}
    for name, reason in skipped.items():
        bench.log(f"{name}: skipped: {reason}")
    about = {row.name: {"version": f"skipped: {skipped[row.name]}" if row.name in skipped else row.version(bench),
                        "keeps": row.keeps, "durability": row.durable, "how": row.set_up} for row in rows}
    results, reasons = {row.name: [] for row in rows}, {}
    for number in range(o.rounds):
        run_round(bench, number, [row for row in rows if row.name not in skipped], results, reasons)
    print(f"{bench.about['cores']} x {bench.about['model']}, Linux {bench.about['kernel']}; {o.rounds} rounds at "
          f"--jobs-scale {o.jobs_scale:g}; bodies 1,024 B, answers 500 B; median [min–max]\n")
    print_results(rows, results, about, skipped, reasons)
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"machine": bench.about, "options": vars(o), "peers": about, "skipped": skipped,
                       "failed": reasons, "results": results}, f, indent=1)
    return not reasons


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    p.add_argument("--json", metavar="FILE", help="every sample")
    p.add_argument("--jobs-scale", type=float, default=1, metavar="F", help="times the jobs of every row (1)")
    p.add_argument("--keep", metavar="DIR", help="where the peers are installed, and stay for the next time "
                                                 "(default: a directory that is removed at the end)")
    return p.parse_args()


def main():
    o = options()
    rows = [row for row in ROWS if re.search(o.only, row.name)]
    if not rows:
        raise SystemExit("no row matches --only")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # what was started is ended on the way out
    signal.signal(signal.SIGALRM, on_alarm)
    with contextlib.ExitStack() as stack:
        directory = os.path.abspath(o.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="pstpeers")))
        install(directory, rows)
        return 0 if run_all(o, benchmarks(o.jobs_scale, directory), rows) else 1


if __name__ == "__main__":
    sys.exit(main())
