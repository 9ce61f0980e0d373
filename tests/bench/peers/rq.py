"""RQ: enqueue_many of 500, two workers that run jobs in their own process."""
from . import support


def measure(bench, row):
    jobs = support.jobs_of(bench, row)
    python, env = support.python(bench, "rq"), {"PYTHONPATH": support.PROGRAMS}
    with support.temporary() as d, bench.redis_server("logged") as redis:
        worker = [python, support.program("rq_worker.py"), redis.socket]
        client = [python, support.program("rq_client.py"), redis.socket, support.warm_up_of(jobs), jobs]
        with support.started(worker, d, env) as w1, support.started(worker, d, env) as w2, \
                support.started(client, d, env, True) as client:
            support.wait_ready(client)
            return support.measured_queue(bench, client, {"redis": [redis.pid], "worker": [w1.pid, w2.pid]}, jobs)


def version(bench):
    return support.pip_version(bench, "rq", "rq", "redis")


ROWS = [support.Row("rq", measure, 2000, "rq", version, "jobs and results", support.EVERYSEC,
                    "enqueue_many 500; 2 SimpleWorkers; results by id: XREVRANGE, 500 a pipeline")]
