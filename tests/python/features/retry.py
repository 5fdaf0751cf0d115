"""Messages that come back, and wait before they are ready again. RabbitMQ has this since 4.3."""

from .client import QUORUM
from .feature import Lacks, feature

RABBITMQ = Lacks("delayed retry came with RabbitMQ 4.3")
OURS = Lacks("a list of times to wait is an addition of HareMQ")


def waits(client, arguments, give_back, *bells_ms):
    """Gives a message back, once for each pair of bells, one that rings before it is ready again and one that
    rings after. Returns what came in which order."""
    queue = client.queue("queue", QUORUM | arguments)
    client.publish(queue, "message")
    order = []
    (message,) = client.await_messages(queue, 1)
    for early, late in bells_ms:
        client.bell(queue, f"{early} ms", early)
        give_back(message.delivery_tag)
        client.bell(queue, f"{late} ms", late)
        for _ in range(3):
            (next_one,) = client.await_messages(queue, 1)
            order.append(next_one.body)
            if next_one.body == "message":
                message = next_one
            else:
                client.channel.basic_ack(next_one.delivery_tag)
    return order


ALL = {"x-delayed-retry-type": "all", "x-delayed-retry-min": 200, "x-delayed-retry-max": 500}


@feature(
    ["100 ms", "message", "300 ms", "300 ms", "message", "500 ms", "400 ms", "message", "600 ms"],
    RABBITMQ,
)
def failed(client):
    """x-delayed-retry-type: a message that comes back waits for x-delayed-retry-min milliseconds, twice that
    when it failed twice, and so on, but never longer than x-delayed-retry-max."""
    bells_ms = (100, 300), (300, 500), (400, 600)
    return waits(client, ALL, lambda tag: client.channel.basic_reject(tag, requeue=True), *bells_ms)


@feature(["100 ms", "message", "300 ms", "100 ms", "message", "300 ms"], RABBITMQ)
def given_back(client):
    """What basic.nack gives back did not fail: it waits for the same time again and again."""
    return waits(client, ALL, lambda tag: client.channel.basic_nack(tag, requeue=True), (100, 300), (100, 300))


@feature(["100 ms", "message", "200 ms", "200 ms", "message", "400 ms", "200 ms", "message", "400 ms"], OURS)
def levels(client):
    """x-delayed-retry-levels: how long it waits the first time, the second time, and every time after."""
    arguments = {"x-delayed-retry-type": "all", "x-delayed-retry-levels": "150ms 300ms"}
    bells_ms = (100, 200), (200, 400), (200, 400)
    return waits(client, arguments, lambda tag: client.channel.basic_nack(tag, requeue=True), *bells_ms)


@feature({"nack": ["message"], "reject": ["100 ms", "message"]}, RABBITMQ)
def only_those_that_failed(client):
    """With the type failed, what is given back without blame is ready at once."""
    queue = client.queue("queue", QUORUM | ALL | {"x-delayed-retry-type": "failed"})
    client.publish(queue, "message")
    (message,) = client.await_messages(queue, 1)
    client.channel.basic_nack(message.delivery_tag, requeue=True)
    at_once = client.await_messages(queue, 1)
    client.bell(queue, "100 ms", 100)
    client.channel.basic_reject(at_once[0].delivery_tag, requeue=True)
    return {"nack": [message.body for message in at_once], "reject": client.bodies(queue, 2)}


@feature(["next", "message"], RABBITMQ)
def others_go_on(client):
    """A message that waits keeps no other from being delivered."""
    queue = client.queue("queue", QUORUM | ALL)
    client.publish(queue, "message")
    client.take_and_reject(queue, requeue=True)
    client.publish(queue, "next")
    return client.bodies(queue, 2)
