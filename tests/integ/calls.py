#!/usr/bin/env python3
"""CALLs over a real broker: answered, refused, cancelled, given up, streamed; and nothing of them in Redis."""
import json
import os
import re
import subprocess
import time

from cluster import BIN, check, get, main, wait_for
from zmtp import Peer, Reader, pack

SLOW = "providers:\n  echo: { api: echo, delay: 30s, limits: { concurrency: 50 } }\n  quick: { api: echo }\n"
COMPLETED, FAILED, EXPIRED, CANCELLED = 1, 2, 3, 4
WORKER_LOST = 36
BATCH_EXPIRED, BATCH_CANCELLED = 32, 33
OK, INVALID, NOT_FOUND, FULL, SEQUENCE, STORE_DOWN, MODEL_NOT_FOUND, EXISTS = 0, 1, 4, 10, 14, 20, 31, 32
ENDED = 3  # state of a JOB


def metrics(c):
    """Starts a broker with metrics; a function that gives one of them."""
    c.broker("--metrics", "127.0.0.1:0")
    port = re.findall(r"metrics.ready .*port=(\d+)", c.log("broker"))[-1]

    def metric(name):
        return int(re.search(rf"^penstock_broker_{name} (\d+)$", get(f"http://127.0.0.1:{port}/metrics"), re.M).group(1))
    return metric


def start(c, config=None, worker=True):
    if config:
        c.write_config(config)
    c.redis()
    metric = metrics(c)
    if worker:
        c.worker()
    return metric


def client(c):
    p = Peer(c.path("clients.ipc"))
    p.hello()
    return p


def body_of(text, model="echo/any"):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()


def headers_of(*bodies, model="echo/any"):
    route = pack([[model], [], [], [], [], True, True, False, False, 0, None, None, None, 0])
    jobs = [[i, f"id-{i}", 10, 0, len(b), 0, 0, 0, ""] for i, b in enumerate(bodies)]
    return pack([0, route, 0, sum(map(len, bodies)), jobs])


def call(p, req, text="hello", no=None, model="echo/any", window_ms=0, stream=False):
    """Sends a CALL; its id."""
    no = no or os.urandom(16)
    body = body_of(text, model)
    p.send("CALL", req, no, "somebody", 2, 0, window_ms, stream, headers_of(body, model=model), body)
    return no


def result(answer):
    """Of a JOB's fields: its one result, as (status, cause, message, bytes of the body)."""
    _, state, _, _, _, bytes_ = answer
    check(state == ENDED, f"{answer}")
    _, (r,), _ = Reader(bytes_).value()
    return r[2], r[3], r[13], r[17]


def job(p):
    return result(p.receive("JOB")[1])


def keys(c):
    got = subprocess.run(["redis-cli", "-s", c.path("redis.sock"), "--scan"], capture_output=True, text=True, timeout=20)
    return sorted(got.stdout.split())


def waits_alive(peers, condition, what, seconds=10):
    """wait_for, while these peers go on saying that they are there."""
    def asked():
        for p in peers:
            p.send("PING")
        time.sleep(0.05)
        return condition()
    wait_for(asked, what, seconds)


# ---- with a real worker ------------------------------------------------------------------------------------------------


def test_call(c):
    metric = start(c)
    p = client(c)
    no = call(p, 7)
    answer = p.receive("JOB")[1]
    check(answer[0] == 7, f"{answer}")
    status, cause, _, body_bytes = result(answer)
    check((status, cause) == (COMPLETED, 0) and body_bytes > 100, f"{status} {cause} {body_bytes}")
    for message in (("STATUS", 8, no), ("GET", 8, no, True, 0, ""), ("FETCH", 8, no, [0, 0], 100, 0), ("CANCEL", 8, no),
                    ("DELETE", 8, no)):
        p.send(*message)
        check(p.receive("DONE")[1][1] == NOT_FOUND, f"{message}: it is no batch")
    p.send("LIST", 9, bytes(16), 100)
    check(p.receive("BATCHES")[1][1] == [], "it is not listed")
    check(all(k.startswith("pst:{o}:") for k in keys(c)), f"{keys(c)}")
    check(metric("jobs_completed_total") == 1 and metric("batches_accepted_total") == 0, "a job, and no batch")
    check(metric("live_calls") == 0 and "batch." not in c.log("broker"), "nothing is left or logged")


