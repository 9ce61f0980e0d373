"""The HTTP gateway: files, batches and calls at once, and what becomes of them when it is killed."""
import concurrent.futures
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from harness import NIGHTLY, Case, line, main, program, wait_for
from web import CHAT, Web, WebCase, gateway_pid, memory_peak_mib

LINES = 1_000_000 if NIGHTLY else 100_000


def echo_line(i, text=None):
    return line(i, "echo/any", text)


class Files(WebCase):
    def test_a_file_comes_back_byte_for_byte(self):
        c, web = self.gateway()
        text = "".join(echo_line(i, "ä\u2028 " + "x" * (i % 700)) + ("\r\n" if i % 3 else "\n") for i in range(9000))
        made = web.upload(text)
        self.assertEqual(made.status, 200, made.body)
        f = made.json
        self.assertEqual((f["object"], f["purpose"], f["filename"], f["bytes"]),
                         ("file", "batch", "in.jsonl", len(text.encode())))
        self.assertEqual(web.get(f"/v1/files/{f['id']}").json, f)
        content = web.get(f"/v1/files/{f['id']}/content")
        self.assertEqual(content.body, text.encode())
        self.assertEqual(content.headers["Content-Length"], str(f["bytes"]))
        self.assertEqual(web.ask("DELETE", f"/v1/files/{f['id']}").json,
                         {"id": f["id"], "object": "file", "deleted": True})
        for path in ("", "/content"):
            self.assertEqual(web.get(f"/v1/files/{f['id']}{path}").status, 404)
        self.assertEqual(web.ask("DELETE", f"/v1/files/{f['id']}").status, 404)

    def test_files_are_listed_in_pages(self):
        c, web = self.gateway()
        ids = [web.upload(echo_line(i) + "\n").json["id"] for i in range(5)]
        page = web.get("/v1/files?limit=2").json
        self.assertEqual([f["id"] for f in page["data"]], ids[:2:-1])
        self.assertTrue(page["has_more"])
        page = web.get(f"/v1/files?limit=10&after={page['data'][-1]['id']}").json
        self.assertEqual([f["id"] for f in page["data"]], ids[2::-1])
        self.assertFalse(page["has_more"])
        self.assertEqual([f["id"] for f in web.get("/v1/files?order=asc").json["data"]], ids)
        self.assertEqual(web.get("/v1/files?limit=0").status, 400)

    def test_what_is_no_input_is_refused(self):
        c, web = self.gateway()
        for text in ("", "\n\n", "custom_id,body\n1,2\n", "[1,2]\n"):
            refused = web.upload(text)
            self.assertEqual(refused.status, 400, text)
            self.assertEqual(refused.error["type"], "invalid_request_error")
            self.assertIn(".jsonl", refused.error["message"])
        self.assertEqual(web.upload(echo_line(0), purpose="fine-tune").error["param"], "purpose")
        self.assertEqual(web.upload(echo_line(0), purpose=None).error["param"], "purpose")
        self.assertEqual(web.upload(echo_line(0), **{"expires_after[seconds]": "10"}).status, 400)
        self.assertEqual(web.post("/v1/files", {"purpose": "batch"}).status, 400)
        self.assertEqual(web.get("/v1/files").json["data"], [])
        keys = subprocess.run(["redis-cli", "-s", os.path.join(c.data, "redis.sock"), "--scan", "--pattern", "*:text:*"],
                              capture_output=True, text=True).stdout
        self.assertEqual(keys, "", "pieces of refused files are left")


