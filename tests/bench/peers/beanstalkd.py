"""beanstalkd with its log on disk: put, reserve and delete in batches of 100.  It keeps no results."""
from . import support


def measure(bench, row):
    jobs = support.jobs_of(bench, row)
    warm_up, port = support.warm_up_of(jobs), bench.harness.free_port()
    with support.temporary() as d, \
            support.started([support.installed("beanstalkd"), "-l", "127.0.0.1", "-p", port, "-b", d, "-f", 1000],
                            d) as server:
        support.wait_port(server, port)
        with support.started([bench.python, support.program("beanstalkd_worker.py"), port], d, talks=True) as worker, \
                support.started([bench.python, support.program("beanstalkd_client.py"), port, warm_up, jobs],
                                d, talks=True) as client:
            support.wait_ready(worker)
            support.wait_ready(client)
            sample = support.measured_queue(bench, client, {"beanstalkd": [server.pid], "worker": [worker.pid]}, jobs)
            support.saw_all(worker, warm_up + jobs)
            return sample


def version(bench):
    return bench.first_line(support.installed("beanstalkd"), "-v")


ROWS = [support.Row("beanstalkd", measure, 100000, "beanstalkd", version, "jobs until done; NO results",
                    "log on disk, fsync each second",
                    "put, reserve, delete: 100 a batch; 1 worker; ends when all are deleted")]
