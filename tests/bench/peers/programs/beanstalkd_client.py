"""Jobs into beanstalkd, until its worker has deleted all.  Nothing comes back: beanstalkd keeps no results.

usage: beanstalkd_client.py PORT WARM_UP_JOBS JOBS
"""
import socket
import sys
import time

import work

BATCH = 100  # commands under way; each waits for its answers before the next batch
POLL_S = 0.005
HEAD = f"put 1 0 3600 {work.BODY_BYTES}\r\n"


def put(connection, answers, numbers):
    for at in range(0, len(numbers), BATCH):
        batch = numbers[at:at + BATCH]
        connection.sendall("".join([f"{HEAD}{work.body(i)}\r\n" for i in batch]).encode())
        for _ in batch:
            line = answers.readline()
            if not line.startswith(b"INSERTED "):
                raise AssertionError(f"put: {line!r}")


def left(connection, answers):
    """Jobs that are not deleted yet."""
    connection.sendall(b"stats-tube default\r\n")
    head = answers.readline().split()
    stats = answers.read(int(head[1]) + 2).decode()
    return sum(int(line.split(": ")[1]) for line in stats.split("\n")
               if line.startswith(("current-jobs-ready:", "current-jobs-reserved:")))


def through(connection, answers, numbers):
    put(connection, answers, numbers)
    while left(connection, answers):
        time.sleep(POLL_S)
    return len(numbers)


def main():
    port, warm_up, jobs = map(int, sys.argv[1:])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = connection.makefile("rb")
    work.client(lambda: through(connection, answers, range(warm_up)),
                lambda: through(connection, answers, range(warm_up, warm_up + jobs)))


main()
