#!/usr/bin/env bash
# Installs what the tests need, builds, and runs all of them:  tests/run.sh [--nightly]
# --nightly: the same tests, longer (100,000 seeds, twenty kills of each process, ten minutes of fuzzing a target), and
# penstock against a real model (tests/real).
# Three tests run at a time, for most wait, but for those with deadlines or figures of their own (RUN_SERIAL).
# Tests with real processes have deadlines, and shared machines stall for seconds: a test that fails is run once more, and
# ctest prints both runs.  One that fails twice has failed.
# One test: ctest --test-dir build/release -R '^integ\.crash$' -V
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=10
if [ "${1:-}" = --nightly ]; then
    export PST_NIGHTLY=1
    seconds=600
elif [ $# -gt 0 ]; then
    echo "usage: tests/run.sh [--nightly]" >&2
    exit 2
fi
tests/packages.sh test

echo "== build"
cmake --preset release >/dev/null
cmake --build --preset release

failed=0
echo "== unit, simulator, corpus, lint, integration"
ctest --preset release -j 3 --no-tests=error --repeat until-pass:2 || failed=1
grep '^skipped: ' build/release/Testing/Temporary/LastTest.log | sort -u || true

echo "== the same units under the address and undefined-behaviour sanitizers"
cmake --preset asan >/dev/null
cmake --build --preset asan
ctest --preset asan -j 3 --no-tests=error --repeat until-pass:2 -R '^(unit|fuzz|worker|store)\.' || failed=1

echo "== fuzz: $seconds s a target"
CC=clang cmake -S . -B build/fuzz -G Ninja -DPST_FUZZ=ON >/dev/null
cmake --build build/fuzz --target fuzzers
fuzz() { # PROGRAM
    local name work
    name=$(basename "$1" _fuzz)
    work=build/fuzz/corpus-$name
    mkdir -p "$work"
    if "$1" -max_total_time="$seconds" -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/" \
        "$work" "tests/fuzz/corpus/$name" > "$work.log" 2>&1; then
        echo "fuzz.$name: $(awk '/number_of_executed_units/ {print $2}' "$work.log") runs, nothing found"
    else
        tail -40 "$work.log"
        return 1
    fi
}
export -f fuzz
export seconds
printf '%s\0' build/fuzz/bin/*_fuzz | xargs -0 -n 1 -P 2 bash -c 'fuzz "$1"' fuzz || failed=1
if [ "${PST_NIGHTLY:-}" = 1 ]; then
    echo "== a real model"
    tests/real/run.sh || [ $? -eq 77 ] || failed=1
fi
[ $failed -eq 0 ] && echo "== all passed" || { echo "== FAILED"; exit 1; }
