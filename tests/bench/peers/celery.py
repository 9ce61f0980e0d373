"""Celery on Redis, broker and result backend: apply_async with one producer, two solo workers, prefetch 256."""
from . import support



def measure(bench, row):
    jobs = support.jobs_of(bench, row)
    python = support.python(bench, "celery")
    with support.temporary() as d, bench.redis_server("logged") as redis:
        env = {"PYTHONPATH": support.PROGRAMS, "PST_PEER_REDIS": redis.socket}
        worker = [python, "-m", "celery", "-A", "celery_app", "worker", "--pool", "solo", "--loglevel", "WARNING",
                  "--without-gossip", "--without-mingle", "--without-heartbeat"]
        with support.started([*worker, "-n", "w1@%h"], d, env) as w1, \
                support.started([*worker, "-n", "w2@%h"], d, env) as w2, \
                support.started([python, support.program("celery_client.py"), support.warm_up_of(jobs), jobs], d,
                                env, True) as client:
            support.wait_ready(client)
            return support.measured_queue(bench, client, {"redis": [redis.pid], "worker": [w1.pid, w2.pid]}, jobs)


def version(bench):
    return support.pip_version(bench, "celery", "celery", "kombu", "redis")


ROWS = [support.Row("celery", measure, 3000, "celery", version, "jobs until taken, results",
                    support.EVERYSEC,
                    "apply_async, one producer for all; 2 solo workers, prefetch 256; results by id: get_many of 500")]
