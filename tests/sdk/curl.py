"""curl as a client of the gateway: uploads in the ways that HTTP knows, downloads, a stream, refusals."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

URL = os.environ["PST_URL"] + "/v1"
KEY = os.environ["PST_KEY"]
LINE = '{"custom_id":"c","body":{"model":"test/gpt","messages":[{"role":"user","content":"%s"}]}}\n'
TEXT = (LINE % ("lang " * 2000)) * 300


class Curl(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = self.write("in.jsonl", TEXT)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def curl(self, path, *args, key=KEY):
        """Status, headers, body."""
        head, body = (os.path.join(self.dir, x) for x in ("head", "body"))
        done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "60", "--dump-header", head, "--output", body,
                               "--write-out", "%{http_code}", "-H", f"Authorization: Bearer {key}", *args, URL + path],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(head) as f:
            lines = [x.split(": ", 1) for x in f.read().splitlines() if ": " in x]
        with open(body) as f:
            text = f.read()
        return int(done.stdout), {k.lower(): v for k, v in lines}, text

    def check_upload(self, *args):
        status, _, text = self.curl("/files", *args)
        self.assertEqual(status, 200, text)
        made = json.loads(text)
        self.assertEqual((made["bytes"], made["filename"], made["purpose"]), (len(TEXT), "in.jsonl", "batch"))
        status, headers, text = self.curl(f"/files/{made['id']}/content")
        self.assertEqual((status, headers["content-length"]), (200, str(len(TEXT))))
        self.assertEqual(text, TEXT)
        return made["id"]

    def test_upload(self):
        self.check_upload("-F", "purpose=batch", "-F", f"file=@{self.path}")

    def test_file_before_purpose(self):
        self.check_upload("-F", f"file=@{self.path}", "-F", "purpose=batch")

    def test_asked_before_sent(self):
        self.check_upload("-H", "Expect: 100-continue", "-F", "purpose=batch", "-F", f"file=@{self.path}")

    def test_chunked(self):
        self.check_upload("-H", "Transfer-Encoding: chunked", "-F", "purpose=batch", "-F", f"file=@{self.path}")

    def test_type_of_the_part(self):
        self.check_upload("-F", "purpose=batch", "-F", f"file=@{self.path};type=application/jsonl")

    def test_refused_with_the_body_on_its_way(self):
        form = "-F", "purpose=batch", "-F", f"file=@{self.path}"
        for more in ([], ["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"]):
            with self.subTest(more):
                status, _, text = self.curl("/files", *more, *form, key="sk-wrong")
                self.assertEqual((status, json.loads(text)["error"]["code"]), (401, "invalid_api_key"))
        status, _, text = self.curl("/nonsense", *form)
        self.assertEqual((status, json.loads(text)["error"]["type"]), (404, "invalid_request_error"))

    def test_connection_is_kept(self):
        """After an early refusal too."""
        done = subprocess.run(["curl", "--silent", "--verbose", "-H", "Authorization: Bearer sk-wrong", "-H", "Expect:", "-F",
                               f"file=@{self.path}", URL + "/files", URL + "/files"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("HTTP/1.1 401"), 2)
        self.assertEqual(done.stderr.count("Connected to"), 1, done.stderr)

    def test_no_form(self):
        for args in (["-d", "{}"], ["-X", "POST"], ["-F", "purpose=batch"], ["-F", f"file=@{self.path}"]):
            with self.subTest(args):
                status, _, text = self.curl("/files", *args)
                self.assertEqual((status, json.loads(text)["error"]["type"]), (400, "invalid_request_error"))

    def test_too_large(self):
        status, _, text = self.curl("/batches", "-H", "Expect:", "-d", f"@{self.path}")
        self.assertEqual((status, json.loads(text)["error"]["type"]), (413, "invalid_request_error"))

    def test_head(self):
        file = self.check_upload("-F", "purpose=batch", "-F", f"file=@{self.path}")
        status, headers, text = self.curl(f"/files/{file}/content", "--head")
        self.assertEqual((status, headers["content-length"]), (200, str(len(TEXT))))

    def test_call(self):
        body = json.dumps({"model": "test/gpt", "messages": [{"role": "user", "content": "hi"}]})
        for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
            status, headers, text = self.curl("/chat/completions", *more, "-H", "Content-Type: application/json", "-d", body)
            self.assertEqual((status, headers["content-type"]), (200, "application/json"))
            self.assertEqual(json.loads(text)["choices"][0]["message"]["content"], "echo:hi")

    def test_stream(self):
        body = json.dumps({"model": "test/gpt", "messages": [{"role": "user", "content": "hi"}], "stream": True})
        status, headers, text = self.curl("/chat/completions", "-N", "-d", body)
        self.assertEqual((status, headers["content-type"].split(";")[0]), (200, "text/event-stream"), text)
        events = text.split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        chunks = [json.loads(e.removeprefix("data: ")) for e in events[:-2]]
        said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        self.assertEqual(said, "echo:hi")

    def test_strangers(self):
        for key in ("", "x" * 5000, "\x01"):
            status, headers, text = self.curl("/models", key=key)
            self.assertEqual(status, 401, text)
            self.assertEqual(headers["www-authenticate"], "Bearer")


if __name__ == "__main__":
    unittest.main(verbosity=2)
