# Sourced by the scripts that put brokers under load. They need what the project does not contain: the load
# generator amqp-load, whose source folder AMQP_LOAD names, and to compare with Debian's RabbitMQ.
# shellcheck shell=bash

find_load_tool() {
    local beside=../shared/tools/amqp-load
    if [ -z "${AMQP_LOAD:-}" ] && [ -d "$beside" ]; then AMQP_LOAD=$beside; fi
    [ -n "${AMQP_LOAD:-}" ] && return
    echo "== no load: set AMQP_LOAD to the source folder of the load generator amqp-load"
    return 1
}

# Sets $load to the program.
build_load_tool() {
    step "load generator" cargo build --release --locked --quiet --manifest-path "$AMQP_LOAD/Cargo.toml" \
        --target-dir "$target_dir/amqp-load"
    load=$(realpath "$target_dir")/amqp-load/release/amqp-load
}

find_rabbitmq() {
    if [ ! -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && [ -t 0 ]; then
        read -rp "RabbitMQ is not installed. Install it with apt? It may start on port 5672. [y/N] " answer
        if [ "$answer" = y ]; then install_packages rabbitmq-server; fi
    fi
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] ||
        echo "== without RabbitMQ, which is not installed: apt-get install rabbitmq-server"
}

# Sets $work to a folder where the build is, and not in /tmp: that may be memory, and syncing is half of what
# is measured.
make_work_folder() {
    work=$(mktemp -d --tmpdir="$(realpath "$target_dir")")
}

# Runs a copy from here on: a build meanwhile would put another broker on the data of this one, and nobody
# could say which of them was measured. Needs $work.
pin_binary() {
    cp "$HAREMQ_BIN" "$work/haremq"
    HAREMQ_BIN=$work/haremq
    echo "== measured: $("$HAREMQ_BIN" --version), sha256 $(sha256sum "$HAREMQ_BIN" | cut -c1-16)"
}
