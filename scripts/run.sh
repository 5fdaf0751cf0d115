#!/usr/bin/env bash
# Builds the release and serves AMQP on port 5672 and HTTP on 15672, with the data in haremq-data/ below
# the working directory; those are the broker's own defaults. Arguments are passed on to it.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh

need_toolchain
cargo build --release --locked --package haremq
exec "$target_dir/release/haremq" serve "$@"
