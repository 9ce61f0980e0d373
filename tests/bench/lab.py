"""What a measurement needs: processes to start and end, and to ask what they took.

Everything runs in directories of its own, on ports that were free a moment ago, and ends with its `with`.
"""
import contextlib
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integ"))
import harness  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PROBE_S = 0.2
QUIET_PROBE_S, QUIET_PAUSE_S = 0.6, 2
TIMEOUT_S = 1800  # of one program: ten million jobs take their time
MIB = 1 << 20


def log(text):
    print(text, file=sys.stderr, flush=True)


def allow_many_files():
    """Thousands of calls in flight are thousands of sockets, in the programs that are started too."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ---- what the machine and its processes do


def spin(seconds):
    """The share of a core that this process got while it wanted one."""
    cpu, wall = time.process_time(), time.perf_counter()
    while time.perf_counter() < wall + seconds:
        pass
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def quiet_percent(seconds=PROBE_S):
    """What two spinning processes get of two cores, in %: 100 on a machine with nothing else to do."""
    free = os.sched_getaffinity(0)
    first, second = (sorted(free) * 2)[:2]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {second})
        os.write(write, str(spin(seconds)).encode())
        os._exit(0)
    os.sched_setaffinity(0, {first})
    own = spin(seconds)
    os.sched_setaffinity(0, free)
    os.close(write)
    other = float(os.read(read, 64))
    os.close(read)
    os.waitpid(child, 0)
    return 50 * (own + other)


def machine_ticks():
    """(all, idle, stolen) ticks of the machine since it started."""
    with open("/proc/stat") as f:
        fields = list(map(int, f.readline().split()[1:9]))
    return sum(fields), fields[3] + fields[4], fields[7]


def wait_until_quiet(limit_s):
    """Until the host takes next to nothing from two spinning processes, or limit_s have passed; how long it took."""
    begin = time.monotonic()
    while True:
        before = machine_ticks()
        quiet = quiet_percent(QUIET_PROBE_S)
        ticks = [b - a for a, b in zip(before, machine_ticks())]
        waited = time.monotonic() - begin
        if (quiet >= 98 and ticks[2] <= ticks[0] / 100) or waited >= limit_s:
            return waited
        time.sleep(QUIET_PAUSE_S)


def cpu_of(pid):
    """User and system time of a process, seconds: to the nanosecond, of the threads that live, where the kernel says so
    (ours live as long as their process); else in its hundredths."""
    with contextlib.suppress(FileNotFoundError):
        total = 0
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                total += int(f.read().split()[0])
        return total / 1e9
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid, field="VmHWM"):
    """The most a process ever held; with VmRSS: what it holds."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"^{field}:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def children_cpu():
    t = os.times()
    return t.children_user + t.children_system


class Meter:
    """CPU and memory of named groups of processes, {name: pids}, over a stretch of work."""

    def __init__(self):
        """The probe wants the machine for itself: before the work begins."""
        os.sync()  # what an earlier row wrote must not be written at this one's cost
        self.quiet = quiet_percent()

    def start(self, groups):
        self.groups = groups
        self.ticks = machine_ticks()
        self.cpu = {pid: cpu_of(pid) for pids in groups.values() for pid in pids}

    def stop(self, got):
        """The sample: `got` (jobs, and cpu_s and rss_kib of the client where there is one) and what was metered."""
        ticks = [after - before for after, before in zip(machine_ticks(), self.ticks)]
        spent = {name: [cpu_of(pid) - self.cpu[pid] for pid in pids] for name, pids in self.groups.items()}
        cpu = {name: sum(seconds) * 1e6 / got["jobs"] for name, seconds in spent.items()}
        rss = {name: max(map(memory_mib, pids)) for name, pids in self.groups.items()}
        if "cpu_s" in got:
            cpu = {"client": got["cpu_s"] * 1e6 / got["jobs"], **cpu}
        if "rss_kib" in got:
            rss = {"client": got["rss_kib"] / 1024, **rss}
        return {"quiet": self.quiet, "stolen": 100 * ticks[2] / max(ticks[0], 1),
                "machine_busy": 100 * (1 - ticks[1] / max(ticks[0], 1)), **got, "cpu": cpu, "rss": rss,
                "cpu_seconds": spent}


def measured(run, groups):
    """run() -> dict with jobs, and more of what Meter.stop() takes; the sample."""
    meter = Meter()
    meter.start(groups)
    return meter.stop(run())


