"""What bad input gets: a clear error that says where, the right exit code, and nothing half-accepted."""
import json
import os
import socket
import subprocess

from harness import Case, line, main, program, write_lines

GOOD = line(1)

# (name, bytes of the file, code, line number)
BAD = [
    ("not json", b"nonsense\n", "invalid_json_line", 1),
    ("cut off", b'{"custom_id":"a","body":{"model":"test/gpt"\n', "invalid_json_line", 1),
    ("not an object", b"[1,2]\n", "invalid_json_line", 1),
    ("second line", GOOD.encode() + b"\n{]\n", "invalid_json_line", 2),
    ("after empty lines", b"\n\r\n\n{]\n", "invalid_json_line", 4),
    ("no custom_id", b'{"body":{"model":"test/gpt","messages":[]}}\n' + GOOD.encode(), "missing_required_parameter", 1),
    ("repeated custom_id", (GOOD + "\n" + GOOD + "\n").encode(), "duplicate_custom_id", 2),
    ("unknown url", b'{"custom_id":"a","url":"/v1/images","body":{"model":"test/gpt"}}\n', "invalid_url", 1),
    ("not POST", b'{"custom_id":"a","method":"GET","body":{"model":"test/gpt"}}\n', "invalid_method", 1),
    ("unknown model", b'{"custom_id":"a","body":{"model":"no/such"}}\n', "model_not_found", 1),
    ("no model", b'{"custom_id":"a","body":{"messages":[]}}\n', "missing_required_parameter", 1),
    ("body no object", b'{"custom_id":"a","body":"x"}\n', "invalid_body", 1),
    ("no body", b'{"custom_id":"a"}\n', "missing_required_parameter", 1),
    ("streaming", b'{"custom_id":"a","body":{"model":"test/gpt","stream":true}}\n', "streaming_unsupported", 1),
    ("routing of a wrong type", b'{"custom_id":"a","body":{"model":"test/gpt","provider":{"only":"x"}}}\n',
     "invalid_routing", 1),
    ("binary", bytes(range(256)) * 20, "invalid_json_line", 1),
    ("bad UTF-8", b'{"custom_id":"\xff","body":{"model":"test/gpt"}}\n', "invalid_json_line", 1),
    ("33 MiB line", b'{"custom_id":"' + b"a" * (33 << 20) + b'"}\n', "line_too_long", 1),
]