class Batches(WebCase):
    def test_a_batch_from_upload_to_results(self):
        p = self.provider("--seed", 3)
        c, web = self.gateway(p)
        lines = [line(i, "test/gpt", f"[[400]] {i}" if i % 10 == 0 else None) for i in range(300)]
        made = web.batch(web.upload("\n".join(lines)).json["id"], metadata={"team": "a"}).json
        self.assertEqual((made["object"], made["status"], made["metadata"]), ("batch", "validating", {"team": "a"}))
        b = web.wait(made["id"])
        self.assertEqual(b["status"], "completed")
        good, bad = web.lines(b["output_file_id"]), web.lines(b["error_file_id"])
        self.assertEqual(len(good), b["request_counts"]["completed"])
        self.assertEqual(len(bad), b["request_counts"]["failed"])
        self.assertGreater(len(bad), 0)
        self.assertEqual({x["custom_id"] for x in good + bad}, {f"c-{i}" for i in range(300)})
        self.assertTrue(all(x["response"]["status_code"] == 200 and x["error"] is None for x in good))
        self.assertTrue(all(x["response"]["status_code"] == 400 for x in bad))
        for kind in ("output", "error"):
            f = web.get(f"/v1/files/{b[kind + '_file_id']}").json
            self.assertEqual(f["purpose"], "batch_output")
            self.assertEqual(f["bytes"], len(web.get(f"/v1/files/{f['id']}/content").body))
        self.assertEqual(c.status(made["id"])["status"], "completed", "the command line sees it too")

    def test_a_bad_file_fails_its_batch_with_every_line(self):
        c, web = self.gateway()
        text = "\n".join([echo_line(0), "{", echo_line(0), json.dumps({"custom_id": "x"}), line(5, "no/such-model")])
        b = web.wait(web.batch(web.upload(text).json["id"]).json["id"])
        self.assertEqual(b["status"], "failed")
        self.assertIsNotNone(b["failed_at"])
        self.assertEqual([(e["line"], e["code"]) for e in b["errors"]["data"]],
                         [(2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "missing_required_parameter"),
                          (5, "model_not_found")])
        self.assertIsNone(b["output_file_id"])
        self.assertIn(b["id"], [x["id"] for x in web.get("/v1/batches").json["data"]])
        skipped = web.wait(web.batch(web.upload(text).json["id"], skip_invalid=True).json["id"])
        self.assertEqual((skipped["status"], skipped["request_counts"]["completed"]), ("completed", 1))

    def test_wrong_wishes_are_refused(self):
        c, web = self.gateway()
        file = web.upload(echo_line(0)).json["id"]
        for wrong, param in (({"endpoint": "/v1/moderations"}, "endpoint"), ({"completion_window": "soon"}, "completion_window"),
                             ({"metadata": {"a": [1]}}, "metadata.a"), ({"metadata": "x"}, "metadata"),
                             ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
                             ({"priority": "urgent"}, "priority"), ({"max_cost_usd": "1"}, "max_cost_usd"),
                             ({"callback_url": "ftp://x/"}, "callback_url"), ({"endpoint": None}, "endpoint")):
            refused = web.batch(file, **wrong)
            self.assertEqual((refused.status, refused.error["param"]), (400, param), refused.body)
        self.assertEqual(web.post("/v1/batches", "{").status, 400)
        b = web.batch("file-01J8ZQ4K7N9V0M2X3C4B5A6F7G").json
        self.assertEqual((b["status"], b["errors"]["data"][0]["param"]), ("failed", "file_id"))
        for path in ("/v1/batches/batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G", "/v1/batches/x", "/v1/files/x", "/v1/files/x/content"):
            self.assertEqual(web.get(path).status, 404, path)

    def test_cancel_at_once_midway_and_too_late(self):
        p = self.provider("--latency-ms", 300)
        c, web = self.gateway(p, limits="concurrency: 4")
        batch = web.submit([line(i, "test/gpt") for i in range(200)])
        self.assertIn(web.post(f"/v1/batches/{batch}/cancel").json["status"], ("cancelling", "cancelled"))
        self.assertEqual(web.wait(batch)["status"], "cancelled")
        batch = web.submit([line(i, "test/gpt") for i in range(200)])
        wait_for("some results", lambda: web.get(f"/v1/batches/{batch}").json["request_counts"]["completed"] >= 8)
        self.assertIn(web.post(f"/v1/batches/{batch}/cancel").json["status"], ("cancelling", "cancelled"))
        b = web.wait(batch)
        self.assertEqual(b["status"], "cancelled")
        done = web.lines(b["output_file_id"])
        rest = web.lines(b["error_file_id"])
        self.assertGreaterEqual(len(done), 8)
        self.assertEqual(len(done) + len(rest), 200)
        self.assertEqual({x["error"]["code"] for x in rest}, {"batch_cancelled"})
        self.assertEqual(web.post(f"/v1/batches/{batch}/cancel").status, 200, "a cancelled one may be cancelled")
        batch = web.submit([echo_line(0)])
        web.wait(batch)
        late = web.post(f"/v1/batches/{batch}/cancel")
        self.assertEqual((late.status, late.headers["x-should-retry"]), (409, "false"))
        self.assertIn("'completed'", late.error["message"])

    def test_batches_are_listed_in_pages_beside_those_of_the_command_line(self):
        c, web = self.gateway()
        ids = [web.submit([echo_line(0)]) for _ in range(4)]
        for b in ids:
            web.wait(b)
        ids.append(c.run("submit", "-", "--wait", input=echo_line(0) + "\n").stdout.strip())
        ids.append(web.batch("file-01J8ZQ4K7N9V0M2X3C4B5A6F7G").json["id"])
        found, after = [], ""
        for _ in range(9):
            page = web.get(f"/v1/batches?limit=2{after}").json
            found += [b["id"] for b in page["data"]]
            after = f"&after={page['last_id']}"
            if not page["has_more"]:
                break
        self.assertEqual(found, sorted(ids, reverse=True))
        self.assertEqual(web.get("/v1/batches?limit=101").status, 400)

    def test_an_idempotency_key_makes_one_batch(self):
        c, web = self.gateway()
        file = web.upload(echo_line(0)).json["id"]
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: web.post("/v1/batches", body, headers={"Idempotency-Key": "k"}), range(8)))
        self.assertEqual(len({a.json["id"] for a in answers if a.status == 200}), 1, [a.body for a in answers])
        self.assertEqual(len(web.get("/v1/batches").json["data"]), 1)

    def test_results_are_read_while_it_runs(self):
        p = self.provider("--latency-ms", 200)
        c, web = self.gateway(p, limits="concurrency: 4")
        batch = web.submit([line(i, "test/gpt") for i in range(100)])
        b = wait_for("some results", lambda: (lambda x: x if x["request_counts"]["completed"] >= 4 else None)(
            web.get(f"/v1/batches/{batch}").json))
        self.assertEqual(b["status"], "in_progress")
        some = web.lines(b["output_file_id"])
        self.assertTrue(4 <= len(some) < 100)
        self.assertEqual(len({x["custom_id"] for x in some}), len(some))
        self.assertEqual(len(web.lines(web.wait(batch)["output_file_id"])), 100)