def test_many(c):
    metric = start(c)
    done = subprocess.run([os.path.join(BIN, "bench_call"), "--broker", "ipc://" + c.path("clients.ipc"), "--calls", "5000",
                           "--in-flight", "1000"], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, done.stderr)  # it looks at every answer
    check(metric("live_calls") == 0 and metric("jobs_completed_total") == 5000, "all are done with")
    check(all(k.startswith("pst:{o}:") for k in keys(c)), f"{keys(c)}")


def test_refused(c):
    start(c)
    p = client(c)
    no, body = os.urandom(16), body_of("x")

    def refused(headers, bodies=body):
        p.send("CALL", 5, no, "", 2, 0, 0, False, headers, bodies)
        req, err, batch, _, text = p.receive("DONE")[1]
        check(req == 5 and batch == no and text, f"{req} {batch} {text}")
        return err

    check(refused(headers_of(body, model="nobody/knows")) == MODEL_NOT_FOUND, "no such model")
    check(refused(b"\x90") == INVALID, "no headers")
    check(refused(headers_of(body, body), body + body) == INVALID, "two jobs")
    check(refused(headers_of(body), body + b" ") == INVALID, "other bodies")
    rejected = pack([0, pack([[], [], [], [], [], True, True, False, False, 0, None, None, None, 0]), 0, 0,
                     [[0, "x", 0, 0, 0, 0, 48, 1, "not JSON"]]])
    check(refused(rejected, b"") == INVALID, "a job that is none")
    p.send("OPEN", 6, no, "", 1, 0, 0, "", "")
    check(p.receive("DONE")[1][1] == OK, "an upload")
    check(refused(headers_of(body)) == EXISTS, "the id of an upload")
    call(p, 7)
    check(job(p)[0] == COMPLETED, "the session goes on")


def test_cancelled(c):
    metric = start(c, SLOW)
    p = client(c)
    no = call(p, 1)
    wait_for(lambda: metric("jobs_running") == 1, "it runs")
    p.send("STATUS", 2, no)
    check(p.receive("DONE")[1][1] == NOT_FOUND, "also while it runs it is no batch")
    p.send("CANCEL", 3, no)
    got = dict([p.receive("JOB", "DONE"), p.receive("JOB", "DONE")])
    check(got["DONE"][:2] == [3, OK], f"{got['DONE']}")
    check(got["JOB"][0] == 1 and result(got["JOB"])[:2] == (CANCELLED, BATCH_CANCELLED), f"{got['JOB']}")
    check(metric("jobs_running") == 0 and metric("live_calls") == 0, "it is over")
    call(p, 4, model="quick/any")
    check(job(p)[0] == COMPLETED, "the worker has heard all that was said before")
    c.stop("worker")
    check("revoked=1" in c.log("worker"), "the worker was told")


def test_window(c):
    metric = start(c, SLOW)
    p = client(c)
    begin = time.monotonic()
    call(p, 1, window_ms=300)
    check(job(p)[:2] == (EXPIRED, BATCH_EXPIRED), "its time was over")
    check(0.29 < time.monotonic() - begin < 1.5, "in time")
    check(metric("jobs_running") == 0, "it is cut")


def test_repeated(c):
    metric = start(c, "providers:\n  echo: { api: echo, delay: 500ms }\n")
    p, other = client(c), client(c)
    no = call(p, 1)
    call(p, 2, no=no)
    wait_for(lambda: metric("live_calls") == 1, "it is there")
    call(other, 3, no=no)
    check(other.receive("DONE")[1][:2] == [3, FULL], "another session's")
    check(p.receive("JOB")[1][0] == 2, "under the newest number")
    p.send("LIST", 4, bytes(16), 1)
    check(p.receive("BATCHES", "JOB")[0] == "BATCHES", "once")


