"""What is true of queues after the broker was killed and started again.

RabbitMQ promises less: its transactions are whole within one queue only, and a quorum queue is not there at once.
"""

import logging
import time

import pika
import pytest

from deliveries import bodies, ready, receive
from features.client import QUORUM, dead_letters_to

DURABLE = {"delivery_mode": 2}


@pytest.fixture(autouse=True)
def quiet_clients(caplog):
    """That their connections are lost is no news here."""
    caplog.set_level(logging.CRITICAL, "pika")


@pytest.fixture
def open_channel(connect):
    """Opens a channel with confirms on a connection of its own."""

    def open_channel():
        channel = connect().channel()
        channel.confirm_delivery()
        return channel

    return open_channel


@pytest.fixture
def declare(connect, unique):
    """Declares durable queues, which are deleted after the test."""
    queues = []

    def declare(name, arguments=None):
        queues.append(unique(name))
        connect().channel().queue_declare(queues[-1], durable=True, arguments=arguments)
        return queues[-1]

    yield declare
    for queue in queues:
        connect().channel().queue_delete(queue)


def publish(channel, queue, *messages, **properties):
    """Publishes persistent messages. Each is confirmed, and so is on the disk, with all that the channel asked
    for before."""
    for body in messages:
        channel.basic_publish("", queue, body.encode(), pika.BasicProperties(**DURABLE | properties))


def bell(channel, declare, queue, body, ms):
    """A message that arrives in a queue after that many milliseconds."""
    publish(channel, declare("bell", {"x-message-ttl": ms} | dead_letters_to(queue)), body)


def written(channel, declare):
    """What consumers answered so far is on the disk: that takes 100 ms at most, and a confirm after it."""
    later = declare("later")
    bell(channel, declare, later, "later", 150)
    assert bodies(channel, later, 1) == ["later"]
    publish(channel, later, "confirmed")


def between_bells(channel, declare, queue, since, wait_ms):
    """Of a message that began to wait at `since`, before the crash: what arrives first in its queue, a bell in
    the middle of the time that it still has, itself, or a bell that rings before its whole time has passed
    again since now."""
    passed_ms = int((time.monotonic() - since) * 1000)
    assert passed_ms < wait_ms, "the broker took too long to start"
    bell(channel, declare, queue, "half", (wait_ms - passed_ms) // 2)
    bell(channel, declare, queue, "again", wait_ms - passed_ms // 2)
    return bodies(channel, queue, 3)


def test_a_message_expires_on_time(broker, declare, open_channel):
    dead = declare("dead")
    queue = declare("queue", {"x-message-ttl": 4000} | dead_letters_to(dead))
    since = time.monotonic()
    publish(open_channel(), queue, "message")
    broker.crash()
    assert between_bells(open_channel(), declare, dead, since, 4000) == ["half", "message", "again"]


def test_a_message_that_expired_meanwhile_is_a_dead_letter(broker, declare, open_channel):
    dead = declare("dead")
    queue = declare("queue", dead_letters_to(dead))
    publish(open_channel(), queue, "message", expiration="100")
    broker.crash()
    ((_, properties, body),) = receive(open_channel(), dead, 1)
    assert body == b"message"
    assert properties.headers["x-death"][0]["reason"] == "expired"


def test_a_message_that_waits_to_be_retried_goes_on_waiting(broker, declare, open_channel):
    retry = {"x-delayed-retry-type": "all", "x-delayed-retry-min": 4000, "x-delayed-retry-max": 4000}
    queue = declare("queue", QUORUM | retry)
    channel = open_channel()
    publish(channel, queue, "message")
    method, _, _ = channel.basic_get(queue)
    since = time.monotonic()
    channel.basic_nack(method.delivery_tag, requeue=True)
    written(channel, declare)
    broker.crash()
    assert between_bells(open_channel(), declare, queue, since, 4000) == ["half", "message", "again"]


def test_counts_of_deliveries(broker, declare, open_channel):
    queue = declare("queue", QUORUM)
    channel = open_channel()
    publish(channel, queue, "message")
    for give_back in (channel.basic_reject, channel.basic_nack, channel.basic_reject):
        give_back(channel.basic_get(queue)[0].delivery_tag, requeue=True)
    written(channel, declare)
    broker.crash()
    method, properties, body = open_channel().basic_get(queue)
    assert (body, method.redelivered) == (b"message", True)
    assert properties.headers == {"x-acquired-count": 3, "x-delivery-count": 2}


def test_priorities(broker, declare, open_channel):
    queue = declare("queue", {"x-max-priority": 5})
    channel = open_channel()
    for priority in (1, 5, 3, 5):
        publish(channel, queue, str(priority), priority=priority)
    broker.crash()
    channel = open_channel()
    publish(channel, queue, "4", priority=4)
    assert bodies(channel, queue, 5) == ["5", "5", "4", "3", "1"]


def test_no_dead_letter_is_lost(broker, declare, open_channel):
    dead = declare("dead")
    queue = declare("queue", dead_letters_to(dead))
    letters = [str(number) for number in range(100)]
    channel = open_channel()
    publish(channel, queue, *letters)
    for _ in letters:
        channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    # The broker may be killed while it carries them: each is in one queue or the other.
    broker.crash()
    channel = open_channel()
    left = bodies(channel, queue, count) if (count := ready(channel, queue)) else []
    carried = bodies(channel, dead, count) if (count := ready(channel, dead)) else []
    assert sorted({*left, *carried}, key=int) == letters


def begin(channel, acked, published):
    """A channel in whose transaction a message was acked, and one published to each of those queues."""
    channel.tx_select()
    channel.basic_ack(channel.basic_get(acked)[0].delivery_tag)
    for queue in published:
        channel.basic_publish("", queue, b"published", pika.BasicProperties(**DURABLE))
    return channel


def test_an_open_transaction_never_was(broker, declare, connect, open_channel):
    one, other, marker = declare("one"), declare("other"), declare("marker")
    publish(open_channel(), one, "acked")
    channel = begin(connect().channel(), one, (one, other))
    # The broker has seen all of it when it answers this, and it has written what it writes.
    channel.basic_qos()
    publish(open_channel(), marker, "marker")
    broker.crash()
    channel = open_channel()
    assert (bodies(channel, one, 1), ready(channel, one), ready(channel, other)) == (["acked"], 0, 0)


def test_a_committed_transaction_is_whole(broker, declare, connect, open_channel):
    one, other, done = declare("one"), declare("other"), declare("done")
    publish(open_channel(), done, "acked")
    channel = begin(connect().channel(), done, (one, other))
    channel.tx_commit()
    broker.crash()
    channel = open_channel()
    assert (bodies(channel, one, 1), bodies(channel, other, 1)) == (["published"], ["published"])
    assert ready(channel, done) == 0
