# Sourced by the other scripts. Finds out what this machine lacks and installs it: Debian packages with
# apt, Python packages into a virtual environment below the target directory. It says what it does, and
# does nothing when nothing is missing.
# shellcheck shell=bash

target_dir=${CARGO_TARGET_DIR:-target}

fail() {
    echo "$0: $*" >&2
    exit 1
}

# install_packages PACKAGE... : with apt, as root or through sudo.
install_packages() {
    command -v apt-get >/dev/null || fail "please install: $* (there is no apt-get to do it with)"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "please install as root: apt-get install $*"
        root=(sudo)
    fi
    echo "== installing with apt: $*"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
}

# For everything that compiles.
need_toolchain() {
    command -v cargo >/dev/null || fail "please install a Rust toolchain: https://rustup.rs"
    command -v cc >/dev/null || install_packages build-essential
}

need_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        fail "please run: rustup component add rustfmt clippy"
}

# Makes a virtual environment with the packages that tests/python/requirements.txt pins; sets $venv.
need_python() {
    venv=$target_dir/python
    cmp -s tests/python/requirements.txt "$venv/requirements.txt" && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "please install Python 3.11 or later"
    echo "== installing with pip into $venv: $(grep -o '^[a-z]*==[^ ]*' tests/python/requirements.txt | tr '\n' ' ')"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r tests/python/requirements.txt
    cp tests/python/requirements.txt "$venv/"
}
