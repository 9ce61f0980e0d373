"""OpenAI's Python SDK as a client of the gateway: what tests/sdk/openai_*.test.mjs ask more closely, once, in its words."""
import asyncio
import io
import json
import os
import tempfile
import time
import unittest

import openai
from openai import AsyncOpenAI, OpenAI

URL = os.environ["PST_URL"] + "/v1"
KEYS = {"all": os.environ["PST_KEY"], "lab": os.environ["PST_KEY_OF_LAB"], "slow": os.environ["PST_KEY_SLOW"]}
MODEL = "test/gpt"
MODELS = [MODEL, "test/claude", "test/gemini", "test/echo"]
ENDED = ("completed", "failed", "expired", "cancelled")


def make(key="all", **more):
    return OpenAI(base_url=URL, api_key=KEYS.get(key, key), **{"max_retries": 0, **more})


def user(text):
    return [{"role": "user", "content": text}]


def request(custom_id, text, model=MODEL):
    body = {"model": model, "messages": user(text), "max_tokens": 64}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body})


def numbered(n, model=MODEL):
    return [request(f"c-{i}", f"question {i}", model) for i in range(n)]


def checked(found):
    """As the SDK's own models have it: what they require is there, of the right type."""
    type(found).model_validate(found.to_dict(mode="json"))
    return found


