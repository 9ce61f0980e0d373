# Sourced by install scripts of tests: what others publish, into the present directory, of the versions that `here` names.  Does
# nothing where those versions are there.  What cannot be installed is said aloud, with the reason, and ends with 77.
#   what=...       for messages
#   here=DIR       of package.json and package-lock.json, or of requirements.txt
limit=${limit:-240} # seconds

skip() { # REASON
    echo "skipped: $what: $1" >&2
    exit 77
}

# What the installer complains of first, if it had the time.
reason() {
    { grep -iE '^(npm )?(error|ERR!)' install.log || echo "not done in $limit s"; } | head -n 2 |
        sed -E 's/^npm (error|ERR!) //' | tr '\n' ' ' | cut -c 1-200
}

# Tests run beside each other: one installs, the others find it done.
alone() {
    exec 9> .lock && flock 9
}

install_node() { # NPM-OPTION...
    alone
    cmp -s "$here/package-lock.json" installed && return
    command -v node > /dev/null && command -v npm > /dev/null || skip "node or npm is not installed"
    rm -rf node_modules installed
    cp "$here/package.json" "$here/package-lock.json" .
    timeout "$limit" npm ci --omit=dev --ignore-scripts --no-audit --no-fund --fetch-retries=1 "$@" \
        > install.log 2>&1 < /dev/null || skip "npm: $(reason)"
    cp package-lock.json installed
}

install_python() {
    alone
    cmp -s "$here/requirements.txt" installed && return
    rm -rf venv installed
    python3 -m venv venv > install.log 2>&1 || skip "python3 has no venv"
    timeout "$limit" venv/bin/pip install --disable-pip-version-check --require-hashes --only-binary :all: --retries 1 \
        -r "$here/requirements.txt" >> install.log 2>&1 < /dev/null || skip "pip: $(reason)"
    cp "$here/requirements.txt" installed
}
