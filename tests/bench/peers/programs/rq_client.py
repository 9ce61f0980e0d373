"""Jobs through RQ and back: enqueue_many, then the result of every id.

A result is a stream entry of its own; they are read with a pipeline of XREVRANGE, as Job.latest_result does one by one.

usage: rq_client.py SOCKET WARM_UP_JOBS JOBS
"""
import sys
import time

import redis
import rq
from rq.results import Result

import work

ADD = 500
READ = 500
POLL_S = 0.02


def enqueue(queue, numbers):
    jobs = []
    for at in range(0, len(numbers), ADD):
        # The description would be the call in words: each body a second time.
        data = [rq.Queue.prepare_data("rq_tasks.task", args=(work.body(i),), description="", result_ttl=3600)
                for i in numbers[at:at + ADD]]
        jobs += queue.enqueue_many(data)
    return [job.id for job in jobs]


def read(connection, ids):
    """Return values; None where there is none yet."""
    pipeline = connection.pipeline(transaction=False)
    for job_id in ids:
        pipeline.xrevrange(Result.get_key(job_id), "+", "-", count=1)
    return [Result.restore(job_id, entry[0][0].decode(), entry[0][1], connection).return_value if entry else None
            for job_id, entry in zip(ids, pipeline.execute())]


def through(connection, queue, numbers):
    before = queue.finished_job_registry.get_job_count(cleanup=False)
    left = list(zip(numbers, enqueue(queue, numbers)))
    checked = 0
    while left:
        chunk = left[:READ]
        while queue.finished_job_registry.get_job_count(cleanup=False) - before < checked + len(chunk):
            time.sleep(POLL_S)
        values = read(connection, [job_id for _, job_id in chunk])
        missing = [job for job, value in zip(chunk, values) if value is None]
        for (i, _), value in zip(chunk, values):
            if value is not None:
                work.check(i, value)
        checked += len(chunk) - len(missing)
        left = left[READ:] + missing
    return checked


def main():
    socket, warm_up, jobs = sys.argv[1], *map(int, sys.argv[2:])
    connection = redis.Redis(unix_socket_path=socket)
    queue = rq.Queue("bench", connection=connection)
    work.client(lambda: through(connection, queue, range(warm_up)),
                lambda: through(connection, queue, range(warm_up, warm_up + jobs)))


main()
