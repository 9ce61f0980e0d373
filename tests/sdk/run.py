"""The official SDKs, and curl, as clients of the gateway: `run.py SUITE` starts a cluster with keys before the simulated
provider, and runs the suite's tests against it.

What the tests get, in the environment: PST_URL (…/v1 is the suite's own business), PST_KEY (of nobody: sees everything),
PST_KEY_OF_LAB (of a tenant), PST_KEY_SLOW (60 requests a minute), PST_SIM (the provider's own address)."""
import os
import subprocess
import sys
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integ"))
from harness import BIN, Cluster, Provider, wait_for  # noqa: E402

SKIPPED = 77
DIRECTORY = os.environ.get("PST_SDK", os.path.join(BIN, "../sdk"))
# Answers that take a while, and streams that drip, so that there is a midway to stop at; and one that is made at once.
MODELS = """\
  test/slow: [ { provider: simopenai, model: gpt-slow, price: { input: 1, output: 2 }, limits: { concurrency: 4 } } ]
  test/drip: [ { provider: simopenai, model: gpt-drip, price: { input: 1, output: 2 } } ]
  test/echo: [ { provider: echo, model: echo, price: { input: 1, output: 2 } } ]
"""
SLOW_MS = 400
DRIP_MS = 100


def node(sdk, *files):
    return "node", ["node", "--test", "--test-concurrency=1", *(os.path.join(HERE, f) for f in files)], {"PST_SDK_PACKAGE": sdk}


OPENAI = "openai_files.test.mjs", "openai_batches.test.mjs", "openai_calls.test.mjs", "openai_streams.test.mjs"
SUITES = {
    "openai_6": node("openai-6", *OPENAI),
    "openai_7": node("openai-7", *OPENAI),
    "openai_python": ("python", [os.path.join(DIRECTORY, "venv/bin/python"), os.path.join(HERE, "openai_python.py")], {}),
    "anthropic": node("@anthropic-ai/sdk", "anthropic.test.mjs"),
    "curl": (None, [sys.executable, os.path.join(HERE, "curl.py")], {}),
}


def install(kind):
    """Why the SDKs cannot be had; "" where they are there."""
    if not kind:
        return ""
    done = subprocess.run([os.path.join(HERE, "install.sh"), kind, DIRECTORY], capture_output=True, text=True)
    if done.returncode not in (0, SKIPPED):
        raise AssertionError(f"install.sh: exit {done.returncode}\n{done.stderr}")
    return done.stderr.strip() if done.returncode else ""


def create_key(cluster, *options):
    return cluster.run("keys", "create", *options, "--data", cluster.data).stdout.strip()


def keys_are_needed(url):
    """Gateways learn of keys within a second."""
    try:
        urllib.request.urlopen(f"{url}/v1/models", timeout=10).close()
    except urllib.error.HTTPError as e:
        return e.code == 401
    return False


def environment(cluster, provider):
    url = f"http://127.0.0.1:{cluster.ports['gateway']}"
    found = {"PST_URL": url, "PST_KEY": create_key(cluster, "--name", "all"),
             "PST_KEY_OF_LAB": create_key(cluster, "--name", "lab", "--tenant", "lab"),
             "PST_KEY_SLOW": create_key(cluster, "--name", "slow", "--rpm", "60"),
             "PST_SIM": f"http://127.0.0.1:{provider.port}", "PST_SDK_DIRECTORY": DIRECTORY}
    wait_for("the gateway to ask for keys", lambda: keys_are_needed(url))
    return found


def run(command, more):
    provider = Provider("--good-key", "good-key", "--model", f"gpt-slow:latency_ms={SLOW_MS}",
                        "--model", f"gpt-drip:stream_ms={DRIP_MS}")
    cluster = None
    try:
        cluster = Cluster(provider, more=MODELS)
        done = subprocess.run(command, env={**os.environ, **environment(cluster, provider), **more}, timeout=500)
        if done.returncode:
            print(f"--- log of the cluster\n{cluster.tail()}", file=sys.stderr)
        return done.returncode
    finally:
        if cluster:
            cluster.stop()
        provider.stop()


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in SUITES:
        sys.exit(f"usage: run.py {'|'.join(SUITES)}")
    kind, command, more = SUITES[sys.argv[1]]
    reason = install(kind)
    if reason:
        print(reason)
        sys.exit(SKIPPED)
    sys.exit(run(command, more))


if __name__ == "__main__":
    main()
