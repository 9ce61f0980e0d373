"""Reserves jobs of beanstalkd, checks that each is a body of its own, and deletes them.

At the end of its input it prints what it saw: jobs, and how many of them differ.

usage: beanstalkd_worker.py PORT
"""
import json
import select
import socket
import sys

import work

BATCH = 100
# The first of a batch waits for a job, the others take what is there.
RESERVE = b"reserve-with-timeout 1\r\n" + (BATCH - 1) * b"reserve-with-timeout 0\r\n"


def exchange(connection, answers, done):
    """Deletes the jobs that are done and reserves the next batch, in one write; returns the reserved [(id, body)]."""
    connection.sendall(b"".join([b"delete %s\r\n" % job_id for job_id, _ in done]) + RESERVE)
    for _ in done:
        line = answers.readline()
        if line != b"DELETED\r\n":
            raise AssertionError(f"delete: {line!r}")
    got = []
    for _ in range(BATCH):
        line = answers.readline()
        if line == b"TIMED_OUT\r\n":
            continue
        word, job_id, size = line.split()
        if word != b"RESERVED":
            raise AssertionError(f"reserve: {line!r}")
        got.append((job_id, answers.read(int(size) + 2)[:-2]))
    return got


def number(body):
    """Which body this is."""
    text = body.decode()
    i = int(work.work(text)[:10])
    if text != work.body(i):
        raise AssertionError(f"a wrong body: {text[:100]!r}")
    return i


def main():
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = connection.makefile("rb", 1 << 18)
    jobs, seen, batch = 0, set(), []
    print("ready", flush=True)
    while batch or not select.select([sys.stdin], [], [], 0)[0]:
        batch = exchange(connection, answers, batch)
        jobs += len(batch)
        seen.update([number(body) for _, body in batch])
    print(json.dumps({"jobs": jobs, "different": len(seen)}), flush=True)


main()
