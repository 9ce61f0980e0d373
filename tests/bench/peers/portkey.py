"""Portkey's gateway: one node process, as its start script runs it."""
import contextlib
import os

from . import gateway, support


def package(directory):
    return os.path.join(directory, "portkey", "node_modules", "@portkey-ai", "gateway")


@contextlib.contextmanager
def started(directory, port, provider_port):
    """The gateway at one port before the provider at another: (its process, the headers that it wants)."""
    command = ["node", os.path.join(package(directory), "build", "start-server.js"), f"--port={port}", "--headless"]
    headers = {**gateway.HEADERS, "x-portkey-provider": "openai",
               "x-portkey-custom-host": f"http://127.0.0.1:{provider_port}/v1"}
    with support.temporary() as d, support.started(command, d, {"NODE_ENV": "production"}) as process:
        support.wait_port(process, port)
        yield process, headers


def measure(bench, row):
    port = bench.harness.free_port()
    with support.temporary() as d, bench.provider() as provider, \
            started(bench.dir, port, provider.port) as (process, headers):
        return gateway.load(bench, gateway.chat(port), headers, provider,
                            {"gateway": support.children_of(process.pid)}, d)


def version(bench):
    return support.npm_version(bench, "portkey", "@portkey-ai/gateway")


ROWS = [support.Row("portkey", measure, peer="portkey", version=version, gateway=True,
                    set_up="1 node process, NODE_ENV=production, provider named in headers")]
