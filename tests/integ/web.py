"""A cluster's gateway, asked over HTTP."""
import http.client
import json
import os
import re
import uuid

from harness import Case, Cluster, wait_for

CHAT = "/v1/chat/completions"


class Answer:
    def __init__(self, r):
        self.status, self.headers, self.body = r.status, r.headers, r.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Web:
    def __init__(self, port, key=None):
        self.port, self.key = port, key

    def ask(self, method, path, body=None, headers=None, timeout=60):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            c.request(method, path, body, headers)
            return Answer(c.getresponse())
        finally:
            c.close()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    def upload(self, text, purpose="batch", name="in.jsonl", **fields):
        """fields before the file, purpose behind it: any order is right."""
        mark = uuid.uuid4().hex
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                     f'Content-Type: application/octet-stream\r\n\r\n{text}\r\n')
        if purpose is not None:
            parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n')
        body = "".join(parts) + f"--{mark}--\r\n"
        return self.post("/v1/files", body.encode(), headers={"Content-Type": f"multipart/form-data; boundary={mark}"})

    def batch(self, file, **more):
        return self.post("/v1/batches", {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **more})

    def submit(self, lines, **more):
        """The id of a batch of these lines."""
        file = self.upload("\n".join(lines) + "\n").json["id"]
        return self.batch(file, **more).json["id"]

    def wait(self, batch, seconds=60):
        def ended():
            b = self.get(f"/v1/batches/{batch}").json
            return b if b["status"] in ("completed", "failed", "expired", "cancelled") else None

        return wait_for(f"{batch} to end", ended, seconds, 0.05)

    def lines(self, file):
        return [json.loads(x) for x in self.get(f"/v1/files/{file}/content").body.splitlines()]


def memory_peak_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


class WebCase(Case):
    def gateway(self, *args, **more):
        c = self.cluster(*args, **more)
        return c, Web(c.ports["gateway"])

    def key(self, c, *options):
        return c.run("keys", "create", *options, "--data", c.data).stdout.strip()

    def wait_for_keys(self, web, *keys):
        """A gateway looks once a second whether there are new ones."""
        wait_for("the keys to count", lambda: web.get("/v1/models").status == 401, 5)
        for k in keys:
            wait_for("a key to count", lambda: k.get("/v1/models").status == 200, 5)


def gateway_pid(c):
    """Of the child of `up` that is the gateway: it is the same program as up itself."""
    for pid in c.children("penstock"):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().split(b"\0")
        if len(words) > 1 and words[1] == b"gateway":
            return pid
    return None
