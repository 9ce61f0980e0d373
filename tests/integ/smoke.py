#!/usr/bin/env python3
"""Every path through real processes once: submit, dispatch, results; and each of them killed."""
import json
import os
import re
import signal
import subprocess
import time

from cluster import BIN, check, get, main, wait_for
from zmtp import Peer

SLOW = "providers:\n  echo: { api: echo, delay: 100ms, limits: { concurrency: 50 } }\n"


def start(c, config=None):
    if config:
        c.write_config(config)
    c.redis()
    c.broker()
    c.worker()


def submit(c, n, *args):
    return c.run("submit", c.jobs(f"in.{n}.jsonl", n), *args).strip()


def calls(c, batch):
    """Calls that workers made for the batch, as its account says."""
    receipt = json.loads(c.run("receipt", batch, "--json"))
    return sum(e["calls"] for e in receipt["endpoints"])


# ---- the plain path ----------------------------------------------------------------------------------------------------


def test_path(c):
    start(c)
    batch = submit(c, 300)
    status = c.wait_end(batch)
    check(status["status"] == "completed" and status["request_counts"]["completed"] == 300, f"{status}")
    lines = c.check_results(batch, 300)
    check(all(x["penstock"]["status"] == "completed" for x in lines), "all completed")
    check(calls(c, batch) == 300, "one call a job")
    check('"custom_id":"job-7"' in c.run("get", batch + ".7"), "get by index")
    check('"custom_id":"job-299"' in c.run("get", batch, "job-299"), "get by custom_id")
    c.run("get", batch, "job-300", code=5)
    c.run("get", batch + ".300", code=5)
    c.run("cancel", batch, code=None)
    check(c.status(batch)["status"] == "completed", "what has ended is not cancelled")


def test_segments(c):
    start(c)
    batch = submit(c, 140000)
    c.wait_end(batch, 60)
    c.check_results(batch, 140000)
    for i in (0, 65535, 65536, 139999):
        check(f'"custom_id":"job-{i}"' in c.run("get", f"{batch}.{i}"), f"get {i}")
    check('"custom_id":"job-139998"' in c.run("get", batch, "job-139998"), "get by custom_id in the last segment")


def test_running(c):
    start(c, SLOW)
    batch = submit(c, 1000)
    check(c.status(batch)["status"] == "in_progress", "it runs")
    check(re.search('"status":"(queued|running)"', c.run("get", batch, "job-999")), "a job's state")
    wait_for(lambda: c.status(batch)["request_counts"]["completed"] >= 100, "some are completed")
    check('"custom_id":"job-0"' in c.run("get", batch, "job-0"), "an ended job of a running batch")
    some = len(c.results(batch))
    check(100 <= some <= 1000, f"{some} results while it runs")
    lines = c.results(batch, "--follow")
    check(len({x["custom_id"] for x in lines}) == len(lines) == 1000, f"{len(lines)} results followed")


def test_list(c):
    start(c)
    check(c.run("list").count("batch_") == 0, "nothing yet")
    ids = [submit(c, 3) for _ in range(5)]
    for batch in ids:
        c.wait_end(batch)
    slow = submit(c, 4, "--name", "last")
    listed = re.findall(r"batch_\w+", c.run("list"))
    check(listed == [slow] + ids[::-1], f"newest first: {listed}")
    page = json.loads(c.run("list", "--json", "--limit", "2", "--after", ids[3]))
    check([b["id"] for b in page["data"]] == [ids[2], ids[1]] and page["has_more"], f"a page: {page}")


def test_cancel_and_delete(c):
    start(c, SLOW)
    batch = submit(c, 5000)
    c.run("delete", batch, code=None)
    check(c.status(batch)["status"] == "in_progress", "what runs is not deleted")
    wait_for(lambda: c.status(batch)["request_counts"]["completed"] > 0, "some are completed")
    c.run("cancel", batch)
    status = c.wait_end(batch)
    check(status["status"] == "cancelled", f"{status['status']}")
    lines = c.check_results(batch, 5000)
    kinds = {x["penstock"]["status"] for x in lines}
    check(kinds == {"completed", "cancelled"}, f"{kinds}")
    c.run("delete", batch)
    c.run("status", batch, code=5)
    c.run("results", batch, code=5)
    check(c.run("list").count("batch_") == 0, "not listed any more")