def tool(*args, timeout=TIMEOUT_S):
    """A program of ours that prints one JSON object."""
    done = subprocess.run([harness.program(args[0]), *map(str, args[1:])], capture_output=True, text=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def end(process):
    """SIGTERM, and SIGKILL for who does not listen."""
    process.terminate()
    try:
        process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# ---- Redis


class Redis:
    """A redis-server with the settings that `penstock up` gives its own, or plain, without penstock."""

    def __init__(self, settings):
        self.dir = tempfile.mkdtemp(prefix="pst")
        self.socket = os.path.join(self.dir, "redis.sock")
        own = {"port": "0", "unixsocket": self.socket, "dir": self.dir, "logfile": os.path.join(self.dir, "log")}
        options = [x for k, v in {**settings, **own}.items() for x in ("--" + k, v)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        harness.wait_for("redis-server", lambda: os.path.exists(self.socket))

    def info(self, name):
        return info(self.socket, name)

    def stop(self):
        end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)


def ask(path, *words):
    """One command to the Redis at a socket; its answer, a text or a list of texts."""
    with socket.socket(socket.AF_UNIX) as s, contextlib.closing(s.makefile("rb")) as f:
        s.settimeout(30)
        s.connect(path)
        s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        return reply(f)


def reply(f):
    line = f.readline().decode().rstrip()
    kind, rest = line[:1], line[1:]
    if kind == "*":
        return [reply(f) for _ in range(int(rest))]
    if kind == "$":
        return f.read(int(rest) + 2)[:-2].decode()
    raise AssertionError(f"Redis said {line!r}")


def info(path, name):
    return int(re.search(rf"^{name}:(\d+)", ask(path, "INFO"), re.M).group(1))


def settled_memory(path):
    """used_memory once it stands still: the buffers of those who just wrote are given back."""
    last = [0]

    def still():
        before, last[0] = last[0], info(path, "used_memory")
        return abs(last[0] - before) < MIB / 4

    harness.wait_for("Redis's memory to settle", still, 60, 0.3)
    return last[0]


def written_down(path):
    """What was submitted is on the disk, and no copy of Redis writes its log anew: neither is to be paid for by what is
    measured next."""
    harness.wait_for("the log to be written", lambda: not info(path, "aof_rewrite_in_progress"), 120, 0.1)
    os.sync()


def config_of(path):
    flat = ask(path, "CONFIG", "GET", "*")
    return dict(zip(flat[::2], flat[1::2]))


@functools.lru_cache(maxsize=None)
def redis_settings(durability):
    """What `penstock up` sets at its Redis, asked of one, so that the two cannot drift apart."""
    ours = Redis({})
    try:
        plain = config_of(ours.socket)
    finally:
        ours.stop()
    with cluster("idle: { api: echo }", "provider: idle, model: bench", durability, 1) as c:
        theirs = config_of(os.path.join(c.data, "redis.sock"))
    return {k: v for k, v in theirs.items()
            if v != plain.get(k) and k not in ("port", "unixsocket", "dir", "logfile", "pidfile")}


@contextlib.contextmanager
def redis_server(durability):
    r = Redis(redis_settings(durability))
    try:
        yield r
    finally:
        r.stop()


# ---- penstock


def write_config(c, provider, model, durability):
    with open(c.config, "w") as f:
        f.write(f'redis: {{ durability: {durability} }}\n'
                f'broker: {{ clients: "tcp://127.0.0.1:{c.ports["clients"]}", '
                f'workers: "tcp://127.0.0.1:{c.ports["workers"]}", '
                f'metrics: "127.0.0.1:{c.ports["metrics"]}" }}\n'
                f'gateway: {{ listen: "127.0.0.1:{c.ports["gateway"]}" }}\n'
                f'providers:\n  {provider}\n'
                f'models:\n  bench/model: [ {{ {model} }} ]\n')


class Cluster(harness.Cluster):
    """`penstock up` with one provider, and more workers of it."""

    def __init__(self, provider, model, durability, workers):
        super().__init__(up=False)
        write_config(self, provider, model, durability)
        try:
            self.start()
            for _ in range(workers - 1):
                self.worker()
            wait_for_workers(self, workers)
        except BaseException:
            self.stop()
            raise

    def groups(self):
        return {"broker": self.children("penstock-broker"), "redis": self.children("redis-server"),
                "worker": self.children("penstock-worker") + [w.pid for w in self.extra]}

    def gateway(self):
        others = self.children("penstock-")
        return [pid for pid in self.children("penstock") if pid not in others]


class Parts(harness.Cluster):
    """The same without `up`: a Redis, a broker, and as many workers as one asks for, none at first.  Nothing is
    started again by itself."""

    def __init__(self, provider, model, durability):
        super().__init__(up=False)
        write_config(self, provider, model, durability)
        self.redis = self.broker_process = None
        try:
            self.redis = Redis(redis_settings(durability))
            self.start_broker()
            harness.wait_for("the broker", self.ready)
        except BaseException:
            self.stop()
            raise

    def start_broker(self):
        self.broker_process = subprocess.Popen([harness.program("penstock-broker"), "--config", self.config, "--redis",
                                                f"unix://{self.redis.socket}"], stderr=self.log)

    def ready(self):
        """Whether the broker has read its state back: until then it says LOADING to all questions."""
        with contextlib.suppress(OSError):
            return metrics(self)["store_up"] == 1

    def kill_broker(self):
        self.broker_process.kill()
        self.broker_process.wait()

    def groups(self):
        return {"broker": [self.broker_process.pid], "redis": [self.redis.pid],
                "worker": [w.pid for w in self.extra]}

    def stop(self):
        super().stop()  # workers, files
        if self.broker_process:
            end(self.broker_process)
        if self.redis:
            self.redis.stop()


@contextlib.contextmanager
def ended_afterwards(c):
    try:
        yield c
    except Exception:
        log(f"--- log of the cluster\n{c.tail()}")
        raise
    finally:
        c.stop()


def cluster(*args):
    return ended_afterwards(Cluster(*args))


def parts(*args):
    return ended_afterwards(Parts(*args))


def metrics(c):
    """The broker's figures without labels, by name without what all begin with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{c.ports['metrics']}/metrics", timeout=10) as answer:
        return {name: int(value) for name, value in
                re.findall(r"^penstock_broker_(\w+) (\d+)$", answer.read().decode(), re.M)}


def wait_for_workers(c, n):
    harness.wait_for(f"{n} workers", lambda: metrics(c)["workers"] >= n)


# ---- the simulated provider


class Provider:
    def __init__(self, *options):
        self.process = subprocess.Popen([harness.program("pst-sim-provider"), "--port", "0", *map(str, options)],
                                        stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=40)
        self.process.stdout.close()


@contextlib.contextmanager
def provider(*options):
    p = Provider(*options)
    try:
        yield p
    finally:
        p.stop()
