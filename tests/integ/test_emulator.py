"""Every adapter against a third party's emulator of its protocol (emulator/package.json says which): somebody else's
reading of each API, not ours.

2,000 jobs of seven kinds each, with 429s, 500s, cut connections, broken JSON and answers that come too late
(emulator/jobs.py says where): every job ends once, with what the emulator was told to say to it, after just the attempts
that the faults cost; what was sent is a valid body of the protocol (emulator/wire.py), and means to the emulator what the
job said."""
import contextlib
import json
import os
import sys
import unittest
from collections import Counter, defaultdict

from emulator import jobs, wire
from emulator.server import KEY, SKIPPED, Emulator, Tap, install
from harness import BIN, Case, Cluster, write_lines

DIRECTORY = os.environ.get("PST_EMULATOR", os.path.join(BIN, "../emulator"))
MODEL = "test/emulated"
# The model's limits are said because the emulator's 429s name some, which it does not keep.
CONFIG = """\
broker: {{ clients: "tcp://127.0.0.1:{clients}", workers: "tcp://127.0.0.1:{workers}", metrics: "127.0.0.1:{metrics}" }}
gateway: {{ listen: "127.0.0.1:{gateway}" }}
providers:
  emulated:
    api: {api}
    base_url: "http://127.0.0.1:{port}{base_url}"
    api_key: {key}
    timeout: {timeout}s
    limits: {{ concurrency: 32 }}
    {options}
models:
  {model}:
    - provider: emulated
      model: "{upstream}"
      price: {{ input: 1, output: 2 }}
      limits: {{ rpm: 600000, tpm: 1000000000 }}
"""
# What an attempt that met a fault is written down as: status, error_type.
SEEN = [(jobs.RATE_LIMITED, (429, "rate_limit_exceeded")), (jobs.BROKEN, (500, "server")),
        (jobs.CUT, (None, "connection")), (jobs.MALFORMED, (502, "bad_answer")), (jobs.LATE, (None, "timeout")),
        (jobs.REFUSED, (400, "invalid_request"))]


def seen(fault):
    return next(what for known, what in SEEN if known is fault)


def turns(messages):
    """A conversation as the emulator and we both can say it: no ids, which some protocols lack, no pictures, which it
    does not keep."""
    def turn(m):
        content = m.get("content") or ""
        text = content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
        calls = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in m.get("tool_calls") or []]
        if m["role"] == "tool":
            return "tool", json.loads(text), calls
        return "system" if m["role"] == "developer" else m["role"], text, calls

    return [turn(m) for m in messages]


def job_of(messages):
    """The job whose marker the conversation has."""
    text = json.dumps(messages)
    at = text.index(jobs.marker(0)[:5])
    return int(text[at + 5:at + 9])


@contextlib.contextmanager
def about(job):
    """The first job with which something is wrong ends the test: two thousand may have the same."""
    try:
        yield
    except AssertionError as e:
        raise AssertionError(f"job {job.i}, {job.kind}: {e}") from None


