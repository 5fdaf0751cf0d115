"""What publishers are told while the disk has less room than `disk.free_limit` wants: more than any disk has."""

import os
from contextlib import suppress

import pika
import pytest
from pika.exceptions import AMQPConnectionError, NackError

from broker import PATIENCE, Broker
from deliveries import bodies, ready

QUEUE = "blocked"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
TOO_LITTLE = 'free_limit = "1000PB"'


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A broker, what starts it again on the same data with other settings of [disk], and what makes publishers."""
    if "AMQP_URL" in os.environ:
        pytest.skip("the broker at AMQP_URL has a configuration of its own")
    file = tmp_path / "haremq.toml"
    file.write_text("")
    monkeypatch.setenv("HAREMQ_CONFIG", str(file))
    broker = Broker()

    def restart(*settings):
        # Nobody answers for these publishers when the broker stops.
        file.write_text("\n".join(["shutdown_timeout_ms = 100", "[disk]", *settings]))
        broker.restart()

    publishers = []

    def publisher():
        publishers.append(Publisher(broker))
        return publishers[-1]

    yield broker, restart, publisher
    broker.close()
    for left in publishers:
        with suppress(AMQPConnectionError):
            left.connection.process_data_events(time_limit=PATIENCE)


class Publisher:
    """A connection that publishes, and what it was told."""

    def __init__(self, broker):
        # Not the one of the other tests, which gives up when a connection is blocked for long.
        self.connection = broker.connect(blocked_connection_timeout=None)
        self.told = []
        self.connection.add_on_connection_blocked_callback(lambda _, frame: self.told.append(frame.method.reason))
        self.connection.add_on_connection_unblocked_callback(lambda *_: self.told.append("unblocked"))
        self.channel = self.connection.channel()

    def publish(self, body):
        self.channel.basic_publish("", QUEUE, body, PERSISTENT)

    def await_word(self):
        """The next thing that it is told."""
        self.connection.process_data_events(time_limit=0)
        if not self.told:
            self.connection.process_data_events(time_limit=PATIENCE)
        return self.told.pop(0)


def fill(broker, count):
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.confirm_delivery()
        for number in range(count):
            channel.basic_publish("", QUEUE, str(number).encode(), PERSISTENT)


def test_publishers_wait_and_consumers_go_on(configured):
    broker, restart, connect_publisher = configured
    fill(broker, 5)
    restart(TOO_LITTLE)
    assert "free disk space is insufficient" in broker.log()
    publisher = connect_publisher()
    publisher.publish(b"waits")
    assert publisher.await_word() == "low on disk"
    with broker.connect() as connection:
        consumer = connection.channel()
        assert bodies(consumer, QUEUE, 5) == ["0", "1", "2", "3", "4"]
        assert ready(consumer, QUEUE) == 0


def test_publishers_with_confirms_may_be_refused(configured):
    broker, restart, connect_publisher = configured
    fill(broker, 1)
    restart(TOO_LITTLE, 'when_full = "refuse"')
    publisher = connect_publisher()
    publisher.channel.confirm_delivery()
    with pytest.raises(NackError):
        publisher.publish(b"refused")
    assert publisher.told == []
    assert ready(publisher.channel, QUEUE) == 1
    publisher = connect_publisher()
    publisher.publish(b"waits")
    assert publisher.await_word() == "low on disk"
