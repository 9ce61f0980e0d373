"""penstock itself, by the rows of run.py."""
from . import gateway, support

HTTP_JOBS = 50000
LATENCY_JOBS = 1000


def echo(workers):
    def measure(bench, row):
        return bench.echo(workers, support.jobs_of(bench, row))

    return measure


def http(bench, row):
    """Throughput at 64 calls in flight; and one-job batches one after the other, for the waits of one caller."""
    sample = bench.http(support.jobs_of(bench, row))
    sample["one"] = bench.http_latency(max(int(LATENCY_JOBS * bench.scale), 20))
    return sample


def chat(bench, row):
    with bench.gateway() as (provider, port, model, groups), support.temporary() as d:
        return gateway.load(bench, gateway.chat(port), gateway.HEADERS, provider, groups, d, model)


def version(bench):
    return f"{bench.about['penstock']}, {bench.about['redis'].split(' sha')[0]}"


QUEUES = [support.Row(f"penstock w{n}", echo(n), 400000, "", version, "jobs and results", support.EVERYSEC,
                      f"`penstock up` with echo, as in run.py; worker processes: {n}") for n in (1, 4)]
GATEWAYS = [support.Row("penstock http", http, HTTP_JOBS, "", version, "jobs and results", support.EVERYSEC,
                        "a batch through 1 worker process to the provider, as in run.py; one by one: batches of one job",
                        gateway=True),
            support.Row("penstock gateway", chat, peer="wrk", version=version, gateway=True,
                        set_up="`penstock up`: gateway, broker, 1 worker process")]
