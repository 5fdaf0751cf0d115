"""Which consumer gets a message, and what consumers are told."""

from .client import QUORUM, Inbox
from .feature import Differs, Lacks, feature


@feature(["high: 1", "low: 2", "high: 3"])
def priority(client):
    """x-priority: a consumer gets messages only while all consumers of a higher priority are busy."""
    queue = client.queue("queue")
    inbox = Inbox(client.channel, prefetch_count=1)
    inbox.consume(queue, "low", {"x-priority": 1})
    inbox.consume(queue, "high", {"x-priority": 5})
    events = []
    for body in "12":
        client.publish(queue, body)
        events += inbox.next(1)
    # Both are busy now. The high one becomes free first.
    client.publish(queue, "3")
    client.channel.basic_ack(inbox.messages[0].delivery_tag)
    return events + inbox.next(1)


@feature(["a: 1", "b: 2", "a: 3", "b: 4"])
def in_turn(client):
    """Consumers of the same priority are served in turn."""
    queue = client.queue("queue")
    inbox = Inbox(client.channel)
    inbox.consume(queue, "a")
    inbox.consume(queue, "b")
    for body in "1234":
        client.publish(queue, body)
    return sorted(inbox.next(4), key=lambda event: event[-1])


def single_active_consumer(client, arguments):
    """Two consumers of a queue with x-single-active-consumer; the first is cancelled, then the second ends
    with its channel, with an unacked message."""
    queue = client.queue("queue", {"x-single-active-consumer": True} | arguments)
    inbox, other = Inbox(client.channel), Inbox(client.new_channel())
    inbox.consume(queue, "first", auto_ack=True)
    other.consume(queue, "second")
    for body in "12":
        client.publish(queue, body)
    events = inbox.next(2)
    inbox.consume(queue, "third", auto_ack=True)
    client.channel.basic_cancel("first")
    client.publish(queue, "3")
    events += other.next(1)
    other.channel.close()
    events += inbox.next(1)
    return events


SAC = ["first: 1", "first: 2", "second: 3", "third: 3"]


@feature(SAC)
def single_active(client):
    """x-single-active-consumer: one consumer gets everything; when it goes, the next one takes over."""
    return single_active_consumer(client, {})


@feature(SAC)
def single_active_on_a_quorum_queue(client):
    """The same on a quorum queue."""
    return single_active_consumer(client, QUORUM)


@feature(
    ["low: 1", "high: 2"],
    Differs("in RabbitMQ only quorum queues do so, since 4.0; here all queues", ["low: 1", "low: 2"]),
)
def single_active_with_priority(client):
    """When a consumer of a higher priority comes, it takes over from the active one as soon as that one has
    acked what it has."""
    queue = client.queue("queue", {"x-single-active-consumer": True})
    inbox = Inbox(client.channel)
    inbox.consume(queue, "low", {"x-priority": 1})
    client.publish(queue, "1")
    events = inbox.next(1)
    inbox.consume(queue, "high", {"x-priority": 5})
    client.publish(queue, "2")
    client.channel.basic_ack(inbox.messages[0].delivery_tag)
    return events + inbox.next(1)


IN_USE = "403 ACCESS_REFUSED - queue 'queue' in vhost '/' in exclusive use"


@feature({"another": IN_USE, "after its cancel": "accepted", "exclusive while another consumes": IN_USE})
def exclusive(client):
    """An exclusive consumer is the only one of its queue."""
    queue = client.queue("queue")
    inbox = Inbox(client.channel)
    inbox.consume(queue, "exclusive", exclusive=True)
    another = client.refused(lambda channel: channel.basic_consume(queue, print))
    client.channel.basic_cancel("exclusive")
    after = client.refused(lambda channel: channel.basic_consume(queue, print))
    too_late = client.refused(lambda channel: channel.basic_consume(queue, print, exclusive=True))
    return {"another": another, "after its cancel": after, "exclusive while another consumes": too_late}


@feature(
    [
        "406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'queue' in vhost '/': "
        '"expected integer, got longstr"',
        IN_USE,
    ]
)
def refused(client):
    """A priority that is no number, and an exclusive consumer of a queue with a single active one."""
    queue = client.queue("queue")
    number = client.refused(lambda channel: channel.basic_consume(queue, print, arguments={"x-priority": "high"}))
    client.channel.queue_delete(queue)
    client.queue("queue", {"x-single-active-consumer": True})
    return [number, client.refused(lambda channel: channel.basic_consume(queue, print, exclusive=True))]


@feature(["a: cancelled", "b: cancelled"])
def cancelled_by_delete(client):
    """The broker cancels the consumers of a queue that is deleted, if they understand that."""
    queue = client.queue("queue")
    inbox = Inbox(client.channel)
    inbox.consume(queue, "a")
    inbox.consume(queue, "b")
    client.new_channel().queue_delete(queue)
    return sorted(inbox.next(2))


SINCE_4_3 = "the timeout of a single consumer came with RabbitMQ 4.3"


@feature(
    {"events": ["slow: message", "slow: cancelled"], "back": ["message", True, {"x-acquired-count": 1}]},
    Lacks(SINCE_4_3),
)
def timeout(client):
    """x-consumer-timeout: a consumer that keeps a message unacked for that many milliseconds is cancelled, and
    the message is ready again."""
    queue = client.queue("queue", QUORUM)
    inbox = Inbox(client.channel)
    inbox.consume(queue, "slow", {"x-consumer-timeout": 200})
    client.publish(queue, "message")
    events = inbox.next(2)
    back = client.get(queue)
    return {"events": events, "back": [back.body, back.redelivered, back.counts]}


@feature(["quick: 1", "quick: 2", "quick: 3"], Lacks(SINCE_4_3))
def timeout_of_a_consumer_that_acks(client):
    """A consumer that acks in time is not cancelled, however long it lives; the time counts for each message."""
    queue = client.queue("queue", QUORUM)
    inbox = Inbox(client.channel)
    inbox.consume(queue, "quick", {"x-consumer-timeout": 300})
    events = []
    for body in "123":
        client.publish(queue, body)
        events += inbox.next(1)
        client.channel.basic_ack(inbox.messages[-1].delivery_tag)
        client.wait(200)
    return events