class Emulated:
    """What is the same for all protocols."""
    protocol = None

    def setUp(self):
        reason = install(DIRECTORY)
        if reason:
            self.skipTest(reason)
        self.all = jobs.all_jobs()
        self.cluster = Cluster(up=False)
        self.addCleanup(self._stop, self.cluster)
        self.write_config(9)
        said = self.cluster.run("check", check=False)
        if f"providers.emulated.api is `{self.protocol.api}`: " in said.stderr:
            self.skipTest(f"this build has no api {self.protocol.api}")
        self.assertEqual(said.returncode, 0, said.stderr)

    def write_config(self, port):
        p = self.protocol
        with open(self.cluster.config, "w") as f:
            f.write(CONFIG.format(api=p.api, base_url=p.base_url, options=p.options, upstream=p.model, model=MODEL,
                                  port=port, key=KEY, timeout=jobs.TIMEOUT_S, **self.cluster.ports))

    def test_2000_jobs(self):
        for note in self.protocol.notes:
            print(f"\nskipped: {note}", flush=True)
        c = self.cluster
        emulator = Emulator(DIRECTORY, [x for job in self.all for x in job.fixtures()], c.dir)
        self.addCleanup(emulator.stop)
        tap = Tap(emulator.port)
        self.addCleanup(tap.stop)
        self.write_config(tap.port)
        c.start()
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (job.line(MODEL) for job in self.all))
        out = os.path.join(c.dir, "out.jsonl")
        done = c.run("submit", path, "--output", out, check=False)
        self.assertEqual(done.returncode, 3, f"{done.stderr}\n{c.tail()}")
        with open(out) as f:
            results = [json.loads(x) for x in f]
        self.check_results(results)
        self.check_receipt(c.receipt(done.stdout.strip()), results)
        self.check_calls(tap.calls)
        self.check_journal(emulator.journal())

    # ---- what came back

    def check_results(self, results):
        self.assertEqual(len(results), jobs.JOBS)
        by_id = {r["custom_id"]: r for r in results}
        self.assertEqual(by_id.keys(), {f"c-{job.i}" for job in self.all})
        for job in self.all:
            r = by_id[f"c-{job.i}"]
            with about(job):
                self.check_attempts(job, r)
                (self.check_refusal if job.refused else self.check_answer)(job, r)

    def check_attempts(self, job, r):
        wanted = [seen(fault) for fault in job.faults] + ([] if job.refused else [(200, None)])
        got = [(a.get("status"), a.get("error_type")) for a in r["penstock"]["attempts"]]
        self.assertEqual(got, wanted)

    def check_refusal(self, job, r):
        self.assertEqual((r["penstock"]["status"], r["penstock"]["error_type"]), ("failed", "invalid_request"))
        self.assertEqual((r["response"]["status_code"], r["error"]), (400, None))
        self.assertEqual(r["response"]["body"]["error"]["message"], "refused by design")

    def check_answer(self, job, r):
        self.assertEqual((r["penstock"]["status"], r["error"], r["response"]["status_code"]), ("completed", None, 200))
        body = r["response"]["body"]
        self.assertEqual(body["object"], "chat.completion")
        [choice] = body["choices"]
        message = choice["message"]
        calls = message.get("tool_calls") or []
        self.assertEqual(message["content"], job.answer.content)
        said = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
        self.assertEqual(said, job.answer.calls)
        self.assertEqual(len({c["id"] for c in calls}), len(calls))
        self.assertEqual(choice["finish_reason"], job.answer.finish)
        usage = body["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]),
                         (jobs.input_tokens(job.i), jobs.output_tokens(job.i)))

    def check_receipt(self, receipt, results):
        faults = Counter(seen(fault) for job in self.all for fault in job.faults)
        answered = [job.i for job in self.all if not job.refused]
        refused = jobs.JOBS - len(answered)
        self.assertEqual([receipt[k] for k in ("jobs", "results", "completed", "failed", "expired", "cancelled")],
                         [jobs.JOBS, jobs.JOBS, len(answered), refused, 0, 0])
        self.assertEqual(receipt["causes"], {"invalid_request": refused})
        [endpoint] = receipt["endpoints"]
        self.assertEqual((endpoint["provider"], endpoint["model"]), ("emulated", self.protocol.model))
        self.assertEqual(endpoint["calls"], sum(len(r["penstock"]["attempts"]) for r in results))
        self.assertEqual(endpoint["completed"], len(answered))
        self.assertEqual(endpoint["rate_limited"], faults[seen(jobs.RATE_LIMITED)])
        tokens = sum(map(jobs.input_tokens, answered)), sum(map(jobs.output_tokens, answered))
        self.assertEqual((receipt["input_tokens"], receipt["output_tokens"]), tokens)
        self.assertAlmostEqual(receipt["cost_usd"], (tokens[0] + 2 * tokens[1]) / 1e6, places=6)

    # ---- what was sent

    def check_calls(self, calls):
        """As it was on the wire: each job as often as its faults made it."""
        p, sent = self.protocol, defaultdict(list)
        for call in calls:
            self.assertEqual(call.path, p.path)
            self.assertEqual(call.headers["content-type"].split(";")[0], "application/json")
            self.assertEqual({name: call.headers.get(name) for name in p.headers}, p.headers)
            body = json.loads(call.body)
            job = self.all[job_of(body)]
            sent[job.i].append(call.at)
            with about(job):
                self.assertEqual(wire.misfit(body, p.shape), "")
                self.assertEqual(body.get("model", p.model), p.model)
                if job.kind in p.wanted:
                    self.assertEqual(wire.lacking(body, p.wanted[job.kind](job.body, job.i)), "")
        self.assertEqual({i: len(at) for i, at in sent.items()},
                         {job.i: len(job.faults) + (not job.refused) for job in self.all})
        for job in self.all:
            if job.faults == [jobs.RATE_LIMITED]:
                first, second = sent[job.i]
                self.assertGreaterEqual(second - first, jobs.RETRY_AFTER_S)

    def check_journal(self, journal):
        """As the emulator understood it.  Of a call that was given up while the emulator waited it keeps nothing."""
        statuses = Counter()
        for entry in journal:
            statuses[entry["response"]["status"], entry["response"].get("chaosAction")] += 1
            self.assertIsNotNone(entry["body"], f"the emulator could not read a body: {entry['response']}")
            job = self.all[job_of(entry["body"]["messages"])]
            with about(job):
                self.assertEqual(turns(entry["body"]["messages"]), turns(job.body["messages"]))
                tools = [t["function"]["name"] for t in entry["body"].get("tools") or []]
                self.assertEqual(tools, [t["function"]["name"] for t in job.body.get("tools", [])])
        met = Counter(id(fault) for job in self.all for fault in job.faults)
        self.assertEqual(statuses, {
            (200, None): sum(not job.refused for job in self.all), (429, None): met[id(jobs.RATE_LIMITED)],
            (500, None): met[id(jobs.BROKEN)], (0, "disconnect"): met[id(jobs.CUT)],
            (200, "malformed"): met[id(jobs.MALFORMED)], (400, None): met[id(jobs.REFUSED)]})


class OpenAI(Emulated, Case):
    protocol = wire.OPENAI


class Anthropic(Emulated, Case):
    protocol = wire.ANTHROPIC


class Gemini(Emulated, Case):
    protocol = wire.GEMINI


class Ollama(Emulated, Case):
    protocol = wire.OLLAMA


class Cohere(Emulated, Case):
    protocol = wire.COHERE


def main():
    result = unittest.main(verbosity=2, exit=False).result
    for _, reason in result.skipped:
        print(f"skipped: {reason}")
    if not result.wasSuccessful():
        return 1
    return SKIPPED if len(result.skipped) == result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
