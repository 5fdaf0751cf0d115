"""What the features are written with: unique names, confirmed publishes, awaited deliveries, refusals."""

import time
import uuid
from dataclasses import dataclass

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, NackError, UnroutableError

from broker import PATIENCE

QUORUM = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class Message:
    """A message as it was delivered."""

    body: str
    redelivered: bool
    exchange: str
    routing_key: str
    properties: pika.BasicProperties
    delivery_tag: int

    @property
    def headers(self):
        """Its headers, also when it has none."""
        return self.properties.headers or {}

    @property
    def counts(self):
        """How often it came back, as the broker counts it for consumers."""
        names = ("x-acquired-count", "x-delivery-count")
        return {name: self.headers[name] for name in names if name in self.headers}

    @property
    def deaths(self):
        """Its x-death header, newest first, a line each and without times."""
        return [death(table) for table in self.headers.get("x-death", [])]


def death(table):
    """An entry of x-death in words."""
    expiration = f", expiration was {table['original-expiration']}" if "original-expiration" in table else ""
    came = f"from '{table['exchange']}' to {' '.join(table['routing-keys'])}"
    return f"{table['count']} {table['reason']} in {table['queue']}, {came}{expiration}"


class Client:
    """A client of a broker that leaves nothing behind. What has no channel of its own happens on `channel`."""

    def __init__(self, connect):
        self._connect = connect
        # Part of every name that we make, so that it is unique; features take it out of transcripts.
        self.mark = f"~{uuid.uuid4().hex[:12]}"
        self._connections = []
        self._queues = []
        self._exchanges = []
        self.channel = self.new_channel()
        self._publisher = self.new_channel()
        self._publisher.confirm_delivery()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Deletes what was declared and closes what was opened."""
        cleaner = self.new_channel()
        for queue in self._queues:
            cleaner.queue_delete(queue)
        for exchange in self._exchanges:
            cleaner.exchange_delete(exchange)
        for connection in self._connections:
            if connection.is_open:
                connection.close()

    def new_channel(self):
        """A channel on a connection of its own."""
        self._connections.append(self._connect())
        return self._connections[-1].channel()

    def name(self, name):
        """A name that no other run uses."""
        return name + self.mark

    def queue(self, name, arguments=None):
        """Declares a durable queue and returns its name."""
        self._queues.append(self.name(name))
        self.channel.queue_declare(self._queues[-1], durable=True, arguments=arguments)
        return self._queues[-1]

    def exchange(self, name, kind, bound=()):
        """Declares an exchange, binds queues to it by their routing keys, and returns its name."""
        self._exchanges.append(self.name(name))
        self.channel.exchange_declare(self._exchanges[-1], kind)
        for queue, routing_key in bound:
            self.channel.queue_bind(queue, self._exchanges[-1], routing_key)
        return self._exchanges[-1]

    def publish(self, queue, body, exchange="", mandatory=False, **properties):
        """Publishes to a queue, or to an exchange with the name as the routing key. Returns how the broker
        confirmed it: ack, nack, or returned."""
        message = pika.BasicProperties(**properties)
        try:
            self._publisher.basic_publish(exchange, queue, body.encode(), message, mandatory)
        except NackError:
            return "nack"
        except UnroutableError as error:
            return "returned " + " ".join(returned.method.reply_text for returned in error.messages)
        return "ack"

    def bell(self, queue, body, ms):
        """A message that arrives in a queue after that many milliseconds by the clock of the broker."""
        arguments = {"x-message-ttl": ms} | dead_letters_to(queue)
        self.publish(self.queue(f"bell {uuid.uuid4().hex}", arguments), body)

    def wait(self, ms):
        """Returns after that many milliseconds by the clock of the broker."""
        wait = self.queue(f"wait {uuid.uuid4().hex}")
        self.bell(wait, "now", ms)
        self.take(wait, 1)

    def get(self, queue):
        """The next message of a queue, to be acknowledged; None if there is none."""
        method, properties, body = self.channel.basic_get(queue)
        return method and message(method, properties, body)

    def await_messages(self, queue, count):
        """The next messages of a queue, as soon as they come, and no more; they are not yet acknowledged."""
        self.channel.basic_qos(prefetch_count=count)
        messages = []
        for method, properties, body in self.channel.consume(queue, inactivity_timeout=PATIENCE):
            assert method is not None, f"{len(messages)} of {count} deliveries came in time: {messages}"
            messages.append(message(method, properties, body))
            if len(messages) == count:
                break
        self.channel.cancel()
        return messages

    def take(self, queue, count):
        """The next messages of a queue, as soon as they come; they are acknowledged."""
        messages = self.await_messages(queue, count)
        for taken in messages:
            self.channel.basic_ack(taken.delivery_tag)
        return messages

    def take_and_reject(self, queue, requeue=False):
        """The next message of a queue, as soon as it comes; it is rejected."""
        (taken,) = self.await_messages(queue, 1)
        self.channel.basic_reject(taken.delivery_tag, requeue=requeue)
        return taken

    def bodies(self, queue, count):
        """The bodies of the next messages of a queue, as soon as they come."""
        return [taken.body for taken in self.take(queue, count)]

    def rest(self, queue):
        """The bodies of what is ready in a queue now."""
        return [got.body for got in iter(lambda: self.get(queue), None)]

    def ready(self, queue):
        """How many messages are ready in a queue."""
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def settled(self):
        """When this returns, the broker did all that it was asked on `channel` before."""
        self.channel.basic_qos()

    def refused(self, action, channel=None):
        """Does something on a channel, a new one if none is given. Returns the broker's code and text if it
        closed the channel or the connection, else «accepted»."""
        channel = channel or self.new_channel()
        try:
            action(channel)
            # Some methods have no answer; this one comes after theirs.
            channel.basic_qos()
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            return f"{error.reply_code} {error.reply_text}"
        return "accepted"


class Inbox:
    """What consumers on one channel receive, in the order in which it arrives, as «tag: body»; the end of a
    consumer by the broker is «tag: cancelled»."""

    def __init__(self, channel, prefetch_count=0):
        self.messages = []
        self.channel = channel
        self._events = []
        channel.basic_qos(prefetch_count=prefetch_count)
        channel.add_on_cancel_callback(self._cancelled)

    def consume(self, queue, tag, arguments=None, **options):
        """Starts a consumer."""
        self.channel.basic_consume(queue, self._delivered, consumer_tag=tag, arguments=arguments, **options)

    def next(self, count):
        """The next so many events, as soon as they are there."""
        patience_ends = time.monotonic() + PATIENCE
        while len(self._events) < count:
            left = patience_ends - time.monotonic()
            assert left > 0, f"only this came in {PATIENCE} s: {self._events}"
            self.channel.connection.process_data_events(time_limit=left)
        next_ones, self._events = self._events[:count], self._events[count:]
        return next_ones

    def _delivered(self, _, method, properties, body):
        self.messages.append(message(method, properties, body))
        self._events.append(f"{method.consumer_tag}: {body.decode()}")

    def _cancelled(self, frame):
        self._events.append(f"{frame.method.consumer_tag}: cancelled")


def message(method, properties, body):
    """What pika delivers, in one value."""
    return Message(
        body.decode(), method.redelivered, method.exchange, method.routing_key, properties, method.delivery_tag
    )


def dead_letters_to(queue):
    """The arguments of a queue whose dead letters go to another one."""
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
