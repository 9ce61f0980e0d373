#!/usr/bin/env bash
# penstock from nothing, on a fresh Debian or Ubuntu machine: installs the packages, builds, starts a cluster, runs the
# sample batch (1,000 requests, three models, three providers), shows what came of it, and stops.
#
#   deploy/quickstart.sh [DIR]     DIR: where the cluster keeps its data (default: a new directory in /tmp)
#
# A provider whose key is in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY) is called for real, with
# a budget of one US dollar for the batch; the others are simulated on this machine, at no cost.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-$(mktemp -d /tmp/penstock-quickstart.XXXXXX)}
mkdir -p "$dir"
bin=$PWD/build/quickstart/bin

say() { printf '\n== %s\n' "$*"; }

say "packages"
tests/packages.sh run

say "build"
cmake -S . -B build/quickstart -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPST_TESTS=OFF -DPST_SIM_PROVIDER=ON >/dev/null
cmake --build build/quickstart | tail -1

pids=()
stop() {
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null && wait "${pids[i]}" 2>/dev/null
    done
    pids=()
}
trap stop EXIT

# Starts a program in the background; its standard output goes to FILE, whose first line is waited for and put in $line.
start() { # FILE PROGRAM ARGS...
    local file=$1
    shift
    : > "$file"
    "$@" > "$file" &
    local pid=$!
    pids+=("$pid")
    until read -r line < "$file"; do
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
}

say "providers"
start "$dir/sim-provider.out" "$bin/pst-sim-provider" --port 0 --latency-ms 400 --latency-sigma 0.4
port=${line##*:}
config=$dir/penstock.yaml
{
    echo "broker: { clients: \"tcp://127.0.0.1:7701\", workers: \"tcp://127.0.0.1:7702\" }"
    echo "providers:"
} > "$config"
provider() { # name variable simulated-base-url
    if [ -n "${!2:-}" ]; then
        echo "  $1: REAL (\$$2 is set): this spends money, at most 1 USD for the batch" >&2
        echo "  $1: { limits: { concurrency: 20 } }"
    else
        echo "  $1: simulated (\$$2 is not set)" >&2
        echo "  $1: { base_url: \"$3\", api_key: simulated, limits: { concurrency: 40 } }"
    fi >> "$config"
}
provider openai OPENAI_API_KEY "http://127.0.0.1:$port/v1"
provider anthropic ANTHROPIC_API_KEY "http://127.0.0.1:$port"
provider gemini GEMINI_API_KEY "http://127.0.0.1:$port/v1beta"

say "cluster (penstock up --data $dir/data)"
if ! start "$dir/up.out" "$bin/penstock" up --data "$dir/data" --config "$config" 2> "$dir/penstock.log"; then
    cat "$dir/penstock.log" >&2
    exit 1
fi
echo "$line"

say "sample batch: 1,000 requests, three models in one file"
status=0
"$bin/penstock" submit deploy/examples/sample.jsonl --name sample --max-cost 1 --config "$config" \
    --output "$dir/results.jsonl" > "$dir/batch_id" || status=$?
batch=$(cat "$dir/batch_id")

say "receipt of $batch"
"$bin/penstock" receipt "$batch" --config "$config"
say "one job, by its id"
"$bin/penstock" get "$batch.0" --config "$config"

say "stopping"
stop
trap - EXIT
echo "results:      $dir/results.jsonl"
echo "data and log: $dir/data, $dir/penstock.log"
echo "go on with:   $bin/penstock up --data $dir/data --config $config   (simulated providers ended with this script)"
exit $status
