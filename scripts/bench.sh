#!/usr/bin/env bash
# Measures: the micro-benchmarks of the crates, then HareMQ's release build beside RabbitMQ, both fresh,
# under the same loads in alternation, with a server that does nothing (sink) as the ceiling of the load
# generator itself.
#
#   BENCH_ONLY="text text"   only benchmarks and loads whose name contains one of these
#   BENCH_ROUNDS=3           how often each load runs on each broker; the table has the medians
#   AMQP_LOAD=folder         source of the load generator amqp-load; without it there is no table
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/needs.sh
source scripts/steps.sh
source scripts/load.sh

# Below the ports of outgoing connections: there, a connection to a port that nobody listens on yet can
# meet itself.
rabbit_port=27672 haremq_port=27682 sink_port=27692
read -ra only <<<"${BENCH_ONLY:-}"

main() {
    need_toolchain
    step "micro-benchmarks" cargo bench --locked --workspace --benches -- ${only:+"$(IFS='|'; echo "${only[*]}")"}
    find_load_tool || return 0
    find_rabbitmq
    step "release build" cargo build --release --locked --package haremq
    build_load_tool
    make_work_folder
    trap clean EXIT
    # Thousands of connections need as many file descriptors.
    ulimit -n "$(ulimit -Hn)"

    start_brokers memory
    memory_at_rest
    stop_brokers
    start_brokers load
    local selected=()
    for text in "${only[@]}"; do selected+=(--only "$text"); done
    step "loads" "$load" matrix --rounds "${BENCH_ROUNDS:-3}" "${selected[@]}" "${brokers[@]/#/--broker=}"
}

# start_brokers NAME : fresh brokers with their data below $work/NAME; sets $brokers to NAME=URI,PID.
start_brokers() {
    brokers=()
    if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
        rabbit_dir=$work/$1/rabbit
        local rabbit_pid
        rabbit_pid=$(scripts/rabbitmq.sh start "$rabbit_dir" $rabbit_port)
        brokers+=("rabbit=amqp://guest:guest@127.0.0.1:$rabbit_port/,$rabbit_pid")
    fi
    "$target_dir/release/haremq" serve --data-dir "$work/$1/haremq" --amqp 127.0.0.1:$haremq_port \
        --http 127.0.0.1:$((haremq_port + 1)) --metrics 127.0.0.1:$((haremq_port + 2)) \
        >"$work/haremq.log" 2>&1 &
    haremq_pid=$!
    brokers+=("haremq=amqp://guest:guest@127.0.0.1:$haremq_port/,$haremq_pid")
    "$load" sink --listen 127.0.0.1:$sink_port >/dev/null &
    sink_pid=$!
    brokers+=("sink=amqp://guest:guest@127.0.0.1:$sink_port/,$sink_pid")
    wait_for_port $haremq_port
    wait_for_port $sink_port
}

wait_for_port() {
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$work/haremq.log" >&2
    fail "nothing accepts on port $1"
}

memory_at_rest() {
    local broker uri pid
    for broker in "${brokers[@]}"; do
        if [ "${broker%%=*}" = sink ]; then continue; fi
        IFS=, read -r uri pid <<<"${broker#*=}"
        echo "== ${broker%%=*} at rest: $(awk '/^VmRSS/ { print $2 / 1024 " MiB" }' "/proc/$pid/status")"
        step "idle connections, ${broker%%=*}" "$load" connections --count 1000 --hold 3 --uri "$uri" --pid "$pid"
    done
}

stop_brokers() {
    if [ -n "${rabbit_dir:-}" ]; then scripts/rabbitmq.sh stop "$rabbit_dir"; fi
    kill "$haremq_pid" "$sink_pid" 2>/dev/null || true
    wait "$haremq_pid" "$sink_pid" 2>/dev/null || true
}

clean() {
    stop_brokers
    rm -rf "$work"
}

main
