#!/usr/bin/env bash
# Installs the official SDKs that the tests here use: `install.sh node|python DIR`.  Everything goes into DIR.
set -uo pipefail
[ $# -eq 2 ] || { echo "usage: install.sh node|python DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
what="the official SDKs"
. "$here/../support/install.sh"
mkdir -p "$2" && cd "$2" || exit 1
case $1 in
node)
    install_node
    [ "$(node --version | tr -d v | cut -d. -f1)" -ge 20 ] || skip "node is older than 20"
    ;;
python) install_python ;;
*) echo "usage: install.sh node|python DIR" >&2; exit 2 ;;
esac
