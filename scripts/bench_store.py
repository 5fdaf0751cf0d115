"""The goals of the store and what was measured, as a table; scripts/bench-store.sh builds what this needs.

    bench_store.py LOAD_GENERATOR DIRECTORY

Every row is a function below, in the list ROWS. A raw file is written with the batches that the broker wrote: so
many bytes for each sync, by its own metrics; where it does not tell them, what rests on them stays open.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import bench_servers as servers
import pika

COUNT = int(os.environ.get("BENCH_COUNT", 10_000_000))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
SECONDS = os.environ.get("BENCH_SECONDS", "5")
# Where memory is looked at, in messages.
DEPTHS = [COUNT // 10, COUNT // 2, COUNT] + ([2 * COUNT] if os.environ.get("BENCH_FULL") else [])
# What RabbitMQ has time for.
RABBITMQ_COUNT = COUNT // 10
FAN_OUT_MESSAGES = 100_000
REST_S = 2
# Above this, the machine has no CPU left for more.
BUSY = 0.95


@dataclass
class Goal:
    """A line of the table."""

    what: str
    goal: str
    haremq: str
    rabbit: str = ""
    raw: str = ""
    met: bool | None = None


class Bench:
    """Runs loads."""

    def __init__(self, load, directory):
        self._load, self._directory, self._fresh = load, Path(directory), 0

    def fresh(self):
        """A directory of its own, on the disk that is measured."""
        self._fresh += 1
        directory = self._directory / str(self._fresh)
        directory.mkdir()
        return directory

    def run(self, server, *command):
        """Runs the load generator against a server; returns its report."""
        print(f"   {server.name}: {' '.join(command)}", flush=True)
        verbs = 2 if command[0] == "ledger" else 1
        common = ["--uri", server.url, "--json"]
        # A ledger knows nothing of processes.
        common += [] if command[0] == "ledger" else ["--pid", str(server.pid)]
        whole = [self._load, *command[:verbs], *common, *command[verbs:]]
        return json.loads(subprocess.run(whole, stdout=subprocess.PIPE, check=True).stdout)

    def beside(self, measure):
        """Medians of what a fresh HareMQ and a fresh RabbitMQ did; nothing of one that is not there. They take
        turns with the raw file, so that what else the disk does at the time hits all of them."""
        ours, theirs = [], []
        for _ in range(ROUNDS):
            found = self.one(servers.haremq, measure)
            ours.append(found | self._raw_file(found))
            if servers.RabbitMQ.is_installed():
                theirs.append(self.one(servers.rabbitmq, measure))
        return medians(ours), medians(theirs)

    def one(self, start, measure):
        """What a fresh server did."""
        directory = self.fresh()
        try:
            with start(directory) as server:
                return measure(server, directory)
        finally:
            shutil.rmtree(directory)

    def _raw_file(self, found):
        """What a raw file does with the batches of a measurement; nothing if they are not known."""
        if "batch_bytes" not in found:
            return {}
        print(f"   raw file: {found['batch_bytes']:,.0f} bytes for each sync", flush=True)
        bytes_per_s, sync_us = servers.raw_file(self._directory, found["batch_bytes"])
        return {"raw_mb": bytes_per_s / 1e6, "raw_sync_us": sync_us}

    def persistent(self, *options):
        """A measurement of persistent messages with confirms and acks."""
        command = ["throughput", "--persistent", "--durable-queues", "--seconds", SECONDS, *options]

        def measure(server, _):
            before = Books(server)
            report = self.run(server, *command)
            confirm_us = report["publish_to_confirm"]["p50_us"]
            found = {"rate": report["deliver_rate"], "mb": report["body_mb_per_s"], "confirm_us": confirm_us}
            return found | {"cpu_us": report["broker_cpu_us_per_message"]} | Books(server).since(before)

        return measure

    @cached_property
    def safe(self):
        """100 bytes through one queue, which other rows compare with."""
        return self.beside(self.persistent("--confirms", "1000", "--size", "100"))


class Books:
    """What a server and the machine have done so far."""

    def __init__(self, server):
        self.busy_s, self.idle_s = servers.machine_busy_s()
        self.figures = server.figures() if isinstance(server, servers.HareMQ) else {}
        self.store_s = server.store_cpu_s() if self.figures else 0

    def since(self, before):
        """What came between; what a server does not tell is not there."""
        busy, idle = self.busy_s - before.busy_s, self.idle_s - before.idle_s
        found = {"busy": busy / (busy + idle)}

        def grown(name):
            return self.figures[name] - before.figures.get(name, 0) if name in self.figures else 0

        if syncs := grown("haremq_store_syncs_total"):
            found["batch_bytes"] = grown("haremq_store_written_bytes_total") / syncs
        if confirmed := grown('rabbitmq_global_messages_confirmed_total{protocol="amqp091"}'):
            found["store_us"] = (self.store_s - before.store_s) / confirmed * 1e6
        return found


def medians(found):
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in found) for name in found[0]} if found else {}


def show(figures, name, form):
    """A figure in words, or that there is none."""
    return form.format(figures[name]) if name in figures else "—"


def reaches(figures, one, other, holds):
    """Whether two figures stand as they should; open when one is not known."""
    return holds(figures[one], figures[other]) if one in figures and other in figures else None


def one_queue_of_1_kib(bench):
    """A disk's work: bytes per second."""
    ours, theirs = bench.beside(bench.persistent("--confirms", "1000", "--size", "1024"))
    limit = f"{ours['mb']:.0f} MB/s, CPU {ours['busy']:.0%}"
    met = ours["busy"] > BUSY or reaches(ours, "mb", "raw_mb", lambda rate, raw: rate >= raw / 2)
    raw_rate = show(ours, "raw_mb", "{:.0f} MB/s")
    what = "1 KiB, 1 queue"
    yield Goal(what, "≥ 50 % of raw, or no CPU left", limit, show(theirs, "mb", "{:.0f} MB/s"), raw_rate, met)
    if theirs:
        ratio = ours["rate"] / theirs["rate"]
        yield Goal("", "≥ 10 × RabbitMQ", f"{ratio:.1f} ×", met=ratio >= 10)
    yield Goal("", "store ≤ 1.5 µs CPU/message", f"{ours['store_us']:.2f} µs", met=ours["store_us"] <= 1.5)


