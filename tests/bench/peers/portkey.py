"""Portkey's gateway: one node process, as its start script runs it."""
import os

from . import gateway, support


def measure(bench, row):
    port = bench.harness.free_port()
    package = os.path.join(bench.dir, "portkey", "node_modules", "@portkey-ai", "gateway")
    with support.temporary() as d, bench.provider() as provider:
        command = ["node", os.path.join(package, "build", "start-server.js"), f"--port={port}", "--headless"]
        headers = {**gateway.HEADERS, "x-portkey-provider": "openai",
                   "x-portkey-custom-host": f"http://127.0.0.1:{provider.port}/v1"}
        with support.started(command, d, {"NODE_ENV": "production"}) as process:
            support.wait_port(process, port)
            return gateway.load(bench, gateway.chat(port), headers, provider,
                                {"gateway": support.children_of(process.pid)}, d)


def version(bench):
    return support.npm_version(bench, "portkey", "@portkey-ai/gateway")


ROWS = [support.Row("portkey", measure, peer="portkey", version=version, gateway=True,
                    set_up="1 node process, NODE_ENV=production, provider named in headers")]
