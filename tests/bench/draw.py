#!/usr/bin/env python3
"""Draws what run.py and peers.py measured (their --json files): two SVG pictures for the project's README.

throughput.svg: jobs and requests a second beside the peers.  ceiling.svg: shares of what bare loops reach in the same
rounds, and CPU a job by process.  Bars are medians, thin lines go from the least to the greatest round.
"""
import argparse
import json
import os
import statistics
import sys
from html import escape

WIDTH = 860
LABEL = 230    # room for names, left of the bars
VALUE = 190    # room for figures, right of them
ROW = 26
BAR = 15
TITLE = 44     # of a panel, with its axis' name
NOTE = 22
PROCESSES = ["client", "broker", "redis", "worker", "provider"]

# Grey texts stand on white and on black; colours change with the reader's choice where the viewer passes it on.
STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 13px; fill: #57606a }
.title { font-size: 15px; font-weight: 600; fill: #24292f }
.note { font-size: 12px }
.axis { stroke: #8c959f; stroke-width: 1 }
.spread { stroke: #24292f; stroke-width: 1.5 }
.wanted { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 3 2 }
.own { fill: #0969da } .peer { fill: #8c959f } .less { fill: #d0d7de; stroke: #8c959f }
.client { fill: #8250df } .broker { fill: #0969da } .redis { fill: #cf222e } .worker { fill: #1a7f37 }
.provider { fill: #9a6700 }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title { fill: #f0f6fc } .spread { stroke: #f0f6fc }
  .own { fill: #4493f8 } .less { fill: #30363d } .client { fill: #ab7df8 } .broker { fill: #4493f8 }
  .redis { fill: #f85149 } .worker { fill: #3fb950 } .provider { fill: #d29922 }
}
"""


class Picture:
    """Panels one below the other."""

    def __init__(self):
        self.parts, self.y = [], 10

    def text(self, x, y, text, css="", anchor="start"):
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"'
                          f'{f" class={chr(34)}{css}{chr(34)}" if css else ""}>{escape(text)}</text>')

    def line(self, css, x1, y1, x2, y2):
        self.parts.append(f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def bar(self, css, x, width):
        self.parts.append(f'<rect class="{css}" x="{x:.1f}" y="{self.y + (ROW - BAR) / 2:.1f}" '
                          f'width="{max(width, 1):.1f}" height="{BAR}"/>')

    def begin(self, title, rows):
        self.text(10, self.y + 16, title, "title")
        self.y += TITLE - 16
        self.line("axis", LABEL, self.y, LABEL, self.y + rows * ROW)

    def note(self, text):
        self.text(10, self.y + 15, text, "note")
        self.y += NOTE

    def end(self):
        self.y += 14

    def save(self, path):
        with open(path, "w") as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.y:.0f}" width="{WIDTH}" '
                    f'height="{self.y:.0f}" role="img">\n<style>{STYLE}</style>\n')
            f.write("\n".join(self.parts) + "\n</svg>\n")


def scale_to(most):
    return (WIDTH - LABEL - VALUE) / most


def number(value, digits=0):
    return f"{value:,.{digits}f}"


def bars(picture, title, rows, digits=0):
    """rows: (name, values, class, what is wanted or None)."""
    if not rows:
        return
    scale = scale_to(max(max(values + [wanted or 0]) for _, values, _, wanted in rows))
    picture.begin(title, len(rows))
    for name, values, css, wanted in rows:
        middle = picture.y + ROW / 2
        median = statistics.median(values)
        picture.text(LABEL - 8, middle + 4, name, anchor="end")
        picture.bar(css, LABEL, median * scale)
        if len(values) > 1:
            picture.line("spread", LABEL + min(values) * scale, middle, LABEL + max(values) * scale, middle)
        if wanted:
            picture.line("wanted", LABEL + wanted * scale, middle - 11, LABEL + wanted * scale, middle + 11)
        label = number(median, digits)
        if len(values) > 1:
            label += f" [{number(min(values), digits)}–{number(max(values), digits)}]"
        picture.text(LABEL + max(max(values), wanted or 0) * scale + 8, middle + 4, label)
        picture.y += ROW


def stacked(picture, title, rows, classes, digits=1):
    """rows: (name, {class: median})."""
    if not rows:
        return
    scale = scale_to(max(sum(parts.values()) for _, parts in rows))
    picture.begin(title, len(rows))
    for name, parts in rows:
        x, middle = LABEL, picture.y + ROW / 2
        picture.text(LABEL - 8, middle + 4, name, anchor="end")
        for css in classes:
            if css in parts:
                picture.bar(css, x, parts[css] * scale)
                x += parts[css] * scale
        picture.text(x + 8, middle + 4, number(sum(parts.values()), digits))
        picture.y += ROW
    x = LABEL
    for css in classes:
        if any(css in parts for _, parts in rows):
            picture.parts.append(f'<rect class="{css}" x="{x}" y="{picture.y + 6}" width="10" height="10"/>')
            picture.text(x + 15, picture.y + 15, css, "note")
            x += 90
    picture.y += NOTE


# ---- what is shown


def samples_of(data, name):
    return [s for s in data["results"].get(name, []) if s]


def is_gateway(data, name):
    return any("p50_us" in s or "one" in s for s in samples_of(data, name))


def peer_rows(peers, gateway):
    rows = []
    for name in peers["results"]:
        rates = [s["jobs_per_s"] for s in samples_of(peers, name) if "jobs_per_s" in s]
        if not rates or is_gateway(peers, name) != gateway:
            continue
        keeps_less = not gateway and "NO results" in peers["peers"][name]["keeps"]
        css = "own" if name.startswith("penstock") else "less" if keeps_less else "peer"
        rows.append((name + (" *" if keeps_less else ""), rates, css, None))
    return sorted(rows, key=lambda r: -statistics.median(r[1]))


def throughput(peers):
    p = Picture()
    queues = peer_rows(peers, False)
    bars(p, "Jobs of 1 KiB with an answer of 500 B, submitted, done and read back: jobs/s", queues)
    if any(css == "less" for _, _, css, _ in queues):
        p.note("* keeps no results: ends when all jobs are acknowledged")
    p.end()
    bars(p, "As HTTP calls to a provider that answers at once, 64 at a time: requests/s", peer_rows(peers, True))
    p.note(machine_of(peers))
    p.end()
    return p


def wanted_of(bench, row, what):
    for figure in bench["figures"]:
        if figure["row"] == row and figure["what"] == what and figure["wanted"]:
            return float(figure["wanted"].split()[1].replace(",", ""))
    return None


def machine_of(data):
    m = data["machine"]
    return f"{m['cores']} cores of {m['model']}, everything on the same machine; medians [least–greatest] of " \
           f"{data['options']['rounds']} rounds"


def share_rows(bench):
    """Of what the bare loops reach: whole jobs beside raw packs, and calls beside libcurl alone."""
    rows = []
    for name, ratios in bench["ratios"].items():
        values = ratios.get("bare raw packs")
        if values and name.endswith(" w1"):
            rows.append((name, values, "own", wanted_of(bench, name, "share of bare raw packs")))
    what = "bare_curl's CPU a call ÷ the worker's"
    for figure in bench["figures"]:
        if figure["what"] == what and figure["values"]:
            wanted = wanted_of(bench, figure["row"], what)
            rows.append((f"{figure['row']}, worker's CPU", figure["values"], "own", wanted))
    return rows


def cpu_rows(bench):
    rows = []
    for name in bench["results"]:
        samples = samples_of(bench, name)
        small = name.startswith("echo ") and " 1KiB " in name and "unique" not in name
        if samples and (small or name.startswith("http ")):
            rows.append((name, {p: statistics.median(s["cpu"][p] for s in samples) for p in samples[0]["cpu"]}))
    return rows


def ceiling(bench):
    p = Picture()
    bars(p, "Share of the bare loop in the same round (1: as fast as Redis or libcurl alone)", share_rows(bench), 2)
    p.note("red: what is wanted")
    p.end()
    stacked(p, "CPU microseconds a job, by process", cpu_rows(bench), PROCESSES)
    p.note(machine_of(bench))
    p.end()
    return p


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--bench", metavar="FILE", help="of run.py --json: draws ceiling.svg")
    a.add_argument("--peers", metavar="FILE", help="of peers.py --json: draws throughput.svg")
    a.add_argument("--out", metavar="DIR", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "pictures"))
    o = a.parse_args()
    if not o.bench and not o.peers:
        a.error("give --bench, --peers or both")
    os.makedirs(o.out, exist_ok=True)
    for source, draw, name in ((o.bench, ceiling, "ceiling.svg"), (o.peers, throughput, "throughput.svg")):
        if source:
            with open(source) as f:
                picture = draw(json.load(f))
            picture.save(os.path.join(o.out, name))
            print(os.path.join(o.out, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
