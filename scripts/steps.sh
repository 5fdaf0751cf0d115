# Sourced by the other scripts. Runs commands as named steps, says how long each took and stops at the
# first that fails.
# shellcheck shell=bash

# step NAME COMMAND... : the command must be a program, since `set -e` does not reach into functions here.
step() {
    local name=$1 began=$SECONDS status=0
    shift
    echo "== $name: $*"
    "$@" || status=$?
    if [ $status != 0 ]; then
        echo "== FAILED after $((SECONDS - began)) s: $name" >&2
        echo "   to repeat it alone: $*" >&2
        exit $status
    fi
    echo "== $name: $((SECONDS - began)) s"
}

# test_step NAME ARGUMENTS... : tests by cargo-nextest where it is installed, which runs the tests of all
# crates side by side, else by cargo test, which runs one crate after another.
test_step() {
    local name=$1
    shift
    if cargo nextest --version >/dev/null 2>&1; then
        step "$name" cargo nextest run --locked --status-level fail --final-status-level slow "$@"
    else
        step "$name" cargo test --locked --quiet "$@"
    fi
}
