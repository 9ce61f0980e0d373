"""What the peers' files share: rows, processes and the talk with programs/."""
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing
import urllib.request

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
START_S = 120  # until a program is ready: LiteLLM reads its code for a while
RUN_S = 120    # for a run on the stopwatch
STOP_S = 15
EVERYSEC = "append-only file, fsync each second"


class Row(typing.NamedTuple):
    name: str
    measure: typing.Callable          # (bench, row) -> sample
    jobs: int = 0                     # at --jobs-scale 1: 3 to 10 seconds of it
    peer: str = ""                    # its name in install.sh; "": nothing is to be installed
    version: typing.Callable = None   # (bench) -> text
    keeps: str = ""
    durable: str = ""
    set_up: str = ""
    gateway: bool = False


# ---- processes


def program(name):
    return os.path.join(PROGRAMS, name)


def installed(name):
    """Debian's servers are where the PATH of users does not look."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def started(argv, directory, env=None, talks=False):
    """A process whose messages go into a file of the directory; one that talks has pipes on both sides."""
    env = {**os.environ, **(env or {}), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.NamedTemporaryFile(dir=directory, prefix="log.", delete=False) as log:
        process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE if talks else log, stderr=log, cwd=directory, env=env,
                                   start_new_session=True)
    process.log = log.name
    try:
        yield process
    finally:
        stop(process)


def stop(process):
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind
    if process.stdout:
        process.stdout.close()


def messages(process):
    with open(process.log, errors="replace") as f:
        return f.read()


def tail(process, lines=15):
    return "".join(messages(process).splitlines(True)[-lines:])


def read_line(process, seconds):
    """The next line of its output, waited for at most that long."""
    end, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise AssertionError(f"{process.args[0:2]} said nothing for {seconds} s (hung?)\n{tail(process)}")
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise AssertionError(f"{process.args[0:2]} ended: {process.wait(STOP_S)}\n{tail(process)}")
        line += byte
    return line.decode().strip()


def wait_ready(process, seconds=START_S):
    line = read_line(process, seconds)
    if line != "ready":
        raise AssertionError(f"{process.args[0:2]} said {line!r}\n{tail(process)}")


def go(process):
    """Starts the stopwatch of a client that is ready; what it measured."""
    process.stdin.write(b"go\n")
    process.stdin.flush()
    return json.loads(read_line(process, RUN_S))


def last_word(process):
    """What a program prints after its input has ended."""
    process.stdin.close()
    return json.loads(read_line(process, STOP_S))


def wait_port(process, port, seconds=START_S):
    """Waits until a server that was started takes connections."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"{process.args[0:2]} does not listen; exit: {process.poll()}\n{tail(process)}")
        time.sleep(0.02)


def children_of(pid):
    """Pids of a process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in map(int, f.read().split()):
                    found += children_of(child)
    return found


@contextlib.contextmanager
def temporary():
    with tempfile.TemporaryDirectory(prefix="pstpeer", ignore_cleanup_errors=True) as directory:
        yield directory


# ---- measurements


def jobs_of(bench, row):
    return max(int(row.jobs * bench.scale), 100)


def warm_up_of(jobs):
    return max(min(jobs // 10, 2000), 20)


def measured_queue(bench, client, groups, jobs):
    """One run of a client that is ready; every group's CPU and memory with it."""
    sample = bench.measured(lambda: go(client), {"client": [client.pid], **groups})
    if sample["jobs"] != jobs:
        raise AssertionError(f"{sample['jobs']} results of {jobs} jobs")
    return sample


def saw_all(worker, jobs):
    """A worker's own count: each job was handed out, and none twice."""
    seen = last_word(worker)
    if seen != {"jobs": jobs, "different": jobs}:
        raise AssertionError(f"the worker saw {seen['jobs']} jobs, {seen['different']} different, of {jobs}")


def get_json(url, data=None, headers=None, seconds=30):
    request = urllib.request.Request(url, data=data, headers=headers or {})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.loads(answer.read())


def npm_version(bench, peer, package):
    with open(os.path.join(bench.dir, peer, "node_modules", package, "package.json")) as f:
        return f"{package} {json.load(f)['version']}"


def pip_version(bench, peer, *packages):
    script = "import importlib.metadata as m, sys; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    return subprocess.run([python(bench, peer), "-c", script, *packages], capture_output=True, text=True, check=True,
                          timeout=START_S).stdout.strip()


def python(bench, peer):
    return os.path.join(bench.dir, peer, "bin", "python")
