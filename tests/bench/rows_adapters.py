"""The adapters: what each itself costs a request, and one worker's calls through it beside libcurl posting what the
adapter makes of the same jobs."""
import lab
import rows_echo
import rows_http
from table import Figure, Ratio, Row, field, per_s, wanted_ratio

BODY_BYTES = 2048
CONCURRENCY = 64
SHARE = 0.85

# Where the simulated provider speaks each protocol: what a base_url has behind the host.
PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "mistral": "/v1", "azure": "/openai/v1",
         "cohere": "/v2", "bedrock": ""}


def cost(api):
    return lab.measured(lambda: lab.tool("adapter_cost", "--api", api), {})


def bare_curl(o, api):
    with rows_http.server("h1") as s:
        return lab.measured(lambda: lab.tool("bare_curl", "--api", api, "--url", s.base + PATHS[api], "--jobs",
                                             o.http_jobs, "--concurrency", CONCURRENCY, "--bytes", BODY_BYTES,
                                             "--model", rows_echo.MODEL, *o.prompts), {"provider": [s.pid]})


def http(o, api):
    return rows_http.http(o, "h1", CONCURRENCY, "--bytes", BODY_BYTES, api=api, path=PATHS[api])


def run_per_s(sample):
    """Jobs a second while there was work for the worker: none of a batch is run before it is accepted."""
    return sample["jobs"] / sample["run_s"] if "run_s" in sample else per_s(sample)


def calls(o, api):
    name = f"{api} c{CONCURRENCY}"
    bare = Ratio("bare_curl", f"bare_curl {name}")
    running = Ratio("bare_curl from accepted on", bare.other, run_per_s)
    cpu = Ratio("CPU", bare.other, rows_http.a_call)
    yield Row(f"bare_curl {name}", lambda: bare_curl(o, api))
    yield Row(f"http {name}", lambda: http(o, api), [bare],
              [wanted_ratio(running, SHARE), wanted_ratio(cpu, SHARE, "bare_curl's CPU a call ÷ the worker's")])


def rows(o):
    for api in PATHS:
        yield Row(f"adapter {api}", lambda a=api: cost(a), [],
                  [Figure("parse of the job us", field("parse_us"), 2), Figure("build us", field("build_us"), 2),
                   Figure("read us", field("read_us"), 2), Figure("build and read us", field("adapter_us"), 2)], "-")
    for api in PATHS:
        yield from calls(o, api)
