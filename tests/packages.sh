#!/usr/bin/env bash
# Installs the Debian/Ubuntu packages that penstock needs: `packages.sh run` to build and run it, `packages.sh test` for
# the tests too.  Does nothing where everything is there.
set -euo pipefail
build="gcc cmake ninja-build pkg-config libzmq3-dev libczmq-dev libmsgpack-dev libhiredis-dev
  libcurl4-openssl-dev libzstd-dev libxxhash-dev libfyaml-dev libjansson-dev libmicrohttpd-dev redis-server"
test="libcmocka-dev clang libclang-rt-14-dev clang-tidy cppcheck valgrind python3"
case "${1:-run}" in
run) want=$build ;;
test) want="$build $test" ;;
*) echo "usage: packages.sh run|test" >&2; exit 2 ;;
esac
missing=()
for p in $want; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq >&2
# redis-server must not start as a service: penstock runs its own.
policy=""
if [ ! -e /usr/sbin/policy-rc.d ] && [ "$(id -u)" -eq 0 ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
fi
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || { [ -z "$policy" ] || rm -f $policy; exit 1; }
[ -z "$policy" ] || rm -f $policy
