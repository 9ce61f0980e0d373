"""small.py FROM TO NAME=VALUE...: a copy of the folder FROM in TO, in which the macro NAME is VALUE."""
import pathlib
import re
import sys

source, target = map(pathlib.Path, sys.argv[1:3])
bounds = dict(pair.split("=", 1) for pair in sys.argv[3:])
found = dict.fromkeys(bounds, 0)


def smaller(match):
    found[match[2]] += 1
    return match[1] + match[2] + " " + bounds[match[2]]


define = re.compile(r"(?m)^(#define )(%s) (?:\([^)\n]*\)|[^\s(]+)" % "|".join(bounds))
target.mkdir(parents=True, exist_ok=True)
for f in sorted(source.glob("*.[ch]")):
    (target / f.name).write_text(define.sub(smaller, f.read_text()))
for name, n in found.items():
    if n != 1:
        sys.exit(f"{source}: {n} definitions of {name}")
