"""What `haremq store` says of a broker's data, while the broker runs and when it does not."""

import json
import shutil
import threading

import pika
import pytest

from broker import Broker
from deliveries import bodies

ARGUMENTS = {"x-max-priority": 5}
DURABLE = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def own_broker():
    """A broker that may be stopped and damaged."""
    broker = Broker()
    yield broker
    broker.close()


def publish(channel, messages):
    """Publishes to a durable queue, with confirms."""
    channel.queue_declare("queue", durable=True, arguments=ARGUMENTS)
    channel.confirm_delivery()
    for message in messages:
        channel.basic_publish("", "queue", message.encode(), DURABLE)


def messages(export, queue):
    """The numbers that the exported messages of a queue have as bodies."""
    lines = (json.loads(line) for line in export.splitlines())
    return [int(line["payload"]) for line in lines if line["type"] == "message" and line["queue"] == queue]


class Traffic:
    """Publishes numbers to both queues, each when the one before is confirmed, and consumes the first queue in
    order, until it is told to stop."""

    def __init__(self, connect, exchange, queue):
        self.confirmed = self.answered = 0
        self._stop = threading.Event()
        publisher, consumer = connect().channel(), connect().channel()
        publisher.confirm_delivery()
        work = [(self._publish, publisher, exchange), (self._consume, consumer, queue)]
        self._threads = [threading.Thread(target=target, args=arguments) for target, *arguments in work]

    def _publish(self, channel, exchange):
        while not self._stop.is_set():
            channel.basic_publish(exchange, "", str(self.confirmed + 1).encode(), DURABLE)
            self.confirmed += 1

    def _consume(self, channel, queue):
        channel.basic_qos(prefetch_count=5)
        for method, _, body in channel.consume(queue, inactivity_timeout=0.1):
            if body is not None:
                self.answered = int(body)
                channel.basic_ack(method.delivery_tag)
            if self._stop.is_set():
                break
        channel.cancel()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_an_export_of_a_running_broker_is_one_moment(broker, connect, channel, unique):
    exchange, consumed, kept = unique("exchange"), unique("consumed"), unique("kept")
    channel.exchange_declare(exchange, "fanout", durable=True)
    for queue in (consumed, kept):
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, exchange)
    with Traffic(connect, exchange, consumed) as traffic:
        for _ in range(10):
            confirmed = traffic.confirmed
            export, _ = broker.store("export", "--vhost", "/")
            answered = traffic.answered
            all_kept, rest = messages(export, kept), messages(export, consumed)
            last = len(all_kept)
            assert all_kept == list(range(1, last + 1))
            assert last >= confirmed, "a message that was confirmed before is missing"
            # The same moment in both queues, and nothing gone that was not acknowledged.
            first = rest[0] if rest else last + 1
            assert rest == list(range(first, last + 1))
            assert first <= answered + 1
    for queue in (consumed, kept):
        channel.queue_delete(queue)
    channel.exchange_delete(exchange)


def test_an_export_has_the_queue_that_was_asked_for(broker, channel, unique):
    queue = unique("queue &?%ü")
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"\xff\x00", DURABLE)
    export, _ = broker.store("export", "--queue", queue)
    vhost, definition, message = (json.loads(line) for line in export.splitlines())
    assert (vhost["type"], definition["name"], message["queue"]) == ("vhost", queue, queue)
    assert (message["payload_encoding"], message["payload"]) == ("base64", "/wA=")
    assert message["properties"] == {"delivery_mode": 2}
    channel.queue_delete(queue)
    _, refused = broker.store("export", "--queue", queue, status=1)
    assert "there is no durable queue" in refused
    _, refused = broker.store("check", status=3)
    assert "is in use by process" in refused


def test_what_was_exported_is_there_after_an_import(own_broker, tmp_path):
    export = tmp_path / "export.jsonl"
    with own_broker.connect() as connection:
        publish(connection.channel(), [str(number) for number in range(100)])
    own_broker.store("export", "--output", export)
    own_broker.stop()
    assert not (own_broker.data / "haremq.sock").exists()
    for found in own_broker.data.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    own_broker.store("import", export)
    own_broker.start()
    # Nobody is in the export, so there is the user to begin with.
    with own_broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("queue", durable=True, arguments=ARGUMENTS)
        assert bodies(channel, "queue", 100) == [str(number) for number in range(100)]


def test_a_check_names_what_is_damaged(own_broker):
    with own_broker.connect() as connection:
        publish(connection.channel(), [f"message {number}" for number in range(100)])
    own_broker.stop()
    sound, _ = own_broker.store("check")
    assert "messages: 100: sound" in sound
    (segment,) = (own_broker.data / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    at = data.index(b"message 41")
    data[at] ^= 1
    segment.write_bytes(data)
    damaged, _ = own_broker.store("check", status=1)
    assert f"{segment.name}: " in damaged
    assert "message 42 of queue 'queue' in vhost '/' (lost)" in damaged
    export, told = own_broker.store("export", status=1)
    assert sum('"type":"message"' in line for line in export.splitlines()) == 99
    assert '{"type":"lost","vhost":"/","queue":"queue","seq":42}' in export.splitlines()
    assert "messages that are damaged and could not be read: 1" in told
    stats, _ = own_broker.store("stats", "--json")
    assert json.loads(stats)["queues"][0]["messages"] == 100
