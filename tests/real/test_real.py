"""penstock against a real model: llama.cpp's own server with a small one (requirements.txt says which).

200 jobs: text on three urls, conversations with tools, answers in a JSON schema, and prompts that are longer than the
model's context.  What a model of this size says is of no matter; that every job ends once, in the shape that it asked for,
with the tokens that the server counted, is."""
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integ"))
from harness import BIN, Case, Cluster, free_port, main, wait_for, write_lines  # noqa: E402

DIRECTORY = os.environ.get("PST_REAL", os.path.join(BIN, "../../real"))
JOBS = 200
MODEL = "real/gemma"
CONTEXT, SLOTS = 1024, 4
LENGTH = 16  # tokens of a plain answer
CONFIG = """\
broker: {{ clients: "tcp://127.0.0.1:{clients}", workers: "tcp://127.0.0.1:{workers}", metrics: "127.0.0.1:{metrics}" }}
gateway: {{ listen: "127.0.0.1:{gateway}" }}
providers:
  llamacpp: {{ api: openai, base_url: "http://127.0.0.1:{port}/v1", timeout: 600s, limits: {{ concurrency: {calls} }} }}
models:
  {model}: [ {{ provider: llamacpp, model: gemma, price: {{ input: 1, output: 2 }} }} ]
"""
PLACES = ["Paris", "Lagos", "Lima", "Oslo", "Quito", "Zürich", "Лагос"]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather at a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 20}}, "required": ["place"],
                   "additionalProperties": False}}}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                           "rank": {"type": "integer", "minimum": 1, "maximum": 1000}},
          "required": ["city", "rank"], "additionalProperties": False}


def user(text):
    return {"role": "user", "content": text}


def assistant(text=None, **more):
    return {"role": "assistant", "content": text, **more}


# ---- kinds: the url and the body of job i.  Without ignore_eos, an option of this server alone, the model may have
# nothing to say; with it, an answer is as long as it may be.


def plain(i):
    return "chat/completions", {"messages": [{"role": "system", "content": "Tell of a river."}, user(f"River {i}:")],
                                "max_tokens": LENGTH, "ignore_eos": True}


def completion(i):
    return "completions", {"prompt": f"River {i} is", "max_tokens": LENGTH, "ignore_eos": True}


def response(i):
    return "responses", {"input": f"Tell of river {i}.", "max_output_tokens": LENGTH, "ignore_eos": True}


