"""Messages that come back to their queue: in which order, and how often."""

from .client import QUORUM, dead_letters_to, message
from .feature import Differs, feature


def order_after_nacks(client, arguments):
    """Gives the second message back, then the first."""
    queue = client.queue("queue", arguments)
    for body in "123":
        client.publish(queue, body)
    first, second = client.get(queue), client.get(queue)
    client.channel.basic_nack(second.delivery_tag, requeue=True)
    client.channel.basic_nack(first.delivery_tag, requeue=True)
    client.settled()
    return [got.body + " again" * got.redelivered for got in (client.get(queue) for _ in "123")]


@feature(["1 again", "2 again", "3"])
def order_after_nack(client):
    """A message that comes back takes its old place, in whichever order messages come back."""
    return order_after_nacks(client, {})


@feature(
    ["1 again", "2 again", "3"],
    Differs(
        "a quorum queue of RabbitMQ 3.10 puts what comes back behind the others, one of 4.3 before them, both in "
        "the order in which it came back",
        ["3", "2 again", "1 again"],
    ),
)
def order_after_nack_on_a_quorum_queue(client):
    """The same on a quorum queue."""
    return order_after_nacks(client, QUORUM)


@feature(["1 again", "2 again", "4", "3 again"])
def order_after_nack_of_several(client):
    """basic.nack with multiple gives back all up to one; the last one comes back later."""
    queue = client.queue("queue")
    for body in "1234":
        client.publish(queue, body)
    taken = [client.get(queue) for _ in range(3)]
    client.channel.basic_nack(taken[1].delivery_tag, multiple=True, requeue=True)
    client.settled()
    order = in_order(client, queue, 3)
    client.channel.basic_reject(taken[2].delivery_tag, requeue=True)
    client.settled()
    return order + in_order(client, queue, 1)


@feature(["1 again", "2 again", "3"])
def order_after_the_channel_ended(client):
    """What a channel did not ack comes back when it ends, as if it were given back."""
    queue = client.queue("queue")
    for body in "123":
        client.publish(queue, body)
    ending = client.new_channel()
    for _ in "12":
        ending.basic_get(queue)
    ending.close()
    return in_order(client, queue, 3)


@feature(["1 again", "2 again"])
def order_after_recover(client):
    """basic.recover gives back all that the channel has."""
    queue = client.queue("queue")
    for body in "12":
        client.publish(queue, body)
        client.get(queue)
    client.channel.basic_recover(requeue=True)
    return in_order(client, queue, 2)


def in_order(client, queue, count):
    """The next messages, and whether they come again."""
    return [taken.body + " again" * taken.redelivered for taken in client.take(queue, count)]


def counts(client, arguments):
    """The counts in the headers of a message, first and after it came back in each of these ways."""
    queue = client.queue("queue", arguments)
    client.publish(queue, "message")
    seen = {"first": client.take_and_reject(queue, requeue=True).counts}
    (rejected,) = client.await_messages(queue, 1)
    seen["basic.reject"] = rejected.counts
    client.channel.basic_nack(rejected.delivery_tag, requeue=True)
    ending = client.new_channel()
    client.settled()
    seen["basic.nack"] = message(*ending.basic_get(queue)).counts
    ending.close()
    seen["channel end"] = client.await_messages(queue, 1)[0].counts
    client.channel.basic_recover(requeue=True)
    seen["basic.recover"] = client.take(queue, 1)[0].counts
    return seen


COUNTS = {
    "first": {},
    "basic.reject": {"x-acquired-count": 1, "x-delivery-count": 1},
    "basic.nack": {"x-acquired-count": 2, "x-delivery-count": 1},
    "channel end": {"x-acquired-count": 3, "x-delivery-count": 2},
    "basic.recover": {"x-acquired-count": 4, "x-delivery-count": 2},
}


@feature(
    COUNTS,
    Differs(
        "RabbitMQ 3.10 had one count, of everything; 4.3 counts what was handed out, and apart what failed",
        {
            "first": {},
            "basic.reject": {"x-delivery-count": 1},
            "basic.nack": {"x-delivery-count": 2},
            "channel end": {"x-delivery-count": 3},
            "basic.recover": {"x-delivery-count": 4},
        },
    ),
)
def counts_of_a_quorum_queue(client):
    """x-acquired-count: how often a message was handed out before. x-delivery-count: how often it failed, which
    is what basic.reject says, and the end of a channel."""
    return counts(client, QUORUM)


@feature(COUNTS, Differs("only the quorum queues of RabbitMQ count", {way: {} for way in COUNTS}))
def counts_of_a_classic_queue(client):
    """A classic queue counts as well."""
    return counts(client, {})


def limited(client, give_back):
    """Gives a message of a queue with a delivery limit of 2 back four times, or until it is a dead letter.
    Returns how often it was delivered, and its death."""
    dead = client.queue("dead")
    queue = client.queue("queue", QUORUM | {"x-delivery-limit": 2} | dead_letters_to(dead))
    client.publish(queue, "message")
    deliveries = 0
    while deliveries < 4 and (got := client.get(queue)):
        deliveries += 1
        give_back(got.delivery_tag)
    letters = client.take(dead, 1) if deliveries < 4 else []
    return {"deliveries": deliveries, "deaths": [letter.deaths for letter in letters]}


@feature({"deliveries": 3, "deaths": [["1 delivery_limit in queue, from '' to queue"]]})
def limit_of_rejects(client):
    """x-delivery-limit: a message that failed more often than that is a dead letter."""
    return limited(client, lambda tag: client.channel.basic_reject(tag, requeue=True))


@feature(
    {"deliveries": 4, "deaths": []},
    Differs(
        "for RabbitMQ 3.10 everything that came back had failed",
        {"deliveries": 3, "deaths": [["1 delivery_limit in queue, from '' to queue"]]},
    ),
)
def no_limit_of_nacks(client):
    """basic.nack gives a message back without blame: that may happen as often as it likes."""
    return limited(client, lambda tag: client.channel.basic_nack(tag, requeue=True))
