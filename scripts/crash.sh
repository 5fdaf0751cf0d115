#!/usr/bin/env bash
# Kills the release build, `kill -9`, again and again under load, and says whether it kept its word. `make test`
# has the short form, which needs no load generator: tests/crash.rs.
#
#   CRASH_ROUNDS=50     how often it is killed
#   CRASH_QUEUES=4      each with a publisher, a consumer and a ledger
#   CRASH_SEED=number   the moments of an earlier run
#   AMQP_LOAD=folder    source of the load generator amqp-load
#   HAREMQ_BIN=file     another binary than the release build
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh
source scripts/load.sh

# What was lost is looked for in the ledgers and the data: they stay when a promise was broken.
clean() {
    if [ $? = 0 ]; then rm -rf "$work"; else echo "== ledgers, logs and data are kept in $work"; fi
}

need_toolchain
need_python
find_load_tool || exit 1
if [ -z "${HAREMQ_BIN:-}" ]; then
    step "release build" cargo build --release --locked --package haremq
    HAREMQ_BIN=$(realpath "$target_dir")/release/haremq
fi
build_load_tool
make_work_folder
trap clean EXIT
pin_binary
step "rounds of kill -9" env HAREMQ_BIN="$HAREMQ_BIN" PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" tests/crash/rounds.py "$load" "$work"
