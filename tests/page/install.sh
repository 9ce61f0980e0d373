#!/usr/bin/env bash
# Installs what page_test.mjs drives a browser ($PST_CHROMIUM) with, of the versions in package-lock.json:
# `install.sh DIR`.  Everything goes into DIR.  Does nothing where those versions are there.
#
# Where it cannot be installed, or there is no browser, this says so aloud, with the reason, and exits with 77.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: install.sh DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1" || exit 1
limit=120  # seconds

skip() { # REASON
    echo "skipped: the page in a browser: $1" >&2
    exit 77
}

# What npm complains of first, if it had the time.
reason() {
    { grep -E '^npm (error|ERR!)' npm.log || echo "not done in $limit s"; } | head -n 2 |
        sed -E 's/^npm (error|ERR!) //' | tr '\n' ' ' | cut -c 1-200
}

[ -n "${PST_CHROMIUM:-}" ] || skip "chromium is not installed"
command -v node > /dev/null && command -v npm > /dev/null || skip "node or npm is not installed"
cmp -s "$here/package-lock.json" installed.json && exit 0
rm -rf node_modules installed.json
cp "$here/package.json" "$here/package-lock.json" .
timeout $limit npm ci --omit=dev --ignore-scripts --engine-strict --no-audit --no-fund --fetch-retries=1 \
    > npm.log 2>&1 < /dev/null || skip "npm: $(reason)"
cp package-lock.json installed.json
