"""Load on what speaks HTTP: the simulated provider itself, or a gateway before it.

wrk repeats one request and checks the status of every answer.  One answer is read and compared beforehand, and the
provider must have answered as often as wrk counts."""
import json
import os
import subprocess
import time

from . import support

CONNECTIONS = 64
SECONDS = 5
WARM_UP_SECONDS = 5
ONE_SECONDS = 2
SETTLE_S = 0.5
BODY_BYTES = 1024
TEXT = "t" * 500
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer good-key"}


def body(model):
    def of(shared):
        return json.dumps({"model": model, "messages": [{"role": "system", "content": shared},
                                                              {"role": "user", "content": TEXT}]})

    return of("s" * (BODY_BYTES - len(of(""))))


def check_one(url, headers, model):
    answer = support.get_json(url, body(model).encode(), headers)
    text = answer["choices"][0]["message"]["content"]
    if text != "echo:" + TEXT:
        raise AssertionError(f"a wrong answer of {url}: {text[:100]!r}")


def wrk(url, headers, model, connections, seconds, directory):
    files = {"PST_PEER_BODY": body(model), "PST_PEER_HEADERS": "".join(f"{k}: {v}\n" for k, v in headers.items())}
    for name, text in files.items():
        with open(os.path.join(directory, name), "w") as f:
            f.write(text)
    env = {**os.environ, **{name: os.path.join(directory, name) for name in files}}
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s",
                           support.program("chat.lua"), url], env=env, capture_output=True, text=True,
                          timeout=seconds + support.RUN_S)
    if done.returncode != 0:
        raise AssertionError(f"wrk: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def answered(port):
    return support.get_json(f"http://127.0.0.1:{port}/_sim/stats")["answered"]


def settled(port):
    """Answers so far, once no more come: a gateway goes on with calls whose caller has left."""
    end, last = time.monotonic() + support.START_S, -1
    while (now := answered(port)) != last:
        if time.monotonic() > end:
            raise AssertionError("the gateway still calls the provider, long after its callers have left")
        last = now
        time.sleep(SETTLE_S)
    return now


def counted(url, headers, model, connections, seconds, directory, port):
    """A run of wrk whose requests the provider has all answered."""
    before, t = settled(port), os.times()
    got = wrk(url, headers, model, connections, seconds, directory)
    after = os.times()
    calls = settled(port) - before
    if got["errors"] or not 0 <= calls - got["requests"] <= connections:
        raise AssertionError(f"{got['requests']} requests, {got['errors']} errors, {calls} answers of the provider")
    got["cpu_s"] = after.children_user + after.children_system - t.children_user - t.children_system
    got["jobs_per_s"] = got["requests"] / got["seconds"]
    got["jobs"] = calls  # CPU was spent on those too that wrk did not wait for
    return got


def load(bench, url, headers, provider, groups, directory, model="gpt-test"):
    """A sample at 64 connections, with the waits of one connection added."""
    def run(connections, share):
        return counted(url, headers, model, connections, max(round(share * bench.scale), 1), directory, provider.port)

    check_one(url, headers, model)
    run(CONNECTIONS, WARM_UP_SECONDS)
    sample = bench.measured(lambda: run(CONNECTIONS, SECONDS), {**groups, "provider": [provider.pid]})
    sample["one"] = run(1, ONE_SECONDS)
    return sample


def chat(port):
    return f"http://127.0.0.1:{port}/v1/chat/completions"


def direct(bench, row):
    with support.temporary() as d, bench.provider() as provider:
        return load(bench, chat(provider.port), HEADERS, provider, {}, d)


def version(bench):
    return bench.first_line("wrk", "-v").split(" Copyright")[0]


ROWS = [support.Row("wrk direct", direct, peer="wrk", version=version, gateway=True,
                    set_up="wrk on the provider itself")]
