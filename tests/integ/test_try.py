"""`penstock try`: one request, its answer alone on stdout, and on stderr what became of it or what it waits for."""
import http.server
import json
import signal
import threading

from harness import Case, main, wait_for

MODEL = "test/gpt"
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]}


class Upstream(http.server.ThreadingHTTPServer):
    """A provider that keeps what it is asked, and answers with the call of a tool."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port, self.bodies = self.server_address[1], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        choice = {"index": 0, "message": CALL, "finish_reason": "tool_calls"}
        answer = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                             "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Try(Case):
    def ask(self, c, *args, code=0, **more):
        """Standard output and the messages of `penstock try ARGS`."""
        done = c.run("try", *args, check=False, timeout=60, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        messages = done.stderr.splitlines()
        self.assertTrue(all(m.startswith("penstock: ") for m in messages), done.stderr)
        return done.stdout, [m[len("penstock: "):] for m in messages]

    def batches(self, c):
        return json.loads(c.run("list", "--json").stdout)["data"]

    def check_attempts(self, messages, *attempts):
        """A line for each, in order; the last one is the account."""
        told = [m for m in messages if m.startswith("attempt ")]
        self.assertEqual(len(told), len(attempts), messages)
        for i, (line, what) in enumerate(zip(told, attempts), 1):
            self.assertRegex(line, rf"^attempt {i}: {what}, \d+ ms$")
        self.assertEqual(messages[-1 - len(attempts):-1], told)


class Answers(Try):
    def test_the_text_alone_is_printed(self):
        c = self.cluster()
        out, messages = self.ask(c, "echo/any", "Say hi")
        self.assertEqual(out, "Say hi" + "." * 94 + "\n")
        self.check_attempts(messages, "echo any: 200")
        self.assertRegex(messages[-1], r"^answered by echo any: \d+ tokens in, 25 out, \$0\.00$")
        [batch] = self.batches(c)
        self.assertEqual((c.wait(batch["id"])["status"], batch["priority"]), ("completed", "high"))

    def test_a_prompt_comes_from_standard_input(self):
        c = self.cluster(self.provider())
        for args in ([], ["-"]):
            out, _ = self.ask(c, MODEL, *args, input="two \"\u00fc\"\n\tlines\n")
            self.assertEqual(out, "echo:two \"\u00fc\"\n\tlines\n")
        for nothing in ("", "\n"):
            out, messages = self.ask(c, MODEL, input=nothing, code=2)
            self.assertEqual(out, "")
            self.assertIn("the prompt is empty", messages[0])

    def test_options_reach_the_request_and_an_answer_without_text_is_json(self):
        p = Upstream()
        self.addCleanup(p.stop)
        c = self.cluster(p)
        out, messages = self.ask(c, MODEL, "hi", "--max-tokens", "3", "--system", "Be brief.", "--tenant", "someone")
        message = json.loads(out)
        self.assertEqual(message["tool_calls"], CALL["tool_calls"])
        self.assertEqual(messages[-1], "answered by simopenai gpt-test: 7 tokens in, 2 out, $0.000011")
        [body] = p.bodies
        self.assertEqual(body["messages"], [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}])
        self.assertEqual(body.get("max_tokens", body.get("max_completion_tokens")), 3)
        [batch] = self.batches(c)
        self.assertEqual(batch["tenant"], "someone")
        for bad in (["--max-tokens", "0"], ["--max-tokens", "many"], ["--timeout", "soon"]):
            self.ask(c, MODEL, "hi", *bad, code=2)

    def test_json_is_the_result_line(self):
        c = self.cluster(self.provider())
        out, messages = self.ask(c, MODEL, "[[429x1]] hi", "--json")
        [batch] = self.batches(c)
        self.assertEqual(out, c.run("results", batch["id"]).stdout)
        self.check_attempts(messages, "simopenai gpt-test: 429 rate_limit_exceeded", "simopenai gpt-test: 200")

    def test_attempts_are_shown_and_a_limit_is_why_it_waits(self):
        c = self.cluster(self.provider("--retry-after-ms", 2500))
        out, messages = self.ask(c, MODEL, "[[500x1]][[429x1]] hi")
        self.assertEqual(out, "echo:[[500x1]][[429x1]] hi\n")
        self.assertIn("waiting: the rate limit of simopenai gpt-test is reached, it refused with 429", messages)
        self.check_attempts(messages, "simopenai gpt-test: 500 server", "simopenai gpt-test: 429 rate_limit_exceeded",
                            "simopenai gpt-test: 200")
        self.assertRegex(messages[-1], r"^answered by simopenai gpt-test: \d+ tokens in, \d+ out, \$0\.0000\d\d$")


class NoAnswer(Try):
    def test_a_request_that_fails_says_why(self):
        c = self.cluster(self.provider())
        out, messages = self.ask(c, MODEL, "[[400]] hi", code=3)
        self.assertEqual(out, "")
        self.check_attempts(messages, "simopenai gpt-test: 400 invalid_request")
        [batch] = self.batches(c)
        [result] = c.results(batch["id"])
        self.assertEqual(messages[-1], "failed: invalid_request: " + result["response"]["body"]["error"]["message"])

    def test_a_refused_key_is_named_and_the_batch_cancelled(self):
        c = self.cluster(self.provider("--good-key", "another"))
        out, messages = self.ask(c, MODEL, "hi", "--timeout", "3s", code=3)
        self.assertEqual(out, "")
        [batch] = self.batches(c)
        self.assertRegex(messages[0], r"^waiting: simopenai: authentication \(is its key right\?\), next try at \S+ \S+$")
        self.assertEqual(messages[1], f"no answer within 3s: {batch['id']} is being cancelled, wait longer with --timeout")
        self.check_attempts(messages, "simopenai gpt-test: 401 authentication")
        self.assertRegex(messages[-1], "^cancelled: batch_cancelled: ")
        self.assertEqual(c.wait(batch["id"])["status"], "cancelled")

    def test_a_provider_without_a_key_is_named(self):
        c = self.cluster(up=False)
        with open(c.config) as f:
            text = f.read().replace("good-key", '"${PST_NO_SUCH_KEY}"', 1)
        with open(c.config, "w") as f:
            f.write(text)
        c.start()
        _, messages = self.ask(c, MODEL, "hi", "--timeout", "2s", code=3)
        self.assertIn("no worker serves its provider (none does simopenai: is the key set?)", messages[0])

    def test_a_call_that_is_under_way_is_left(self):
        p = self.provider()
        c = self.cluster(p)
        out, messages = self.ask(c, MODEL, "[[slow:6000]] hi", "--timeout", "1s", code=1)
        self.assertEqual(out, "")
        [batch] = self.batches(c)
        self.assertEqual(batch["status"], "cancelling")
        self.assertIn(f"`penstock results {batch['id']}`", messages[-1])
        self.assertEqual(p.stats()["requests"], 1)
        wait_for("its answer", lambda: c.results(batch["id"]))

    def test_an_interrupt_cancels(self):
        p = self.provider("--latency-ms", 1000)
        c = self.cluster(p)
        run = c.popen("try", MODEL, "hi")
        wait_for("the call", lambda: p.stats()["in_flight"])
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=20)
        [batch] = self.batches(c)
        self.assertIn(f"interrupted: {batch['id']} is being cancelled", err)
        self.assertEqual((out, run.returncode), ("echo:hi\n", 0), "an answer that still comes is shown")
        self.assertEqual(c.wait(batch["id"])["status"], "cancelled")

    def test_an_unknown_model_and_what_was_meant(self):
        c = self.cluster()
        for model, meant in (("test/gtp", "did you mean test/gpt?"), ("gemini", "did you mean test/gemini?")):
            out, [message] = self.ask(c, model, "hi", code=4)
            self.assertEqual(out, "")
            self.assertEqual(message, f"no endpoint serves {model}: {meant} `penstock check` lists what is served, and "
                                      "which keys are missing")
        _, [message] = self.ask(c, "no/such", "hi", code=4)
        self.assertNotIn("mean", message)
        self.assertEqual(self.batches(c), [])

    def test_without_a_broker_it_says_what_to_start(self):
        c = self.cluster(up=False)
        out, [message] = self.ask(c, MODEL, "hi", code=1)
        self.assertEqual(out, "")
        self.assertIn(c.broker, message)
        self.assertIn("`penstock up`", message)


if __name__ == "__main__":
    main()
