#!/usr/bin/env bash
# Everything that must hold before a change is merged: format, lints, all tests with the house rules and
# the licences of the dependencies among them (tests/tidy.rs), documentation, and real clients in Python.
#
# The end-to-end tests run the development build. It has overflow checks and debug assertions, its
# dependencies are optimised (Cargo.toml), and it is there already, built for the tests in Rust: a release
# build takes minutes and would save seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh

need_toolchain
need_lints
need_python
step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
# Without --all-targets, with which examples would be built as tests and not as the programs that
# tests/examples.rs runs.
test_step "tests" --workspace
step "documentation tests" cargo test --locked --workspace --doc --quiet
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
# An absolute path, and the binary of the tests above: `cargo build` alone picks other features of the
# dependencies and would compile half of them again.
step "Python clients" env HAREMQ_BIN="$(realpath "$target_dir")/debug/haremq" PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/pytest" --quiet tests/python
echo "== all good in $SECONDS s"
