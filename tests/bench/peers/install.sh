#!/usr/bin/env bash
# Installs what peers.py measures penstock beside: `install.sh DIR [NAME...]`, all or those named.  npm and Python
# packages, of the versions in pins/, go into DIR and nowhere else; Debian packages are installed when this runs as
# root.  Does nothing for what is there.
#
# What cannot be installed is said aloud, and its reason is left in DIR/skipped/NAME for the table.
set -uo pipefail
[ $# -ge 1 ] || { echo "usage: install.sh DIR [NAME...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/skipped" && dir=$(cd "$1" && pwd) || exit 1
limit=600  # seconds for any one step
shift
[ $# -gt 0 ] || set -- bullmq celery rq beanstalkd nats wrk portkey litellm

skip() { # NAME REASON
    echo "install.sh: skipped $1: $2" >&2
    echo "$2" > "$dir/skipped/$1"
}

step() { timeout $limit "$@" >> "$log" 2>&1 < /dev/null; }

# The line of the log that says most.
reason() {
    { echo "failed without a word"; tail -n 1 "$log"; grep -E '^(ERROR|E:|npm (error|ERR!))|error:' "$log"; } |
        tail -n 1 | cut -c 1-160
}

# Whether NAME is there with these very pins.
have() { cmp -s "$2" "$dir/$1/pins"; }

npm_peer() { # NAME
    have "$1" "$here/pins/$1/package.json" && return
    rm -rf "${dir:?}/$1" "$dir/skipped/$1"
    command -v node > /dev/null && command -v npm > /dev/null || { skip "$1" "node or npm is not installed"; return; }
    mkdir "$dir/$1" && cp "$here/pins/$1/package.json" "$dir/$1/"
    (cd "$dir/$1" && step npm install --omit=dev --no-audit --no-fund) || { skip "$1" "npm: $(reason)"; return; }
    cp "$here/pins/$1/package.json" "$dir/$1/pins"
}

python_peer() { # NAME
    have "$1" "$here/pins/$1.txt" && return
    rm -rf "${dir:?}/$1" "$dir/skipped/$1"
    step python3 -m venv "$dir/$1" || { skip "$1" "python3 -m venv: $(reason)"; return; }
    step "$dir/$1/bin/pip" install -q --disable-pip-version-check -r "$here/pins/$1.txt" ||
        { skip "$1" "pip: $(reason)"; return; }
    cp "$here/pins/$1.txt" "$dir/$1/pins"
}

debian_have() { dpkg-query -W -f '${Status}' "$1" 2> /dev/null | grep -q 'ok installed'; }

debian_peer() { # NAME PACKAGE...
    local name=$1 missing=() p policy=""
    shift
    rm -f "$dir/skipped/$name"
    for p in "$@"; do debian_have "$p" || missing+=("$p"); done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || { skip "$name" "not installed: ${missing[*]} (run install.sh as root)"; return; }
    # The servers must not start as services: peers.py runs its own.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod +x $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    step apt-get install -y -q --no-install-recommends "${missing[@]}" ||
        { step apt-get update -q && step apt-get install -y -q --no-install-recommends "${missing[@]}"; } ||
        skip "$name" "apt-get: $(reason)"
    [ -z "$policy" ] || rm -f $policy
}

nats_client() { # beside its Debian packages
    local source=$here/programs/nats_client.c program=$dir/nats_client
    [ ! -e "$dir/skipped/nats" ] || return
    [ "$program" -nt "$source" ] && return
    step cc -std=gnu17 -O2 -Wall -Wextra -Werror -o "$program" "$source" -lnats -pthread || skip nats "cc: $(reason)"
}

for name; do
    log=$dir/$name.log
    : > "$log"
    case $name in
    bullmq | portkey) npm_peer "$name" ;;
    celery | rq | litellm) python_peer "$name" ;;
    beanstalkd | wrk) debian_peer "$name" "$name" ;;
    nats) debian_peer nats nats-server libnats-dev; nats_client ;;
    *) echo "install.sh: unknown: $name" >&2; exit 2 ;;
    esac
done
