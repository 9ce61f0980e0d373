"""LiteLLM's proxy before the simulated provider: a master key, as it demands, no database, no logging of requests."""
import os
import secrets
import time

from . import gateway, support

WORKERS = 2
CONFIG = """\
model_list:
  - model_name: gpt-test
    litellm_params: {{ model: openai/gpt-test, api_base: "http://127.0.0.1:{port}/v1", api_key: good-key }}
litellm_settings: {{ num_retries: 0, turn_off_message_logging: true }}
general_settings: {{ master_key: {key} }}
"""
ENV = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def wait_workers(process):
    """Waits for all workers: the port is open before the first of them is ready."""
    end = time.monotonic() + support.START_S
    while support.messages(process).count("Proxy initialized with Config") < WORKERS:
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"not all workers started; exit: {process.poll()}\n{support.tail(process)}")
        time.sleep(0.1)


def measure(bench, row):
    port, key = bench.harness.free_port(), "sk-" + secrets.token_hex(24)
    with support.temporary() as d, bench.provider() as provider:
        config = os.path.join(d, "config.yaml")
        with open(config, "w") as f:
            f.write(CONFIG.format(port=provider.port, key=key))
        command = [os.path.join(bench.dir, "litellm", "bin", "litellm"), "--config", config, "--host", "127.0.0.1",
                   "--port", port, "--num_workers", WORKERS, "--run_granian"]
        with support.started(command, d, ENV) as process:
            support.wait_port(process, port)
            wait_workers(process)
            headers = {**gateway.HEADERS, "Authorization": f"Bearer {key}"}
            return gateway.load(bench, gateway.chat(port), headers, provider,
                                {"gateway": support.children_of(process.pid)}, d)


def version(bench):
    return support.pip_version(bench, "litellm", "litellm", "granian")


ROWS = [support.Row("litellm", measure, peer="litellm", version=version, gateway=True,
                    set_up=f"proxy on granian, {WORKERS} workers, a master key, no database, errors logged only")]
