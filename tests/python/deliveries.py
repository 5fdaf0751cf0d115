"""Waiting for deliveries: for as many as are expected, and never for longer than is patient."""

from broker import PATIENCE


def receive(channel, queue, count, auto_ack=True):
    """The next deliveries of a queue, as (method, properties, body); the consumer is cancelled after them."""
    received = []
    for method, properties, body in channel.consume(queue, auto_ack=auto_ack, inactivity_timeout=PATIENCE):
        assert method is not None, f"{len(received)} of {count} deliveries came in time"
        received.append((method, properties, body))
        if len(received) == count:
            break
    channel.cancel()
    return received


def bodies(channel, queue, count):
    """The bodies of the next deliveries of a queue."""
    return [body.decode() for _, _, body in receive(channel, queue, count)]


def ready(channel, queue):
    """How many messages are ready in a queue."""
    return channel.queue_declare(queue, passive=True).method.message_count
