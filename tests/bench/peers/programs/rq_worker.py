"""An RQ worker that runs jobs in its own process, without a fork for each.

usage: rq_worker.py SOCKET
"""
import sys

import redis
import rq

connection = redis.Redis(unix_socket_path=sys.argv[1])
rq.SimpleWorker([rq.Queue("bench", connection=connection)], connection=connection).work(logging_level="WARNING")
