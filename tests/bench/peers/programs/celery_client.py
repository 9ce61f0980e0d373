"""Jobs through Celery and back: apply_async with one producer for all, then every result by its id.

usage: celery_client.py WARM_UP_JOBS JOBS
"""
import sys

import work
from celery_app import app, task

READ = 500
POLL_S = 0.02


def enqueue(numbers):
    with app.producer_pool.acquire(block=True) as producer:
        return [(task.apply_async((work.body(i),), producer=producer).id, i) for i in numbers]


def through(numbers):
    left = enqueue(numbers)
    for at in range(0, len(left), READ):
        chunk = dict(left[at:at + READ])
        for task_id, meta in app.backend.get_many(chunk, interval=POLL_S):
            work.check(chunk.pop(task_id), meta["result"])
        if chunk:
            raise AssertionError(f"{len(chunk)} jobs without a result")
    return len(left)


def main():
    warm_up, jobs = map(int, sys.argv[1:])
    work.client(lambda: through(range(warm_up)), lambda: through(range(warm_up, warm_up + jobs)))


main()
