"""Kills the broker, `kill -9`, round after round under load, and asks ledgers whether it kept its word.

The long form of tests/crash.rs, with the load generator amqp-load as publishers, consumers and judge: each queue
has one of each and a ledger of its own. `make crash` builds what it needs and runs it:

    rounds.py LOAD_GENERATOR DIRECTORY

CRASH_ROUNDS and CRASH_QUEUES say how many (50 and 4); CRASH_SEED repeats the moments of an earlier run, as far as
real processes repeat anything. The exit status is 1 when a promise was broken.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from broker import PATIENCE, Broker

ROUNDS = int(os.environ.get("CRASH_ROUNDS", 50))
QUEUES = int(os.environ.get("CRASH_QUEUES", 4))
# The longest life under load, in seconds.
LIFE_MAX = 2
# How often the broker is killed a second time, while it starts.
KILLED_AT_START = 0.2
# How often the ledgers are looked at, in seconds.
LOOK = 0.02
# Publishers and consumers are ended by us; an end of their own would be a fault.
FOR_EVER = ["--seconds", "1000000"]


class Queue:
    """A queue with its publisher, consumer and ledger."""

    def __init__(self, load, url, directory, number, cleanup):
        self._load, self._url, self.name = load, url, f"crash.{number}"
        self._ledger, self._consumed = directory / f"{number}.ledger", directory / f"{number}.consumed"
        self.confirmed = 0
        self._publisher = self._run("publish", self._ledger, ["--count", "4000000000", *FOR_EVER], cleanup)
        self._consumer = self._run("consume", self._consumed, ["--idle", "5", *FOR_EVER], cleanup)
        self._lines = None

    def _command(self, verb, file, options):
        common = ["--uri", self._url, "--queue", self.name, "--file", file, "--json"]
        return [self._load, "ledger", verb, *common, *options]

    def _run(self, verb, file, options, cleanup):
        log = cleanup.enter_context(open(f"{file}.{verb}.log", "w"))
        process = subprocess.Popen(self._command(verb, file, options), stdout=subprocess.PIPE, stderr=log)
        cleanup.callback(end, process)
        return process

    def look(self):
        """How many messages were confirmed since the last look."""
        if self._lines is None and self._ledger.exists():
            self._lines = open(self._ledger, "rb")
        new = self._lines.read().count(b"\n") if self._lines else 0
        self.confirmed += new
        assert self._publisher.poll() is None and self._consumer.poll() is None, f"a client of {self.name} ended"
        return new

    def verdict(self):
        """Stops publishing, lets the consumer take what is left, and compares."""
        # The ledger is flushed with every confirm: ending the publisher loses nothing of it.
        end(self._publisher)
        output, _ = self._consumer.communicate(timeout=4 * PATIENCE)
        consumer = json.loads(output)
        checked = subprocess.run(
            self._command("verify", self._ledger, ["--consumed", self._consumed]), stdout=subprocess.PIPE
        )
        ledger = json.loads(checked.stdout)
        if ledger["confirmed_but_lost"]:
            print(f"{self.name}: lost, the first of them: {ledger['lost_examples']}")
        return {
            "confirmed": ledger["confirmed"],
            "lost": ledger["confirmed_but_lost"],
            "corrupted": ledger["corrupted"] + consumer["corrupted"],
            "out of order": ledger["out_of_order"],
            "unexplained twice": ledger["duplicates_unexplained"] + consumer["duplicates_unexplained"],
            "left": ledger["left_in_queue"],
            # Of those whose ack the broker had seen.
            "acked, came back": consumer["acked_but_redelivered"],
        }


ALLOWED = {"confirmed", "acked, came back"}


def end(process):
    """Ends a client, if it has not ended."""
    if process.poll() is None:
        process.terminate()
        process.wait(PATIENCE)


def under_load(broker, queues):
    """Waits until messages of every queue were confirmed in this life."""
    waiting, waited = list(queues), 0
    while waiting := [queue for queue in waiting if not queue.look()]:
        assert waited < PATIENCE, f"no confirms for {', '.join(queue.name for queue in waiting)}"
        broker.wait(LOOK)
        waited += LOOK


def one_round(broker, queues, moments, recoveries):
    """A life under load and its end; returns what happened, in words."""
    under_load(broker, queues)
    life = moments.uniform(0, LIFE_MAX)
    broker.wait(life)
    broker.kill()
    killed = f"killed after {life:.3f} s under load"
    if moments.random() < KILLED_AT_START:
        start = moments.uniform(0, max(recoveries, default=0.1))
        broker.spawn()
        broker.wait(start)
        broker.kill()
        killed += f" and {start * 1000:.0f} ms into the start"
    recoveries.append(broker.start())
    return f"{killed}; accepts again after {recoveries[-1] * 1000:.0f} ms"


def print_table(verdicts, recoveries):
    """What came out, a line for each queue and one for all."""
    columns = list(verdicts["all"])
    print(f"\n{'queue':<10}" + "".join(f"{column:>19}" for column in columns))
    for name, verdict in verdicts.items():
        print(f"{name:<10}" + "".join(f"{verdict[column]:>19,}" for column in columns))
    times = [time * 1000 for time in recoveries]
    spread = f"{min(times):.0f} / {statistics.median(times):.0f} / {max(times):.0f}"
    print(f"\nrounds: {len(recoveries)}; time until it accepts, min / median / max: {spread} ms")


def main(load, directory):
    """All rounds; returns the exit status."""
    seed = int(os.environ.get("CRASH_SEED", random.randrange(2**32)))
    moments, recoveries = random.Random(seed), []
    print(f"CRASH_SEED={seed}: {ROUNDS} rounds, {QUEUES} queues", flush=True)
    directory = Path(directory)
    with ExitStack() as cleanup:
        logs = cleanup.enter_context(open(directory / "broker.log", "w"))
        broker = Broker(data=str(directory / "data"))
        cleanup.callback(broker.kill)
        queues = [Queue(load, broker.url, directory, number, cleanup) for number in range(QUEUES)]
        for number in range(1, ROUNDS + 1):
            happened = one_round(broker, queues, moments, recoveries)
            logs.write(f"--- round {number}\n{broker.log()}")
            logs.flush()
            confirmed = sum(queue.confirmed for queue in queues)
            print(f"round {number}/{ROUNDS}: {happened}; {confirmed:,} confirmed", flush=True)
        under_load(broker, queues)
        verdicts = {queue.name: queue.verdict() for queue in queues}
        broker.stop()
    columns = next(iter(verdicts.values()))
    verdicts["all"] = {column: sum(verdict[column] for verdict in verdicts.values()) for column in columns}
    print_table(verdicts, recoveries)
    faults = [column for column, count in verdicts["all"].items() if count and column not in ALLOWED]
    print(f"FAILED: {', '.join(faults)}" if faults else "PASSED: nothing confirmed was lost, changed or overtaken")
    return 1 if faults else 0


if __name__ == "__main__":
    # Who ends this ends the brokers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(*sys.argv[1:]))
