#!/usr/bin/env bash
# Installs what page_test.mjs drives a browser ($PST_CHROMIUM) with: `install.sh DIR`.  Everything goes into DIR.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: install.sh DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
what="the page in a browser"
. "$here/../support/install.sh"
mkdir -p "$1" && cd "$1" || exit 1
[ -n "${PST_CHROMIUM:-}" ] || skip "chromium is not installed"
install_node --engine-strict