class Input(Case):
    def test_bad_lines(self):
        c = self.cluster()
        for name, data, code, number in BAD:
            with self.subTest(name):
                path = os.path.join(c.dir, "bad.jsonl")
                with open(path, "wb") as f:
                    f.write(data)
                done = c.run("submit", path, check=False)
                self.assertEqual(done.returncode, 4, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertIn(f"bad.jsonl:{number}: {code}", done.stderr)
        self.assertEqual(json.loads(c.run("list", "--json").stdout)["data"], [])

    def test_all_bad_lines_are_listed_up_to_a_hundred(self):
        c = self.cluster()
        path = write_lines(os.path.join(c.dir, "bad.jsonl"), ["{]"] * 250)
        done = c.run("submit", path, check=False)
        self.assertEqual(done.returncode, 4)
        listed = [x for x in done.stderr.splitlines() if "invalid_json_line" in x]
        self.assertEqual(len(listed), 100)

    def test_empty_and_missing(self):
        c = self.cluster()
        path = os.path.join(c.dir, "empty.jsonl")
        open(path, "w").close()
        self.assertEqual(c.run("submit", path, check=False).returncode, 4)
        self.assertEqual(c.run("submit", "-", check=False, input="\n\n").returncode, 4)
        done = c.run("submit", os.path.join(c.dir, "none.jsonl"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.jsonl", done.stderr)
        self.assertEqual(c.run("submit", c.dir, check=False).returncode, 1)

    def test_crlf_bom_and_model_option(self):
        p = self.provider()
        c = self.cluster(p)
        body = {"messages": [{"role": "user", "content": "question 0"}], "max_tokens": 5}
        text = "\ufeff" + json.dumps({"custom_id": "c-0", "body": body}) + "\r\n\r\n" + line(1) + "\r\n"
        path = os.path.join(c.dir, "in.jsonl")
        with open(path, "wb") as f:
            f.write(text.encode())
        batch = c.run("submit", path, "--model", "test/gpt").stdout.strip()
        c.wait(batch)
        self.check_every_job_once(c.results(batch), 2)

    def test_skip_invalid(self):
        p = self.provider()
        c = self.cluster(p)
        path = write_lines(os.path.join(c.dir, "in.jsonl"), [line(0), "{]", line(2), line(2), line(4, "no/such")])
        done = c.run("submit", path, "--skip-invalid", "--wait", check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        batch = done.stdout.strip()
        results = c.results(batch, "--in-order")
        self.assertEqual([r["id"] for r in results], [f"{batch}.{i}" for i in range(5)])
        self.assertEqual([r["custom_id"] for r in results], ["c-0", None, "c-2", "c-2", "c-4"])
        self.assertEqual([r["penstock"].get("error_type") for r in results],
                         [None, "invalid_json_line", None, "duplicate_custom_id", "model_not_found"])
        self.assertEqual([r["penstock"].get("line") for r in results], [None, 2, None, 4, 5])
        self.assertEqual(p.stats()["requests"], 2)
        receipt = c.receipt(batch)
        self.assertEqual((receipt["jobs"], receipt["results"], receipt["failed"]), (5, 5, 3))

    def test_broker_that_is_not_there(self):
        c = self.cluster(up=False)
        done = c.run("list", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("penstock: ", done.stderr)
        self.assertIn(c.broker, done.stderr)

    def test_usage(self):
        c = self.cluster(up=False)
        for args in (["nonsense"], ["submit"], ["submit", "--nonsense", "x"], ["status"], ["status", "batch_1"],
                     ["submit", "-", "--max-cost", "x"], ["submit", "-", "--completion-window", "soon"]):
            with self.subTest(args):
                self.assertEqual(c.run(*args, check=False, input="").returncode, 2)

    def test_unknown_ids(self):
        c = self.cluster()
        none = "batch_01J00000000000000000000000"
        for args in (["status", none], ["results", none], ["receipt", none], ["get", none + ".0"], ["cancel", none],
                     ["delete", none], ["watch", none]):
            with self.subTest(args):
                done = c.run(*args, check=False)
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn("penstock: ", done.stderr)


class Configuration(Case):
    def check(self, text, env=None):
        path = os.path.join(self.c.dir, "bad.yaml")
        with open(path, "w") as f:
            f.write(text)
        return subprocess.run([program("penstock"), "check", "--config", path], capture_output=True, text=True,
                              timeout=20, env={**os.environ, **(env or {})})

    def setUp(self):
        self.c = self.cluster(up=False)

    def test_errors_name_file_and_line(self):
        for text, at, word in (("providers: [\n", 2, ""), ("providers:\n  a: { api: openai }\n  b: { rmp: 3 }\n", 3, "rmp"),
                               ("nonsense: 1\n", 1, "nonsense"),
                               ("models:\n  m:\n    - { provider: ghost, model: x }\n", 3, "ghost")):
            with self.subTest(text):
                done = self.check(text)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(f"bad.yaml:{at}:", done.stderr)
                self.assertIn(word, done.stderr)

    def test_missing_key_is_named(self):
        done = self.check('providers:\n  openai: { api: openai, api_key: "${PST_NO_SUCH_KEY}" }\n')
        self.assertIn("PST_NO_SUCH_KEY", done.stdout + done.stderr)

    def test_port_in_use(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", self.c.ports["clients"]))
            s.listen()
            done = subprocess.run([program("penstock"), "up", "--data", self.c.data, "--config", self.c.config],
                                  capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.c.ports["clients"]), done.stderr)

    def test_two_ups_on_one_directory(self):
        self.c.start()
        done = subprocess.run([program("penstock"), "up", "--data", self.c.data, "--config", self.c.config],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.c.data, done.stderr)


if __name__ == "__main__":
    main()
