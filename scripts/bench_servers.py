"""What scripts/bench_store.py measures: HareMQ, RabbitMQ, and a file that is appended to and synced."""

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))

from broker import Broker

RABBITMQ = Path(__file__).with_name("rabbitmq.sh")
# Below the ports of outgoing connections.
RABBITMQ_PORT = 27672
# A start after a crash, with millions of messages.
START_PATIENCE_S = 300
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class HareMQ(Broker):
    """HareMQ with data in a directory of its own."""

    name = "haremq"

    def figures(self):
        """Its metrics: a number for each name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[2]}/metrics") as page:
            lines = [line.decode().rsplit(maxsplit=1) for line in page if not line.startswith(b"#")]
        return {name: float(value) for name, value in lines}

    def store_cpu_s(self):
        """CPU time of the thread that writes, which is named so."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        stats = [(thread / "stat").read_text() for thread in threads]
        fields = [stat.rsplit(")", 1)[1].split() for stat in stats if "(store)" in stat]
        return sum(int(ticks) for field in fields for ticks in field[11:13]) / TICKS_PER_S


class RabbitMQ:
    """Debian's RabbitMQ, if it is there; see rabbitmq.sh."""

    name = "rabbit"

    def __init__(self, directory):
        self._directory = directory
        self.url = f"amqp://guest:guest@127.0.0.1:{RABBITMQ_PORT}/"
        command = [RABBITMQ, "start", directory, str(RABBITMQ_PORT)]
        # It leaves processes behind that would hold a pipe open.
        with open(f"{directory}.pid", "w+") as output:
            subprocess.run(command, stdout=output, check=True)
            output.seek(0)
            self.pid = int(output.read())

    @staticmethod
    def is_installed():
        """Whether there is one to compare with."""
        return Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists()

    def close(self):
        """Stops it."""
        subprocess.run([RABBITMQ, "stop", self._directory], check=True)


@contextmanager
def haremq(directory):
    """A fresh HareMQ, which is killed afterwards: its data are of no use to anybody."""
    broker = HareMQ(data=str(directory))
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def rabbitmq(directory):
    """A fresh RabbitMQ."""
    broker = RabbitMQ(directory)
    try:
        yield broker
    finally:
        broker.close()


def rss_mib(pid):
    """Memory of a process that is resident now, and the most that ever was."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return kib["VmRSS:"] / 1024, kib["VmHWM:"] / 1024


def disk_bytes(directory):
    """What the files of a directory take on the disk."""
    files = [path for path in Path(directory).rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


def machine_busy_s():
    """CPU time of the whole machine that was not idle, and CPU time that was."""
    user, nice, system, idle, iowait, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS_PER_S, (idle + iowait) / TICKS_PER_S


def raw_file(directory, batch_bytes, seconds=2):
    """Appends so many bytes and syncs, again and again: bytes per second, and the median sync in microseconds."""
    path, batch, syncs_us = Path(directory) / "raw", bytes(range(256)) * (int(batch_bytes) // 256 + 1), []
    batch = batch[: int(batch_bytes)]
    began = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        while time.monotonic() - began < seconds:
            file.write(batch)
            before = time.perf_counter()
            os.fdatasync(file.fileno())
            syncs_us.append((time.perf_counter() - before) * 1e6)
        took = time.monotonic() - began
    path.unlink()
    return len(syncs_us) * len(batch) / took, statistics.median(syncs_us)