def test_client_killed(c):
    metric = start(c, SLOW)
    p, other = client(c), client(c)
    for i in range(20):
        call(p, i)
    call(other, 1)
    wait_for(lambda: metric("jobs_running") == 21, "they run")
    p.close()
    waits_alive([other], lambda: metric("live_calls") == 1, "the session is over, and its calls are")
    check(metric("jobs_running") == 1, "they are cut")
    other.send("BYE", 0, "")
    wait_for(lambda: metric("live_calls") == 0 and metric("jobs_running") == 0, "so are those of who says BYE")


def test_broker_killed(c):
    metric = start(c, SLOW)
    p = client(c)
    for i in range(3):
        call(p, i)
    wait_for(lambda: metric("jobs_running") == 3, "they run")
    c.kill("broker")
    metric = metrics(c)
    wait_for(lambda: metric("workers") == 1, "the worker is back")
    check(metric("jobs_running") == 0 and metric("live_calls") == 0, "nobody knows of them")
    p = client(c)
    call(p, 1, model="quick/any")
    check(job(p)[0] == COMPLETED, "the next runs, and the worker has heard all that was said before")
    c.stop("worker")
    check("revoked=3" in c.log("worker"), "it was told to stop those of before")
    check("unacknowledged=0" in c.log("worker"), "nothing is left there")


def test_outcomes_of_before(c):
    """A worker whose outcomes of calls nobody knows are acknowledged all the same."""
    start(c, worker=False)
    w = worker(c)
    p = client(c)
    call(p, 1)
    task = tasks(w)
    c.kill("broker")
    c.broker()
    w = Peer(c.path("workers.ipc"))
    w.hello(2, [["echo", 8]], [ref(task)])
    check(w.receive("REVOKE")[1][0] == [ref(task)], "it is not wanted")
    outcome(w, 1, task)
    check(w.receive("ACK")[1] == [1], "acknowledged")


def test_redis_away(c):
    metric = start(c, "providers:\n  echo: { api: echo, delay: 1500ms }\n")
    p = client(c)
    call(p, 1)
    no = call(p, 2)
    wait_for(lambda: metric("jobs_running") == 2, "they run")
    c.kill("redis")
    wait_for(lambda: metric("store_up") == 0, "the broker knows")
    call(p, 2)
    check(p.receive("DONE")[1][:2] == [2, STORE_DOWN], "none is begun")
    p.send("CANCEL", 3, no)
    got = dict([p.receive("JOB", "DONE"), p.receive("JOB", "DONE")])
    check(got["DONE"][:2] == [3, OK] and result(got["JOB"])[0] == CANCELLED, "one can be cancelled")
    check(job(p)[0] == COMPLETED, "what runs is answered")
    c.redis()
    waits_alive([p], lambda: metric("store_up") == 1, "Redis is back")
    call(p, 3)
    check(job(p)[0] == COMPLETED, "calls go on")


def test_full(c):
    start(c, worker=False)
    p = client(c)
    text = "x" * (31 << 20)
    for i in range(8):
        call(p, i, text)
    call(p, 8, text)
    p.sock.settimeout(60)
    check(p.receive("DONE")[1][:2] == [8, FULL], "more than may wait")
    p.close()


# ---- with a worker played here -----------------------------------------------------------------------------------------


def worker(c):
    w = Peer(c.path("workers.ipc"))
    w.hello(2, [["echo", 8]])
    return w


def tasks(w):
    """The one task of the next TASKS: (batch, pack, slot, dispatch, live)."""
    group, = w.receive("TASKS")[1][0]
    (slot, dispatch), = group[10]
    return group[0], group[2], slot, dispatch, group[12]


def ref(task):
    return [task[0], 0, *task[1:4]]


def pieces(w, task, *numbers):
    w.send("PIECES", [[ref(task), n, f'{{"piece":{n}}}\n'.encode()] for n in numbers])


def outcome(w, number, task, verdict=1, cause=0, body=b'{"late":true}'):
    batch, pack_, slot, dispatch, _ = task
    w.send("OUTCOMES", number, [[batch, 0, [["echo", "any"]],
                                 [[pack_, slot, dispatch, 0, "id-0", verdict, cause, 200, 0, 0, False, 0, 1000, 10, 0, 5, "",
                                   "", 0, len(body)]], [0, len(body), body]]])


