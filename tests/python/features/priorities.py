"""Queues that hand out important messages first."""

from .client import QUORUM, dead_letters_to
from .feature import Differs, feature


def published(client, queue):
    """Publishes a message of each of these priorities, and returns in which order they come out."""
    for number, priority in enumerate((1, None, 5, 3, 9, 0, 5)):
        client.publish(queue, f"{number} of {priority}", priority=priority)
    return client.rest(queue)


@feature(["2 of 5", "4 of 9", "6 of 5", "3 of 3", "0 of 1", "1 of None", "5 of 0"])
def max_priority(client):
    """x-max-priority: higher first, in order within one. Above the highest is the highest, none is 0."""
    return published(client, client.queue("queue", {"x-max-priority": 5}))


@feature(["0 of 1", "1 of None", "2 of 5", "3 of 3", "4 of 9", "5 of 0", "6 of 5"])
def without_max_priority(client):
    """A queue that does not say x-max-priority does not look at the priorities of messages."""
    return published(client, client.queue("queue"))


@feature(["high", "low"])
def a_requeued_message_keeps_its_priority(client):
    """A message that comes back waits among those of its own priority."""
    queue = client.queue("queue", {"x-max-priority": 5})
    client.publish(queue, "low", priority=1)
    taken = client.get(queue)
    client.publish(queue, "high", priority=5)
    client.channel.basic_nack(taken.delivery_tag, requeue=True)
    client.settled()
    return client.rest(queue)


@feature(
    {"dead": ["low"], "left": ["high", "middle"]},
    Differs(
        "RabbitMQ gives up the message that would be next, the most important one",
        {"dead": ["high"], "left": ["middle", "low"]},
    ),
)
def the_lowest_goes_when_the_queue_is_full(client):
    """The queue that is too long gives up a message of the lowest priority."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-max-priority": 5, "x-max-length": 2} | dead_letters_to(dead))
    for body, priority in (("low", 1), ("high", 5), ("middle", 3)):
        client.publish(queue, body, priority=priority)
    return {"dead": client.bodies(dead, 1), "left": client.rest(queue)}


@feature(
    ["urgent", "300 ms", "calm"],
    Differs(
        "RabbitMQ waits for the message that came first, and looks at the others then",
        ["300 ms", "urgent", "calm"],
    ),
)
def expiry_in_any_priority(client):
    """A message expires in its time, whatever its priority is."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-max-priority": 5} | dead_letters_to(dead))
    client.publish(queue, "calm", priority=1, expiration="600")
    client.publish(queue, "urgent", priority=5, expiration="100")
    client.bell(dead, "300 ms", 300)
    return client.bodies(dead, 3)


@feature(
    ["4 of 9", "2 of 5", "6 of 5", "1 of None", "3 of 3", "0 of 1", "5 of 0"],
    Differs(
        "quorum queues have priorities since RabbitMQ 4.0, and 0 to 31 since 4.3",
        ["0 of 1", "1 of None", "2 of 5", "3 of 3", "4 of 9", "5 of 0", "6 of 5"],
    ),
)
def of_a_quorum_queue(client):
    """A quorum queue always has 32 priorities; messages that name none have 4."""
    return published(client, client.queue("queue", QUORUM))
