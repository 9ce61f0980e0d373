"""Where jobs go and when: limits that are learned, fair shares, outages, budgets, windows, beginnings, haste.

How fast and how cheap is for tests/bench; here is what must hold on a machine of any speed."""
import json
import os
import threading
import time
from collections import Counter

from harness import Case, Cluster, line, main, wait_for, write_lines

HEAD = """\
broker: {{ clients: "tcp://127.0.0.1:{clients}", workers: "tcp://127.0.0.1:{workers}", metrics: "127.0.0.1:{metrics}" }}
gateway: {{ listen: "127.0.0.1:{gateway}" }}
providers:
"""
MODEL = "test/model"
ATTEMPTS_MAX = 5     # limits.h: attempts of its own that a job may spend
FAILURES_TO_PARK = 10  # in a row


class Side:
    """A provider, and how the one endpoint that it serves is configured."""

    def __init__(self, provider, limits="", price="input: 1, output: 2", more=""):
        self.provider, self.limits, self.price, self.more = provider, limits, price, more


class Market(Cluster):
    """`penstock up` with one model, served by every side: providers sim0, sim1, …"""

    def __init__(self, *sides):
        super().__init__(up=False)
        config = HEAD.format(**self.ports)
        for i, s in enumerate(sides):
            config += (f'  sim{i}: {{ api: openai, base_url: "http://127.0.0.1:{s.provider.port}/v1", '
                       f'api_key: good-key, limits: {{ {s.limits} }} }}\n')
        config += f"models:\n  {MODEL}:\n"
        for i, s in enumerate(sides):
            config += f"    - {{ provider: sim{i}, model: gpt-test, price: {{ {s.price} }}{s.more} }}\n"
        with open(self.config, "w") as f:
            f.write(config)
        self.start()

    def submit(self, jobs, *args, name="in.jsonl", **body):
        path = write_lines(os.path.join(self.dir, name), (line(i, MODEL, **body) for i in range(jobs)))
        return self.run("submit", path, *args).stdout.strip()

    def done(self, batch):
        counts = self.status(batch)["request_counts"]
        return counts["completed"] + counts["failed"]

    def logged(self, what):
        with open(self.log.name, errors="replace") as f:
            return sum(what in x for x in f)


class Routing(Case):
    def market(self, *sides):
        m = Market(*sides)
        self.addCleanup(self._stop, m)
        return m

    def limits_of(self, m):
        """(rate, limit, source) of what `top` shows, which `check` must show too."""
        limits = json.loads(m.run("top", "--json").stdout)["endpoints"][0]["limits"]
        shown = m.run("check").stdout
        for x in limits:
            self.assertRegex(shown, rf"(?m)^sim0 +gpt-test +{x['rate']} +[\d,]+ +{x['source']}$")
        return [(x["rate"], x["limit"], x["source"]) for x in limits]


class Learned(Routing):
    def test_limits_told_by_headers_outlive_the_broker(self):
        p = self.provider("--rpm", 6000, "--bucket", "second")
        m = self.market(Side(p))
        self.assertEqual(self.limits_of(m), [])
        batch = m.submit(100)
        m.wait(batch)
        self.check_every_job_once(m.results(batch), 100)
        told = [("requests_per_minute", 6000, "headers")]
        self.assertEqual(self.limits_of(m), told)

        calls = p.stats()["requests"]
        killed = m.kill("penstock-broker")
        wait_for("another broker", lambda: m.children("penstock-broker") not in ([], [killed]))
        self.assertEqual(self.limits_of(m), told)
        self.assertEqual(p.stats()["requests"], calls)

    def test_limits_are_learned_from_429s_at_no_attempt(self):
        p = self.provider("--rpm", 6000, "--bucket", "continuous", "--burst", 10, "--headers", 0, "--latency-ms", 50)
        m = self.market(Side(p))
        jobs = 150
        batch = m.submit(jobs)
        m.wait(batch, 30)
        self.check_every_job_once(m.results(batch), jobs)
        self.assertEqual(p.stats()["repeated_texts"], 0)
        [(rate, limit, source)] = self.limits_of(m)
        self.assertEqual((rate, source), ("requests_per_minute", "429s"))
        self.assertGreater(limit, 0)
        [endpoint] = m.receipt(batch)["endpoints"]
        self.assertEqual(endpoint["retried"], 0)
        self.assertGreater(endpoint["rate_limited"], 0, "the test made no 429")
        self.assertLess(endpoint["rate_limited"], jobs)


class Shares(Routing):
    def test_a_tenant_with_little_gets_half(self):
        p = self.provider()
        m = self.market(Side(p, "rpm: 3000"))
        little = 125  # in one batch of four: by batches it would be a quarter
        large = [m.submit(400, "--tenant", "much", name="much.jsonl") for _ in range(3)]
        wait_for("their first results", lambda: all(m.done(x) for x in large))
        small = m.submit(little, "--tenant", "little", name="little.jsonl")
        before = sum(map(m.done, large))
        m.run("results", small, "--follow")  # returns when that has ended
        meanwhile = sum(map(m.done, large)) - before
        self.assertEqual(m.status(small)["request_counts"]["completed"], little)
        self.assertLess(little + meanwhile, 2.5 * little)
        self.assertGreater(little + meanwhile, 1.5 * little)
        for x in large:
            m.run("cancel", x)

    def test_haste_finds_a_place_where_all_are_taken(self):
        latency_s, places = 2, 64
        p = self.provider("--latency-ms", latency_s * 1000)
        m = self.market(Side(p, f"concurrency: {places}"))
        large = m.submit(3000)
        wait_for("calls in flight", lambda: p.stats()["in_flight"] == places - 1)  # they have just begun
        began = time.monotonic()
        batch = m.submit(1, "--priority", "high", "--wait", name="haste.jsonl", text="at once")
        took = time.monotonic() - began
        self.assertEqual(m.status(batch)["status"], "completed")
        self.assertLess(took, 1.8 * latency_s)
        self.assertEqual(p.stats()["max_in_flight"], places)
        m.run("cancel", large)


