#!/usr/bin/env bash
# Measures what the store aims at: HareMQ's release build, Debian's RabbitMQ and a raw file that is appended to
# and synced, one after another on the same disk, and prints a table of goals and figures.
#
#   BENCH_ONLY="text text"   only rows whose name contains one of these: see ROWS in bench_store.py
#   BENCH_COUNT=10000000     messages of the backlog
#   BENCH_ROUNDS=3           how often each load runs on each broker; the table has the medians
#   BENCH_SECONDS=5          how long each load runs
#   BENCH_FULL=1             memory with 20 million messages too
#   AMQP_LOAD=folder         source of the load generator amqp-load
#   HAREMQ_BIN=file          another binary than the release build
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh
source scripts/load.sh

need_toolchain
need_python
find_load_tool || exit 1
find_rabbitmq || true
if [ -z "${HAREMQ_BIN:-}" ]; then
    step "release build" cargo build --release --locked --package haremq
    HAREMQ_BIN=$(realpath "$target_dir")/release/haremq
fi
build_load_tool
make_work_folder
trap 'rm -rf "$work"' EXIT
pin_binary
# Hundreds of connections need as many file descriptors.
ulimit -n "$(ulimit -Hn)"
step "goals of the store" env HAREMQ_BIN="$HAREMQ_BIN" PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" scripts/bench_store.py "$load" "$work"
