#!/usr/bin/env python3
"""Checks the simulated provider from outside.  selftest.py BINARY [unittest arguments]"""
import base64
import calendar
import http.client
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import quote

BINARY = sys.argv.pop(1) if len(sys.argv) > 1 else "pst-sim-provider"

OPENAI = {"Authorization": "Bearer sk-test"}
ANTHROPIC = {"x-api-key": "sk-ant", "anthropic-version": "2023-06-01"}
GEMINI = {"x-goog-api-key": "AIza"}
AZURE = {"api-key": "az"}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Sim:
    """One provider process; ends, and must have ended well, with the `with`."""

    def __init__(self, *options):
        self.options = [str(o) for o in options]

    def __enter__(self):
        self.process = subprocess.Popen([BINARY, "--port", "0", *self.options], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"listening 127\.0\.0\.1:(\d+)\n", line).group(1))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self.process.stdout.close()
        assert code == 0, f"exit code {code}"

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def open(self):
        """A connection for bytes."""
        return socket.create_connection(("127.0.0.1", self.port))

    def request(self, method, path, body=None, headers=None, conn=None):
        own = conn or self.connect()
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        try:
            own.request(method, path, body, headers or {})
            r = own.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            if not conn:
                own.close()

    def chat(self, text, model="m", headers=OPENAI, conn=None, **more):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.request("POST", "/v1/chat/completions", body, headers, conn)

    def messages(self, text, model="m", headers=ANTHROPIC, **more):
        body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}
        return self.request("POST", "/v1/messages", {k: v for k, v in body.items() if v is not None}, headers)

    def generate(self, text, model="m", headers=GEMINI, **more):
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
        return self.request("POST", f"/v1beta/models/{quote(model)}:generateContent", body, headers)

    def cohere(self, text, model="m", headers=OPENAI, **more):
        body = {"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}], **more}
        return self.request("POST", "/v2/chat", body, headers)

    def converse(self, text, model="m", headers=OPENAI, **more):
        body = {"messages": [{"role": "user", "content": [{"text": text}]}], **more}
        return self.request("POST", f"/model/{quote(model, safe='')}/converse", body, headers)

    def stats(self):
        return self.request("GET", "/_sim/stats").json

    def calls(self, text):
        return self.request("GET", "/_sim/calls?text=" + quote(text)).json

    def set(self, **settings):
        return self.request("POST", "/_sim/set?" + "&".join(f"{k}={quote(str(v))}" for k, v in settings.items()))

    def raw(self, data, seconds=10.0, until=None):
        """Sends bytes, returns what comes until the other side closes, and whether it did."""
        with self.open() as s:
            s.sendall(data)
            return read_for(s, seconds, until)

    def settled(self, **wanted):
        """Statistics, once these are as wanted: the provider hears of a closed connection a little later."""
        for _ in range(200):
            s = self.stats()
            if all(s[k] == v for k, v in wanted.items()):
                break
            time.sleep(0.02)
        return s


class TlsSim(Sim):
    """The same behind TLS, with a certificate of its own."""

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="pst")
        self.options += ["--self-signed", self.dir.name]
        super().__enter__()
        self.context = ssl.create_default_context(cafile=self.dir.name + "/cert.pem")
        return self

    def __exit__(self, *e):
        try:
            super().__exit__(*e)
        finally:
            self.dir.cleanup()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.context)

    def open(self, context=None, session=None):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return (context or self.context).wrap_socket(plain, server_hostname="127.0.0.1", session=session)


def events(answer):
    """Of a streamed answer: [(name or None, data)], JSON read where it is some."""
    out = []
    text = answer.body.decode()
    assert text.endswith("\n\n"), text[-80:]
    for block in text[:-2].split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        try:
            out.append((fields.get("event"), json.loads(fields["data"])))
        except json.JSONDecodeError:
            out.append((fields.get("event"), fields["data"]))
    return out


def read_for(s, seconds=10.0, until=None):
    """Until the other side closes, has been silent so long, or `until` is there so many times."""
    got = bytearray()
    s.settimeout(seconds)
    try:
        while not (until and got.count(until[0]) >= until[1]):
            piece = s.recv(1 << 20)
            if not piece:
                return bytes(got), True
            got += piece
    except TimeoutError:
        pass
    return bytes(got), False


def post(path, body, *lines):
    body = body.encode() if isinstance(body, str) else body
    head = [f"POST {path} HTTP/1.1", "Host: x", "Authorization: Bearer k", *lines]
    if not any(line.lower().startswith("transfer-encoding") for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chat_body(text, model="m"):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})


def tokens(text):
    return len(text.encode()) // 4 + 1


class Case(unittest.TestCase):
    def assertCut(self, call, *arguments, **more):
        with self.assertRaises((http.client.HTTPException, ConnectionError)):
            call(*arguments, **more)


