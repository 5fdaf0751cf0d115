"""What is true of queues after bytes of the data directory were changed: the broker starts, says what it found,
and delivers what was not hit.

Each seed is a broker of its own, filled, ended, damaged in a few places and started again.
"""

import logging
import random
import re

import pytest

from publisher import Publisher, number_of

QUEUES = ["damage.0", "damage.1", "damage.2"]
MORE = "damage.more"
MESSAGES = 1000
DAMAGES = 3
# Of all messages, for each place that was damaged; what is hit is a record, or some that lie side by side.
LOST_MAX = 0.01
# The most bytes that one damage takes.
ZEROED = 512
CUT_MAX = 4096

# The names under which a broker reports what it had to give up.
REPORTED = re.compile("damage|corrupt|checksum|put aside|torn|cut off", re.IGNORECASE)


@pytest.fixture(autouse=True)
def quiet_clients(caplog):
    """That their connections are lost is no news here."""
    caplog.set_level(logging.CRITICAL, "pika")


@pytest.mark.parametrize("seed", range(10))
def test_what_was_not_hit_is_delivered(seed, tmp_path, own_broker):
    choices = random.Random(seed)
    broker = own_broker(tmp_path)
    fill(broker)
    if choices.random() < 0.5:
        broker.kill()
    else:
        broker.stop()
    hit = [damage(choices, tmp_path) for _ in range(DAMAGES)]
    broker.start()
    found = {queue: drain(broker, queue) for queue in QUEUES}
    lost = len(QUEUES) * MESSAGES - sum(map(len, found.values()))
    assert lost <= LOST_MAX * DAMAGES * len(QUEUES) * MESSAGES, f"{lost} lost after {hit}\n{broker.log()}"
    # Damage that cost nothing may lie where nothing was kept.
    assert lost == 0 or broker.logs(REPORTED, 5), f"{lost} lost, not reported: {hit}\n{broker.log()}"
    accepts_more(broker)


def fill(broker):
    """The same number of confirmed messages for each queue, written side by side."""
    with broker.connect() as connection:
        for queue in QUEUES:
            connection.channel().queue_declare(queue, durable=True)
    publishers = [Publisher(broker.url, queue, count=MESSAGES) for queue in QUEUES]
    for publisher in publishers:
        publisher.wait_for("all confirms", lambda: len(publisher.confirmed) == MESSAGES)
        publisher.stop()


def damage(choices, directory):
    """Changes bytes somewhere in the files; returns what, for people."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and written(path))
    path = choices.choices(files, weights=map(written, files))[0]
    at = choices.randrange(written(path))
    kind = choices.choice(["flipped", "zeroed", "cut"])
    with open(path, "r+b") as file:
        file.seek(at)
        if kind == "flipped":
            bits = file.read(1)[0] ^ choices.randrange(1, 256)
            file.seek(at)
            file.write(bytes([bits]))
        elif kind == "zeroed":
            file.write(bytes(min(ZEROED, written(path) - at)))
        else:
            at = written(path) - choices.randrange(1, min(CUT_MAX, written(path)) + 1)
            file.truncate(at)
    return f"{path.relative_to(directory)} {kind} at {at}"


def written(path):
    """The length of a file without the zeros at its end, which were reserved and not yet used."""
    return len(path.read_bytes().rstrip(b"\0"))


def drain(broker, queue):
    """The numbers of the messages of a queue: in order, each once, none that was never published."""
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        # Some that are counted may turn out to be damaged when they are read.
        gets = iter(lambda: channel.basic_get(queue, auto_ack=True)[2], None)
        numbers = [number_of(body) for body in gets]
    assert numbers == sorted({*numbers}), f"{queue}: not in order, or twice"
    assert {*numbers} <= {*range(MESSAGES)}, f"{queue}: one was never published"
    return numbers


def accepts_more(broker):
    """What comes after the damage is kept as ever. In a queue of its own: acks of what was drained just before
    may be forgotten in a crash."""
    with broker.connect() as connection:
        connection.channel().queue_declare(MORE, durable=True)
    publisher = Publisher(broker.url, MORE, count=10)
    publisher.wait_for("all confirms", lambda: len(publisher.confirmed) == 10)
    publisher.stop()
    broker.crash()
    assert drain(broker, MORE) == list(range(10))