def one_queue_of_100_bytes(bench):
    """The broker's work: messages per second."""
    ours, theirs = bench.safe
    rate, cpu = "{:,.0f}/s", "{:.2f} µs"
    what = "100 B, 1 queue"
    met = ours["rate"] >= 500_000
    yield Goal(what, "≥ 500,000/s", show(ours, "rate", rate), show(theirs, "rate", rate), met=met)
    met = ours["cpu_us"] <= 1.8
    yield Goal("", "≤ 1.8 µs CPU/message", show(ours, "cpu_us", cpu), show(theirs, "cpu_us", cpu), met=met)


def many_queues(bench):
    """Many publishers that wait share the syncs."""
    options = ["--queues", "500", "--publishers", "500", "--consumers", "500", "--confirms", "10", "--size", "100"]
    ours, theirs = bench.beside(bench.persistent(*options))
    one, rate = bench.safe[0]["rate"], "{:,.0f}/s"
    what = "100 B, 500 queues, window 10"
    met = ours["rate"] >= 0.75 * one
    yield Goal(what, f"≥ 75 % of {one:,.0f}/s", show(ours, "rate", rate), show(theirs, "rate", rate), met=met)


def lone_publishers(bench):
    """Who waits for few messages waits for little more than one sync."""

    def round_trips(server, _):
        before = Books(server)
        report = bench.run(server, "rtt", "--mode", "confirm", "--count", "1000000", "--seconds", SECONDS)
        return {"confirm_us": report["confirm"]["latency"]["p50_us"]} | Books(server).since(before)

    window_10 = bench.persistent("--confirms", "10", "--size", "100")
    for what, measure in [("confirm, window 10", window_10), ("confirm, window 1", round_trips)]:
        ours, theirs = bench.beside(measure)
        met = reaches(ours, "confirm_us", "raw_sync_us", lambda confirm, sync: confirm <= 1.5 * sync)
        names = [(ours, "confirm_us"), (theirs, "confirm_us"), (ours, "raw_sync_us")]
        times = [show(figures, name, "{:.0f} µs") for figures, name in names]
        yield Goal(what, "median ≤ 1.5 × one sync", *times, met)


def fan_out(bench):
    """A message that goes to ten queues is stored once."""

    def disk_mb(queues):
        def measure(server, directory):
            print(f"   {server.name}: {FAN_OUT_MESSAGES:,} messages to {queues} queues", flush=True)
            publish_to_all(server.url, queues)
            return {"mb": servers.disk_bytes(directory) / 1e6}

        return measure

    (one, one_theirs), (ten, ten_theirs) = bench.beside(disk_mb(1)), bench.beside(disk_mb(10))
    ratio = ten["mb"] / one["mb"]
    measured = f"{ten['mb']:.0f} / {one['mb']:.0f} MB: {ratio:.2f} ×"
    theirs = f"{ten_theirs['mb']:.0f} / {one_theirs['mb']:.0f} MB" if ten_theirs else "—"
    yield Goal("fan-out 1 → 10, bytes on disk", "≤ 1.3 × one queue's", measured, theirs, met=ratio <= 1.3)