class SDK(unittest.TestCase):
    def setUp(self):
        self.client = make()
        self.addCleanup(self.client.close)

    def other(self, *args, **more):
        client = make(*args, **more)
        self.addCleanup(client.close)
        return client

    def upload(self, lines, client=None):
        data = io.BytesIO("\n".join(lines).encode())
        return (client or self.client).files.create(file=("in.jsonl", data), purpose="batch")

    def create(self, file_id, client=None, **more):
        body = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
        return (client or self.client).batches.create(input_file_id=file_id, **body)

    def ended(self, batch, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.client.batches.retrieve(batch.id)
            if found.status in ENDED:
                return checked(found)
            time.sleep(0.05)
        self.fail(f"{batch.id} is still {found.status}")

    def lines(self, file_id):
        return [json.loads(x) for x in self.client.files.content(file_id).text.splitlines()]


class Files(SDK):
    def test_there_and_back(self):
        text = "\n".join(request(f"ü-{i}", "lang " * 2000) for i in range(300))
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as f:
            f.write(text.encode())
            f.flush()
            with open(f.name, "rb") as stream:
                made = checked(self.client.files.create(file=stream, purpose="batch"))
        self.assertEqual((made.bytes, made.filename), (len(text.encode()), os.path.basename(f.name)))
        self.assertEqual(self.client.files.retrieve(made.id).to_dict(), made.to_dict())
        self.assertEqual(self.client.files.content(made.id).read(), text.encode())
        with self.client.files.with_streaming_response.content(made.id) as answer:
            self.assertEqual(b"".join(answer.iter_bytes()), text.encode())
        self.assertTrue(checked(self.client.files.delete(made.id)).deleted)
        for ask in (self.client.files.retrieve, self.client.files.content, self.client.files.delete):
            with self.assertRaises(openai.NotFoundError):
                ask(made.id)

    def test_list(self):
        lab = self.other("lab")
        made = [f.id for f in lab.files.list(order="asc")] + [self.upload(numbered(1), lab).id for _ in range(5)]
        self.assertEqual([f.id for f in lab.files.list(limit=2)], made[::-1])
        self.assertEqual([f.id for f in lab.files.list(limit=2, order="asc")], made)
        page = lab.files.list(limit=2, after=made[-1])
        self.assertEqual(([checked(f).id for f in page.data], page.has_more), ([made[-2], made[-3]], True))

    def test_kept_as_long_as_it_is_told_to(self):
        f = self.client.files.create(file=("x.jsonl", request("a", "b").encode()), purpose="batch",
                                     expires_after={"anchor": "created_at", "seconds": 3600})
        self.assertEqual(f.expires_at, f.created_at + 3600)

    def test_not_json_lines(self):
        with self.assertRaisesRegex(openai.BadRequestError, "Must be .jsonl") as caught:
            self.client.files.create(file=("x.jsonl", b"Dear batch"), purpose="batch")
        self.assertEqual(caught.exception.type, "invalid_request_error")

    def test_wrong_key(self):
        stranger = self.other("sk-wrong", max_retries=2)
        with self.assertRaises(openai.AuthenticationError) as caught:
            stranger.files.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        self.assertRegex(caught.exception.request_id, "^req_")
        with self.assertRaises(openai.AuthenticationError):
            self.upload(numbered(20000), stranger)


class Batches(SDK):
    def test_from_a_file_to_its_answers(self):
        file = self.upload(numbered(20) + [request("bad", "[[400]]")])
        batch = checked(self.create(file.id, metadata={"what": "sdk"}))
        self.assertRegex(batch._request_id, "^req_")
        end = self.ended(batch)
        counts = end.request_counts
        self.assertEqual((end.status, counts.total, counts.completed, counts.failed), ("completed", 21, 20, 1))
        self.assertEqual((end.metadata, end.input_file_id), ({"what": "sdk"}, file.id))
        answers = {x["custom_id"]: x for x in self.lines(end.output_file_id)}
        self.assertEqual(len(answers), 20)
        for i in range(20):
            said = answers[f"c-{i}"]["response"]["body"]["choices"][0]["message"]["content"]
            self.assertEqual(said, f"echo:question {i}")
        [error] = self.lines(end.error_file_id)
        self.assertEqual((error["custom_id"], error["response"]["status_code"], error["error"]), ("bad", 400, None))
        self.assertEqual(checked(self.client.files.retrieve(end.output_file_id)).purpose, "batch_output")

    def test_bad_lines(self):
        end = self.ended(self.create(self.upload([request("a", "b"), "{no", request("a", "b")]).id))
        self.assertEqual(end.status, "failed")
        self.assertEqual([(e.line, e.code) for e in end.errors.data], [(2, "invalid_json_line"), (3, "duplicate_custom_id")])

    def test_list(self):
        lab = self.other("lab")
        file = self.upload(numbered(1), lab)
        made = [self.create(file.id, lab).id for _ in range(7)]
        self.assertEqual([b.id for b in lab.batches.list(limit=3)][:7], made[::-1])

    def test_cancel(self):
        batch = self.create(self.upload(numbered(100, "test/slow")).id)
        while self.client.batches.retrieve(batch.id).request_counts.completed < 4:
            time.sleep(0.05)
        self.assertIn(self.client.batches.cancel(batch.id).status, ("cancelling", "cancelled"))
        end = self.ended(batch)
        self.assertEqual(end.status, "cancelled")
        answers, rest = self.lines(end.output_file_id), self.lines(end.error_file_id)
        self.assertEqual(len(answers) + len(rest), 100)
        self.assertEqual({x["error"]["code"] for x in rest}, {"batch_cancelled"})

    def test_cancel_of_what_has_ended(self):
        batch = self.ended(self.create(self.upload(numbered(1)).id))
        with self.assertRaisesRegex(openai.ConflictError, "Cannot cancel a batch with status 'completed'.") as caught:
            self.other(max_retries=2).batches.cancel(batch.id)
        self.assertEqual(caught.exception.response.request.headers["x-stainless-retry-count"], "0")

    def test_refused(self):
        file = self.upload(numbered(1))
        for more, param in [({"endpoint": "/v1/nonsense"}, "endpoint"), ({"completion_window": "soon"}, "completion_window"),
                            ({"metadata": {str(i): "x" for i in range(17)}}, "metadata")]:
            with self.subTest(param), self.assertRaises(openai.BadRequestError) as caught:
                self.create(file.id, **more)
            self.assertEqual(caught.exception.param, param)
        with self.assertRaises(openai.NotFoundError):
            self.client.batches.retrieve("batch_abc123")

    def test_idempotency_key(self):
        file = self.upload(numbered(1))
        made = [self.create(file.id, extra_headers={"Idempotency-Key": file.id}).id for _ in range(3)]
        self.assertEqual(len(set(made)), 1)


class Calls(SDK):
    def test_models(self):
        found = {checked(m).id for m in self.client.models.list()}
        self.assertLessEqual(set(MODELS), found)
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)

    def test_chat(self):
        for model in MODELS:
            with self.subTest(model):
                answer = checked(self.client.chat.completions.create(model=model, messages=user("ein \"ü\""), max_tokens=99))
                self.assertIn("ein \"ü\"", answer.choices[0].message.content)
                self.assertRegex(answer._request_id, "^req_")

    def test_the_other_calls(self):
        packed = checked(self.client.embeddings.create(model=MODEL, input=["one", "two"]))
        plain = self.client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
        for a, b in zip(packed.data, plain.data, strict=True):
            self.assertEqual([round(x, 5) for x in a.embedding], [round(x, 5) for x in b.embedding])
        said = checked(self.client.completions.create(model=MODEL, prompt="once upon"))
        self.assertEqual(said.choices[0].text, "echo:once upon")
        answer = checked(self.client.responses.create(model=MODEL, input="a question"))
        self.assertEqual(answer.output_text, "echo:a question")

    def test_errors(self):
        for kind, model, text in [(openai.NotFoundError, "no/such", "x"), (openai.BadRequestError, MODEL, "[[400]]"),
                                  (openai.BadRequestError, "test/claude", "[[context]]"),
                                  (openai.InternalServerError, MODEL, "[[500]]")]:
            with self.subTest(text), self.assertRaises(kind):
                self.client.chat.completions.create(model=model, messages=user(text))

    def test_limit_of_a_key(self):
        impatient, patient = self.other("slow"), self.other("slow", max_retries=3)
        with self.assertRaises(openai.RateLimitError) as caught:
            for i in range(70):
                impatient.chat.completions.create(model=MODEL, messages=user(f"{i}"))
        self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
        answer = patient.chat.completions.with_raw_response.create(model=MODEL, messages=user("patient"))
        self.assertGreaterEqual(answer.retries_taken, 1)

    def test_timeout(self):
        with self.assertRaises(openai.APITimeoutError):
            self.client.chat.completions.create(model=MODEL, messages=user("[[slow:20000]]"), timeout=0.4)

    def test_twenty_at_once(self):
        async def ask():
            async with AsyncOpenAI(base_url=URL, api_key=KEYS["all"], max_retries=0) as client:
                create = client.chat.completions.create
                return await asyncio.gather(*(create(model=MODEL, messages=user(f"{i}")) for i in range(20)))

        said = [a.choices[0].message.content for a in asyncio.run(ask())]
        self.assertEqual(said, [f"echo:{i}" for i in range(20)])


class Streams(SDK):
    def test_chat(self):
        for model in (MODEL, "test/claude", "test/echo"):
            with self.subTest(model):
                options = {"include_usage": True}
                stream = self.client.chat.completions.create(model=model, messages=user("ein \"ü\" und mehr"), stream=True,
                                                             stream_options=options)
                chunks = [checked(c) for c in stream]
                said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
                self.assertIn("ein \"ü\" und mehr", said)
                self.assertGreater(chunks[-1].usage.completion_tokens, 0)
                self.assertEqual(chunks[-1].choices, [])

    def test_responses(self):
        with self.client.responses.stream(model=MODEL, input="a question") as stream:
            kinds = [event.type for event in stream]
            self.assertEqual(stream.get_final_response().output_text, "echo:a question")
        self.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.completed"))

    def test_error_before_it_begins(self):
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model=MODEL, messages=user("[[400]]"), stream=True)

    def test_error_midway(self):
        stream = self.client.chat.completions.create(model=MODEL, messages=user("[[cutmid]] " + "long " * 500), stream=True)
        with self.assertRaises(openai.APIError):
            list(stream)


if __name__ == "__main__":
    unittest.main(verbosity=2)
