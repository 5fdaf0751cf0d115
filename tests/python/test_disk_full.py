"""What a full disk means: publishers wait, consumers go on, and what was confirmed stays.

The data directory is on a small file system in memory. It runs full in two ways: really, with the limit of free
space at 0, and by that limit. Mounting it takes root, or sudo that asks nothing; without, these tests fail.
"""

import logging
import os
import subprocess

import pytest

from broker import PATIENCE
from publisher import Publisher, number_of

QUEUE = "disk-full"
DISK_MIB = 128
LENGTH = 60_000
# More than the disk holds.
MESSAGES = 3 * DISK_MIB * 1024 * 1024 // 2 // LENGTH

ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


@pytest.fixture(autouse=True)
def quiet_clients(caplog):
    """That their connections are lost is no news here."""
    caplog.set_level(logging.CRITICAL, "pika")


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of its own, of DISK_MIB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    options = f"size={DISK_MIB}m,uid={os.geteuid()},mode=700"
    subprocess.run([*ROOT, "mount", "-t", "tmpfs", "-o", options, "haremq-test", directory], check=True)
    yield directory
    subprocess.run([*ROOT, "umount", directory], check=True)


@pytest.fixture(params=["0", "50MB"])
def broker(request, small_disk, own_broker, tmp_path):
    """A broker on the small disk, with each limit of free space; the queue is declared."""
    config = tmp_path / "haremq.toml"
    config.write_text(f'[disk]\nfree_limit = "{request.param}"\n')
    broker = own_broker(small_disk / "data", "--config", str(config))
    with broker.connect() as connection:
        connection.channel().queue_declare(QUEUE, durable=True)
    return broker


def test_consuming_makes_room(broker):
    publisher = Publisher(broker.url, QUEUE, MESSAGES, length=LENGTH)
    publisher.wait_for("connection.blocked", lambda: publisher.blocked)
    numbers = []
    while len(numbers) < MESSAGES:
        # Each time, what was acknowledged is gone although its connection was closed.
        numbers += take(broker, min(100, MESSAGES - len(numbers)))
    publisher.wait_for("all confirms", lambda: len(publisher.confirmed) == MESSAGES)
    assert numbers == list(range(MESSAGES)), "lost, twice or out of order"
    publisher.wait_for("connection.unblocked", lambda: not publisher.blocked)
    publisher.stop()


def test_room_that_somebody_else_makes(broker, small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(DISK_MIB * 1024 * 1024 * 3 // 4))
    publisher = Publisher(broker.url, QUEUE, MESSAGES // 4, length=LENGTH)
    publisher.wait_for("connection.blocked", lambda: publisher.blocked)
    filler.unlink()
    publisher.wait_for("connection.unblocked", lambda: not publisher.blocked)
    numbers = take(broker, MESSAGES // 4)
    publisher.wait_for("all confirms", lambda: len(publisher.confirmed) == MESSAGES // 4)
    assert numbers == list(range(MESSAGES // 4)), "lost, twice or out of order"
    publisher.stop()


def test_kill_9_on_a_full_disk(broker):
    publisher = Publisher(broker.url, QUEUE, MESSAGES, length=LENGTH)
    publisher.wait_for("connection.blocked", lambda: publisher.blocked)
    acknowledged = take(broker, 10)
    broker.kill()
    publisher.join(PATIENCE)
    broker.start()
    with broker.connect() as connection:
        left = connection.channel().queue_declare(QUEUE, passive=True).method.message_count
    numbers = take(broker, left)
    assert publisher.confirmed <= {*acknowledged, *numbers}, "confirmed and lost"
    assert numbers == sorted({*numbers}), "twice or out of order"
    # And there is room again.
    publisher = Publisher(broker.url, QUEUE, 100, length=LENGTH)
    publisher.wait_for("all confirms", lambda: len(publisher.confirmed) == 100)
    publisher.stop()
    assert take(broker, 100) == list(range(100))


def take(broker, count):
    """The numbers of the next messages of the queue, which are acknowledged."""
    numbers = []
    with broker.connect() as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=20)
        for method, _, received in channel.consume(QUEUE, inactivity_timeout=PATIENCE):
            assert method is not None, f"{len(numbers)} of {count} messages came in time; log:\n{broker.log()}"
            numbers.append(number_of(received))
            channel.basic_ack(method.delivery_tag)
            if len(numbers) == count:
                break
        channel.cancel()
    return numbers
