"""BullMQ: jobs in bulks of 5,000, one worker process, 100 jobs at once in it."""
import os

from . import support

CONCURRENCY = 100


def measure(bench, row):
    jobs = support.jobs_of(bench, row)
    env = {"NODE_PATH": os.path.join(bench.dir, "bullmq", "node_modules"), "NODE_ENV": "production"}
    with support.temporary() as d, bench.redis_server("logged") as redis:
        worker = ["node", support.program("bullmq_worker.js"), redis.socket, CONCURRENCY]
        client = ["node", support.program("bullmq_client.js"), redis.socket, support.warm_up_of(jobs), jobs]
        with support.started(worker, d, env, True) as worker, support.started(client, d, env, True) as client:
            support.wait_ready(worker)
            support.wait_ready(client)
            return support.measured_queue(bench, client, {"redis": [redis.pid], "worker": [worker.pid]}, jobs)


def version(bench):
    return ", ".join(support.npm_version(bench, "bullmq", p) for p in ("bullmq", "ioredis"))


ROWS = [support.Row("bullmq", measure, 20000, "bullmq", version, "jobs and results", support.EVERYSEC,
                    f"addBulk 5,000; 1 worker process, concurrency {CONCURRENCY}; results by id: HGET returnvalue, "
                    "1,000 a pipeline")]