class Shapes(Case):
    @classmethod
    def setUpClass(cls):
        cls.sim = Sim("--model", "listed:").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.sim.__exit__()

    def test_chat(self):
        text = 'a "quoted" line\nand \\ é \U0001f600 \u0007'
        a = self.sim.chat(text)
        self.assertEqual(a.status, 200)
        self.assertTrue(a.headers["x-request-id"].startswith("req_"))
        self.assertIsNone(a.headers["x-ratelimit-limit-requests"])
        b = a.json
        self.assertEqual(b["object"], "chat.completion")
        self.assertTrue(b["id"].startswith("chatcmpl-"))
        self.assertEqual(b["model"], "m")
        choice = b["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertEqual(choice["message"]["content"], "echo:" + text)
        self.assertEqual(choice["finish_reason"], "stop")
        u = b["usage"]
        self.assertEqual(u["prompt_tokens"], tokens(text))
        self.assertEqual(u["completion_tokens"], tokens("echo:" + text))
        self.assertEqual(u["total_tokens"], u["prompt_tokens"] + u["completion_tokens"])

    def test_escapes_are_spliced_as_they_stand(self):
        raw = r"\u00e9 \/ \ud83d\ude00 \u0000 x"
        body = '{"model":"m","messages":[{"role":"user","content":"%s"}]}' % raw
        a = self.sim.request("POST", "/v1/chat/completions", body, OPENAI)
        self.assertIn(("\"echo:" + raw + "\"").encode(), a.body)
        self.assertEqual(a.json["usage"]["prompt_tokens"], tokens(json.loads('"' + raw + '"')))

    def test_the_last_user_text_counts(self):
        body = {"model": "m", "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "one"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}},
                                         {"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
            {"role": "assistant", "content": "four"}, {"role": "tool", "tool_call_id": "t", "content": "five"}]}
        a = self.sim.request("POST", "/openai/v1/chat/completions", body, OPENAI)
        self.assertEqual(a.json["choices"][0]["message"]["content"], "echo:two")

    def test_responses(self):
        for given in ("hi", [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]):
            a = self.sim.request("POST", "/v1/responses", {"model": "m", "input": given}, OPENAI)
            b = a.json
            self.assertEqual((b["object"], b["status"], b["error"]), ("response", "completed", None))
            self.assertEqual(b["output"][0]["content"][0], {"type": "output_text", "annotations": [], "text": "echo:hi"})
            self.assertEqual((b["usage"]["input_tokens"], b["usage"]["output_tokens"]), (1, 2))

    def test_completions(self):
        b = self.sim.request("POST", "/v1/completions", {"model": "m", "prompt": "hi"}, OPENAI).json
        self.assertEqual((b["object"], b["choices"][0]["text"]), ("text_completion", "echo:hi"))

    def test_embeddings(self):
        ask = lambda **more: self.sim.request("POST", "/v1/embeddings", {"model": "m", **more}, OPENAI).json
        b = ask(input=["hi", "a longer text", "hi"])
        self.assertEqual([d["index"] for d in b["data"]], [0, 1, 2])
        self.assertEqual(b["data"][0]["embedding"], b["data"][2]["embedding"])
        self.assertNotEqual(b["data"][0]["embedding"], b["data"][1]["embedding"])
        self.assertEqual(b["usage"], {"prompt_tokens": 1 + 4 + 1, "total_tokens": 6})
        self.assertEqual(ask(input="hi")["data"][0]["embedding"], b["data"][0]["embedding"])
        self.assertEqual(len(ask(input="hi", dimensions=3)["data"][0]["embedding"]), 3)
        self.assertEqual(len(ask(input=[1, 2, 3])["data"]), 1)
        self.assertEqual(len(ask(input=[[1, 2], [3]])["data"]), 2)
        packed = ask(input="hi", encoding_format="base64")["data"][0]["embedding"]
        self.assertEqual(list(struct.unpack("<8f", base64.b64decode(packed))), b["data"][0]["embedding"])

    def test_anthropic(self):
        a = self.sim.messages("hi")
        self.assertTrue(a.headers["request-id"].startswith("req_"))
        b = a.json
        self.assertEqual((b["type"], b["role"], b["model"], b["stop_reason"]), ("message", "assistant", "m", "end_turn"))
        self.assertEqual(b["content"], [{"type": "text", "text": "echo:hi"}])
        self.assertEqual((b["usage"]["input_tokens"], b["usage"]["output_tokens"]), (1, 2))
        bearer = {"Authorization": "Bearer k", "anthropic-version": "2023-06-01"}
        self.assertEqual(self.sim.messages("hi", headers=bearer).status, 200)

    def test_gemini(self):
        b = self.sim.generate("hi", model="vendor/gem:1").json
        self.assertEqual(b["candidates"][0]["content"], {"parts": [{"text": "echo:hi"}], "role": "model"})
        self.assertEqual(b["candidates"][0]["finishReason"], "STOP")
        self.assertEqual(b["usageMetadata"], {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3})
        self.assertEqual(b["modelVersion"], "vendor/gem:1")
        strange = self.sim.request("POST", "/v1beta/models/%ff%22:generateContent", {"contents": []}, GEMINI)
        self.assertEqual(strange.json["modelVersion"], '\ufffd"')

    def test_azure(self):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        b = self.sim.request("POST", "/openai/v1/chat/completions", body, AZURE).json
        self.assertEqual(b["choices"][0]["message"]["content"], "echo:hi")
        self.assertFalse(b["choices"][0]["content_filter_results"]["hate"]["filtered"])
        self.assertEqual(b["prompt_filter_results"][0]["prompt_index"], 0)
        self.assertNotIn("prompt_filter_results", self.sim.chat("hi").json)
        self.assertEqual(self.sim.messages("hi", headers=AZURE).status, 401)

    def test_cohere(self):
        b = self.sim.cohere("hi", max_tokens=9).json
        self.assertEqual(b["message"], {"role": "assistant", "content": [{"type": "text", "text": "echo:hi"}]})
        self.assertEqual(b["finish_reason"], "COMPLETE")
        self.assertEqual(b["usage"]["billed_units"], {"input_tokens": 1, "output_tokens": 2})
        tools = self.sim.cohere("[[tool]]", tools=[{"type": "function"}]).json
        self.assertEqual(tools["finish_reason"], "TOOL_CALL")
        self.assertEqual(json.loads(tools["message"]["tool_calls"][0]["function"]["arguments"]), {"city": "Paris"})
        self.assertEqual(self.sim.cohere("[[length]]").json["finish_reason"], "MAX_TOKENS")
        self.assertEqual(self.sim.cohere("[[empty]]").json["message"]["content"], [])

    def test_bedrock(self):
        a = self.sim.converse("hi", model="vendor.nova:1")
        self.assertTrue(a.headers["x-amzn-requestid"])
        self.assertEqual(a.json["output"]["message"], {"role": "assistant", "content": [{"text": "echo:hi"}]})
        self.assertEqual(a.json["stopReason"], "end_turn")
        self.assertEqual((a.json["usage"]["inputTokens"], a.json["usage"]["outputTokens"]), (1, 2))
        tools = self.sim.converse("[[tool]]", toolConfig={"tools": [{"toolSpec": {}}]}).json
        self.assertEqual(tools["stopReason"], "tool_use")
        self.assertEqual(tools["output"]["message"]["content"][0]["toolUse"]["input"], {"city": "Paris"})
        self.assertEqual(self.sim.converse("[[refusal]]").json["stopReason"], "content_filtered")
        self.assertEqual(self.sim.converse("[[empty]]").json["output"]["message"]["content"], [])
        self.assertIn("vendor.nova:1", self.sim.stats()["per_model"])

    def test_tools(self):
        text = "weather? [[tool]]"
        call = self.sim.chat(text, tools=[{"type": "function"}]).json["choices"][0]
        self.assertEqual((call["finish_reason"], call["message"]["content"]), ("tool_calls", None))
        function = call["message"]["tool_calls"][0]["function"]
        self.assertEqual((function["name"], json.loads(function["arguments"])), ("get_weather", {"city": "Paris"}))
        block = self.sim.messages(text, tools=[{"name": "t"}]).json
        self.assertEqual((block["stop_reason"], block["content"][0]["type"]), ("tool_use", "tool_use"))
        self.assertEqual(block["content"][0]["input"], {"city": "Paris"})
        part = self.sim.generate(text, tools=[{}]).json["candidates"][0]["content"]["parts"][0]
        self.assertEqual(part, {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}})
        item = self.sim.request("POST", "/v1/responses", {"model": "m", "input": text, "tools": [{}]}, OPENAI)
        self.assertEqual(item.json["output"][0]["type"], "function_call")
        self.assertEqual(self.sim.chat(text).json["choices"][0]["message"]["content"], "echo:" + text)

    def test_finish_reasons(self):
        self.assertEqual(self.sim.chat("[[length]]").json["choices"][0]["finish_reason"], "length")
        self.assertEqual(self.sim.messages("[[refusal]]").json["stop_reason"], "refusal")
        self.assertEqual(self.sim.generate("[[length]]").json["candidates"][0]["finishReason"], "MAX_TOKENS")

    def test_models(self):
        ids = [m["id"] for m in self.sim.request("GET", "/v1/models", headers=OPENAI).json["data"]]
        self.assertIn("listed", ids)

    def assertError(self, a, http_status, /, **members):
        self.assertEqual(a.status, http_status, a.body)
        error = a.json["error"]
        for name, value in members.items():
            self.assertEqual(error[name], value, error)

    def test_openai_errors(self):
        invalid = "invalid_request_error"
        self.assertError(self.sim.chat("x", headers={}), 401, type=invalid, param=None, code=None)
        self.assertError(self.sim.chat("x", model="missing-x"), 404, type=invalid, code="model_not_found")
        self.assertError(self.sim.request("POST", "/v1/chat/completions", "{", OPENAI), 400, type=invalid, code=None)
        self.assertError(self.sim.request("POST", "/v1/chat/completions", {"messages": []}, OPENAI), 400, type=invalid)
        self.assertError(self.sim.request("POST", "/v1/chat/completions", {"model": "m"}, OPENAI), 400,
                         param="messages", message="Missing required parameter: 'messages'.")
        self.assertError(self.sim.request("POST", "/v1/embeddings", {"model": "m"}, OPENAI), 400, param="input")
        self.assertError(self.sim.request("POST", "/v1/responses", {"model": "m", "input": "x", "stream": True}, OPENAI),
                         400, param="stream")
        self.assertError(self.sim.request("POST", "/v1/nothing", "{}", OPENAI), 404)
        self.assertError(self.sim.request("GET", "/v1/chat/completions", headers=OPENAI), 405)
        self.assertError(self.sim.chat("[[400]]"), 400, type=invalid)
        self.assertError(self.sim.chat("[[401]]"), 401, code="invalid_api_key")
        self.assertError(self.sim.chat("[[402]]"), 402)
        self.assertError(self.sim.chat("[[context]]"), 400, code="context_length_exceeded", param="messages")
        self.assertError(self.sim.chat("[[policy]]"), 400, code="content_policy_violation")
        self.assertError(self.sim.chat("[[quota]]"), 429, type="insufficient_quota", code="insufficient_quota")
        self.assertIsNone(self.sim.chat("[[quota]]").headers["retry-after"])
        self.assertError(self.sim.chat("[[429]]"), 429, type="requests", code="rate_limit_exceeded")
        self.assertError(self.sim.chat("[[529]]"), 503)
        self.assertError(self.sim.chat("[[500]]"), 500, type="server_error")
        self.assertError(self.sim.chat("[[502]]"), 502, type="server_error")

    def test_anthropic_errors(self):
        def check(a, status, kind):
            self.assertError(a, status, type=kind)
            self.assertEqual(a.json["type"], "error")
            self.assertEqual(a.json["request_id"], a.headers["request-id"])
        check(self.sim.messages("x", headers={}), 401, "authentication_error")
        check(self.sim.messages("x", headers={"x-api-key": "k"}), 400, "invalid_request_error")
        check(self.sim.messages("x", max_tokens=None), 400, "invalid_request_error")
        check(self.sim.messages("x", messages=None), 400, "invalid_request_error")
        check(self.sim.messages("x", model="missing-x"), 404, "not_found_error")
        check(self.sim.request("POST", "/v1/messages", "[", ANTHROPIC), 400, "invalid_request_error")
        check(self.sim.messages("[[401]]"), 401, "authentication_error")
        check(self.sim.messages("[[402]]"), 402, "billing_error")
        check(self.sim.messages("[[429]]"), 429, "rate_limit_error")
        check(self.sim.messages("[[500]]"), 500, "api_error")
        check(self.sim.messages("[[504]]"), 504, "timeout_error")
        check(self.sim.messages("[[529]]"), 529, "overloaded_error")
        quota = self.sim.messages("[[quota]]")
        check(quota, 429, "rate_limit_error")
        self.assertEqual(quota.json["error"]["details"]["error_code"], "enforced_spend_limit_reached")
        self.assertIsNone(quota.headers["retry-after"])
        self.assertIn("prompt is too long", self.sim.messages("[[context]]").json["error"]["message"])

    def test_gemini_errors(self):
        def check(a, status, name):
            self.assertError(a, status, code=status, status=name)
            return a.json["error"].get("details")
        check(self.sim.generate("x", headers={}), 403, "PERMISSION_DENIED")
        check(self.sim.generate("x", model="missing-x"), 404, "NOT_FOUND")
        check(self.sim.generate("x", contents=None), 400, "INVALID_ARGUMENT")
        check(self.sim.generate("[[context]]"), 400, "INVALID_ARGUMENT")
        check(self.sim.generate("[[500]]"), 500, "INTERNAL")
        check(self.sim.generate("[[529]]"), 503, "UNAVAILABLE")
        check(self.sim.generate("[[401]]"), 401, "UNAUTHENTICATED")
        rate = check(self.sim.generate("[[429]]"), 429, "RESOURCE_EXHAUSTED")
        self.assertEqual(rate[-1], {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"})
        quota = check(self.sim.generate("[[quota]]"), 429, "RESOURCE_EXHAUSTED")
        self.assertIn("PerDay", quota[0]["violations"][0]["quotaId"])
        self.assertFalse(any("RetryInfo" in d["@type"] for d in quota))
        blocked = self.sim.generate("[[policy]]")
        self.assertEqual((blocked.status, blocked.json["promptFeedback"]["blockReason"]), (200, "PROHIBITED_CONTENT"))
        self.assertNotIn("candidates", blocked.json)

    def test_cohere_errors(self):
        def check(a, status, words):
            self.assertEqual(a.status, status, a.body)
            self.assertIn(words, a.json["message"])
            return a
        check(self.sim.cohere("x", headers={}), 401, "no api key")
        check(self.sim.cohere("x", model="missing-x"), 404, "model 'missing-x' not found")
        check(self.sim.cohere("x", messages=None), 400, "messages")
        check(self.sim.request("POST", "/v2/chat", "{", OPENAI), 400, "json")
        check(self.sim.cohere("[[401]]"), 401, "invalid api token")
        check(self.sim.cohere("[[402]]"), 402, "payment")
        check(self.sim.cohere("[[context]]"), 400, "too many tokens")
        check(self.sim.cohere("[[quota]]"), 429, "API calls / month")
        self.assertEqual(check(self.sim.cohere("[[429]]"), 429, "limit").headers["retry-after"], "1")
        check(self.sim.cohere("[[502]]"), 502, "server error")
        check(self.sim.cohere("[[529]]"), 503, "overloaded")

    def test_bedrock_errors(self):
        def check(a, status, kind):
            self.assertEqual((a.status, a.headers["x-amzn-errortype"].split(":")[0]), (status, kind + "Exception"))
            self.assertTrue(a.json["message"])
            self.assertIsNone(a.headers["retry-after"])
        check(self.sim.converse("x", headers={}), 403, "MissingAuthenticationToken")
        check(self.sim.converse("x", model="missing-x"), 404, "ResourceNotFound")
        check(self.sim.converse("x", messages=None), 400, "Validation")
        check(self.sim.converse("[[401]]"), 403, "UnrecognizedClient")
        check(self.sim.converse("[[context]]"), 400, "Validation")
        check(self.sim.converse("[[quota]]"), 400, "ServiceQuotaExceeded")
        check(self.sim.converse("[[429]]"), 429, "Throttling")
        check(self.sim.converse("[[500]]"), 500, "InternalServer")
        check(self.sim.converse("[[529]]"), 503, "ServiceUnavailable")
        blocked = self.sim.converse("[[policy]]")
        self.assertEqual((blocked.status, blocked.json["stopReason"]), (200, "guardrail_intervened"))

    def test_garbage_and_empty(self):
        a = self.sim.chat("[[garbage]]")
        self.assertEqual((a.status, a.headers.get_content_type()), (200, "text/html"))
        self.assertEqual(self.sim.chat("[[empty]]").json["choices"], [])
        self.assertEqual(self.sim.messages("[[empty]]").json["content"], [])
        self.assertNotIn("candidates", self.sim.generate("[[empty]]").json)

    def test_json_is_read_strictly(self):
        good = ["1", "-0", "1.5e+7", "0.1", '"\\u00e9\\n"', "[]", "{}", "[[],{}]", "true", "null", ' "x" ', "12345678901234567890",
                '"\u00e9"', "[" * 100 + "]" * 100]
        bad = ["", "01", "1.", ".5", "+1", "1e", "tru", "nul", "'x'", '"\\x"', '"\\u12g4"', '"\n"', "[1,]", "[,1]", "{,}",
               '{"a"}', '{"a":1,}', "{1:2}", "[1 2]", "NaN", "[" * 200 + "]" * 200, "1 1"]
        for value, status in [(v, 200) for v in good] + [(v, 400) for v in bad]:
            body = '{"model":"m","messages":[],"x":%s}' % value
            a = self.sim.request("POST", "/v1/chat/completions", body.encode(), OPENAI)
            self.assertEqual(a.status, status, value)
        for tail, status in [(b'"}', 200), (b'\xff"}', 400), (b'\xc0\x80"}', 400), (b'\xed\xa0\x80"}', 400), (b'"', 400), (b'"}x', 400)]:
            a = self.sim.request("POST", "/v1/chat/completions", b'{"model":"m","messages":[],"x":"' + tail, OPENAI)
            self.assertEqual(a.status, status, tail)


class Keys(Case):
    def test_good_and_bad(self):
        with Sim("--good-key", "sk-good-one") as sim:
            bad = sim.chat("x", headers={"Authorization": "Bearer sk-bad-one-1"})
            self.assertEqual((bad.status, bad.json["error"]["code"]), (401, "invalid_api_key"))
            self.assertNotIn("bad-one", bad.json["error"]["message"])
            self.assertEqual(sim.messages("x").json["error"]["type"], "authentication_error")
            self.assertEqual(sim.generate("x").status, 401)
            sim.set(gemini_key_status=400)
            google = sim.generate("x").json["error"]
            self.assertEqual((google["code"], google["details"][0]["reason"]), (400, "API_KEY_INVALID"))
            self.assertEqual(sim.chat("x", headers={"Authorization": "Bearer sk-good-one"}).status, 200)
            sim.set(bad_key="sk-good-one")
            self.assertEqual(sim.chat("x", headers={"Authorization": "Bearer sk-good-one"}).status, 401)
            sim.set(good_key="sk-test")
            self.assertEqual(sim.chat("x").status, 200)

    def test_one_bad_among_any(self):
        with Sim() as sim:
            sim.set(bad_key="sk-test")
            self.assertEqual(sim.chat("x").status, 401)
            self.assertEqual(sim.chat("x", headers={"Authorization": "Bearer other"}).status, 200)
            sim.set(good_key="sk-test")
            self.assertEqual(sim.chat("x").status, 200)
            self.assertEqual(sim.chat("x", headers={"Authorization": "Bearer other"}).status, 200)


class Streams(Case):
    @classmethod
    def setUpClass(cls):
        cls.sim = Sim("--stream-bytes", 4).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.sim.__exit__()

    def test_chat(self):
        text = 'a "quoted" line\nand \\ é \U0001f600 \u0007'
        a = self.sim.chat(text, stream=True)
        self.assertEqual((a.status, a.headers["content-type"]), (200, "text/event-stream"))
        e = [data for _, data in events(a)]
        self.assertEqual(e[-1], "[DONE]")
        self.assertEqual({c["object"] for c in e[:-1]}, {"chat.completion.chunk"})
        self.assertEqual(e[0]["choices"][0]["delta"]["role"], "assistant")
        parts = [c["choices"][0]["delta"]["content"] for c in e[1:-2]]
        self.assertEqual("".join(parts), "echo:" + text)
        self.assertGreater(len(parts), 5)
        self.assertEqual([c["choices"][0]["finish_reason"] for c in e[:-1]], [None] * (len(e) - 2) + ["stop"])
        self.assertFalse(any("usage" in c for c in e[:-1]))

    def test_usage(self):
        e = [data for _, data in events(self.sim.chat("hi", stream=True, stream_options={"include_usage": True}))]
        self.assertEqual([c["usage"] for c in e[:-2]], [None] * (len(e) - 2))
        self.assertEqual((e[-2]["choices"], e[-2]["usage"]["prompt_tokens"], e[-2]["usage"]["completion_tokens"]),
                         ([], tokens("hi"), tokens("echo:hi")))

    def test_completions(self):
        a = self.sim.request("POST", "/v1/completions", {"model": "m", "prompt": "hello", "stream": True}, OPENAI)
        e = [data for _, data in events(a)]
        self.assertEqual("".join(c["choices"][0]["text"] for c in e[:-1]), "echo:hello")
        self.assertEqual((e[0]["object"], e[-1]), ("text_completion", "[DONE]"))

    def test_tools(self):
        tools = [{"type": "function", "function": {"name": "get_weather"}}]
        e = [data for _, data in events(self.sim.chat("[[tool]]", stream=True, tools=tools))]
        calls = [c["choices"][0]["delta"]["tool_calls"][0] for c in e[1:-2]]
        self.assertEqual(calls[0]["function"]["name"], "get_weather")
        self.assertEqual(json.loads("".join(c["function"]["arguments"] for c in calls)), {"city": "Paris"})
        self.assertEqual(e[-2]["choices"][0]["finish_reason"], "tool_calls")

    def test_azure(self):
        e = [data for _, data in events(self.sim.chat("hi", headers=AZURE, stream=True))]
        self.assertEqual((e[0]["choices"], e[0]["prompt_filter_results"][0]["prompt_index"]), ([], 0))

    def test_anthropic(self):
        e = events(self.sim.messages("hello there", stream=True))
        self.assertTrue(all(name == data["type"] for name, data in e))
        self.assertEqual([e[0][0], e[1][0], e[-3][0], e[-2][0], e[-1][0]],
                         ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
        deltas = [data["delta"]["text"] for name, data in e if name == "content_block_delta"]
        self.assertEqual("".join(deltas), "echo:hello there")
        self.assertEqual((e[0][1]["message"]["usage"]["input_tokens"], e[-2][1]["usage"]["output_tokens"],
                          e[-2][1]["delta"]["stop_reason"]), (tokens("hello there"), tokens("echo:hello there"), "end_turn"))
        e = events(self.sim.messages("[[tool]]", stream=True, tools=[{"name": "get_weather"}]))
        deltas = [data["delta"]["partial_json"] for name, data in e if name == "content_block_delta"]
        self.assertEqual(json.loads("".join(deltas)), {"city": "Paris"})

    def test_spoilt(self):
        e = [data for _, data in events(self.sim.chat("[[badevent]] and so on", stream=True))]
        self.assertEqual([c for c in e if isinstance(c, str)], ['{"choices":[{', "[DONE]"])
        e = [data for _, data in events(self.sim.chat("[[errorevent]] and so on", stream=True))]
        self.assertEqual((e[-1]["error"]["type"], "error" in e[-2]), ("server_error", False))
        e = [data for _, data in events(self.sim.chat("[[noend]]", stream=True))]
        self.assertEqual(e[-1]["choices"][0]["finish_reason"], "stop")
        e = events(self.sim.messages("[[errorevent]] and so on", stream=True))
        self.assertEqual((e[-1][0], e[-1][1]["error"]["type"]), ("error", "overloaded_error"))
        e = events(self.sim.messages("[[noend]]", stream=True))
        self.assertEqual(e[-1][0], "message_delta")

    def test_refusals_come_whole(self):
        self.assertEqual(self.sim.chat("[[429]]", stream=True).json["error"]["code"], "rate_limit_exceeded")
        self.assertEqual(self.sim.chat("[[500]]", stream=True).status, 500)

    def test_one_after_the_other(self):
        conn = self.sim.connect()
        for text in ("one", "two"):
            e = [data for _, data in events(self.sim.chat(text, stream=True, conn=conn))]
            self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in e[:-1]), "echo:" + text)
        conn.close()


class StreamTimes(Case):
    def check(self, sim):
        conn = sim.connect()
        start = time.monotonic()
        conn.request("POST", "/v1/chat/completions",
                     json.dumps({"model": "m", "messages": [{"role": "user", "content": "abc"}], "stream": True}), OPENAI)
        r = conn.getresponse()
        seen = []
        while line := r.readline():
            if line.startswith(b"data: "):
                seen.append(time.monotonic() - start)
        conn.close()
        self.assertEqual(len(seen), 5)  # role, two parts, finish, [DONE]
        self.assertGreaterEqual(seen[-1] - seen[0], 0.19)
        s = sim.settled(in_flight=0)
        self.assertEqual((s["answered"], s["in_flight"]), (1, 0))

    def test_events_take_their_time(self):
        with Sim("--stream-ms", 50, "--stream-bytes", 4) as sim:
            self.check(sim)
        with TlsSim("--stream-ms", 50, "--stream-bytes", 4, "--http1") as sim:
            self.check(sim)

    def test_cut_in_the_middle(self):
        with Sim("--stream-ms", 10) as sim:
            with self.assertRaises(http.client.IncompleteRead) as e:
                sim.chat("[[cutmid]]" + "x" * 100, stream=True)
            self.assertIn(b"data: ", e.exception.partial)
            s = sim.settled(cut_mid=1)
            self.assertEqual((s["cut_mid"], s["answered"], s["in_flight"]), (1, 0, 0))

    def test_abandoned(self):
        with Sim("--stream-ms", 100) as sim:
            body = json.loads(chat_body("x" * 200)) | {"stream": True}
            got, _ = sim.raw(post("/v1/chat/completions", json.dumps(body)), until=(b"data: ", 2))
            self.assertIn(b"echo:", got)
            s = sim.settled(abandoned=1)
            self.assertEqual((s["abandoned"], s["answered"], s["in_flight"]), (1, 0, 0))


class Limits(Case):
    def test_openai(self):
        with Sim("--rpm", 60, "--burst", 2) as sim:
            a = sim.chat("x")
            self.assertEqual(a.headers["x-ratelimit-limit-requests"], "60")
            self.assertEqual(a.headers["x-ratelimit-remaining-requests"], "1")
            self.assertRegex(a.headers["x-ratelimit-reset-requests"], r"^(1s|\d+ms)$")
            self.assertEqual(sim.chat("x").status, 200)
            refused = sim.chat("x")
            self.assertEqual(refused.status, 429)
            self.assertEqual(refused.json["error"]["code"], "rate_limit_exceeded")
            wait = int(refused.headers["retry-after-ms"])
            self.assertTrue(300 < wait <= 1000, wait)
            self.assertEqual(refused.headers["retry-after"], "1")
            self.assertRegex(refused.json["error"]["message"], r"Please try again in (1s|0\.\d+s)\.$")
            time.sleep(wait / 1000)
            self.assertEqual(sim.chat("x").status, 200)
            s = sim.stats()
            self.assertEqual((s["requests"], s["accepted"], s["refused_429"]), (4, 3, 1))
            self.assertEqual(s["by_status"], {"200": 3, "429": 1})

    def test_limits_that_no_header_tells(self):
        with Sim("--rpm", 60, "--burst", 1, "--headers", 0, "--model", "told:headers=1") as sim:
            def told(a):
                return [name for name in a.headers if "ratelimit" in name.lower()]

            for call in (sim.chat, sim.messages):
                sim.request("POST", "/_sim/reset")
                answer, refused = call("x"), call("x")
                self.assertEqual((answer.status, refused.status), (200, 429))
                self.assertEqual((told(answer), told(refused)), ([], []))
                self.assertEqual(refused.headers["retry-after"], "1")
                self.assertTrue(told(call("x", model="told")))
            sim.set(headers=1)
            self.assertTrue(told(sim.chat("x")))

    def test_anthropic(self):
        with Sim("--rpm", 60, "--tpm", 600000, "--bucket", "minute") as sim:
            a = sim.messages("x")
            self.assertEqual(a.headers["anthropic-ratelimit-requests-limit"], "60")
            self.assertEqual(a.headers["anthropic-ratelimit-requests-remaining"], "59")
            self.assertEqual(a.headers["anthropic-ratelimit-tokens-remaining"], "600000")
            reset = a.headers["anthropic-ratelimit-requests-reset"]
            self.assertRegex(reset, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            away = calendar.timegm(time.strptime(reset, "%Y-%m-%dT%H:%M:%SZ")) - time.time()
            self.assertTrue(50 < away < 62, away)
            while (a := sim.messages("x")).status == 200:
                pass
            self.assertEqual((a.status, a.json["error"]["type"]), (429, "rate_limit_error"))
            self.assertTrue(50 < int(a.headers["retry-after"]) <= 60)
            self.assertEqual(sim.stats()["accepted"], 60)

    def test_gemini(self):
        with Sim("--rpm", 120, "--bucket", "second") as sim:
            answers = [sim.generate("x") for _ in range(8)]
            refused = [a for a in answers if a.status == 429]
            self.assertTrue(refused)
            details = {d["@type"].rsplit(".", 1)[1]: d for d in refused[0].json["error"]["details"]}
            self.assertRegex(details["RetryInfo"]["retryDelay"], r"^(1|0\.\d+)s$")
            self.assertIn("PerMinute", details["QuotaFailure"]["violations"][0]["quotaId"])
            self.assertEqual(details["QuotaFailure"]["violations"][0]["quotaValue"], "120")
            self.assertLessEqual(sim.stats()["max_accepted_per_second"], 2)

    def test_seconds_hold_their_share(self):
        with Sim("--rpm", 600, "--bucket", "second") as sim:
            conn, end, good = sim.connect(), time.monotonic() + 2.2, 0
            while time.monotonic() < end:
                good += sim.chat("x", conn=conn).status == 200
            conn.close()
            self.assertTrue(10 <= good <= 40, good)
            self.assertEqual(sim.stats()["max_accepted_per_second"], 10)

    def test_continuous_rate(self):
        with Sim("--rpm", 6000, "--burst", 1) as sim:
            conn, start, good = sim.connect(), time.monotonic(), 0
            while time.monotonic() < start + 1.5:
                good += sim.chat("x", conn=conn).status == 200
            conn.close()
            most = (time.monotonic() - start) * 100 + 2
            self.assertTrue(50 <= good <= most, (good, most))

    def test_tokens(self):
        text = "x" * 394  # 99 + 100 tokens
        with Sim("--tpm", 1000, "--bucket", "minute") as sim:
            statuses = [sim.chat(text).status for _ in range(7)]
            self.assertEqual(statuses, [200] * 5 + [429] * 2)
            a = sim.chat(text)
            self.assertEqual(a.json["error"]["type"], "tokens")
            self.assertEqual(a.headers["x-ratelimit-remaining-tokens"], "5")
        with Sim("--tpm", 1000, "--bucket", "minute", "--tokens", "asked") as sim:
            statuses = [sim.chat(text, max_tokens=500).status for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429])

    def test_concurrency(self):
        with Sim("--concurrency", 2, "--latency-ms", 800) as sim:
            answers = []
            threads = [threading.Thread(target=lambda i=i: answers.append(sim.chat(f"t{i}"))) for i in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(sorted(a.status for a in answers), [200, 200, 429, 429])
            s = sim.stats()
            self.assertEqual((s["max_in_flight"], s["in_flight"], s["refused_429"]), (2, 0, 2))

    def test_per_model(self):
        with Sim("--rpm", 60, "--burst", 1, "--model", "v:1:rpm=0,answer_bytes=100", "--model", "slow:latency-ms=200") as sim:
            self.assertEqual([sim.chat("x").status for _ in range(2)], [200, 429])
            self.assertEqual([sim.chat("x", model="v:1").status for _ in range(5)], [200] * 5)
            self.assertEqual(len(sim.chat("x", model="v:1").json["choices"][0]["message"]["content"]), 100)
            start = time.monotonic()
            self.assertEqual(sim.chat("x", model="slow").status, 200)
            self.assertGreaterEqual(time.monotonic() - start, 0.2)
            sim.set(rpm=0)
            self.assertEqual([sim.chat("x").status for _ in range(3)], [200] * 3)
            sim.set(model="v:1", rpm=60, burst=1)
            self.assertIn(429, [sim.chat("x", model="v:1").status for _ in range(3)])
            self.assertEqual([sim.chat("x").status for _ in range(3)], [200] * 3)
            self.assertEqual(sim.stats()["per_model"]["v:1"]["refused_429"], 2)
            self.assertEqual(sim.set(nonsense=1).status, 400)
            self.assertEqual(sim.set(fault_500=2).status, 400)


class Faults(Case):
    def test_counted_marks(self):
        with Sim() as sim:
            self.assertEqual([sim.chat("[[500x2]] a").status for _ in range(4)], [500, 500, 200, 200])
            self.assertEqual([sim.chat("[[500x2]] b").status for _ in range(3)], [500, 500, 200])
            self.assertEqual([sim.messages("[[429x1]] c").status for _ in range(2)], [429, 200])
            self.assertEqual([sim.generate("[[500x1]][[429x2]][[529x1]]").status for _ in range(5)], [500, 429, 429, 503, 200])
            self.assertCut(sim.chat, "[[cutx1]]")
            self.assertEqual(sim.chat("[[cutx1]]").status, 200)
            c = sim.calls("[[500x2]] a")
            self.assertEqual(c, {"calls": 4, "answered": 2, "tries": 4})
            self.assertEqual(sim.calls("[[429x1]] c"), {"calls": 1, "answered": 1, "tries": 2})

    def test_cuts(self):
        with Sim() as sim:
            self.assertCut(sim.chat, "[[cut]]")
            with self.assertRaises(http.client.IncompleteRead):
                sim.chat("[[cutmid]]")
            s = sim.stats()
            self.assertEqual((s["cut"], s["cut_mid"], s["answered"], s["accepted"], s["in_flight"]), (1, 1, 0, 2, 0))

    def test_hang(self):
        with Sim("--track") as sim:
            got, closed = sim.raw(post("/v1/chat/completions", chat_body("[[hangx1]]")), 0.3)
            self.assertEqual((got, closed), (b"", False))
            s = sim.settled(hung=1, in_flight=0)
            self.assertEqual((s["hung"], s["in_flight"], s["abandoned"]), (1, 0, 0))
            self.assertEqual(sim.chat("[[hangx1]]").status, 200)

    def test_slow_and_abandoned(self):
        with Sim() as sim:
            start = time.monotonic()
            self.assertEqual(sim.chat("[[slow:250]]").status, 200)
            self.assertGreaterEqual(time.monotonic() - start, 0.25)
            sim.raw(post("/v1/chat/completions", chat_body("[[slow:5000]]")), 0.2)
            s = sim.settled(abandoned=1)
            self.assertEqual((s["abandoned"], s["in_flight"], s["answered"]), (1, 0, 1))

    def test_shares(self):
        options = ["--fault-500", 0.2, "--fault-429", 0.1, "--fault-cut", 0.1, "--fault-garbage", 0.1, "--track"]

        def fates(seed):
            with Sim(*options, "--seed", seed) as sim:
                fate = []
                for i in range(400):
                    try:
                        a = sim.chat(f"text {i}")
                        fate.append(a.headers.get_content_type() if a.status == 200 else a.status)
                    except (http.client.HTTPException, ConnectionError):
                        fate.append("cut")
                return fate
        one = fates(1)
        for kind, share in ((500, 80), (429, 40), ("cut", 40), ("text/html", 40), ("application/json", 200)):
            self.assertTrue(share * 0.5 < one.count(kind) < share * 1.5, (kind, one.count(kind)))
        self.assertEqual(one, fates(1))
        self.assertNotEqual(one, fates(2))

    def test_set_while_running(self):
        with Sim() as sim:
            self.assertEqual(sim.chat("x").status, 200)
            sim.set(fault_500=1)
            self.assertEqual(sim.chat("x").status, 500)
            sim.set(fault_500=0, fault_529=1)
            self.assertEqual(sim.messages("x").status, 529)
            sim.set(fault_529=0, latency_ms=150)
            start = time.monotonic()
            self.assertEqual(sim.chat("x").status, 200)
            self.assertGreaterEqual(time.monotonic() - start, 0.15)

    def test_outage(self):
        with Sim("--outage", "0:1500") as sim:
            self.assertCut(sim.chat, "x")
            self.assertGreaterEqual(sim.stats()["cut"], 1)
            time.sleep(1.6)
            self.assertEqual(sim.chat("x").status, 200)
            sim.set(outage="on", outage_status=503)
            self.assertEqual(sim.chat("x").status, 503)
            self.assertEqual(sim.messages("x").json["error"]["type"], "api_error")
            sim.set(outage="off")
            self.assertEqual(sim.chat("x").status, 200)
            self.assertEqual(sim.stats()["accepted"], 2)

    def test_outage_cuts_what_is_in_flight(self):
        with Sim("--latency-ms", 400) as sim:
            threading.Timer(0.1, sim.set, kwargs={"outage": "on"}).start()
            self.assertCut(sim.chat, "x")

    def test_latency_spread(self):
        with Sim("--latency-ms", 20, "--latency-sigma", 0.5, "--seed", 3) as sim:
            conn, times = sim.connect(), []
            for i in range(60):
                start = time.monotonic()
                sim.chat(f"x{i}", conn=conn)
                times.append(time.monotonic() - start)
            conn.close()
            times.sort()
            self.assertTrue(0.014 < times[30] < 0.08, times[30])
            self.assertLess(times[0], times[30] * 0.8)
            self.assertGreater(times[-1], times[30] * 1.3)


class Tracking(Case):
    def test_repeats(self):
        with Sim("--track") as sim:
            long = "é" * 100
            for text, calls in (("once", 1), ("twice", 2), (long, 3)):
                for _ in range(calls):
                    sim.chat(text)
            sim.chat("[[500x1]] r")
            sim.messages("[[500x1]] r")
            sim.chat("[[429]] never")
            s = sim.stats()
            self.assertEqual((s["unique_texts"], s["repeated_texts"], s["calls_of_repeated"]), (4, 3, 7))
            self.assertEqual((s["answered_texts"], s["answered_again"]), (4, 3))
            repeats = {r["text"]: (r["calls"], r["answered"]) for r in sim.request("GET", "/_sim/repeats").json}
            self.assertEqual(repeats, {"twice": (2, 2), "é" * 32: (3, 3), "[[500x1]] r": (2, 1)})
            self.assertEqual(sim.calls("once")["calls"], 1)
            self.assertEqual(sim.calls("unheard of"), {"calls": 0, "answered": 0, "tries": 0})
            sim.request("POST", "/_sim/reset")
            s = sim.stats()
            self.assertEqual((s["requests"], s["unique_texts"], s["by_status"]), (0, 0, {}))
            self.assertEqual(sim.calls("twice")["calls"], 0)

    def test_a_text_is_one_however_escaped(self):
        with Sim("--track") as sim:
            for raw in ('"\\u00e9\\/"', '"é/"', '"\\u00E9/"'):
                body = '{"model":"m","messages":[{"role":"user","content":%s}]}' % raw
                sim.request("POST", "/v1/chat/completions", body.encode(), OPENAI)
            self.assertEqual(sim.calls("é/")["calls"], 3)

    def test_threads_count_together(self):
        with Sim("--track", "--threads", 2) as sim:
            def work(k):
                conn = sim.connect()
                for i in range(200):
                    assert sim.chat(f"{k} {i}", conn=conn).status == 200
                conn.close()
            threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            s = sim.stats()
            self.assertEqual((s["requests"], s["answered"], s["unique_texts"], s["repeated_texts"]), (1600, 1600, 1600, 0))


class Http(Case):
    kind = Sim

    @classmethod
    def setUpClass(cls):
        cls.sim = cls.kind().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.sim.__exit__()

    def statuses(self, got):
        return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]

    def test_keep_alive(self):
        conn = self.sim.connect()
        for i in range(50):
            a = self.sim.chat(f"n{i}", conn=conn)
            self.assertEqual(a.json["choices"][0]["message"]["content"], f"echo:n{i}")
            sock = conn.sock if i == 0 else sock
            self.assertIs(conn.sock, sock)
        conn.close()

    def test_close(self):
        got, closed = self.sim.raw(post("/v1/chat/completions", chat_body("x"), "Connection: close"))
        self.assertTrue(closed)
        self.assertIn(b"connection: close", got)
        old = post("/v1/chat/completions", chat_body("x")).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        got, closed = self.sim.raw(old)
        self.assertEqual((self.statuses(got), closed), ([200], True))

    def test_pipelining(self):
        texts = [f"p{i}" + (" [[slow:30]]" if i % 3 == 0 else "") for i in range(30)]
        data = b"".join(post("/v1/chat/completions", chat_body(t)) for t in texts)
        got, _ = self.sim.raw(data, until=(b"finish_reason", 30))
        self.assertEqual(re.findall(rb'"content":"echo:([^"]*)"', got), [t.encode() for t in texts])

    def test_byte_by_byte(self):
        data = post("/v1/chat/completions", chat_body("slowly"))
        chunked = post("/v1/chat/completions", self.chunks(chat_body("slowly"), 7), "Transfer-Encoding: chunked")
        with self.sim.open() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for one in (data, chunked):
                for i in range(len(one)):
                    s.sendall(one[i:i + 1])
            got, _ = read_for(s, until=(b"fp_sim", 2))
        self.assertEqual(self.statuses(got), [200, 200])

    @staticmethod
    def chunks(body, size):
        body = body.encode()
        pieces = [body[i:i + size] for i in range(0, len(body), size)]
        return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nTrailer: t\r\n\r\n"

    def test_chunked(self):
        text = "c" * 5000
        for size in (1, 13, 4096, 100000):
            one = post("/v1/chat/completions", self.chunks(chat_body(text), size), "Transfer-Encoding: chunked")
            got, _ = self.sim.raw(one * 2, until=(b"fp_sim", 2))
            self.assertEqual(self.statuses(got), [200, 200])
            self.assertEqual(got.count(("echo:" + text).encode()), 2)

    def test_expect(self):
        body = chat_body("x")
        with self.sim.open() as s:
            s.sendall(post("/v1/chat/completions", body, "Expect: 100-continue")[:-len(body)])
            got, _ = read_for(s, until=(b"\r\n\r\n", 1))
            self.assertEqual(got, b"HTTP/1.1 100 Continue\r\n\r\n")
            s.sendall(body.encode())
            self.assertEqual(self.statuses(read_for(s, until=(b"fp_sim", 1))[0]), [200])

    def test_large(self):
        text = "x" * ((64 << 20) - 200)
        a = self.sim.chat(text)
        self.assertEqual(a.status, 200)
        self.assertEqual(a.json["choices"][0]["message"]["content"], "echo:" + text)
        got, closed = self.sim.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n")
        self.assertEqual((self.statuses(got), closed), ([413], True))

    def test_malformed(self):
        line, host, end = b"POST /v1/chat/completions HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"
        cases = [
            (b"nonsense\r\n\r\n", 400), (b"GET /\r\n\r\n", 400), (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
            (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (line + end, 400), (line + host + host + end, 400), (b"GET / HTTP/1.1\nHost: x\n\n", 400),
            (line + host + b"a b: c\r\n" + end, 400), (line + host + b"a : c\r\n" + end, 400),
            (line + host + b"a: c\r\n folded\r\n" + end, 400), (line + host + b"nocolon\r\n" + end, 400),
            (line + host + b"a: \x01\r\n" + end, 400), (line + host + b": x\r\n" + end, 400),
            (line + host + b"Content-Length: -1\r\n" + end, 400), (line + host + b"Content-Length: 1x\r\n" + end, 400),
            (line + host + b"Content-Length: \r\n" + end, 400),
            (line + host + b"Content-Length: 2\r\nContent-Length: 2\r\n" + end, 400),
            (line + host + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" + end, 400),
            (line + host + b"Transfer-Encoding: gzip\r\n" + end, 501),
            (line + host + b"Expect: tea\r\n" + end, 417),
            (line + host + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
            (line + host + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x", 400),
            (line + host + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n", 400),
            (line + host + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 413),
            (line + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n", 400),
            (line + host + b"a: b\r\n" * 100 + end, 431), (line + host + b"a: " + b"b" * 70000, 431),
        ]
        for data, status in cases:
            got, closed = self.sim.raw(data)
            self.assertEqual((self.statuses(got), closed), ([status], True), data[:120])

    def test_good_then_bad(self):
        got, closed = self.sim.raw(post("/v1/chat/completions", chat_body("x")) + b"\x00\x01\r\n")
        self.assertEqual((self.statuses(got), closed), ([200, 400], True))

    def test_slow_reader(self):
        body = chat_body("y" * (4 << 20))
        with self.sim.open() as s:
            s.sendall(post("/v1/chat/completions", body) + post("/v1/chat/completions", chat_body("after")))
            time.sleep(0.2)
            got, _ = read_for(s, until=(b"fp_sim", 2))
        self.assertEqual(self.statuses(got), [200, 200])
        self.assertTrue(len(got) > 4 << 20)

    def test_many_in_flight(self):
        with self.kind("--latency-ms", 1500) as sim:
            socks = [sim.open() for _ in range(1000)]
            for i, s in enumerate(socks):
                s.sendall(post("/v1/chat/completions", chat_body(f"f{i}")))
            for i, s in enumerate(socks):
                got, _ = read_for(s, until=(b"fp_sim", 1))
                self.assertIn(f'"echo:f{i}"'.encode(), got)
                s.close()
            self.assertGreater(sim.stats()["max_in_flight"], 500)


class HttpOverTls(Http):
    """All of it again: what TLS reads ahead must not be forgotten, a full socket must not lose bytes."""
    kind = TlsSim


class Tls(Case):
    def test_cuts(self):
        with TlsSim() as sim:
            with self.assertRaises((http.client.HTTPException, OSError)):
                sim.chat("[[cut]]")
            with self.assertRaises((http.client.HTTPException, OSError)):
                sim.chat("[[cutmid]]")
            s = sim.stats()
            self.assertEqual((s["cut"], s["cut_mid"], s["answered"], s["accepted"], s["in_flight"]), (1, 1, 0, 2, 0))

    def test_abandoned(self):
        with TlsSim() as sim:
            sim.raw(post("/v1/chat/completions", chat_body("[[slow:5000]]")), 0.2)
            self.assertEqual(sim.settled(abandoned=1)["abandoned"], 1)

    def test_versions_and_tickets(self):
        with TlsSim() as sim:
            request = post("/v1/chat/completions", chat_body("x"))
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = ssl.create_default_context(cafile=sim.dir.name + "/cert.pem")
                context.maximum_version = version
                session = None
                for again in (False, True):
                    with sim.open(context, session) as s:
                        s.sendall(request)
                        self.assertIn(b'"echo:x"', read_for(s, until=(b"fp_sim", 1))[0])
                        self.assertEqual((s.version(), s.session_reused), (version.name.replace("_", "."), again))
                        session = s.session
                        s.unwrap() if again else s.shutdown(socket.SHUT_RDWR)
            wire = sim.stats()["wire"]
            self.assertEqual((wire["tls"], wire["tls_resumed"], wire["tls_failed"], wire["h2"]), (5, 2, 0, 0))

    def test_strangers(self):
        with TlsSim() as sim:
            with self.assertRaises(ssl.SSLCertVerificationError):
                sim.open(ssl.create_default_context())
            plain = Sim.open(sim)
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(read_for(plain)[1])
            plain.close()
            Sim.open(sim).close()
            for _ in range(200):
                wire = sim.stats()["wire"]
                if wire["tls_failed"] == 3:
                    break
                time.sleep(0.02)
            self.assertEqual(wire["tls_failed"], 3)

    def test_alpn(self):
        offers = ssl.create_default_context()
        offers.check_hostname, offers.verify_mode = False, ssl.CERT_NONE
        offers.set_alpn_protocols(["http/1.1", "h2"])
        for options, chosen in (((), "h2"), (("--http1",), "http/1.1")):
            with TlsSim(*options) as sim, sim.open(offers) as s:
                self.assertEqual(s.selected_alpn_protocol(), chosen)

    def test_options_that_cannot_be(self):
        for options in (["--tls-cert", "x"], ["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"], ["--http1"],
                        ["--self-signed", "/nonexistent"], ["--self-signed", "/tmp", "--tls-key", "x"]):
            done = subprocess.run([BINARY, *options], capture_output=True, text=True, timeout=10)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn("tls" if "tls" in options[0] else options[0], done.stderr.lower())


class Http2(Case):
    """The frames themselves are tested in C (unit.sim_wire); here, how a connection comes to speak them."""
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    SETTINGS = b"\0\0\0\4\0\0\0\0\0"
    ACK = b"\0\0\0\4\1\0\0\0\0"

    def test_both_on_one_port(self):
        with Sim("--http2", "--h2-streams", 7) as sim:
            self.assertEqual(sim.chat("x").status, 200)
            with sim.open() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(len(self.PREFACE)):
                    s.sendall(self.PREFACE[i:i + 1])
                s.sendall(self.SETTINGS)
                got, _ = read_for(s, until=(self.ACK, 1))
            self.assertEqual((got[3], got[9:15]), (4, b"\0\3\0\0\0\7"))
            with sim.open() as s:  # as PRI, and then not
                s.sendall(b"P")
                time.sleep(0.05)
                s.sendall(post("/v1/chat/completions", chat_body("y"))[1:])
                self.assertIn(b'"echo:y"', read_for(s, until=(b"fp_sim", 1))[0])
            got, closed = sim.raw(self.PREFACE + b"nonsense" * 10)
            self.assertTrue(closed)
            self.assertEqual(sim.stats()["wire"]["h2"], 2)

    def test_only_if_asked_for(self):
        with Sim() as sim:
            got, closed = sim.raw(self.PREFACE + self.SETTINGS)
            self.assertTrue(closed and got.startswith(b"HTTP/1.1 400 "))


if __name__ == "__main__":
    unittest.main()