def streaming(c, workers=1):
    """A call with a stream, and its task: (client, workers, task)."""
    metric = start(c, worker=False)
    first = worker(c)
    p = client(c)
    call(p, 1, stream=True)
    return metric, p, [first] + [worker(c) for _ in range(workers - 1)], tasks(first)


def test_pieces(c):
    _, p, (w,), task = streaming(c)
    check(task[4] == 3, f"a stream is wanted, nothing is stored: {task[4]}")
    pieces(w, task, 0, 1)
    check(p.receive("PIECE")[1] == [1, 0, b'{"piece":0}\n'], "the first")
    check(p.receive("PIECE")[1] == [1, 1, b'{"piece":1}\n'], "the second")
    pieces(w, (*task[:3], task[3] + 1, 0), 2)  # of a dispatch that is not
    pieces(w, (os.urandom(16), *task[1:]), 2)  # of no call
    pieces(w, task, 2)
    outcome(w, 1, task)
    check(p.receive("PIECE")[1] == [1, 2, b'{"piece":2}\n'], "the third")
    check(job(p)[0] == COMPLETED, "and its end")
    check(w.receive("ACK")[1] == [1], "acknowledged")
    pieces(w, task, 3)
    call(p, 2)
    task = tasks(w)
    check(task[4] == 2, "no stream is wanted")
    pieces(w, task, 0)
    outcome(w, 2, task)
    check(p.receive("JOB", "PIECE")[0] == "JOB", "nor sent")


def test_piece_missing(c):
    metric, p, (w, second), task = streaming(c, 2)
    pieces(w, task, 1)
    check(w.receive("REFUSED")[1][0] == SEQUENCE, "a worker that lost a piece begins anew")
    again = tasks(second)
    check(again[0] == task[0] and again[3] == 2, "nothing of it was told, so another may begin")
    pieces(second, again, 0, 1)
    outcome(second, 1, again)
    check([p.receive("PIECE")[1][1] for _ in range(2)] == [0, 1] and job(p)[0] == COMPLETED, "one answer")


def test_begun_and_lost(c):
    metric, p, (w, second), task = streaming(c, 2)
    pieces(w, task, 0)
    p.receive("PIECE")
    w.send("BYE", 0, "")
    status, cause, message, _ = job(p)
    check((status, cause) == (FAILED, WORKER_LOST) and "lost" in message, f"{status} {cause} {message}")
    call(p, 2)
    check(tasks(second)[0] != task[0], "nobody else was given it")
    check(metric("live_calls") == 1, "it is forgotten")


def test_begun_in_an_older_session(c):
    _, p, (w,), task = streaming(c)
    pieces(w, task, 0)
    p.receive("PIECE")
    new = Peer(c.path("workers.ipc"))
    new.hello(2, [["echo", 8]], [ref(task)])
    check(new.receive("REVOKE")[1][0] == [ref(task)], "pieces may be missing: it is not wanted")
    w.send("BYE", 0, "")
    check(job(p)[:2] == (FAILED, WORKER_LOST), "lost")


def test_begun_and_failed(c):
    _, p, (w,), task = streaming(c)
    pieces(w, task, 0)
    p.receive("PIECE")
    outcome(w, 1, task, verdict=3, cause=13, body=b"")
    check(job(p)[:2] == (FAILED, 13), "it is not tried again")
    check(w.receive("ACK", "TASKS")[0] == "ACK", "nor sent")


def test_begun_and_cancelled(c):
    metric, p, (w,), task = streaming(c)
    pieces(w, task, 0)
    p.receive("PIECE")
    p.send("CANCEL", 2, task[0])
    got = dict([p.receive("JOB", "DONE"), p.receive("JOB", "DONE")])
    check(result(got["JOB"])[0] == CANCELLED, "cancelled")
    check(w.receive("REVOKE")[1][0] == [ref(task)], "cut")
    pieces(w, task, 1)
    p.send("LIST", 3, bytes(16), 1)
    check(p.receive("BATCHES", "PIECE")[0] == "BATCHES", "nothing more of it is told")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    main(TESTS)
