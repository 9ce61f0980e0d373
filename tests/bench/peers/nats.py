"""NATS JetStream with file storage: asynchronous publication, pull of 500, each acknowledged; with a second stream for
results, and without."""
import os
import subprocess

from . import support


def tool(bench):
    return os.path.join(bench.dir, "nats_client")


def measure(bench, row):
    jobs, mode = support.jobs_of(bench, row), "results" if row.name == "nats" else "none"
    warm_up, port = support.warm_up_of(jobs), bench.harness.free_port()
    url = f"nats://127.0.0.1:{port}"
    server = [support.installed("nats-server"), "-a", "127.0.0.1", "-p", port, "-js", "-sd"]
    with support.temporary() as d, support.started([*server, d], d) as server:
        support.wait_port(server, port)
        subprocess.run([tool(bench), "streams", url, mode], check=True, timeout=support.START_S)
        with support.started([tool(bench), "work", url, mode], d, talks=True) as worker, \
                support.started([tool(bench), "run", url, mode, warm_up, jobs], d, talks=True) as client:
            support.wait_ready(worker)
            support.wait_ready(client)
            sample = support.measured_queue(bench, client, {"nats-server": [server.pid], "worker": [worker.pid]}, jobs)
            support.saw_all(worker, warm_up + jobs)
            return sample


def version(bench):
    server = bench.first_line(support.installed("nats-server"), "--version")
    return f"{server}, libnats {bench.first_line(tool(bench), 'version')}"


HOW = "file storage, fsync at the server's own interval (no setting in 2.9)"
ROWS = [
    support.Row("nats", measure, 50000, "nats", version, "jobs; results in a second stream", HOW,
                "async publish, 4,000 pending; pull 500, results stored before the jobs are acknowledged one by one; "
                "results by id: direct get of the last message of a subject, 8 threads"),
    support.Row("nats no results", measure, 150000, "nats", version, "jobs; NO results", HOW,
                "the same without results; ends when all are acknowledged"),
]