def test_idempotency(c):
    start(c)
    first = submit(c, 10, "--idempotency-key", "k")
    check(submit(c, 10, "--idempotency-key", "k") == first, "the same batch while it runs or has ended")
    c.wait_end(first)
    check(submit(c, 10, "--idempotency-key", "k") == first, "the same batch after it has ended")
    check(submit(c, 10, "--idempotency-key", "l") != first, "another key, another batch")


def test_refused_input(c):
    start(c)
    c.run("submit", c.jobs("bad.jsonl", 3, model="nobody/knows"), code=4)
    check(c.run("list").count("batch_") == 0, "nothing was accepted")
    batch = c.run("submit", c.jobs("bad.jsonl", 3, model="nobody/knows"), "--skip-invalid", code=None).strip()
    if batch:
        c.wait_end(batch)
        check(all(x["penstock"]["status"] == "failed" for x in c.results(batch)), "bad lines are failed results")


# ---- crashes -----------------------------------------------------------------------------------------------------------


def test_broker_killed(c):
    start(c, SLOW)
    batch = submit(c, 2000)
    for i in range(4):
        done = c.status(batch)["request_counts"]["completed"]
        wait_for(lambda: c.status(batch)["request_counts"]["completed"] > done + 100, "progress")
        c.kill("broker")
        time.sleep(0.05 * i)
        c.broker()
    c.wait_end(batch)
    c.check_results(batch, 2000)
    check(calls(c, batch) == 2000, f"no call is repeated: {calls(c, batch)}")


