"""The page of a real gateway in a headless Chromium: tests/page/page_test.mjs with a cluster behind it.

    test_page.py DIR [SHOTS]     DIR: where the browser's driver is kept (tests/page/run.sh); SHOTS: pictures go there
"""
import os
import subprocess
import sys
import time

from harness import Cluster, Provider, wait_for
from web import Web

HERE = os.path.dirname(os.path.abspath(__file__))
MORE = """\
  slow/echo: [ {{ provider: slow, model: gpt-test, price: {{ input: 1, output: 2 }}, limits: {{ rpm: 600 }} }} ]
  failing/echo: [ {{ provider: slow, model: missing-model, price: {{ input: 1, output: 2 }} }} ]
  parked/echo: [ {{ provider: parked, model: gpt-test, price: {{ input: 1, output: 2 }} }} ]
"""
PROVIDERS = """\
  slow: {{ api: openai, base_url: "http://127.0.0.1:{slow}/v1", api_key: good-key, limits: {{ concurrency: 20 }} }}
  parked: {{ api: openai, base_url: "http://127.0.0.1:{parked}/v1", api_key: bad-key }}
"""


def page(directory, shots):
    slow = Provider("--latency-ms", 1500)
    parked = Provider("--good-key", "good-key")
    c = None
    try:
        providers = PROVIDERS.format(slow=slow.port, parked=parked.port)
        c = Cluster(slow, more=MORE.format(), up=False)
        with open(c.config) as f:
            text = f.read()
        with open(c.config, "w") as f:
            f.write(text.replace("models:\n", providers + "models:\n", 1))
        c.start()
        web = Web(c.ports["gateway"])
        stuck = web.submit(['{"custom_id":"a","body":{"model":"parked/echo","messages":[{"role":"user","content":"Hi"}]}}'])
        wait_for("the endpoint to be parked", lambda: web.get(f"/v1/batches/{stuck}").json.get("parked"), 30)
        time.sleep(11)  # a sample of the last hour
        args = [os.path.join(HERE, "../page/run.sh"), "browser", directory, "--url", f"http://127.0.0.1:{web.port}",
                "--model", "echo/any", "--slow-model", "slow/echo", "--failing-model", "failing/echo", "--parked", "parked"]
        return subprocess.run(args + (["--shots", shots] if shots else [])).returncode
    finally:
        if c:
            c.stop()
        for p in (slow, parked):
            p.stop()


if __name__ == "__main__":
    sys.exit(page(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
