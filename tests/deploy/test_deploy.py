"""What deploy/ says to Prometheus and Grafana: the metrics are well formed, the alerts fire when they should, and nothing
names a metric or a label that does not exist.  Skipped, with the reason in the output, where promtool is not there."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integ"))

from harness import line, main, wait_for  # noqa: E402
from web import CHAT, WebCase  # noqa: E402

DEPLOY = os.path.join(HERE, "../../deploy")
RULES = os.path.join(DEPLOY, "prometheus/penstock.rules.yaml")
DASHBOARD = os.path.join(DEPLOY, "grafana/penstock.json")


def read(path):
    with open(path) as f:
        return f.read()


def promtool(*args, **more):
    return subprocess.run(["promtool", *args], capture_output=True, text=True, **more)


def rule_expressions():
    """As promtool reads them: YAML by one who knows YAML would be one more package."""
    found = re.findall(r"^        expr: (?:>-\n((?:          .*\n)+)|(.*)\n)", read(RULES), re.M)
    return [" ".join((folded or plain).split()) for folded, plain in found]


def dashboard():
    return json.loads(read(DASHBOARD))


def dashboard_expressions():
    d = dashboard()
    found = [t["expr"] for p in d["panels"] for t in p.get("targets", [])]
    return found + [re.fullmatch(r"label_values\((.*), (\w+)\)", v["query"]).expand(r"sum by (\2) (\1)")
                    for v in d["templating"]["list"] if v["type"] == "query"]


def plain(expression):
    """Without Grafana's variables."""
    return expression.replace("$__rate_interval", "5m").replace("$provider", ".*")


def names_of(expression):
    return set(re.findall(r"\b(?:penstock|process)_\w+", re.sub(r'"[^"]*"', '""', expression)))


def matched_labels(expression):
    """(metric, label) of each selector."""
    for name, inside in re.findall(r"\b((?:penstock|process)_\w+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', inside)):
            yield name, label


class Told:
    """The metrics of one text: name to the labels that its samples have."""

    def __init__(self, text):
        self.labels = {}
        for row in text.splitlines():
            head = re.match(r"# TYPE (\S+) (\S+)", row)
            if head:
                ends = ("_bucket", "_sum", "_count") if head.group(2) == "histogram" else ("",)
                for end in ends:
                    self.labels.setdefault(head.group(1) + end, set())
            elif not row.startswith("#"):
                name = re.match(r"\w+", row).group()
                self.labels.setdefault(name, set()).update(re.findall(r'(\w+)="', row))


class Files(unittest.TestCase):
    def test_rules_are_rules(self):
        checked = promtool("check", "rules", RULES)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertEqual(len(rule_expressions()), int(re.search(r"(\d+) rules found", checked.stdout).group(1)))
        checked = promtool("check", "config", "--syntax-only", os.path.join(DEPLOY, "prometheus/prometheus.yaml"))
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_alerts_fire_when_they_should(self):
        tests = os.path.join(HERE, "penstock.rules.test.yaml")
        checked = promtool("test", "rules", tests)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        alerts = re.findall(r"- alert: (\w+)", read(RULES))
        text = read(tests)
        for alert in alerts:
            self.assertIn(f"""exp_samples: [ {{ value: 1, labels: 'ALERTS{{alertname="{alert}\"""", text, "no test fires it")
            self.assertRegex(text, rf"""alertname="{alert}",alertstate="firing"}}', exp_samples: \[\]""", "none keeps it quiet")

    def test_the_dashboard_is_one(self):
        d = dashboard()
        ids = [p["id"] for p in d["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken = set()
        for p in d["panels"]:
            g = p["gridPos"]
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
            self.assertFalse(cells & taken, f"{p['title']} lies on another")
            self.assertLessEqual(g["x"] + g["w"], 24, p["title"])
            taken |= cells
            if p["type"] != "row":
                self.assertTrue(p["targets"], p["title"])
                self.assertEqual({t["datasource"]["uid"] for t in p["targets"]} | {p["datasource"]["uid"]}, {"${datasource}"})

    def test_its_queries_are_queries(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "queries.yaml")
            rules = [{"record": f"penstock:query:{i}", "expr": plain(e)} for i, e in enumerate(dashboard_expressions())]
            with open(path, "w") as f:
                json.dump({"groups": [{"name": "queries", "rules": rules}]}, f)
            checked = promtool("check", "rules", "--lint=none", path)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


class Metrics(WebCase):
    def told(self):
        """Both texts, of a cluster in which everything that is told of has happened."""
        p = self.provider("--seed", 3)
        c, web = self.gateway(p, limits="rpm: 6000, concurrency: 50",
                              more='  test/rated: [ { provider: echo, model: rated, limits: { rpm: 6000 } } ]\n')
        web.wait(web.submit([line(i, "test/gpt", f"[[400]] {i}" if i % 9 == 0 else None) for i in range(60)] +
                            [line(100 + i, "test/rated") for i in range(60)]))
        web.post(CHAT, {"model": "test/gpt", "messages": [{"role": "user", "content": "Hi"}]})

        def seen():
            text = web.get("/metrics").body.decode()
            return text if "penstock_endpoint_latency_seconds{" in text else None

        gateway = wait_for("the cluster, measured", seen, 30, 0.5)
        with urllib.request.urlopen(f"http://127.0.0.1:{c.ports['metrics']}/metrics", timeout=5) as answer:
            return gateway, answer.read().decode()

    def test_what_is_told_is_well_formed_and_what_is_named_is_told(self):
        texts = self.told()
        labels = {}
        for text in texts:
            checked = promtool("check", "metrics", input=text)
            self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))
            for name, has in Told(text).labels.items():
                self.assertNotIn(name, labels, "told by both")
                labels[name] = has
        used = rule_expressions() + [plain(e) for e in dashboard_expressions()]
        self.assertGreater(len(used), 50)
        for expression in used:
            names = names_of(expression)
            self.assertTrue(names, expression)
            self.assertFalse(names - set(labels), expression)
            for name, label in matched_labels(expression):
                self.assertIn(label, labels[name], expression)
            self.assertFalse(set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([^)]*)\)", expression)))) -
                             set().union({"instance"}, *(labels[n] for n in names)), expression)


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("skipped: deploy: promtool is not installed (Debian: prometheus)")
        sys.exit(77)
    main()
