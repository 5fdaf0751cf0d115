#!/usr/bin/env bash
# What the features of queues do here and in Debian's RabbitMQ: a line each, and the differences.
#
#   scripts/compare.sh [TEXT...]    only features whose name contains one of these texts
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh

need_toolchain
need_python
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || fail "please install: apt-get install rabbitmq-server"
# The binary that `make test` runs; `cargo build` would make another one.
step "build" cargo test --locked --workspace --no-run --quiet
HAREMQ_BIN=${HAREMQ_BIN:-$(realpath "$target_dir")/debug/haremq} PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" tests/python/compare.py "$@"
