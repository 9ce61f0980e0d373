"""mutate.py FILE FUNCTION STATEMENT OUT: a copy of FILE in which FUNCTION begins with STATEMENT."""
import re
import sys

source, function, statement, out = sys.argv[1:]
with open(source) as f:
    text = f.read()
mutated, n = re.subn(r"(?m)^((?:static )?\w[\w *]*\b%s\([^;{]*\)\n\{\n)" % re.escape(function), r"\1    %s;\n" % statement, text)
if n != 1:
    sys.exit(f"{source}: {n} definitions of {function}")
with open(out, "w") as f:
    f.write(mutated)
