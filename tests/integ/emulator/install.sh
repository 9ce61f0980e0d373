#!/usr/bin/env bash
# Installs the emulator that test_emulator.py runs the adapters against: `install.sh DIR`.  Everything goes into DIR.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: install.sh DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
what="the protocol emulator"
. "$here/../../support/install.sh"
mkdir -p "$1" && cd "$1" || exit 1
limit=120
install_node --engine-strict