class Outage(Routing):
    def test_a_dead_provider_costs_no_job(self):
        p = self.provider("--outage-status", 503, "--latency-ms", 20)
        m = self.market(Side(p, "rpm: 12000"))
        jobs = 1000
        batch = m.submit(jobs)
        wait_for("some results", lambda: m.done(batch) >= 100)
        p.set(outage="on")
        parked = wait_for("the endpoint to be parked", lambda: m.status(batch)["parked"], 10)
        self.assertEqual([(x["provider"], x["model"]) for x in parked], [("sim0", "gpt-test")])
        time.sleep(3)
        self.assertTrue(m.status(batch)["parked"])
        self.assertLess(m.done(batch), jobs, "the batch had ended before")
        p.set(outage="off")
        self.assertEqual(m.wait(batch)["request_counts"]["completed"], jobs)
        results = m.results(batch)
        self.check_every_job_once(results, jobs)
        self.assertEqual(m.status(batch)["parked"], [])
        [endpoint] = m.receipt(batch)["endpoints"]
        self.assertLess(max(len(r["penstock"]["attempts"]) for r in results), ATTEMPTS_MAX + 1)
        self.assertLessEqual(endpoint["retried"], FAILURES_TO_PARK)
        self.assertGreaterEqual(endpoint["calls"], jobs + FAILURES_TO_PARK, "the test made no outage")
        self.assertEqual((m.logged("endpoint.parked"), m.logged("endpoint.resumed")), (1, 1))


class Money(Routing):
    def test_a_budget_is_used_and_kept(self):
        p = self.provider("--latency-ms", 5, "--answer-bytes", 400)
        m = self.market(Side(p, price="input: 100, output: 200"))
        jobs, budget = 1000, 5  # an answer is about 100 tokens: 2 cents; what it may be, 4,000, is 80
        batch = m.submit(jobs, "--max-cost", str(budget), max_tokens=4000)
        m.wait(batch)
        results = m.results(batch)
        self.assertEqual(len({r["custom_id"] for r in results}), jobs)
        ends = Counter((r["penstock"]["status"], r["penstock"].get("error_type")) for r in results)
        completed = ends.pop(("completed", None))
        self.assertEqual([error for _, error in ends], ["budget_exceeded"])
        cost = sum(r["penstock"]["cost_usd"] for r in results)
        self.assertAlmostEqual(m.receipt(batch)["cost_usd"], cost, places=6)
        self.assertLessEqual(cost, budget)
        self.assertGreaterEqual(cost, 0.9 * budget)
        self.assertEqual(p.stats()["answered"], completed)

    def test_a_window_goes_to_the_cheap_endpoint_alone(self):
        cheap, dear = self.provider("--latency-ms", 20), self.provider("--latency-ms", 20)
        m = self.market(Side(dear, price="input: 2, output: 4"), Side(cheap, "rpm: 6000"))
        batch = m.submit(200, "--completion-window", "120s")
        m.wait(batch)
        self.check_every_job_once(m.results(batch), 200)
        self.assertEqual([(e["provider"], e["completed"]) for e in m.receipt(batch)["endpoints"]], [("sim1", 200)])
        self.assertEqual(dear.stats()["requests"], 0)

    def test_a_window_that_is_too_short_keeps_what_was_done(self):
        p = self.provider()
        m = self.market(Side(p, "rpm: 600"))
        jobs = 300
        batch = m.submit(jobs, "--completion-window", "5s")
        counts = m.wait(batch, 60)
        self.assertEqual(counts["status"], "expired")
        results = m.results(batch)
        self.assertEqual(len({r["custom_id"] for r in results}), jobs)
        ends = Counter(r["penstock"]["status"] for r in results)
        self.assertEqual(set(ends), {"completed", "expired"})
        self.assertEqual(ends["completed"], p.stats()["answered"])


class Beginnings(Routing):
    def test_the_first_of_a_beginning_goes_alone(self):
        p = self.provider("--latency-ms", 1000)
        m = self.market(Side(p, "concurrency: 200", more=", caches_prompts: true"))
        system = "You are a careful clerk. " * 400  # 10,000 bytes, more than input.prefix_min
        jobs, seen, over = 60, [], threading.Event()

        def look():
            while not over.wait(0.02):
                seen.append(p.stats())

        looking = threading.Thread(target=look)
        looking.start()
        self.addCleanup(looking.join)
        self.addCleanup(over.set)
        lines = (line(i, MODEL, messages=[{"role": "system", "content": system},
                                          {"role": "user", "content": f"question {i}"}]) for i in range(jobs))
        batch = m.run("submit", write_lines(os.path.join(m.dir, "in.jsonl"), lines)).stdout.strip()
        m.wait(batch)
        over.set()
        looking.join()
        self.check_every_job_once(m.results(batch), jobs)
        alone = [s for s in seen if s["answered"] == 0 and s["requests"]]
        self.assertGreater(len(alone), 5, "the first call was hardly seen")
        self.assertEqual({s["requests"] for s in alone}, {1})
        self.assertGreater(p.stats()["max_in_flight"], jobs / 2)
        self.assertEqual(p.stats()["repeated_texts"], 0)


if __name__ == "__main__":
    main()
