"""The whole path: three providers of three wire protocols, every reading of the results agrees with every other."""
import json
import os

from harness import MODELS, Case, line, main, text_of, wait_for, write_lines

JOBS = 20000


class WholePath(Case):
    def test_20000_jobs_over_three_protocols(self):
        p = self.provider()
        c = self.cluster(p)
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i) for i in range(JOBS)))
        out = os.path.join(c.dir, "out.jsonl")
        done = c.run("submit", path, "--output", out, "--idempotency-key", "k-1", "--name", "three")
        batch = done.stdout.strip()
        self.assertRegex(done.stdout, r"^batch_[0-9A-HJKMNP-TV-Z]{26}\n$")

        with open(out) as f:
            landed = [json.loads(x) for x in f]
        self.check_every_job_once(landed, JOBS)
        by_id = {r["id"]: r for r in landed}
        providers = {r["penstock"]["provider"] for r in landed}
        self.assertEqual(providers, {"simopenai", "simanthropic", "simgemini"})

        self.assertEqual({r["id"]: r for r in c.results(batch)}, by_id)
        ordered = c.results(batch, "--in-order")
        self.assertEqual([r["custom_id"] for r in ordered], [f"c-{i}" for i in range(JOBS)])
        self.assertEqual({r["id"]: r for r in ordered}, by_id)
        self.assertEqual(c.results(batch, "--errors"), [])
        for i in (0, 1, 2, 4711, JOBS - 1):
            one = json.loads(c.run("get", f"{batch}.{i}").stdout)
            self.assertEqual(one, by_id[f"{batch}.{i}"])
            self.assertEqual(json.loads(c.run("get", batch, f"c-{i}").stdout), one)

        receipt = c.receipt(batch)
        self.assertEqual((receipt["jobs"], receipt["results"], receipt["completed"]), (JOBS, JOBS, JOBS))
        self.assertEqual((receipt["failed"], receipt["expired"], receipt["cancelled"]), (0, 0, 0))
        self.assertEqual(sum(e["completed"] for e in receipt["endpoints"]), JOBS)
        self.assertEqual(sum(e["calls"] for e in receipt["endpoints"]), p.stats()["answered"])
        self.assertAlmostEqual(receipt["cost_usd"], sum(r["penstock"]["cost_usd"] for r in landed), places=6)
        self.assertAlmostEqual(receipt["cost_usd"], sum(e["cost_usd"] for e in receipt["endpoints"]), places=6)
        usage = [r["response"]["body"]["usage"] for r in landed]
        self.assertEqual(receipt["input_tokens"], sum(u["prompt_tokens"] for u in usage))
        self.assertEqual(receipt["output_tokens"], sum(u["completion_tokens"] for u in usage))

        again = c.run("submit", path, "--idempotency-key", "k-1")
        self.assertEqual(again.stdout.strip(), batch)
        status = c.status(batch)
        self.assertEqual(status["status"], "completed")
        self.assertEqual(status["request_counts"]["completed"], JOBS)
        listed = json.loads(c.run("list", "--json").stdout)
        self.assertEqual([b["id"] for b in listed["data"]], [batch])
        self.assertEqual(p.stats()["repeated_texts"], 0)

    def test_results_while_it_runs_then_cancel_then_delete(self):
        p = self.provider("--latency-ms", 300)
        c = self.cluster(p, limits="concurrency: 4")
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i) for i in range(300)))
        batch = c.run("submit", path).stdout.strip()
        wait_for("some results", lambda: len(c.results(batch)) >= 5)
        early = {r["id"] for r in c.results(batch)}
        self.assertIn(json.loads(c.run("get", f"{batch}.299").stdout)["status"], ("queued", "running", "retrying"))
        self.assertEqual(c.run("delete", batch, check=False).returncode, 1)
        c.run("cancel", batch)
        s = c.wait(batch)
        self.assertEqual(s["status"], "cancelled")
        results = c.results(batch)
        self.assertEqual(len({r["id"] for r in results}), 300)
        self.assertEqual(len(results), 300)
        self.assertLessEqual(early, {r["id"] for r in results})
        cancelled = [r for r in results if r["penstock"]["status"] == "cancelled"]
        self.assertEqual({r["error"]["code"] for r in cancelled}, {"batch_cancelled"})
        self.assertEqual(s["request_counts"]["cancelled"], len(cancelled))
        self.assertEqual(p.stats()["requests"], 300 - len(cancelled))
        self.assertEqual(c.run("cancel", batch, check=False).returncode, 1)
        c.run("delete", batch)
        self.assertEqual(c.run("status", batch, check=False).returncode, 5)
        self.assertEqual(c.run("get", f"{batch}.0", check=False).returncode, 5)

    def test_errors_retries_and_fallback(self):
        p = self.provider()
        c = self.cluster(p)
        cases = [("[[400]] a", {}, "invalid_request", 1), ("[[500x2]] b", {}, None, 3), ("[[429x2]] c", {}, None, 3),
                 ("[[cutx1]] d", {}, None, 2), ("[[context]] e", {}, "context_length_exceeded", 1),
                 ("[[emptyx0]] f", {}, None, 1), ("[[500]] g", {"models": ["test/claude"]}, None, None)]
        lines = []
        for k, model in enumerate(MODELS):
            for n, (text, more, _, _) in enumerate(cases):
                if model == "test/claude" and more:
                    more = {"models": ["test/gpt"]}
                lines.append(line(k * 100 + n, model, f"{text} {k}", **more))
        path = write_lines(os.path.join(c.dir, "in.jsonl"), lines)
        out = os.path.join(c.dir, "out.jsonl")
        done = c.run("submit", path, "--output", out, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        with open(out) as f:
            got = {r["custom_id"]: r for r in map(json.loads, f)}
        self.assertEqual(len(got), len(lines))
        for k, model in enumerate(MODELS):
            for n, (text, more, cause, attempts) in enumerate(cases):
                r = got[f"c-{k * 100 + n}"]
                where = f"{model} {text}: {r}"
                if attempts is not None:
                    self.assertEqual(len(r["penstock"]["attempts"]), attempts, where)
                if cause:
                    self.assertEqual(r["penstock"]["status"], "failed", where)
                    self.assertEqual(r["penstock"]["error_type"], cause, where)
                    self.assertGreaterEqual(r["response"]["status_code"], 400, where)
                    self.assertIn("message", r["response"]["body"]["error"], where)
                elif "[[500]]" not in text:
                    self.assertEqual(text_of(r), f"echo:{text} {k}", where)

    def test_responses_where_only_chats_are_served(self):
        p = self.provider()
        c = self.cluster(p)
        bodies = [{"model": m, "instructions": "Be brief.", "input": f"question {k}", "max_output_tokens": 50}
                  for k, m in enumerate(MODELS)]
        bodies += [{"model": m, "input": [{"role": "user", "content": [{"type": "input_text", "text": f"[[429x1]] {k}"}]}]}
                   for k, m in enumerate(MODELS)]
        bodies += [{"model": m, "input": "x", "previous_response_id": "resp_1"} for m in MODELS]
        lines = [json.dumps({"custom_id": f"c-{i}", "url": "/v1/responses", "body": b}) for i, b in enumerate(bodies)]
        path = write_lines(os.path.join(c.dir, "in.jsonl"), lines)
        done = c.run("submit", path, "--wait", check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        results = c.results(done.stdout.strip(), "--in-order")
        self.assertEqual(len(results), len(lines))
        for i, r in enumerate(results[:6]):
            said = r["response"]["body"]
            self.assertEqual((said["object"], said["status"]), ("response", "completed"), r)
            (message,) = said["output"]
            self.assertEqual(message["content"][0]["text"], f"echo:question {i}" if i < 3 else f"echo:[[429x1]] {i - 3}")
            self.assertGreater(said["usage"]["input_tokens"], 0)
            self.assertEqual(len(r["penstock"]["attempts"]), 1 if i < 3 else 2)
        for r in results[6:]:
            self.assertEqual(r["penstock"]["error_type"], "invalid_request", r)
            self.assertIn("put all of it into input", r["error"]["message"], r)

    def test_what_nothing_serves_is_refused_with_its_line(self):
        c = self.cluster(self.provider())
        body = {"model": "test/claude", "input": "x"}
        path = write_lines(os.path.join(c.dir, "in.jsonl"),
                           [json.dumps({"custom_id": "a", "url": "/v1/embeddings", "body": body})])
        batch = c.run("submit", path, "--wait", check=False).stdout.strip()
        (result,) = c.results(batch)
        self.assertEqual(result["error"]["code"], "no_endpoint", result)

    def test_a_provider_without_models_serves_any_and_echo_pads(self):
        c = self.cluster()
        path = write_lines(os.path.join(c.dir, "in.jsonl"), [line(0, "echo/any/thing", "hi")])
        batch = c.run("submit", path).stdout.strip()
        c.wait(batch)
        (result,) = c.results(batch)
        self.assertEqual(text_of(result), "hi" + "." * 98)
        self.assertEqual((result["penstock"]["provider"], result["penstock"]["model"]), ("echo", "any/thing"))

    def test_a_refused_key_parks_and_a_good_one_resumes(self):
        p = self.provider("--good-key", "another")
        c = self.cluster(p)
        path = write_lines(os.path.join(c.dir, "in.jsonl"), (line(i, "test/gpt") for i in range(20)))
        batch = c.run("submit", path).stdout.strip()
        wait_for("the parked provider in status", lambda: "simopenai" in c.run("status", batch).stdout)
        self.assertEqual(c.status(batch)["request_counts"]["failed"], 0)
        with open(c.config) as f:
            text = f.read().replace("good-key", "another")
        with open(c.config, "w") as f:
            f.write(text)
        c.up.send_signal(1)
        self.assertEqual(c.wait(batch)["request_counts"]["completed"], 20)
        for r in c.results(batch):
            self.assertEqual([a.get("error_type") for a in r["penstock"]["attempts"]][-1], None)


if __name__ == "__main__":
    main()
