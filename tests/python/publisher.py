"""A publisher that keeps many messages under way, and bodies that tell whether a byte of them was changed."""

import threading
import zlib

import pika

from broker import PATIENCE

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def body(number, length):
    """A body of a number: the number, noise, and a checksum over both."""
    head = number.to_bytes(8, "big")
    noise = (head * (length // len(head)))[: length - len(head) - 4]
    return head + noise + zlib.crc32(head + noise).to_bytes(4, "big")


def number_of(received):
    """The number in a body; fails when a byte is not as it was."""
    assert zlib.crc32(received[:-4]).to_bytes(4, "big") == received[-4:], f"a changed body: {received[:40]}…"
    return int.from_bytes(received[:8], "big")


class Publisher(threading.Thread):
    """Publishes numbered persistent messages, so many at a time, until `count` are confirmed or it is stopped.

    `confirmed` has the numbers of those that were, `error` why it ended when nobody asked for it. What it sees
    happens under `changed`.
    """

    def __init__(self, url, queue, count=None, window=64, length=1000):
        super().__init__(daemon=True)
        self._queue, self._count, self._window, self._length = queue, count, window, length
        self.changed = threading.Condition()
        self.published, self.confirmed, self.blocked, self.error = 0, set(), False, None
        # By delivery tag, which counts from 1, as the numbers count from 0.
        self._unconfirmed = {}
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )
        self._connection.add_on_connection_blocked_callback(lambda *_: self._notify(blocked=True))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._notify(blocked=False))
        self.start()

    def run(self):
        """The thread."""
        try:
            self._connection.ioloop.start()
        finally:
            self._connection.ioloop.close()

    def stop(self):
        """Ends the connection; what is not confirmed by then never will be."""
        if self.is_alive():
            self._connection.ioloop.add_callback_threadsafe(self._close)
        self.join(PATIENCE)
        assert not self.is_alive(), "the publisher did not end in time"

    def wait_for(self, what, condition):
        """Waits until a condition of what it sees holds."""
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.error, PATIENCE)
            found = f"{len(self.confirmed)} of {self.published} confirmed, blocked: {self.blocked}, {self.error}"
            assert condition(), f"{what} did not come in time; {found}"

    def _opened(self, channel):
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.confirm_delivery(self._answered, callback=lambda _: self._publish())

    def _publish(self):
        while len(self._unconfirmed) < self._window and self.published != self._count:
            number = self.published
            self._channel.basic_publish("", self._queue, body(number, self._length), PERSISTENT)
            self.published += 1
            self._unconfirmed[self.published] = number

    def _answered(self, frame):
        method = frame.method
        last = method.delivery_tag
        tags = [tag for tag in self._unconfirmed if tag == last or method.multiple and tag < last]
        numbers = [self._unconfirmed.pop(tag) for tag in tags]
        with self.changed:
            if isinstance(method, pika.spec.Basic.Ack):
                self.confirmed.update(numbers)
            self.changed.notify_all()
        if isinstance(method, pika.spec.Basic.Nack):
            self._fail(f"{len(numbers)} messages were refused")
        self._publish()

    def _notify(self, blocked):
        with self.changed:
            self.blocked = blocked
            self.changed.notify_all()

    def _close(self):
        if self._connection.is_open:
            self._connection.close()

    def _channel_closed(self, _, reason):
        # It also closes with its connection.
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            self._fail(reason)
            self._close()

    def _ended(self, _, reason):
        if not isinstance(reason, pika.exceptions.ConnectionClosedByClient):
            self._fail(reason)
        # Not at once: pika has its socket still to close.
        self._connection.ioloop.add_callback_threadsafe(self._connection.ioloop.stop)

    def _fail(self, reason):
        with self.changed:
            self.error = self.error or reason
            self.changed.notify_all()
