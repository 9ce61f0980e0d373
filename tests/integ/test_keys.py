"""`penstock keys`: keys are made, listed, changed and revoked in Redis, and nobody keeps one."""
import hashlib
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request

from harness import Case, free_port, main, program, wait_for

SECRET = r"^psk_[A-Za-z0-9_-]{43}\n$"
ID = r"key_[0-9A-HJKMNP-TV-Z]{26}"


class KeysCase(Case):
    def setUp(self):
        os.environ.pop("PENSTOCK_TENANT", None)

    def keys(self, c, *args, code=0, **more):
        done = c.run("keys", *args, "--data", c.data, check=False, timeout=60, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertTrue(all(m.startswith("penstock: ") for m in done.stderr.splitlines()), done.stderr)
        return done

    def create(self, c, *args, **more):
        """The key, and its id."""
        done = self.keys(c, "create", *args, **more)
        self.assertRegex(done.stdout, SECRET)
        return done.stdout.strip(), re.search(ID, done.stderr).group(0)

    def listed(self, c):
        envelope = json.loads(self.keys(c, "list", "--json").stdout)
        self.assertEqual(envelope["object"], "list")
        return {k["id"]: k for k in envelope["data"]}


class Commands(KeysCase):
    def redis(self, c, *args):
        return subprocess.run(["redis-cli", "-s", os.path.join(c.data, "redis.sock"), *args], capture_output=True,
                              text=True, check=True).stdout.strip()

    def test_beside_up(self):
        c = self.cluster()
        self.assertEqual(self.listed(c), {})
        secret, key = self.create(c, "--name", "ci", "--tenant", "research", "--rpm", "600", "--tpm", "100000",
                                  "--concurrency", "5", "--spend", "2.5", "--reset", "monthly", "--models", "openai/*,chat",
                                  "--providers", "openai", "--expires", "30d")
        plain, other = self.create(c)
        self.assertEqual(self.redis(c, "GET", "pst:{gateway}:keys:version"), "2")
        k = self.listed(c)[key]
        self.assertAlmostEqual(k.pop("created_at"), time.time(), delta=60)
        self.assertAlmostEqual(k.pop("expires_at"), time.time() + 30 * 86400, delta=60)
        self.assertGreater(k.pop("resets_at"), time.time())
        self.assertEqual(k, {"id": key, "object": "key", "name": "ci", "tenant": "research", "state": "active",
                             "last_used_at": None, "revoked_at": None, "rpm": 600, "tpm": 100000, "concurrency": 5,
                             "spend_usd": 2.5, "reset": "monthly", "spent_usd": 0, "requests": 0, "tokens": 0,
                             "models": ["openai/*", "chat"], "providers": ["openai"]})
        empty = self.listed(c)[other]
        self.assertEqual({empty[f] for f in ("name", "tenant", "rpm", "tpm", "concurrency", "spend_usd", "expires_at",
                                             "models", "providers", "resets_at")}, {None})

        self.keys(c, "update", key, "--rpm", "none", "--name", "deploy", "--spend", "7", "--reset", "daily", "--models", "*",
                  "--expires", "never")
        k = self.listed(c)[key]
        self.assertEqual((k["rpm"], k["name"], k["tenant"], k["tpm"]), (None, "deploy", "research", 100000))
        self.assertEqual((k["spend_usd"], k["reset"], k["models"], k["expires_at"]), (7, "daily", None, None))

        day = time.strftime("day:%Y-%m-%d", time.gmtime())
        self.redis(c, "HSET", "pst:{gateway}:use:" + key, day, "7000000000", "requests", "3", "tokens", "44", "last", "1000020")
        k = self.listed(c)[key]
        self.assertEqual((k["spent_usd"], k["requests"], k["tokens"], k["last_used_at"]), (7, 3, 44, 1000020))
        self.assertEqual(k["state"], "spent")

        self.keys(c, "revoke", key)
        k = self.listed(c)[key]
        self.assertEqual(k["state"], "revoked")
        self.assertAlmostEqual(k["revoked_at"], time.time(), delta=60)
        version = self.redis(c, "GET", "pst:{gateway}:keys:version")
        self.keys(c, "revoke", key) # as good as done
        self.keys(c, "update", key, "--rpm", "5", code=1)
        self.assertEqual(self.redis(c, "GET", "pst:{gateway}:keys:version"), version)
        table = self.keys(c, "list").stdout.splitlines()
        self.assertRegex(table[1], rf"^{key} +deploy +research +.*revoked$")
        self.assertRegex(table[2], rf"^{other} .*active$")

        # Redis has the hashes alone, and the keys are nowhere else either.
        hashes = {hashlib.sha256(s.encode()).hexdigest() for s in (secret, plain)}
        self.assertEqual(set(self.redis(c, "HKEYS", "pst:{gateway}:keys").split()), hashes)
        for where, _, names in os.walk(c.dir):
            for name in names:
                path = os.path.join(where, name)
                if os.path.isfile(path):
                    with open(path, "rb") as f:
                        text = f.read()
                    self.assertFalse(secret.encode() in text or plain.encode() in text, path)

    def test_many_at_once(self):
        c = self.cluster()
        _, key = self.create(c)
        command = [program("penstock"), "keys", "--config", c.config, "--data", c.data]
        makers = [subprocess.Popen([*command, "create"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                  for _ in range(8)]
        changers = [subprocess.Popen([*command, "update", key, *option], stderr=subprocess.DEVNULL)
                    for option in (("--rpm", "7"), ("--tpm", "8"), ("--name", "n"), ("--concurrency", "9"))]
        secrets = {p.communicate(timeout=60)[0] for p in makers}
        codes = [p.wait(timeout=60) for p in changers]
        self.assertEqual(len(secrets), 8)
        listed = self.listed(c)
        self.assertEqual(len(listed), 9)
        self.assertLessEqual(set(codes), {0, 1})
        k = listed[key]
        for code, field, value in zip(codes, ("rpm", "tpm", "name", "concurrency"), (7, 8, "n", 9)):
            self.assertEqual(k[field], value if code == 0 else None) # a change is made or refused, never lost

    def test_revoked_long_ago(self):
        c = self.cluster()
        _, old = self.create(c)
        _, fresh = self.create(c)
        self.keys(c, "revoke", fresh)
        self.redis(c, "HSET", "pst:{gateway}:use:" + old, "spent", "1")
        [hashed] = [h for h in self.redis(c, "HKEYS", "pst:{gateway}:keys").split()
                    if old in self.redis(c, "HGET", "pst:{gateway}:keys", h)]
        self.redis(c, "HSET", "pst:{gateway}:keys", hashed, json.dumps({"id": old, "created_ms": 1, "revoked_ms": 2}))
        _, new = self.create(c)
        self.assertEqual(set(self.listed(c)), {fresh, new})
        self.assertEqual(self.redis(c, "EXISTS", "pst:{gateway}:use:" + old), "0")

    def test_records_of_strangers(self):
        c = self.cluster()
        _, key = self.create(c)
        self.redis(c, "HSET", "pst:{gateway}:keys", "0" * 64, '{"id":"key_1","all":true}')
        self.redis(c, "HSET", "pst:{gateway}:keys", "x", "y")
        done = self.keys(c, "list", "--json")
        self.assertEqual([k["id"] for k in json.loads(done.stdout)["data"]], [key])
        self.assertIn("2 records", done.stderr)

    def test_tenant_of_the_environment(self):
        c = self.cluster()
        env = {**os.environ, "PENSTOCK_TENANT": "sales"}
        _, a = self.create(c, env=env)
        _, b = self.create(c, "--tenant", "legal", env=env)
        self.assertEqual([self.listed(c)[k]["tenant"] for k in (a, b)], ["sales", "legal"])

    def test_last_day_is_a_whole_one(self):
        c = self.cluster()
        _, key = self.create(c, "--expires", "2099-12-31")
        self.assertEqual(self.listed(c)[key]["expires_at"], 4102444800)


class Places(KeysCase):
    def test_long_data_directory(self):
        c = self.cluster(up=False)
        c.data = os.path.join(c.dir, "long" * 30)
        self.assertIn("penstock up", self.keys(c, "list", code=1).stderr)
        c.start()
        _, key = self.create(c)
        self.assertEqual(set(self.listed(c)), {key})
        c.kill_all() # it leaves its link behind
        c.start()
        self.assertEqual(set(self.listed(c)), {key})

    def test_no_redis(self):
        c = self.cluster(up=False)
        for args in (("list",), ("create",)):
            done = self.keys(c, *args, code=1)
            self.assertEqual(done.stdout, "")
            self.assertIn("penstock up", done.stderr)

    def test_redis_of_the_configuration(self):
        port = free_port()
        c = self.cluster(up=False, redis=f'redis: {{ url: "redis://:open%20sesame@127.0.0.1:{port}/3" }}\n')
        self.assertNotIn("sesame", self.keys(c, "list", code=1).stderr)
        r = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--requirepass", "open sesame", "--dir", c.dir],
                             stdout=subprocess.DEVNULL)
        self.addCleanup(r.wait)
        self.addCleanup(r.kill)
        wait_for("redis", lambda: c.run("keys", "list", check=False).returncode == 0)
        self.create(c)
        base = ["redis-cli", "-p", str(port), "-a", "open sesame", "--no-auth-warning"]
        self.assertEqual(c.run("keys", "list", "--redis", f"redis://127.0.0.1:{port}", check=False).returncode, 1) # no login
        sizes = [subprocess.run([*base, "-n", n, "DBSIZE"], capture_output=True, text=True, check=True).stdout.strip()
                 for n in ("0", "3")]
        self.assertEqual(sizes, ["0", "2"])

    def test_a_redis_that_is_full(self):
        port = free_port()
        c = self.cluster(up=False, redis=f'redis: {{ url: "redis://127.0.0.1:{port}" }}\n')
        r = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--maxmemory", "1", "--dir", c.dir],
                             stdout=subprocess.DEVNULL)
        self.addCleanup(r.wait)
        self.addCleanup(r.kill)
        wait_for("redis", lambda: c.run("keys", "list", check=False).returncode == 0)
        done = self.keys(c, "create", code=1)
        self.assertEqual(done.stdout, "") # no key that is none
        self.assertIn("nothing was changed", done.stderr)


class Gateway(KeysCase):
    def http(self, c, path, key=None, body=None, content="application/json"):
        """Status and object of an answer."""
        headers = {"Authorization": "Bearer " + key} if key else {}
        request = urllib.request.Request(f"http://127.0.0.1:{c.ports['gateway']}{path}", data=body,
                                         headers={**headers, "Content-Type": content})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as e:
            with e:
                return e.code, json.loads(e.read())

    def chat(self, c, key):
        body = {"model": "echo/any", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
        return self.http(c, "/v1/chat/completions", key, json.dumps(body).encode())

    def upload(self, c, key):
        boundary = "----x"
        parts = "".join(f'--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n{text}\r\n' for name, text in (
            ('name="purpose"', "batch"), ('name="file"; filename="in.jsonl"', '{"custom_id":"a","body":{"model":"echo/any",'
                                          '"messages":[{"role":"user","content":"hi"}]}}')))
        status, file = self.http(c, "/v1/files", key, (parts + f"--{boundary}--\r\n").encode(),
                                 f"multipart/form-data; boundary={boundary}")
        self.assertEqual(status, 200, file)
        return file["id"]

    def known(self, c, *keys):
        """Waits until the gateway lets in these, and nobody else."""
        wait_for("the keys", lambda: self.http(c, "/v1/models")[0] == 401 and
                 all(self.http(c, "/v1/models", k)[0] == 200 for k in keys))

    def test_a_key_comes_in_until_it_is_revoked(self):
        c = self.cluster()
        self.assertEqual(self.http(c, "/v1/models")[0], 200) # nobody has a key yet
        key, id = self.create(c)
        self.known(c, key)
        self.assertEqual(self.chat(c, key)[0], 200)
        self.assertEqual(self.http(c, "/v1/models", key[:-1] + "x")[0], 401)
        wait_for("its account", lambda: self.listed(c)[id]["requests"] == 1)
        self.assertAlmostEqual(self.listed(c)[id]["last_used_at"], time.time(), delta=120)
        self.keys(c, "revoke", id)
        wait_for("its end", lambda: self.http(c, "/v1/models", key)[0] == 401)
        time.sleep(1.5)
        self.assertEqual(self.http(c, "/v1/models")[0], 401) # no key is left, and yet

    def test_requests_of_a_minute(self):
        c = self.cluster()
        key, _ = self.create(c, "--rpm", "3")
        self.known(c, key)
        answers = [self.chat(c, key) for _ in range(4)]
        self.assertEqual([status for status, _ in answers], [200, 200, 200, 429])
        self.assertEqual(answers[3][1]["error"]["code"], "rate_limit_exceeded")

    def test_tenants_see_their_own(self):
        c = self.cluster()
        keys = {t: self.create(c, *(("--tenant", t) if t else ()))[0] for t in ("a", "b", "")}
        self.known(c, *keys.values())
        files = {t: self.upload(c, keys[t]) for t in ("a", "b")}
        for t in ("a", "b"):
            self.assertEqual([f["id"] for f in self.http(c, "/v1/files", keys[t])[1]["data"]], [files[t]])
        self.assertEqual(self.http(c, "/v1/files/" + files["a"], keys["b"])[0], 404)
        self.assertEqual(self.http(c, "/v1/files/" + files["a"], keys[""])[0], 200)


class Usage(KeysCase):
    def test_refused(self):
        c = self.cluster(up=False) # of what is wrong no Redis is asked
        key = "key_01J8ZQ4K7N9V0M2X3C4B5A6F7G"
        for args in ((), ("make",), ("create", "x"), ("list", "x"), ("revoke",), ("update",), ("update", key),
                     ("update", key, "--tenant", "t"), ("revoke", key, "--rpm", "1"), ("list", "--name", "n"),
                     ("create", "--json"), ("create", "--reset", "daily"), ("create", "--spend", "1", "--reset", "yearly"),
                     ("create", "--spend", "0"), ("create", "--spend", "-1"), ("create", "--spend", "1x"),
                     ("create", "--rpm", "0"), ("create", "--rpm", "-1"), ("create", "--rpm", "1e3"), ("create", "--rpm", ""),
                     ("create", "--concurrency", "1000001"), ("create", "--models", ""), ("create", "--models", "a,"),
                     ("create", "--models", ",".join("m" * 65)), ("create", "--name", "a\nb"), ("create", "--tenant", "a" * 257),
                     ("create", "--expires", "yesterday"), ("create", "--expires", "2020-01-01"),
                     ("create", "--expires", "2099-02-30"), ("create", "--expires", "2099-1-1")):
            with self.subTest(args):
                self.assertEqual(self.keys(c, *args, code=2).stdout, "")

    def test_unknown_id(self):
        c = self.cluster()
        for verb in (("revoke",), ("update", "--rpm", "1")):
            self.keys(c, verb[0], "key_01J8ZQ4K7N9V0M2X3C4B5A6F7G", *verb[1:], code=5)


if __name__ == "__main__":
    main()