def asked_weather(place, celsius):
    call = {"id": f"call_{celsius}", "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"place": place})}}
    return [user(f"What is the weather in {place}?"), assistant(tool_calls=[call]),
            {"role": "tool", "tool_call_id": call["id"], "content": json.dumps({"celsius": celsius})}]


def tools(i, choice="auto"):
    """After examples, which so small a model follows: what it writes before a call that is required is free."""
    shown = asked_weather("Rome", 21) + asked_weather("Bern", 9)
    return "chat/completions", {"messages": [*shown, user(f"What is the weather in {PLACES[i % len(PLACES)]}?")],
                                "tools": TOOLS, "tool_choice": choice, "max_tokens": 40, "temperature": 0}


def required_tool(i):
    return tools(i, "required")


def structured(i):
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
    shown = [user("City 3, as JSON."), assistant(json.dumps({"city": "Rome", "rank": 3}))]
    return "chat/completions", {"messages": [*shown, user(f"City {i}, as JSON.")], "response_format": wanted,
                                "max_tokens": 64, "temperature": 0}


def too_long(i):
    return "chat/completions", {"messages": [user(f"River {i}:" + " river" * 2 * CONTEXT)], "max_tokens": LENGTH}


KINDS = [plain, structured, completion, tools, plain, structured, response, required_tool]
TOO_LONG = (50, 101, 152)


def kind_of(i):
    return too_long if i in TOO_LONG else KINDS[i % len(KINDS)]


def line(i):
    url, body = kind_of(i)(i)
    return json.dumps({"custom_id": f"c-{i}", "url": f"/v1/{url}", "body": {"model": MODEL, **body}})


def text_of(body):
    if body["object"] == "response":
        return "".join(part["text"] for item in body["output"] for part in item.get("content", []))
    [choice] = body["choices"]
    return choice["text"] if body["object"] == "text_completion" else choice["message"]["content"]


def tokens_of(body):
    """Input and output."""
    usage = body["usage"]
    return (usage.get("prompt_tokens", usage.get("input_tokens")),
            usage.get("completion_tokens", usage.get("output_tokens")))


class Server:
    def __init__(self, log):
        self.port = free_port()
        self.process = subprocess.Popen(
            [os.path.join(DIRECTORY, "venv/bin/python"), os.path.join(HERE, "serve.py"),
             os.path.join(DIRECTORY, "model.gguf"), os.path.join(HERE, "chat.jinja"), *map(str, (self.port, CONTEXT, SLOTS))],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        wait_for("the model server", self._answers, 120, 0.2)

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the model server ended with {self.process.returncode}")
        with contextlib.suppress(OSError):
            return bool(self._get("health"))

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as answer:
            return answer.read().decode()

    def counted(self):
        """Tokens in and out since it started, by its own count."""
        found = dict(re.findall(r"^llamacpp:(\w+) (\d+)$", self._get("metrics"), re.M))
        return (int(found["prompt_tokens_total"]) + int(found["prompt_tokens_cached_total"]),
                int(found["tokens_predicted_total"]))

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Real(Case):
    def setUp(self):
        self.c = Cluster(up=False)
        self.addCleanup(self._stop, self.c)
        self.server = Server(self.c.log)
        self.addCleanup(self.server.stop)
        with open(self.c.config, "w") as f:
            f.write(CONFIG.format(port=self.server.port, model=MODEL, calls=2 * SLOTS, **self.c.ports))
        self.c.start()

    def test_a_batch(self):
        c = self.c
        path = write_lines(os.path.join(c.dir, "in.jsonl"), map(line, range(JOBS)))
        out = os.path.join(c.dir, "out.jsonl")
        done = c.run("submit", path, "--output", out, check=False, timeout=1800)
        self.assertEqual(done.returncode, 3, f"{done.stderr}\n{c.tail()}")
        with open(out) as f:
            results = [json.loads(x) for x in f]
        self.assertEqual(Counter(r["custom_id"] for r in results), Counter(f"c-{i}" for i in range(JOBS)))
        answers = [r["response"]["body"] for r in results if self.check_result(r)]
        self.check_receipt(c.receipt(done.stdout.strip()), answers)

    def test_try(self):
        done = self.c.run("try", MODEL, "A river in France is", "--max-tokens", "8")
        self.assertTrue(done.stdout.endswith("\n"))
        tokens = re.search(r"answered by llamacpp gemma: (\d+) tokens in, (\d+) out", done.stderr)
        self.assertIsNotNone(tokens, done.stderr)
        self.assertEqual(tuple(map(int, tokens.groups())), self.server.counted())

    # ---- what came back

    def check_result(self, r):
        """Whether it is an answer."""
        i = int(r["custom_id"].split("-")[1])
        kind = kind_of(i)
        with self.subTest(job=i, kind=kind.__name__, result=json.dumps(r, ensure_ascii=False)[:1500]):
            if kind is too_long:
                self.check_too_long(r)
                return False
            self.assertEqual((r["penstock"]["status"], r["error"], r["response"]["status_code"]), ("completed", None, 200))
            body = r["response"]["body"]
            tokens = tokens_of(body)
            self.assertGreater(tokens[0], 0)
            self.assertGreater(tokens[1], 0)
            self.assertAlmostEqual(r["penstock"]["cost_usd"], (tokens[0] + 2 * tokens[1]) / 1e6, places=9)
            check = {plain: self.check_plain, completion: self.check_plain, response: self.check_plain,
                     structured: self.check_structured, tools: self.check_tools, required_tool: self.check_call}
            check[kind](body)
        return True

    def check_too_long(self, r):
        self.assertEqual((r["penstock"]["status"], r["penstock"]["error_type"]), ("failed", "context_length_exceeded"))
        self.assertEqual([a["status"] for a in r["penstock"]["attempts"]], [400])
        self.assertEqual((r["response"]["status_code"], r["error"]), (400, None))

    def check_plain(self, body):
        self.assertTrue(text_of(body).strip())
        self.assertEqual(tokens_of(body)[1], LENGTH)

    def check_structured(self, body):
        said = json.loads(text_of(body))
        self.assertEqual(said.keys(), {"city", "rank"})
        self.assertEqual((type(said["city"]), type(said["rank"])), (str, int))
        self.assertLessEqual(len(said["city"]), 20)
        self.assertIn(said["rank"], range(1, 1001))

    def check_tools(self, body):
        """What is called, if anything is, is the tool that there is."""
        [choice] = body["choices"]
        calls = [c["function"]["name"] for c in choice["message"].get("tool_calls") or []]
        self.assertEqual(set(calls) - {"weather"}, set())
        return choice

    def check_call(self, body):
        choice = self.check_tools(body)
        first = choice["message"]["tool_calls"][0]
        self.assertTrue(first["id"])
        self.assertEqual(json.loads(first["function"]["arguments"]).keys(), {"place"})
        self.assertIn(choice["finish_reason"], ("tool_calls", "length"))

    def check_receipt(self, receipt, answers):
        failed = len(TOO_LONG)
        self.assertEqual([receipt[k] for k in ("jobs", "results", "completed", "failed", "expired", "cancelled")],
                         [JOBS, JOBS, JOBS - failed, failed, 0, 0])
        self.assertEqual(receipt["causes"], {"context_length_exceeded": failed})
        tokens = tuple(map(sum, zip(*map(tokens_of, answers))))
        [endpoint] = receipt["endpoints"]
        self.assertEqual((endpoint["provider"], endpoint["calls"], endpoint["retried"]), ("llamacpp", JOBS, 0))
        for account in (receipt, endpoint):
            self.assertEqual((account["input_tokens"], account["output_tokens"]), tokens)
            self.assertAlmostEqual(account["cost_usd"], (tokens[0] + 2 * tokens[1]) / 1e6, places=6)
        self.assertEqual(self.server.counted(), tokens)
        seconds = max(1, receipt["ended_at"] - receipt["started_at"])
        print(f"\nremark: {tokens[0]} tokens in and {tokens[1]} out in {seconds} s: {sum(tokens) / seconds:.0f} tokens/s, "
              f"{tokens[1] / seconds:.0f} of them generated", flush=True)


if __name__ == "__main__":
    main()
