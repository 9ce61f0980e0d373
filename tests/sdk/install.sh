#!/usr/bin/env bash
# Installs the official SDKs that the tests here use, in the versions of package-lock.json or requirements.txt:
# `install.sh node|python DIR`.  Everything goes into DIR.  Does nothing where those versions are there.
#
# Where they cannot be installed this says so aloud, with the reason, and exits with 77.
set -uo pipefail
[ $# -eq 2 ] || { echo "usage: install.sh node|python DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2" && cd "$2" || exit 1
limit=240  # seconds

skip() { # REASON
    echo "skipped: the official SDKs: $1" >&2
    exit 77
}

# What the installer complains of first, if it had the time.
reason() {
    { grep -iE '^(npm )?(error|ERR!)' install.log || echo "not done in $limit s"; } | head -n 2 |
        sed -E 's/^npm (error|ERR!) //' | tr '\n' ' ' | cut -c 1-200
}

install_node() {
    cmp -s "$here/package-lock.json" installed && return
    command -v node > /dev/null && command -v npm > /dev/null || skip "node or npm is not installed"
    [ "$(node --version | tr -d v | cut -d. -f1)" -ge 20 ] || skip "node is older than 20"
    rm -f installed
    cp "$here/package.json" "$here/package-lock.json" .
    timeout $limit npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1 > install.log 2>&1 < /dev/null ||
        skip "npm: $(reason)"
    cp package-lock.json installed
}

install_python() {
    cmp -s "$here/requirements.txt" installed && return
    rm -rf venv installed
    python3 -m venv venv > install.log 2>&1 || skip "python3 has no venv"
    timeout $limit venv/bin/pip install --disable-pip-version-check --require-hashes --only-binary :all: --retries 1 \
        -r "$here/requirements.txt" >> install.log 2>&1 < /dev/null || skip "pip: $(reason)"
    cp "$here/requirements.txt" installed
}

case $1 in
node | python) install_"$1" ;;
*) echo "usage: install.sh node|python DIR" >&2; exit 2 ;;
esac
