#!/usr/bin/env bash
# The page's tests: `run.sh units` (its arithmetic, in node), or `run.sh browser DIR [OPTION...]`: the page in a headless
# Chromium ($PST_CHROMIUM, else the one that is installed), with what install.sh puts into DIR and the options of
# page_test.mjs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "${1:-}" in
units)
    command -v node > /dev/null || { echo "skipped: the page's arithmetic: node is not installed" >&2; exit 77; }
    exec node "$here/units_test.mjs"
    ;;
browser)
    [ $# -ge 2 ] || { echo "usage: run.sh browser DIR [OPTION...]" >&2; exit 2; }
    dir=$2
    shift 2
    export PST_CHROMIUM=${PST_CHROMIUM:-$(command -v chromium || command -v chromium-browser)}
    "$here/install.sh" "$dir" || exit $?
    exec node "$here/page_test.mjs" --modules "$dir" "$@"
    ;;
*) echo "usage: run.sh units | browser DIR [OPTION...]" >&2; exit 2 ;;
esac
