#!/usr/bin/env bash
# Installs the Debian/Ubuntu packages that penstock needs: `packages.sh run` to build and run it, `packages.sh test` for
# the tests too.  Does nothing where everything is there.
set -euo pipefail
# a|b: whichever of the two this release has.  a?: if it has it.
build="gcc cmake ninja-build pkg-config libzmq3-dev libmsgpack-dev|libmsgpack-c-dev libhiredis-dev
  libcurl4-openssl-dev zlib1g-dev libzstd-dev liblz4-dev libxxhash-dev libfyaml-dev libmicrohttpd-dev libssl-dev
  libnghttp2-dev redis-server"
test="libcmocka-dev libjansson-dev clang libclang-rt-dev|libclang-rt-14-dev python3 chromium? prometheus?"
case "${1:-run}" in
run) want=$build ;;
test) want="$build $test" ;;
*) echo "usage: packages.sh run|test" >&2; exit 2 ;;
esac
installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
missing=()
for p in $want; do
    installed "${p%[|?]*}" || installed "${p#*|}" || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq >&2
chosen=()
for p in "${missing[@]}"; do
    if apt-cache show "${p%[|?]*}" >/dev/null 2>&1; then
        chosen+=("${p%[|?]*}")
    elif [ "${p%\?}" = "$p" ]; then
        chosen+=("${p#*|}")
    fi
done
# redis-server and prometheus must not start as services: penstock runs its own Redis, of the other only promtool is wanted.
policy=""
if [ ! -e /usr/sbin/policy-rc.d ] && [ "$(id -u)" -eq 0 ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
fi
$sudo apt-get install -y -qq --no-install-recommends "${chosen[@]}" >/dev/null || { [ -z "$policy" ] || rm -f $policy; exit 1; }
[ -z "$policy" ] || rm -f $policy
