"""llama.cpp's server in a process: `serve.py MODEL TEMPLATE PORT CONTEXT SLOTS`; ends when its standard input does.

One thread: those of a model wait for each other by spinning, which takes a machine that does anything else to a crawl."""
import sys

import xllamacpp


def main():
    model, template, port, context, slots = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    with open(template) as f:
        params.chat_template = f.read()
    params.port, params.n_ctx, params.n_parallel = int(port), int(context) * int(slots), int(slots)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print("ready", server.listening_address, flush=True)
    sys.stdin.read()


main()