def test_broker_killed_while_submitting(c):
    start(c)
    path = c.jobs("big.jsonl", 60000)
    p = subprocess.Popen([os.path.join(BIN, "penstock"), "submit", path, "--config", c.config], cwd=c.dir,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        time.sleep(0.05)
        c.kill("broker")
        c.broker()
    out, err = p.communicate(timeout=30)
    check(p.returncode == 0, f"submit ended with {p.returncode}: {err}")
    c.wait_end(out.strip())
    c.check_results(out.strip(), 60000)


def test_worker_killed(c):
    start(c, SLOW)
    c.worker("second")
    batch = submit(c, 2000)
    for name in ("worker", "second"):
        done = c.status(batch)["request_counts"]["completed"]
        wait_for(lambda: c.status(batch)["request_counts"]["completed"] > done + 200, "progress")
        c.kill(name)
        c.worker(name)
    c.wait_end(batch)
    c.check_results(batch, 2000)
    check(calls(c, batch) <= 2000, f"{calls(c, batch)} calls counted")


def test_worker_drained(c):
    start(c, SLOW)
    batch = submit(c, 1000)
    wait_for(lambda: c.status(batch)["request_counts"]["completed"] > 100, "progress")
    check(c.stop("worker") == 0, "a drained worker ends well")
    c.worker()
    c.wait_end(batch)
    c.check_results(batch, 1000)
    check(calls(c, batch) == 1000, "no call is repeated")


def test_redis_killed(c):
    start(c, SLOW)
    batch = submit(c, 2000)
    for _ in range(2):
        done = c.status(batch)["request_counts"]["completed"]
        wait_for(lambda: c.status(batch)["request_counts"]["completed"] > done + 100, "progress")
        c.kill("redis")
        time.sleep(0.5)
        c.redis()
    c.wait_end(batch)
    c.check_results(batch, 2000)
    check(calls(c, batch) == 2000, f"no call is repeated: {calls(c, batch)}")


def test_everything_killed(c):
    start(c, SLOW)
    batch = submit(c, 1000)
    wait_for(lambda: c.status(batch)["request_counts"]["completed"] > 300, "progress")
    for name in ("worker", "broker", "redis"):
        c.kill(name)
    start(c)
    c.wait_end(batch)
    c.check_results(batch, 1000)


def test_stopped_for_a_while(c):
    """SIGSTOP is what a partition or a long pause looks like."""
    start(c, SLOW)
    c.worker("second")
    batch = submit(c, 1500)
    wait_for(lambda: c.status(batch)["request_counts"]["completed"] > 100, "progress")
    for name in ("second", "broker"):
        p = c.processes[name]
        p.send_signal(signal.SIGSTOP)
        time.sleep(3)
        p.send_signal(signal.SIGCONT)
    c.wait_end(batch)
    c.check_results(batch, 1500)


def test_broker_stopped(c):
    """Workers that had to begin new sessions while the broker stood still go on with what they run."""
    c.write_config("providers:\n  echo: { api: echo, delay: 4s, limits: { concurrency: 100 } }\n")
    c.redis()
    metric = metrics_of(c)
    c.worker()
    c.worker("second")
    batch = submit(c, 150)
    wait_for(lambda: metric("dispatches_total") == 150, "all are sent")
    c.processes["broker"].send_signal(signal.SIGSTOP)
    time.sleep(3)
    c.processes["broker"].send_signal(signal.SIGCONT)
    wait_for(lambda: c.log("worker").count("broker.up") == 2, "a new session")
    c.wait_end(batch)
    c.check_results(batch, 150)
    check(metric("dispatches_total") == 150, f"{metric('dispatches_total')} dispatches of 150 jobs")


# ---- the broker as a program -------------------------------------------------------------------------------------------


def refused_start(c, *args):
    p = subprocess.run([os.path.join(BIN, "penstock-broker"), *args], capture_output=True, text=True, timeout=20, cwd=c.dir)
    check(p.returncode == 1, f"exit code {p.returncode}")
    return p.stderr


def test_refused_starts(c):
    check(re.search("penstock-broker: .*Redis", refused_start(c, "--config", c.config)), "Redis is not there")
    c.redis()
    c.broker()
    words = refused_start(c, "--config", c.config, "--clients", "tcp://nowhere")
    check("cannot listen on" in words, words)
    with open(c.path("bad.yaml"), "w") as f:
        f.write("providers:\n  echo: { api: nothing, colour: red }\n")
    words = refused_start(c, "--config", c.path("bad.yaml"))
    check("bad.yaml:2" in words and len(words.splitlines()) >= 3, words)
    p = subprocess.run([os.path.join(BIN, "penstock-broker"), "--nonsense"], capture_output=True)
    check(p.returncode == 2, "usage")


def test_evicting_redis(c):
    c.redis_args = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
    c.redis()
    check("noeviction" in refused_start(c, "--config", c.config), "says which policy is needed")


def test_second_broker(c):
    """A newer broker on the same Redis fences the older one."""
    start(c, SLOW)
    batch = submit(c, 500)
    old = c.processes.pop("broker")
    c.broker("--clients", "ipc://" + c.path("other.ipc"), "--workers", "ipc://" + c.path("other-workers.ipc"))
    check(old.wait(10) == 1, "the older one ends")
    c.kill("broker")
    c.broker()
    c.wait_end(batch)
    c.check_results(batch, 500)


def test_reload(c):
    start(c)
    with open(c.config) as f:
        good = f.read()
    with open(c.config, "w") as f:
        f.write(good + "nonsense: 1\n")
    c.processes["broker"].send_signal(signal.SIGHUP)
    wait_for(lambda: "config.refused" in c.log("broker"), "a bad configuration is refused")
    with open(c.config, "w") as f:
        f.write(good + "  second: { api: echo }\n")
    for name in ("broker", "worker"):
        c.processes[name].send_signal(signal.SIGHUP)
    wait_for(lambda: "config.loaded" in c.log("broker"), "a good one is taken")
    batch = c.run("submit", c.jobs("second.jsonl", 20, model="second/any")).strip()
    c.wait_end(batch)
    c.check_results(batch, 20)


def metrics_of(c):
    """Starts a broker with metrics; a function that gives one of them."""
    c.broker("--metrics", "127.0.0.1:0")
    base = "http://127.0.0.1:" + re.search(r"metrics.ready .*port=(\d+)", c.log("broker")).group(1)
    check(get(base + "/healthz") == "ok\n", "healthz")

    def metric(name):
        found = re.search(rf"^penstock_broker_{re.escape(name)} (\d+)$", get(base + "/metrics"), re.M)
        check(found, f"no metric {name}")
        return int(found.group(1))
    return metric


def test_metrics(c):
    c.redis()
    metric = metrics_of(c)
    c.worker()
    batch = submit(c, 100)
    c.wait_end(batch)
    for name, value in (("jobs_completed_total", 100), ("store_up", 1), ("workers", 1)):
        check(metric(name) == value, f"{name} is {metric(name)}")
    wait_for(lambda: metric("batches") == 0, "the batch is forgotten by the core")
    check(metric('bytes_in_total{link="clients"}') > 100, "bytes are counted")


def test_top(c):
    start(c)
    c.wait_end(submit(c, 100))
    p = Peer(c.path("clients.ipc"))
    p.hello()
    p.send("TOP", 7)
    req, (wall_ms, uptime_ms, workers, *_, accepted, completed, failed, cost, providers, endpoints) = \
        p.receive("CLUSTER")[1]
    check(req == 7 and abs(wall_ms / 1000 - time.time()) < 5 and 0 < uptime_ms < 60000, f"{req} {wall_ms} {uptime_ms}")
    check((workers, accepted, completed, failed) == (1, 100, 100, 0), f"{workers} {accepted} {completed} {failed}")
    check([x[:3] for x in providers] == [["echo", 1, 0]], f"{providers}")
    check([x[3:7] for x in endpoints] == [[100, 100, 0, 0]], f"{endpoints}")


def test_tenant(c):
    """Whose a batch is survives the broker."""
    c.redis()
    c.broker()
    batch = os.urandom(16)
    p = Peer(c.path("clients.ipc"))
    p.hello()
    p.send("OPEN", 1, batch, "", 1, 0, 0, "", "", "search")
    check(p.receive("DONE")[1][1] == 0, "an upload")
    c.kill("broker")
    c.broker()
    p = Peer(c.path("clients.ipc"))
    p.hello()
    p.send("STATUS", 2, batch)
    check(p.receive("BATCH")[1][1][28] == "search", "still whose it was")


def test_stops(c):
    start(c)
    check(c.stop("broker") == 0, "SIGTERM ends it well")
    c.broker()
    check(c.kill("broker", signal.SIGINT) == 0, "SIGINT too")


# ---- strangers ---------------------------------------------------------------------------------------------------------


def refusal(p):
    err, text = p.receive("REFUSED")[1]
    return err


def test_refusals(c):
    c.redis()
    c.broker()
    clients, workers = c.path("clients.ipc"), c.path("workers.ipc")
    p = Peer(clients)
    p.send("PING")
    check(refusal(p) == 15 and p.envelope[2] == p.session, "no session yet")
    check(p.hello()[0] == 500, "a session")
    p.send("PING", seq=7)
    check(refusal(p) == 14, "a gap")
    p.seq = 1
    p.send("PING")
    check(refusal(p) == 15, "the session is over")
    p.hello()
    p.send("HELLO", 1, "", "x", [], [], seq=0)
    check(refusal(p) == 14, "a second HELLO")
    p.hello()
    p.send("PING", epoch=99)
    check(refusal(p) == 15, "another broker's epoch")
    p.hello()
    p.send_raw(b"nonsense")
    check(refusal(p) == 12, "nonsense")
    p.hello()
    p.send_raw(b"two", b"frames")
    check(refusal(p) == 12, "two frames")
    p.hello()
    p.send("OUTCOMES", 1, [])
    check(refusal(p) == 12, "a worker's message")
    p.send("HELLO", 1, "", "x", [], [], version=2, seq=0)
    check(refusal(p) == 13 and p.envelope[0] == 2, "another version, in its own envelope")
    p.send("HELLO", 2, "", "x", [], [], seq=0)
    check(refusal(p) == 1, "a worker at the clients' address")
    p = Peer(workers)
    p.send("HELLO", 1, "", "x", [], [], seq=0)
    check(refusal(p) == 1, "a client at the workers' address")
    p.hello(role=2, pools=[["echo", 5]])
    p.send("FETCH", 1, bytes(16), [0, 0], 1, 0)
    check(refusal(p) == 12, "a client's message from a worker")
    Peer(clients, identity=b"").close()
    submit_after(c)


def submit_after(c):
    c.worker()
    c.wait_end(submit(c, 5))


def test_heartbeats(c):
    c.redis()
    c.broker()
    p = Peer(c.path("clients.ipc"))
    p.hello()
    p.receive("PING")
    time.sleep(2.5)
    p.send("PING")
    check(refusal(p) == 15, "a silent session is over")


def test_hostile_requests(c):
    """Requests that are well-formed and absurd."""
    c.redis()
    c.broker()
    p = Peer(c.path("clients.ipc"))
    p.hello()
    no = os.urandom(16)

    def done(*message):
        p.send(*message)
        return p.receive("DONE")[1]

    for message in (("STATUS", 1, no), ("FETCH", 2, no, [0, 0], 100, 0), ("GET", 3, no, True, 0, ""),
                    ("GET", 4, no, False, 0, "x"), ("CANCEL", 5, no), ("DELETE", 6, no), ("ABORT", 7, no),
                    ("COMMIT", 8, no, 1, 1), ("PACK", 9, no, 0, 0, b"", b"")):
        answer = done(*message)
        check(answer[0] == message[1] and answer[1] in (1, 4), f"{message}: {answer}")
    check(done("OPEN", 10, no, "", 1, 0, 0, "", "")[1] == 0, "an upload")
    check(done("PACK", 11, no, 0, 0, b"\x90", b"")[1] == 1, "headers that are none")
    check(done("COMMIT", 12, no, 0, 0)[1] == 30, "an empty batch")
    check(done("GET", 13, no, True, 0, "")[1] == 4, "a job of an upload")
    p.send("FETCH", 14, no, [0, 4294967295], 4294967295, 200)
    check(p.receive("RESULTS")[1][3] == [], "nothing to fetch of an upload")
    check(done("FETCH", 14, no, [4294967295, 0], 1, 0)[1] == 1, "no such segment")
    check(done("ABORT", 15, no)[1] == 0, "dropped")
    for i in range(100):
        p.send("FETCH", 100 + i, no, [0, 0], 1, 30000)
    for i in range(100):
        check(p.receive("DONE")[1][1] in (4, 10), "no such batch any more, or too many questions at once")


def test_open_again(c):
    """A client that did not hear of its batch's acceptance sends everything again: nothing runs twice."""
    start(c)
    batch = submit(c, 3)
    c.wait_end(batch)
    text = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = 0
    for letter in batch[len("batch_"):]:
        number = number * 32 + text.index(letter)
    no = number.to_bytes(16, "big")
    p = Peer(c.path("clients.ipc"))
    p.hello()
    p.send("OPEN", 1, no, "", 1, 0, 0, "", "")
    p.send("COMMIT", 2, no, 1, 3)
    for _ in range(2):
        answer = p.receive("DONE")[1]
        check(answer[1] == 0 and answer[2] == no and answer[3] is True or answer[0] == 2, f"accepted again: {answer}")
    c.kill("broker")
    c.broker()
    check(c.status(batch)["status"] == "completed", "it has ended")
    c.check_results(batch, 3)


def test_flood(c):
    """Many sessions that come and go leave nothing behind, and nobody else waits for them."""
    start(c)
    for _ in range(300):
        p = Peer(c.path("clients.ipc"))
        p.hello()
        p.send("LIST", 1, bytes(16), 100)
        p.close()
    batch = submit(c, 50)
    c.wait_end(batch)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    main(TESTS)
