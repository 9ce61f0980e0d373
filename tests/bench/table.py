"""Rows: what is measured, what it is divided by, what is wanted of it; and the tables they make.

results is {row name: [a sample or None, one a round]}.  A ratio or a figure of several rows is made within a round,
then the median is taken of the rounds.
"""
import dataclasses
import statistics
from typing import Callable, Optional

PROCESSES = ["client", "gateway", "broker", "redis", "worker", "provider"]


def per_s(sample):
    return sample.get("jobs_per_s")


@dataclasses.dataclass
class Ratio:
    """value of this row ÷ (times · value of the other row)."""
    label: str
    other: str
    value: Callable = per_s
    times: float = 1

    def of(self, own, other):
        return own / (self.times * other)


class Difference(Ratio):
    """value of this row less that of the other row."""

    def of(self, own, other):
        return own - other


@dataclasses.dataclass
class Figure:
    """A number of a sample; at_least or at_most: what is wanted of its median."""
    what: str
    value: Callable                    # of a sample; or of a ratio, if that is given
    digits: int = 0
    at_least: Optional[float] = None
    at_most: Optional[float] = None
    ratio: Optional[Ratio] = None


@dataclasses.dataclass
class Row:
    name: str
    measure: Callable                  # () -> sample
    ratios: list = dataclasses.field(default_factory=list)
    figures: list = dataclasses.field(default_factory=list)
    durability: str = "logged"


def field(name, times=1):
    """A figure's value: a field of the sample."""
    return lambda s: s[name] * times if name in s else None


def wanted_ratio(ratio, at_least, what=None):
    return Figure(what or f"share of {ratio.label}", lambda r: r, 2, at_least=at_least, ratio=ratio)


def cpu(process):
    return lambda s: s["cpu"].get(process)


def rounds_of(ratio, name, results):
    """The ratio in each round in which both rows were measured."""
    found = []
    for a, b in zip(results.get(name, []), results.get(ratio.other, [])):
        if a and b and ratio.value(a) and ratio.value(b):
            found.append(ratio.of(ratio.value(a), ratio.value(b)))
    return found


def values_of(figure, name, results):
    if figure.ratio:
        return [figure.value(r) for r in rounds_of(figure.ratio, name, results)]
    got = [figure.value(s) for s in results.get(name, []) if s]
    return [v for v in got if v is not None]


def holds(figure, values):
    """None: nothing is wanted, or nothing was measured."""
    if not values or (figure.at_least is None and figure.at_most is None):
        return None
    median = statistics.median(values)
    enough = figure.at_least is None or median >= figure.at_least
    return enough and (figure.at_most is None or median <= figure.at_most)


def wanted(figure):
    if figure.at_least is not None:
        return f">= {figure.at_least:,.{figure.digits}f}"
    return f"<= {figure.at_most:,.{figure.digits}f}" if figure.at_most is not None else ""


def spread(values, digits=0):
    values = list(values)
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} [{low:,.{digits}f}–{high:,.{digits}f}]"


def print_table(header, lines):
    widths = [max(len(x[i]) for x in [header, *lines]) for i in range(len(header))]
    for x in [header, ["-" * w for w in widths], *lines]:
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(x, widths)) + " |")
    print()


def line_of(row, results):
    samples = [s for s in results[row.name] if s]
    ratios = [f"{spread(rounds_of(r, row.name, results), 2)} of {r.label}" for r in row.ratios
              if rounds_of(r, row.name, results)]
    used = [spread((s["cpu"][p] for s in samples if p in s["cpu"]), 1) for p in PROCESSES]
    rss = [f"{p} {max(s['rss'][p] for s in samples):.0f}" for p in PROCESSES if samples and p in samples[0]["rss"]]
    volume = [per_s(s) * s["body_bytes"] / (1 << 20) for s in samples if per_s(s) and "body_bytes" in s]
    return [row.name, row.durability, spread(per_s(s) for s in samples if per_s(s)), spread(volume),
            "; ".join(ratios) or "-", *used, ", ".join(rss) or "-", spread(s["quiet"] for s in samples),
            spread(s["stolen"] for s in samples)]


HEADER = ["what", "durability", "jobs/s", "MiB/s of bodies", "ratio in the same round",
          *(f"{p} us/job" for p in PROCESSES), "peak MiB", "quiet %", "stolen %"]


def print_phases(rows, results):
    """Of whole batches, where their time went."""
    lines = [[row.name, *(spread(s[k] * 1e3 for s in results[row.name] if s)
                          for k in ("accepted_s", "first_result_s", "run_s"))]
             for row in rows if any(s and "run_s" in s for s in results[row.name])]
    if lines:
        print_table(["what", "accepted after ms", "first result after ms", "accepted to last result ms"], lines)


def print_figures(figures, judge=True):
    """figures: (name of the row, Figure, values); those without values are left out."""
    verdicts = {True: "yes", False: "NO", None: ""}
    lines = [[name, figure.what, spread(values, figure.digits), wanted(figure),
              verdicts[holds(figure, values) if judge else None]] for name, figure, values in figures if values]
    if lines:
        print_table(["what", "figure", "measured", "wanted", "holds"], lines)


def print_results(rows, results, judge=True):
    print_table(HEADER, [line_of(row, results) for row in rows])
    print_phases(rows, results)
    print_figures([(row.name, figure, values_of(figure, row.name, results)) for row in rows for figure in row.figures],
                  judge)


def as_json(rows, results):
    """What the tables say, for programs: beside the samples, ratios by label and figures with their verdict."""
    return {
        "results": {row.name: results[row.name] for row in rows},
        "durability": {row.name: row.durability for row in rows},
        "ratios": {row.name: {r.label: rounds_of(r, row.name, results) for r in row.ratios}
                   for row in rows if row.ratios},
        "figures": [{"row": row.name, "what": f.what, "values": values_of(f, row.name, results), "wanted": wanted(f),
                     "holds": holds(f, values_of(f, row.name, results))} for row in rows for f in row.figures],
    }
