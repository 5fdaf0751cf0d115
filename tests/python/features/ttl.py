"""Messages and queues that have a time to live."""

import pika

from .client import Inbox, dead_letters_to
from .feature import Differs, feature


@feature(["100 ms", "message", "600 ms"])
def by_queue(client):
    """x-message-ttl: how many milliseconds a message may wait in a queue."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-message-ttl": 300} | dead_letters_to(dead))
    client.bell(dead, "100 ms", 100)
    client.publish(queue, "message")
    client.bell(dead, "600 ms", 600)
    return client.bodies(dead, 3)


@feature(["100 ms", "message", "600 ms"])
def by_message(client):
    """The property expiration: how many milliseconds this message may wait, in decimal."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    client.bell(dead, "100 ms", 100)
    client.publish(queue, "message", expiration="300")
    client.bell(dead, "600 ms", 600)
    return client.bodies(dead, 3)


@feature(["message says less", "300 ms", "queue says less", "900 ms"])
def the_lower_of_both(client):
    """When queue and message have a TTL, the lower counts."""
    dead = client.queue("dead")
    short = client.queue("short", {"x-message-ttl": 600} | dead_letters_to(dead))
    long = client.queue("long", {"x-message-ttl": 60_000} | dead_letters_to(dead))
    client.publish(long, "message says less", expiration="100")
    client.bell(dead, "300 ms", 300)
    client.publish(short, "queue says less", expiration="60000")
    client.bell(dead, "900 ms", 900)
    return client.bodies(dead, 4)


@feature(["ack", None, 0])
def zero_without_a_consumer(client):
    """A message with a TTL of 0 that nobody waits for expires at once."""
    queue = client.queue("queue")
    confirmed = client.publish(queue, "message", expiration="0", mandatory=True)
    return [confirmed, client.get(queue), client.ready(queue)]


@feature(["ack", "consumer: message"])
def zero_with_a_consumer(client):
    """A message with a TTL of 0 goes to a consumer that is ready for it."""
    queue = client.queue("queue")
    inbox = Inbox(client.channel)
    inbox.consume(queue, "consumer", auto_ack=True)
    return [client.publish(queue, "message", expiration="0"), *inbox.next(1)]


@feature(
    ["hidden behind another", "300 ms", "head"],
    Differs(
        "RabbitMQ removes an expired message only when it is the head of the queue; here the TTL is kept",
        ["300 ms", "hidden behind another", "head"],
    ),
)
def behind_a_longer_lived_head(client):
    """A message expires when its time has come, although the one before it lives on."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    client.publish(queue, "head", expiration="60000")
    client.publish(queue, "hidden behind another", expiration="100")
    client.bell(dead, "300 ms", 300)
    client.wait(500)
    client.take_and_reject(queue)
    return client.bodies(dead, 3)


@feature(["message", "500 ms"])
def a_requeued_message_keeps_its_time(client):
    """The TTL counts from the first arrival in the queue; to take a message and give it back is no renewal."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-message-ttl": 400} | dead_letters_to(dead))
    client.publish(queue, "message")
    taken = client.get(queue)
    client.bell(dead, "500 ms", 500)
    client.wait(200)
    client.channel.basic_nack(taken.delivery_tag, requeue=True)
    return client.bodies(dead, 2)


@feature(
    {
        "abc": "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
        "10x": "406 PRECONDITION_FAILED - invalid expiration '10x': {leftover_string,\"x\"}",
        "1.5": "406 PRECONDITION_FAILED - invalid expiration '1.5': {leftover_string,\".5\"}",
        "-1": "406 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}",
        "": "406 PRECONDITION_FAILED - invalid expiration '': no_integer",
        " 10": "406 PRECONDITION_FAILED - invalid expiration ' 10': no_integer",
        "+10": "accepted",
        "315360000000": "accepted",
        "315360000001": "406 PRECONDITION_FAILED - invalid expiration '315360000001': "
        "{value_too_large,315360000001}",
    }
)
def invalid_expirations(client):
    """What is no number of milliseconds between 0 and ten years closes the channel."""
    queue = client.queue("queue")
    texts = ["abc", "10x", "1.5", "-1", "", " 10", "+10", "315360000000", "315360000001"]
    return {text: client.refused(lambda channel: publish_with(channel, queue, text)) for text in texts}


def publish_with(channel, queue, expiration):
    """Publishes a message that expires."""
    channel.basic_publish("", queue, b"message", pika.BasicProperties(expiration=expiration))


@feature(
    {
        "with a consumer": "accepted",
        "after it": "404 NOT_FOUND - no queue 'queue' in vhost '/'",
        "dead letters": ["400 ms"],
    }
)
def expires(client):
    """x-expires: a queue that has no consumer for so long is deleted, and its messages are no dead letters."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-expires": 200} | dead_letters_to(dead))
    with_a_consumer = Inbox(client.new_channel())
    with_a_consumer.consume(queue, "consumer")
    client.wait(400)
    kept = client.refused(lambda channel: channel.queue_declare(queue, passive=True))
    with_a_consumer.channel.basic_cancel("consumer")
    client.publish(queue, "message")
    client.bell(dead, "400 ms", 400)
    dead_letters = client.bodies(dead, 1)
    gone = client.refused(lambda channel: channel.queue_declare(queue, passive=True))
    return {"with a consumer": kept, "after it": gone, "dead letters": dead_letters}
