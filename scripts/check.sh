#!/usr/bin/env bash
# The fast loop while you write: format, lints, and the unit tests of the pure crates, where most of the
# broker's promises live. `make test` is the whole.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh

need_toolchain
need_lints
step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
test_step "unit tests" --lib -p haremq-exchanges -p haremq-vhosts -p haremq-rabbit-compat
echo "== all good in $SECONDS s"
