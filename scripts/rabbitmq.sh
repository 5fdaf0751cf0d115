#!/usr/bin/env bash
# A RabbitMQ beside HareMQ, to compare with: Debian's rabbitmq-server, run by hand and not by systemd,
# on loopback, with everything that it writes in one directory and a port mapper of its own, so that
# neither an installed RabbitMQ nor a second one of ours is disturbed.
#
#   scripts/rabbitmq.sh start DIR PORT    prints the process id of the broker when it accepts
#   scripts/rabbitmq.sh stop DIR
set -euo pipefail

server=/usr/lib/rabbitmq/bin/rabbitmq-server

start() {
    local dir=$1 port=$2
    mkdir -p "$dir/home"
    echo '[].' >"$dir/enabled_plugins"
    # DIR is new, so these are the only settings; what is not named here is RabbitMQ's default.
    export HOME="$dir/home" ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
    export RABBITMQ_NODENAME="compare-$port@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
    export RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$((port + 1))
    export RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_PID_FILE="$dir/pid"
    export RABBITMQ_CONFIG_FILE="$dir/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins"
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
    epmd -port "$ERL_EPMD_PORT" </dev/null >"$dir/epmd.out" 2>&1 &
    echo $! >"$dir/epmd.pid"
    "$server" </dev/null >"$dir/out" 2>&1 &
    local launcher=$!
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$(<"$dir/pid")"
            return
        fi
        kill -0 "$launcher" 2>/dev/null || break
        sleep 0.1
    done
    echo "rabbitmq-server did not start; it said:" >&2
    cat "$dir/out" >&2
    exit 1
}

stop() {
    local file pid
    # The broker first: it still talks to its port mapper.
    for file in "$1/pid" "$1/epmd.pid"; do
        [ -s "$file" ] || continue
        pid=$(<"$file")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 300); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        rm -f "$file"
    done
}

"$@"
