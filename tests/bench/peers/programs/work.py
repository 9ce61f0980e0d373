"""The work that every queue gets, and how its programs talk to peers.py.

Body i is 1,024 bytes: a text that all share, and 500 bytes of its own, which are the answer.  So every result can be
compared with what was asked.

A client connects, sends a few jobs to warm everything up, prints `ready`, and waits for a line.  Then it runs on the
stopwatch, prints one JSON object, and stays until its input ends: its CPU time and memory are read meanwhile.
"""
import json
import sys
import time

BODY_BYTES = 1024
ANSWER_BYTES = 500
SHARED = "s" * (BODY_BYTES - ANSWER_BYTES)


def answer(i):
    return f"{i:010d}" * (ANSWER_BYTES // 10)


def body(i):
    return SHARED + answer(i)


def work(text):
    """What a worker does with a body."""
    if len(text) != BODY_BYTES:
        raise ValueError(f"a body of {len(text)} bytes")
    return text[-ANSWER_BYTES:]


def check(i, result):
    if result != answer(i):
        raise AssertionError(f"wrong result of job {i}: {str(result)[:100]!r}")


def client(warm_up, run):
    """warm_up() and then, when told, run() -> number of jobs whose results were all checked."""
    warm_up()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    jobs = run()
    seconds = time.perf_counter() - start
    print(json.dumps({"jobs": jobs, "seconds": seconds, "jobs_per_s": jobs / seconds}), flush=True)
    sys.stdin.read()
