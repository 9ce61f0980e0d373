"""The Celery application of the measurement.  PST_PEER_REDIS names the Redis socket."""
import os

import celery

import work

PREFETCH = 256
url = "redis+socket://" + os.environ["PST_PEER_REDIS"]
app = celery.Celery("bench", broker=url, backend=url)
app.conf.update(worker_prefetch_multiplier=PREFETCH, task_serializer="json", result_serializer="json",
                accept_content=["json"], worker_hijack_root_logger=False, task_store_errors_even_if_ignored=True)


@app.task(name="bench.work")
def task(text):
    return work.work(text)