def publish_to_all(url, queues):
    """Leaves messages of 1 KiB behind, each in all of so many durable queues, and on the disk."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare("bench", "fanout", durable=True)
    for number in range(queues):
        channel.queue_declare(f"bench.{number}", durable=True)
        channel.queue_bind(f"bench.{number}", "bench")
    for number in range(FAN_OUT_MESSAGES):
        if number == FAN_OUT_MESSAGES - 1:
            # The confirm of the last covers all.
            channel.confirm_delivery()
        channel.basic_publish("bench", "", bytes(range(256)) * 4, pika.BasicProperties(delivery_mode=2))
    connection.close()


def backlog(bench):
    """What piles up costs neither speed nor memory."""

    def measure(count):
        def measure(server, _):
            before_mib, _ = servers.rss_mib(server.pid)
            report = bench.run(server, "backlog", "--size", "100", "--count", str(count))
            rates = report["publish"]["slice_rates"]
            peak_mib = max(report["publish"]["broker_peak_rss_bytes"], report["rss_after_rest_bytes"]) / 2**20
            slope = {"first": rates[0], "last": rates[-1]}
            return slope | {"drain": report["drain"]["rate"], "grown_mib": peak_mib - before_mib}

        return measure

    ours = bench.one(servers.haremq, measure(COUNT))
    installed = servers.RabbitMQ.is_installed()
    theirs = bench.one(servers.rabbitmq, measure(RABBITMQ_COUNT)) if installed else {}
    of = f" of {RABBITMQ_COUNT / 1e6:g} M" if theirs else ""
    slope = [f"{f['first']:,.0f} → {f['last']:,.0f}/s" if f else "—" for f in (ours, theirs)]
    slope[1] += of
    what = f"backlog of {COUNT / 1e6:g} M × 100 B"
    yield Goal(what, "last tenth ≥ 95 % of the first", *slope, met=ours["last"] >= 0.95 * ours["first"])
    memory = [show(figures, "grown_mib", "{:,.0f} MiB") for figures in (ours, theirs)]
    yield Goal("", "RSS grows < 300 MiB", *memory, met=ours["grown_mib"] < 300)
    without = bench.safe[0]["rate"]
    drain = [show(figures, "drain", "{:,.0f}/s") for figures in (ours, theirs)]
    yield Goal("", f"drains ≥ 80 % of {without:,.0f}/s", *drain, met=ours["drain"] >= 0.8 * without)


def restart(bench):
    """Memory by depth, and how soon all is there again, after `kill -9` and after an orderly end."""
    directory = bench.fresh()
    with servers.haremq(directory / "data") as server:
        memory = [(0, servers.rss_mib(server.pid)[0])]
        for depth in DEPTHS:
            more, ledger = depth - memory[-1][0], directory / f"{depth}.ledger"
            options = ["--count", str(more), "--size", "100", "--window", "1000", "--seconds", "100000"]
            bench.run(server, "ledger", "publish", "--file", str(ledger), "--queue", "bench", *options)
            server.wait(REST_S)
            memory.append((depth, servers.rss_mib(server.pid)[0]))
        yield memory_goal(memory)
        for end, how in [(server.kill, "kill -9"), (server.stop, "an orderly end")]:
            print(f"   haremq: restart after {how}", flush=True)
            end()
            accepts_s = server.start(servers.START_PATIENCE_S)
            first_s = accepts_s + first_delivery_s(server.url)
            what = f"restart with {DEPTHS[-1] / 1e6:g} M, after {how}"
            yield Goal(what, "accepts in < 5 s", f"{accepts_s:.2f} s", met=accepts_s < 5)
            yield Goal("", "delivers in < 6 s", f"{first_s:.2f} s", met=first_s < 6)
    shutil.rmtree(directory)


def memory_goal(memory):
    """What each further message costs, from the first depth to the last: what is kept for all is in both."""
    (low, low_mib), (high, high_mib) = memory[1], memory[-1]
    slope = (high_mib - low_mib) * 2**20 / (high - low)
    measured = ", ".join(f"{depth / 1e6:g} M: {mib:.0f} MiB" for depth, mib in memory) + f"; {slope:.1f} B each"
    goal = "≤ 10 B more RSS per message"
    return Goal("memory by depth", goal, measured, met=slope <= 10)


def first_delivery_s(url):
    """How long a new consumer waits for its first message."""
    began = time.monotonic()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    method, _, _ = next(channel.consume("bench", inactivity_timeout=servers.START_PATIENCE_S))
    took = time.monotonic() - began
    assert method is not None, "nothing was delivered"
    connection.close()
    return took


ROWS = [one_queue_of_1_kib, one_queue_of_100_bytes, many_queues, lone_publishers, fan_out, backlog, restart]


def print_table(goals):
    """All lines, aligned."""
    verdicts = {True: "ok", False: "MISSED", None: "open"}
    lines = [("what", "goal", "HareMQ", "RabbitMQ", "raw file", "")]
    lines += [(g.what, g.goal, g.haremq, g.rabbit, g.raw, verdicts[g.met]) for g in goals]
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main(load, directory):
    """All rows that are wanted; a row that cannot be measured is no reason to stop."""
    only = os.environ.get("BENCH_ONLY", "").split()
    bench, goals, broken = Bench(load, directory), [], False
    for row in ROWS:
        name = row.__name__.replace("_", " ")
        if only and not any(text in name for text in only):
            continue
        print(f"-- {name}: {row.__doc__}", flush=True)
        try:
            goals += row(bench)
        except Exception:
            traceback.print_exc()
            goals.append(Goal(name, "", "could not be measured", met=False))
            broken = True
    print()
    print_table(goals)
    return 1 if broken else 0


if __name__ == "__main__":
    # Who ends this ends the brokers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(*sys.argv[1:]))
