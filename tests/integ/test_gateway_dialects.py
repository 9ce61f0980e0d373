"""OpenRouter's and Anthropic's batches over HTTP: from the requests to their results, whatever order a body has, whenever they
are cancelled, and whoever asks."""
import http.server
import json
import os
import socket
import subprocess
import threading

from harness import main, wait_for
from web import Web, WebCase, gateway_pid, memory_peak_mib

OPENROUTER, ANTHROPIC = "/api/v1/batches", "/v1/messages/batches"
MEMORY_MAX_MIB = 64
BIG_BODY = 50 << 20


def chat(i, **body):
    return {"custom_id": f"c-{i}", "body": {"messages": [{"role": "user", "content": f"question {i}"}], **body}}


def message(i, model="test/claude", **params):
    return {"custom_id": f"c-{i}", "params": {"model": model, "max_tokens": 64,
                                              "messages": [{"role": "user", "content": f"question {i}"}], **params}}


class DialectCase(WebCase):
    def begin(self, *options, gateway="", **more):
        self.c, self.web = self.gateway(self.provider(*options), up=False, **more)
        with open(self.c.config, "r+") as f:
            text = f.read().replace("gateway: { ", "gateway: { " + gateway)
            f.seek(0)
            f.write(text)
        self.c.start()
        wait_for("the gateway to be ready", lambda: self.web.get("/readyz").status == 200)

    def get(self, path):
        return self.web.get(path)

    def post(self, path, body=None, **headers):
        return self.web.post(path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def submit(self, path, body, status=200, **headers):
        answer = self.post(path, body, **headers)
        self.assertEqual(answer.status, status, answer.body)
        return answer.json

    def ended(self, path, is_over, seconds=60):
        def look():
            batch = self.get(path).json
            return batch if is_over(batch) else None

        return wait_for(f"{path} to end", look, seconds, 0.1)

    def openrouter_ended(self, batch, seconds=60):
        self.ended(f"{OPENROUTER}/{batch}?results=false", lambda b: b["finalized_at"] is not None, seconds)
        return self.get(f"{OPENROUTER}/{batch}").json

    def anthropic_ended(self, batch, seconds=60):
        return self.ended(f"{ANTHROPIC}/{batch}", lambda b: b["processing_status"] == "ended", seconds)

    def check_error(self, answer, status, words, dialect):
        self.assertEqual(answer.status, status, answer.body)
        error = answer.json["error"]
        self.assertRegex(error["message"], words)
        if dialect == "anthropic":
            self.assertEqual(answer.json["type"], "error")
            self.assertEqual(answer.json["request_id"], answer.headers["request-id"])
        else:
            self.assertEqual(error["code"], status)

    def stored_files(self):
        """Names of what lies in Redis of files and their pieces."""
        redis = os.path.join(self.c.data, "redis.sock")
        out = subprocess.run(["redis-cli", "-s", redis, "KEYS", "pst:{gateway}:*"], capture_output=True, text=True, check=True)
        return sorted(k for k in out.stdout.split() if ":file:" in k or ":text:" in k)


class OpenRouter(DialectCase):
    def check_results(self, batch, count, text="echo:question {}"):
        self.assertEqual(len(batch["results"]), count)
        by_id = {r["custom_id"]: r for r in batch["results"]}
        self.assertEqual(set(by_id), {f"c-{i}" for i in range(count)})
        for i in range(count):
            r = by_id[f"c-{i}"]
            self.assertIsNone(r["error"])
            self.assertEqual(r["response"]["body"]["choices"][0]["message"]["content"], text.format(i))

    def test_from_requests_to_results(self):
        self.begin()
        made = self.submit(OPENROUTER, {"endpoint": "/v1/chat/completions", "model": "test/gpt:batch", "completion_window": "24h",
                                        "metadata": {"run": "7"}, "requests": [chat(i) for i in range(50)]}, 202)
        self.assertRegex(made["id"], r"^batch_[0-9A-Z]{26}$")
        self.assertEqual((made["object"], made["endpoint"], made["model"], made["results"], made["metadata"]),
                         ("batch", "/v1/chat/completions", "test/gpt", None, {"run": "7"}))
        self.assertEqual(made["request_counts"]["total"], 50)
        batch = self.openrouter_ended(made["id"])
        self.assertEqual((batch["status"], batch["completion_window"], batch["error"]), ("completed", "24h", None))
        self.assertEqual((batch["request_counts"]["completed"], batch["request_counts"]["failed"]), (50, 0))
        self.check_results(batch, 50)
        self.assertIsNone(self.get(f"{OPENROUTER}/{made['id']}?results=false").json["results"])
        listed = self.get(f"{OPENROUTER}?limit=1").json
        self.assertEqual((listed["object"], listed["data"][0]["id"], listed["data"][0]["results"], listed["has_more"]),
                         ("list", made["id"], None, False))
        # the same batch in the others' words
        openai = self.get(f"/v1/batches/{made['id']}").json
        self.assertEqual((openai["status"], openai["request_counts"]["completed"]), ("completed", 50))
        self.assertEqual(len(self.web.lines(openai["output_file_id"])), 50)
        theirs = self.get(f"{ANTHROPIC}/{made['id'].replace('batch_', 'msgbatch_')}").json
        self.assertEqual((theirs["processing_status"], theirs["request_counts"]["succeeded"]), ("ended", 50))
        # its input is no file of anybody's
        self.assertEqual(self.get("/v1/files").json["data"], [])

    def test_members_in_any_order(self):
        self.begin()
        requests = [chat(i) for i in range(7)] + [chat(7, model="test/claude:batch", max_tokens=32)]
        made = self.submit(OPENROUTER, {"requests": requests, "provider": {"order": ["simopenai"]}, "model": "test/gpt",
                                        "endpoint": "/v1/chat/completions"}, 202)
        batch = self.openrouter_ended(made["id"])
        self.check_results(batch, 8)
        used = {r["custom_id"]: r["penstock"]["provider"] for r in batch["results"]}
        self.assertEqual((used["c-0"], used["c-7"]), ("simopenai", "simanthropic"))
        # wishes that come after the requests are theirs: no endpoint of this provider serves the model
        made = self.submit(OPENROUTER, {"requests": requests[:2], "endpoint": "/v1/chat/completions", "model": "test/gpt",
                                        "provider": {"only": ["simgemini"]}}, 202)
        batch = self.openrouter_ended(made["id"])
        self.assertEqual((batch["status"], batch["request_counts"]["failed"]), ("failed", 2))
        self.assertTrue(all(r["response"] is None and r["error"]["message"] for r in batch["results"]))

    def test_messages(self):
        self.begin()
        requests = [{"custom_id": f"c-{i}", "body": message(i)["params"]} for i in range(4)]
        made = self.submit(OPENROUTER, {"requests": requests, "endpoint": "/v1/messages"}, 202)
        batch = self.openrouter_ended(made["id"])
        self.assertEqual(batch["endpoint"], "/v1/messages")
        answers = {r["custom_id"]: r["response"]["body"] for r in batch["results"]}
        self.assertEqual({a["type"] for a in answers.values()}, {"message"})
        self.assertEqual(answers["c-3"]["content"], [{"type": "text", "text": "echo:question 3"}])
        requests[2]["body"]["tools"] = [{"type": "web_search_20250305", "name": "web_search"}]
        made = self.submit(OPENROUTER, {"requests": requests, "endpoint": "/v1/messages"}, 202)
        batch = self.openrouter_ended(made["id"])
        self.assertEqual((batch["status"], batch["results"]), ("failed", []))
        self.assertRegex(batch["error"]["message"], r"^requests\.2\.body: tools\.0")

    def test_bad_bodies(self):
        self.begin()
        good = {"endpoint": "/v1/chat/completions", "model": "test/gpt", "requests": [chat(0)]}

        def bad(body, words, status=400):
            self.check_error(self.post(OPENROUTER, body), status, words, "openrouter")

        bad("{", "body ends in the middle")
        bad("[]", "JSON object")
        bad('{"requests":[{"custom_id":}]}', "not JSON .at byte 26")
        bad('{"requests":[],"requests":[]}', "twice")
        bad({"requests": []}, "at least one")
        bad({**good, "endpoint": "/v1/other"}, "endpoint")
        bad({k: v for k, v in good.items() if k != "endpoint"}, "endpoint is missing")
        bad({"endpoint": "/v1/chat/completions"}, "requests.*missing")
        bad({**good, "callback_url": "http://127.0.0.1/hook"}, "callback_url")
        bad({**good, "callback_url": "ftp://example.com/"}, "callback_url")
        bad({**good, "metadata": {"a": 1}}, "metadata")
        bad({**good, "completion_window": "soon"}, "completion_window")
        bad({**good, "max_cost_usd": "much"}, "max_cost_usd")
        bad({**good, "provider": {"order": ["x" * 5000]}}, "provider")
        bad('{"requests":[' + "[" * 200 + "]" * 200 + "]}", "nested")
        bad({"input_file_id": "file-x", "endpoint": "/v1/chat/completions"}, "completion_window")
        bad('{"input_file_id":"file-x","endpoint":"/v1/chat/completions","completion_window":"24h"', "in the middle")
        wait_for("nothing of them to stay", lambda: self.stored_files() == [], 10)
        self.assertEqual(self.get(OPENROUTER).json["data"], [])
        self.check_error(self.get(f"{OPENROUTER}/batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404, "No batch", "openrouter")
        self.check_error(self.get(f"{OPENROUTER}/nothing"), 404, "No batch", "openrouter")

    def test_bad_requests_spoil_no_others(self):
        self.begin()
        requests = [chat(0), 7, chat(2, model="no/such"), {"body": {}}, {"custom_id": "c-4"}, {"custom_id": "c-5", "body": "x"},
                    chat(0), chat(7)]
        made = self.submit(OPENROUTER, {"endpoint": "/v1/chat/completions", "requests": requests, "model": "test/gpt"}, 202)
        batch = self.openrouter_ended(made["id"])
        self.assertEqual((batch["request_counts"]["total"], batch["request_counts"]["completed"]), (8, 2))
        good = [r["custom_id"] for r in batch["results"] if r["response"]]
        self.assertEqual(sorted(good), ["c-0", "c-7"])
        why = sorted(r["error"]["error_type"] for r in batch["results"] if r["error"])
        self.assertEqual(why, ["duplicate_custom_id", "invalid_body", "invalid_json_line", "missing_required_parameter",
                               "missing_required_parameter", "model_not_found"])
        self.assertEqual(len(batch["results"]), 8)

    def test_idempotency(self):
        self.begin()
        body = {"endpoint": "/v1/chat/completions", "model": "test/gpt", "requests": [chat(0)]}
        first = self.submit(OPENROUTER, body, 202, Idempotency_Key="k1")
        stored = wait_for("the input", self.stored_files, 10)
        again = self.submit(OPENROUTER, body, 202, Idempotency_Key="k1")
        self.assertEqual(again["id"], first["id"])
        self.assertNotEqual(self.submit(OPENROUTER, body, 202, Idempotency_Key="k2")["id"], first["id"])
        more = {k.split(":file:")[1] for k in self.stored_files() if ":file:" in k}
        self.assertEqual(len(more), 2, more)
        self.assertEqual(len(stored), 2) # a hash and a piece

    def test_of_a_file(self):
        self.begin()
        lines = "".join(json.dumps({**chat(i, model="test/gpt"), "method": "POST", "url": "/v1/chat/completions"}) + "\n"
                        for i in range(3))
        file = self.web.upload(lines).json
        self.assertEqual((file["bytes"], file["filename"]), (len(lines), "in.jsonl"))
        self.assertEqual(self.get(f"/v1/files/{file['id']}/content").body.decode(), lines)
        self.assertEqual([f["id"] for f in self.get("/v1/files").json["data"]], [file["id"]])
        made = self.submit(OPENROUTER, {"input_file_id": file["id"], "endpoint": "/v1/chat/completions",
                                        "completion_window": "24h"})
        self.assertEqual(made["input_file_id"], file["id"])
        self.ended(f"{OPENROUTER}/{made['id']}", lambda b: b["status"] == "completed")
        batch = self.get(f"{OPENROUTER}/{made['id']}?results=true").json
        self.check_results(batch, 3)
        self.assertTrue(self.web.ask("DELETE", f"/v1/files/{file['id']}").json["deleted"])
        self.assertEqual([k for k in self.stored_files() if file["id"] in k], [])

    def test_its_end_is_told(self):
        heard = []

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        listener = http.server.HTTPServer(("127.0.0.1", 0), Listener)
        self.addCleanup(listener.server_close)
        self.addCleanup(listener.shutdown)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        self.begin(gateway="webhook_private: true, ")
        made = self.submit(OPENROUTER, {"requests": [chat(0)], "callback_url": f"http://127.0.0.1:{listener.server_port}/hook",
                                        "endpoint": "/v1/chat/completions", "model": "test/gpt"}, 202)
        wait_for("the webhook", lambda: heard, 20)
        self.assertEqual((heard[0]["type"], heard[0]["data"]["id"], heard[0]["data"]["status"]),
                         ("batch.completed", made["id"], "completed"))

    def test_cancelled(self):
        self.begin("--latency-ms", 100, limits="concurrency: 4")
        body = {"endpoint": "/v1/chat/completions", "model": "test/gpt", "requests": [chat(i) for i in range(200)]}
        made = self.submit(OPENROUTER, body, 202)
        at_once = self.post(f"{OPENROUTER}/{made['id']}/cancel")
        self.assertEqual(at_once.status, 200, at_once.body)
        self.assertIn(at_once.json["status"], ("cancelling", "cancelled"))
        batch = self.openrouter_ended(made["id"])
        self.assertEqual((batch["status"], len(batch["results"])), ("cancelled", 200))
        made = self.submit(OPENROUTER, body, 202)
        running = self.ended(f"{OPENROUTER}/{made['id']}", lambda b: len(b["results"]) >= 8)
        self.assertIn(running["status"], ("in_progress", "finalizing")) # results while it runs
        self.assertIsNone(running["finalized_at"])
        self.assertLess(len(running["results"]), 200)
        self.post(f"{OPENROUTER}/{made['id']}/cancel")
        batch = self.openrouter_ended(made["id"])
        counts = batch["request_counts"]
        self.assertEqual((batch["status"], counts["completed"] + counts["cancelled"]), ("cancelled", 200))
        self.assertGreaterEqual(counts["completed"], 8)
        self.assertEqual(sum(r["error"] is None for r in batch["results"]), counts["completed"])
        self.assertEqual(len({r["custom_id"] for r in batch["results"]}), 200)


    def test_a_body_that_breaks_off_leaves_nothing(self):
        self.begin()
        with socket.create_connection(("127.0.0.1", self.c.ports["gateway"])) as s:
            part = b'{"endpoint":"/v1/chat/completions","requests":[' + b'{"custom_id":"%s"},' % (b"x" * 60000) * 100
            s.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" % OPENROUTER.encode() + part)
            wait_for("pieces", self.stored_files, 10)
        wait_for("them to go", lambda: self.stored_files() == [], 10)
        self.assertEqual(self.get(OPENROUTER).json["data"], [])


class Anthropic(DialectCase):
    def results(self, batch):
        answer = self.get(f"{ANTHROPIC}/{batch}/results")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/x-jsonl"))
        return [json.loads(x) for x in answer.body.splitlines()]

    def test_one_message(self):
        self.begin()
        answer = self.post("/v1/messages", message(3)["params"], x_api_key="any", anthropic_version="2023-06-01")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual((answer.json["type"], answer.json["role"], answer.json["stop_reason"]),
                         ("message", "assistant", "end_turn"))
        self.assertEqual(answer.json["content"], [{"type": "text", "text": "echo:question 3"}])
        self.assertGreater(answer.json["usage"]["input_tokens"], 0)
        self.assertRegex(answer.headers["request-id"], "^req_")
        self.assertEqual(self.post("/v1/messages", message(4, "test/gpt")["params"]).json["content"][0]["text"],
                         "echo:question 4") # any model
        counted = self.post("/v1/messages/count_tokens", {k: v for k, v in message(0)["params"].items() if k != "max_tokens"})
        self.assertEqual(counted.status, 200, counted.body)
        self.assertGreater(counted.json["input_tokens"], 0)
        self.check_error(self.post("/v1/messages", "{"), 400, "JSON", "anthropic")
        self.check_error(self.post("/v1/messages", {"model": "test/gpt", "max_tokens": 5}), 400, "messages", "anthropic")
        self.check_error(self.post("/v1/messages", message(0, "no/such")["params"]), 404, "model", "anthropic")
        self.check_error(self.get("/v1/messages"), 405, "method", "anthropic")
        self.check_error(self.post("/v1/messages/batches/msgbatch_x/cancel"), 404, "msgbatch_x", "anthropic")

    def test_one_message_in_events(self):
        self.begin()
        for model in ("test/claude", "test/gpt"):
            answer = self.post("/v1/messages", message(3, model, stream=True)["params"])
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream; charset=utf-8"))
            events = [[x.split(": ", 1)[1] for x in e.split("\n")] for e in answer.body.decode().strip().split("\n\n")]
            said = [json.loads(data) for _, data in events]
            self.assertEqual([name for name, _ in events], [e["type"] for e in said])
            self.assertEqual([said[0]["type"], said[-2]["type"], said[-1]["type"]],
                             ["message_start", "message_delta", "message_stop"])
            self.assertGreater(said[0]["message"]["usage"]["input_tokens"], 0)
            self.assertEqual((said[-2]["delta"]["stop_reason"], said[-2]["usage"]["output_tokens"]), ("end_turn", 4))
            self.assertEqual("".join(e["delta"]["text"] for e in said if e["type"] == "content_block_delta"), "echo:question 3")
        refused = self.post("/v1/messages", message(0, "no/such", stream=True)["params"])
        self.check_error(refused, 404, "model", "anthropic")

    def test_from_requests_to_results(self):
        self.begin()
        made = self.submit(ANTHROPIC, {"requests": [message(i, f"test/{('gpt', 'claude', 'gemini')[i % 3]}")
                                                    for i in range(60)]})
        self.assertRegex(made["id"], r"^msgbatch_[0-9A-Z]{26}$")
        self.assertEqual((made["type"], made["processing_status"], made["results_url"]), ("message_batch", "in_progress", None))
        self.assertEqual(made["request_counts"], {"processing": 60, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0})
        batch = self.anthropic_ended(made["id"])
        self.assertEqual(batch["request_counts"], {"processing": 0, "succeeded": 60, "errored": 0, "canceled": 0, "expired": 0})
        self.assertEqual(batch["results_url"], f"{ANTHROPIC}/{made['id']}/results")
        self.assertRegex(batch["ended_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        results = {r["custom_id"]: r["result"] for r in self.results(made["id"])}
        self.assertEqual(len(results), 60)
        for i in range(60):
            self.assertEqual(results[f"c-{i}"]["type"], "succeeded")
            self.assertEqual(results[f"c-{i}"]["message"]["content"], [{"type": "text", "text": f"echo:question {i}"}])
        # the same batch in the others' words, and the end of it in all of them
        own = made["id"].replace("msgbatch_", "batch_")
        self.assertEqual(len(self.get(f"{OPENROUTER}/{own}").json["results"]), 60)
        self.assertEqual(self.get(f"/v1/batches/{own}").json["status"], "completed")
        deleted = self.web.ask("DELETE", f"{ANTHROPIC}/{made['id']}")
        self.assertEqual(deleted.json, {"id": made["id"], "type": "message_batch_deleted"})
        for path in (f"{ANTHROPIC}/{made['id']}", f"{ANTHROPIC}/{made['id']}/results", f"{OPENROUTER}/{own}",
                     f"/v1/batches/{own}"):
            self.assertEqual(self.get(path).status, 404, path)
        self.assertEqual(self.get(ANTHROPIC).json, {"data": [], "has_more": False, "first_id": None, "last_id": None})
        wait_for("its input to go", lambda: self.stored_files() == [], 10)

    def test_bad_requests(self):
        self.begin()

        def bad(body, words, status=400):
            self.check_error(self.post(ANTHROPIC, body), status, words, "anthropic")

        bad({"requests": [message(0), {"custom_id": "a b", "params": {}}]}, r"^requests\.1\.custom_id")
        bad({"requests": [message(0), message(1), message(2, stream=True)]}, r"^requests\.2\.params\.")
        bad({"requests": [{"custom_id": "a", "params": {"model": "test/gpt"}}]}, r"^requests\.0\.params\.")
        bad({"requests": [message(0), message(1), message(0)]}, r'^requests\.2\.custom_id: "c-0" is that of another')
        bad({"requests": [5]}, r"^requests\.0: must be an object")
        bad({"requests": []}, "at least one")
        bad({"input_file_id": "file-x"}, "requests.*missing")
        wait_for("nothing of them to stay", lambda: self.stored_files() == [], 10)
        made = self.submit(ANTHROPIC, {"requests": [message(0), message(1, "no/such")]})
        batch = self.anthropic_ended(made["id"])
        self.assertEqual((batch["request_counts"]["succeeded"], batch["request_counts"]["errored"]), (1, 1))
        errored = [r for r in self.results(made["id"]) if r["result"]["type"] == "errored"]
        self.assertEqual((errored[0]["custom_id"], errored[0]["result"]["error"]["error"]["type"]), ("c-1", "not_found_error"))

    def test_cancelled(self):
        self.begin("--latency-ms", 100, limits="concurrency: 4")
        body = {"requests": [message(i) for i in range(200)]}
        made = self.submit(ANTHROPIC, body)
        self.check_error(self.web.ask("DELETE", f"{ANTHROPIC}/{made['id']}"), 409, "delete", "anthropic")
        at_once = self.post(f"{ANTHROPIC}/{made['id']}/cancel")
        self.assertEqual(at_once.status, 200, at_once.body)
        self.assertIn(at_once.json["processing_status"], ("canceling", "ended"))
        self.assertIsNotNone(at_once.json["cancel_initiated_at"])
        batch = self.anthropic_ended(made["id"])
        self.assertEqual(batch["request_counts"]["canceled"] + batch["request_counts"]["succeeded"], 200)
        results = self.results(made["id"])
        self.assertEqual((len(results), sum(r["result"]["type"] == "canceled" for r in results)),
                         (200, batch["request_counts"]["canceled"]))
        made = self.submit(ANTHROPIC, body)
        path = f"{ANTHROPIC}/{made['id']}"
        wait_for("results while it runs", lambda: len(self.results(made["id"])) >= 8, 30)
        self.assertEqual(self.get(path).json["request_counts"]["processing"], 200)
        self.post(f"{path}/cancel")
        batch = self.anthropic_ended(made["id"])
        self.assertGreaterEqual(batch["request_counts"]["succeeded"], 8)
        self.assertEqual(batch["request_counts"]["canceled"] + batch["request_counts"]["succeeded"], 200)
        self.assertEqual(self.post(f"{path}/cancel").json["processing_status"], "ended")

    def test_pages(self):
        self.begin()
        ids = [self.submit(ANTHROPIC, {"requests": [message(i)]})["id"] for i in range(7)]
        ids.sort(reverse=True)

        def page(query):
            got = self.get(f"{ANTHROPIC}?{query}")
            self.assertEqual(got.status, 200, got.body)
            shown = [b["id"] for b in got.json["data"]]
            if shown:
                self.assertEqual((got.json["first_id"], got.json["last_id"]), (shown[0], shown[-1]))
            return shown, got.json["has_more"]

        self.assertEqual(page("limit=1000"), (ids, False))
        self.assertEqual(page("limit=3"), (ids[:3], True))
        self.assertEqual(page(f"limit=3&after_id={ids[2]}"), (ids[3:6], True))
        self.assertEqual(page(f"limit=3&after_id={ids[5]}"), (ids[6:], False))
        self.assertEqual(page(f"limit=3&before_id={ids[6]}"), (ids[3:6], True))
        self.assertEqual(page(f"limit=3&before_id={ids[3]}"), (ids[:3], False))
        self.assertEqual(page(f"limit=3&before_id={ids[2]}"), (ids[:2], False))
        self.assertEqual(page(f"before_id={ids[0]}"), ([], False))
        self.check_error(self.get(f"{ANTHROPIC}?before_id={ids[0]}&after_id={ids[1]}"), 400, "exclude", "anthropic")
        self.check_error(self.get(f"{ANTHROPIC}?after_id=x"), 400, "after_id", "anthropic")
        self.check_error(self.get(f"{ANTHROPIC}?limit=0"), 400, "limit", "anthropic")


class Large(DialectCase):
    def big(self, head, element, tail):
        """A body of BIG_BODY bytes, made as it is sent; how many requests."""
        text = "x" * 20000
        count = BIG_BODY // len(element(0, text))

        def parts():
            yield head.encode()
            for i in range(count):
                yield ((", " if i else "") + element(i, text)).encode()
            yield tail.encode()

        return count, parts()

    def test_memory(self):
        self.begin()

        def element(i, text):
            return json.dumps({"custom_id": f"c-{i}", "body": {"messages": [{"role": "user", "content": text}],
                                                               "max_tokens": 5}}, indent=1)

        def element_of_messages(i, text):
            return json.dumps(message(i, "test/claude", messages=[{"role": "user", "content": text}]))

        count, body = self.big('{"requests":[', element, '], "model": "test/gpt", "endpoint": "/v1/chat/completions"}')
        made = self.submit(OPENROUTER, body, 202)
        batch = self.openrouter_ended(made["id"], 120)
        self.assertEqual((batch["status"], len(batch["results"])), ("completed", count))
        self.assertEqual(len({r["custom_id"] for r in batch["results"]}), count)
        count, body = self.big('{"requests":[', element_of_messages, "]}")
        made = self.submit(ANTHROPIC, body)
        self.assertEqual(self.anthropic_ended(made["id"], 120)["request_counts"]["succeeded"], count)
        lines = [json.loads(x) for x in self.get(f"{ANTHROPIC}/{made['id']}/results").body.splitlines()]
        self.assertEqual(len({r["custom_id"] for r in lines}), count)
        self.assertTrue(all(len(r["result"]["message"]["content"][0]["text"]) > 20000 for r in lines))
        self.assertLess(memory_peak_mib(gateway_pid(self.c)), MEMORY_MAX_MIB)


class Tenants(DialectCase):
    def test_apart(self):
        self.begin()
        port = self.c.ports["gateway"]
        red_web, blue_key = Web(port, self.key(self.c, "--tenant", "red")), self.key(self.c, "--tenant", "blue")
        self.wait_for_keys(self.web, red_web)
        self.check_error(self.get(ANTHROPIC), 401, "key", "anthropic")
        self.check_error(self.post(OPENROUTER, {"requests": []}), 401, "key", "openrouter")
        as_red = red_web.ask

        def as_blue(method, path, body=None): # as Anthropic's SDK sends it
            return self.web.ask(method, path, body, headers={"x-api-key": blue_key})

        red = as_red("POST", OPENROUTER, {"endpoint": "/v1/chat/completions", "model": "test/gpt", "requests": [chat(0)]}).json
        blue = as_blue("POST", ANTHROPIC, {"requests": [message(0)]}).json
        wait_for("red's end", lambda: as_red("GET", f"{OPENROUTER}/{red['id']}").json["finalized_at"], 30)
        wait_for("blue's end", lambda: as_blue("GET", f"{ANTHROPIC}/{blue['id']}").json["ended_at"], 30)
        other = blue["id"].replace("msgbatch_", "batch_")
        self.assertEqual([b["id"] for b in as_red("GET", OPENROUTER).json["data"]], [red["id"]])
        self.assertEqual([b["id"] for b in as_blue("GET", ANTHROPIC).json["data"]], [blue["id"]])
        self.assertEqual(as_blue("GET", f"{ANTHROPIC}?before_id={blue['id']}").json["data"], [])
        for method, path in (("GET", f"{OPENROUTER}/{other}"), ("POST", f"{OPENROUTER}/{other}/cancel"),
                             ("GET", f"{ANTHROPIC}/{blue['id']}"), ("GET", f"{ANTHROPIC}/{blue['id']}/results"),
                             ("DELETE", f"{ANTHROPIC}/{blue['id']}")):
            self.assertEqual(as_red(method, path).status, 404, path)
        self.assertEqual(as_blue("DELETE", f"{ANTHROPIC}/{blue['id']}").status, 200)


if __name__ == "__main__":
    main()
