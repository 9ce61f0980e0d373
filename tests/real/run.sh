#!/usr/bin/env bash
# penstock against a real model server: installs one into build/real, starts it, runs test_real.py against it, stops it.
# Exits with 77 where it cannot be installed, with the reason.  Needs a release build (tests/run.sh makes one).
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/real/install.sh build/real
export PST_BIN=$PWD/build/release/bin PST_REAL=$PWD/build/real PYTHONDONTWRITEBYTECODE=1
exec python3 tests/real/test_real.py