class Calls(WebCase):
    def test_one_at_once_and_twenty(self):
        c, web = self.gateway()
        body = {"model": "echo/any", "messages": [{"role": "user", "content": "Hi"}]}
        a = web.post(CHAT, body)
        self.assertEqual(a.status, 200, a.body)
        self.assertEqual(a.json["choices"][0]["message"]["role"], "assistant")
        self.assertTrue(a.headers["x-request-id"].startswith("req_"))
        self.assertEqual((a.headers["x-penstock-provider"], a.headers["x-penstock-attempts"]), ("echo", "1"))
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda i: web.post(CHAT, body), range(200)))
        self.assertEqual({x.status for x in answers}, {200})
        self.assertEqual(web.get("/v1/batches").json["data"], [], "calls are no batches")
        self.assertEqual(web.post("/v1/embeddings", {"model": "echo/any", "input": "x"}).status, 200)
        wrong = web.post(CHAT, {"model": "no/such", "messages": []})
        self.assertEqual((wrong.status, wrong.error["code"]), (404, "model_not_found"))
        self.assertEqual(web.post(CHAT, {"messages": []}).error["param"], "model")
        self.assertEqual(web.post(CHAT, "{").status, 400)
        names = [m["id"] for m in web.get("/v1/models").json["data"]]
        self.assertIn("test/gpt", names)
        self.assertEqual(web.get("/v1/models/test/gpt").json["id"], "test/gpt")

    def test_a_client_that_leaves_ends_its_call(self):
        p = self.provider("--latency-ms", 20000)
        c, web = self.gateway(p)
        with self.assertRaises(TimeoutError):
            web.post(CHAT, {"model": "test/gpt", "messages": [{"role": "user", "content": "Hi"}]}, timeout=1)
        wait_for("nothing in flight", lambda: p.stats()["in_flight"] == 0, 15, 0.2)

    def test_refusals_of_providers_come_through(self):
        p = self.provider()
        c, web = self.gateway(p)
        a = web.post(CHAT, {"model": "test/gpt", "messages": [{"role": "user", "content": "[[400]] Hi"}]})
        self.assertEqual(a.status, 400, a.body)
        self.assertIn("message", a.error)


    def test_nobody_waits_for_a_key_to_be_mended(self):
        p = self.provider("--good-key", "another")
        c, web = self.gateway(p)
        body = {"model": "test/gpt", "messages": [{"role": "user", "content": "Hi"}]}
        first = web.post(CHAT, body, timeout=10)
        self.assertEqual(first.status, 502, first.body)
        again = web.post(CHAT, body, timeout=10)
        self.assertEqual((again.status, again.error["code"]), (503, "provider_unavailable"))
        self.assertIn("authentication", again.error["message"])


