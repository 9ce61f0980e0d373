"""What penstock is measured beside: a file each, programs/ that run in the peers' own languages, pins/ of versions.

A peer's file has ROWS, a list of support.Row.  Its measure(bench, row) starts everything, runs once, checks every
result, ends everything, and returns a sample as run.py's do.
"""
