#!/usr/bin/env python3
"""Runs the market simulator (tests/sim/market.c) at full size and prints its figures, and what is wanted of them.

A round is a seed: figures in virtual time say the same of a seed on every machine.  Only decision.cost is real time.
README.md says what the scenarios are.  Fails if a rule is broken, not if a figure misses what is wanted.
"""
import argparse
import json
import re
import subprocess
import sys

import table
from lab import TIMEOUT_S, harness, log


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--jobs", type=int, default=10**6, help="of a scenario's main batch (1000000)")
    p.add_argument("--rounds", type=int, default=3, help="seeds, from --seed on (3)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", default="", metavar="REGEX", help="scenarios whose name matches")
    p.add_argument("--json", metavar="FILE", help="every figure of every round")
    return p.parse_args()


def run_seed(o, seed):
    """The lines of one run: a figure or a failure each."""
    done = subprocess.run([harness.program("market"), "--jobs", str(o.jobs), "--seed", str(seed), "--only", o.only],
                          stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode and not any("failure" in line for line in lines):
        raise AssertionError(f"market ended with {done.returncode}")
    return lines


def digits(values):
    """Of figures near 1 three, of large ones none."""
    most = max(abs(v) for v in values)
    return 4 if most < 0.1 else 3 if most < 10 else 1 if most < 1000 else 0


def figures(rounds):
    """By scenario and name, in their order: (row, figure, values)."""
    found = {}
    for lines in rounds:
        for line in lines:
            if "figure" in line:
                found.setdefault((line["scenario"], line["figure"]), (line["wanted"], []))[1].append(line["value"])
    for (scenario, what), (wanted, values) in found.items():
        sense, bound = re.fullmatch(r"([<>]=) (\S+)", wanted).groups() if wanted else (None, None)
        yield scenario, table.Figure(what, None, digits(values), at_least=float(bound) if sense == ">=" else None,
                                     at_most=float(bound) if sense == "<=" else None), values


def main():
    o = options()
    rounds = []
    for seed in range(o.seed, o.seed + o.rounds):
        rounds.append(run_seed(o, seed))
        log(f"seed {seed}: {sum('figure' in line for line in rounds[-1])} figures")
    rows = list(figures(rounds))
    print(f"{o.rounds} seeds from {o.seed} on, {o.jobs} jobs; median [min–max]\n")
    table.print_figures(rows)
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"options": vars(o), "figures": [
                {"row": scenario, "what": figure.what, "values": values, "holds": table.holds(figure, values)}
                for scenario, figure, values in rows]}, f, indent=1)
    failures = [line for lines in rounds for line in lines if "failure" in line]
    for line in failures:
        log(f"FAILED: {line['scenario']}, seed {line['seed']}: {line['failure']}")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