class Keys(WebCase):
    def test_without_keys_no_other_site_asks(self):
        c, web = self.gateway()
        body = json.dumps({"model": "echo/any", "messages": [{"role": "user", "content": "Hi"}]})
        here = f"127.0.0.1:{web.port}"
        for headers, status in (({"Host": "localhost"}, 200), ({"Host": here, "Origin": f"http://{here}"}, 200),
                                ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "cross-site"}, 403),
                                ({"Host": here, "Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
                                ({"Host": "evil.example"}, 403), ({"Host": "localhost.evil.example"}, 403)):
            self.assertEqual(web.post(CHAT, body, headers=headers).status, status, headers)

    def test_tenants_do_not_see_each_other(self):
        c, web = self.gateway()
        a, b = (Web(web.port, self.key(c, "--tenant", t)) for t in "ab")
        admin = Web(web.port, self.key(c))
        self.wait_for_keys(web, a, b, admin)
        file = a.upload(echo_line(0)).json["id"]
        batch = a.batch(file).json["id"]
        output = a.wait(batch)["output_file_id"]
        for path in (f"/v1/files/{file}", f"/v1/files/{file}/content", f"/v1/batches/{batch}", f"/v1/files/{output}",
                     f"/v1/files/{output}/content"):
            self.assertEqual([x.get(path).status for x in (a, b, admin)], [200, 404, 200], path)
        self.assertEqual(b.post(f"/v1/batches/{batch}/cancel").status, 404)
        self.assertEqual(b.ask("DELETE", f"/v1/files/{file}").status, 404)
        self.assertEqual(b.batch(file).json["status"], "failed", "nor may it run another's file")
        self.assertEqual([len(x.get("/v1/batches").json["data"]) for x in (a, b, admin)], [1, 1, 2])
        self.assertEqual([len(x.get("/v1/files").json["data"]) for x in (a, b)], [1, 0])
        wrong = Web(web.port, "psk_" + "x" * 43).get("/v1/models")
        self.assertEqual((wrong.status, wrong.error["code"]), (401, "invalid_api_key"))

    def test_what_a_key_may(self):
        c, web = self.gateway()
        body = {"model": "echo/any", "messages": [{"role": "user", "content": "Hi"}]}
        k = Web(web.port, self.key(c, "--models", "test/*", "--rpm", "3"))
        fast = Web(web.port, self.key(c, "--rpm", "3", "--providers", "echo"))
        self.wait_for_keys(web, k, fast)
        self.assertEqual(k.post(CHAT, body).status, 404)
        self.assertEqual({m["id"] for m in k.get("/v1/models").json["data"]}, {"test/gpt", "test/claude", "test/gemini"})
        b = k.wait(k.submit([echo_line(0), line(1, "test/gpt")]))
        self.assertEqual([(e["line"], e["code"]) for e in b["errors"]["data"]], [(1, "model_not_found")])
        statuses = [fast.post(CHAT, body).status for _ in range(5)]
        self.assertEqual(statuses, [200, 200, 200, 429, 429])
        refused = fast.post(CHAT, body)
        self.assertEqual(refused.error["code"], "rate_limit_exceeded")
        self.assertGreater(int(refused.headers["retry-after"]), 0)
        other = fast.post(CHAT, {**body, "model": "test/gpt", "provider": {"only": ["simopenai"]}})
        self.assertEqual(other.status, 400, other.body)

    def test_a_spent_budget_ends_a_batch(self):
        more = "  paid/echo: [ { provider: echo, model: paid, price: { input: 1000, output: 1000, request: 0.01 } } ]\n"
        c, web = self.gateway(more=more)
        k = Web(web.port, self.key(c, "--spend", "0.5"))
        self.wait_for_keys(web, k)
        b = k.wait(k.submit([line(i, "paid/echo") for i in range(400)]))
        self.assertGreater(b["request_counts"]["completed"], 0)
        self.assertGreater(b["request_counts"]["failed"], 0)
        self.assertLessEqual(b["usage"]["cost_usd"], 0.55)
        codes = {x["penstock"]["error_type"] for x in k.lines(b["error_file_id"])}
        self.assertEqual(codes, {"budget_exceeded"})


class Deaths(WebCase):
    def test_a_killed_gateway_loses_no_batch(self):
        """Killed while it reads the file: the next one begins anew, and every job has one result."""
        c, web = self.gateway()
        text = "".join(echo_line(i) + "\n" for i in range(60_000))
        file = web.upload(text).json["id"]
        for delay in (0.0, 0.05, 0.2):
            batch = web.batch(file).json["id"]
            time.sleep(delay)
            os.kill(gateway_pid(c), signal.SIGKILL)
            wait_for("the gateway", lambda: gateway_pid(c), 10)

            def answers():
                try:
                    return web.get("/readyz").status == 200
                except OSError:
                    return False

            wait_for("the gateway to answer", answers, 20)
            b = web.wait(batch, 90)
            self.assertEqual((b["status"], b["request_counts"]["completed"]), ("completed", 60_000))
            self.assertEqual(len({x["custom_id"] for x in web.lines(b["output_file_id"])}), 60_000)

    def test_a_killed_broker_is_waited_for(self):
        c, web = self.gateway()
        batch = web.submit([echo_line(i) for i in range(20_000)])
        c.kill("penstock-broker")
        b = web.wait(batch, 90)
        self.assertEqual((b["status"], b["request_counts"]["completed"]), ("completed", 20_000))
        body = {"model": "echo/any", "messages": [{"role": "user", "content": "Hi"}]}
        c.kill("penstock-broker")
        self.assertEqual(web.post(CHAT, body).status, 200, "a call waits for the next broker")

    def test_two_gateways_are_one(self):
        c, web = self.gateway()
        second = c.popen("gateway", "--listen", "127.0.0.1:0", "--redis", f"unix://{c.data}/redis.sock")
        self.addCleanup(second.wait)
        self.addCleanup(second.terminate)
        found = {}

        def read():
            for x in second.stderr:
                if "gateway.ready" in x:
                    found["port"] = int(x.rsplit("port=", 1)[1])

        threading.Thread(target=read, daemon=True).start()
        other = Web(wait_for("the second gateway", lambda: found.get("port"), 10))
        wait_for("it to be ready", lambda: other.get("/readyz").status == 200, 10)
        file = web.upload("".join(echo_line(i) + "\n" for i in range(1000))).json["id"]
        batches = [(web, other)[i % 2].batch(file).json["id"] for i in range(10)]
        for b in batches:
            self.assertEqual(other.wait(b)["request_counts"]["completed"], 1000)


class Size(WebCase):
    def test_many_lines_in_little_memory(self):
        c, web = self.gateway()
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            for i in range(LINES):
                f.write(echo_line(i) + "\n")
            f.flush()
            up = subprocess.run(["curl", "-sS", "-F", f"file=@{f.name}", "-F", "purpose=batch",
                                 f"http://127.0.0.1:{web.port}/v1/files"], capture_output=True, text=True, check=True)
        batch = web.batch(json.loads(up.stdout)["id"]).json["id"]
        b = web.wait(batch, 600)
        self.assertEqual(b["request_counts"]["completed"], LINES)
        seen = bytearray(LINES)
        down = subprocess.Popen(["curl", "-sS", f"http://127.0.0.1:{web.port}/v1/files/{b['output_file_id']}/content"],
                                stdout=subprocess.PIPE)
        for x in down.stdout:
            i = int(json.loads(x)["custom_id"][2:])
            self.assertEqual(seen[i], 0)
            seen[i] = 1
        down.stdout.close()
        self.assertEqual(down.wait(), 0)
        self.assertEqual(sum(seen), LINES)
        self.assertLess(memory_peak_mib(gateway_pid(c)), 64)


if __name__ == "__main__":
    main()
