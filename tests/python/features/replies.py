"""Direct reply-to: answers without a queue."""

import pika

from .client import Inbox
from .feature import Differs, feature

REPLY_TO = "amq.rabbitmq.reply-to"


def asked(client, channel):
    """Asks on a channel that consumes replies, and returns the message with the question."""
    queue = client.queue("questions")
    channel.basic_publish("", queue, b"question", pika.BasicProperties(reply_to=REPLY_TO))
    (question,) = client.take(queue, 1)
    return question


@feature(
    {
        "reply_to": "amq.rabbitmq.reply-to.<unique>",
        "confirmed": "ack",
        "replies": ["replies: 1", "replies: 2"],
        "routing key is reply_to": True,
        "correlation_id": "7",
    },
    Differs(
        "RabbitMQ 3.10 returned a mandatory reply, although it delivered it",
        {
            "reply_to": "amq.rabbitmq.reply-to.<unique>",
            "confirmed": "returned NO_ROUTE",
            "replies": ["replies: 1", "replies: 2"],
            "routing key is reply_to": True,
            "correlation_id": "7",
        },
    ),
)
def round_trip(client):
    """Whoever consumes from the pseudo-queue without acks may ask with its name as reply_to. The broker makes
    it an address that others reply to, by the default exchange, as often as they like."""
    asker = Inbox(client.new_channel())
    asker.consume(REPLY_TO, "replies", auto_ack=True)
    question = asked(client, asker.channel)
    address = question.properties.reply_to
    confirmed = client.publish(address, "1", correlation_id="7", mandatory=True)
    client.publish(address, "2")
    replies = asker.next(2)
    return {
        "reply_to": address,
        "confirmed": confirmed,
        "replies": replies,
        "routing key is reply_to": asker.messages[0].routing_key == address,
        "correlation_id": asker.messages[0].properties.correlation_id,
    }


@feature(
    {
        "while it consumes": "accepted",
        "after": "404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to.<unique>' in vhost '/'",
    }
)
def is_it_still_there(client):
    """Declared passively, an address tells whether the asker still listens."""
    asker = Inbox(client.new_channel())
    asker.consume(REPLY_TO, "replies", auto_ack=True)
    address = asked(client, asker.channel).properties.reply_to
    there = client.refused(lambda channel: channel.queue_declare(address, passive=True))
    asker.channel.basic_cancel("replies")
    gone = client.refused(lambda channel: channel.queue_declare(address, passive=True))
    return {"while it consumes": there, "after": gone}


@feature(["returned NO_ROUTE", "returned NO_ROUTE"])
def reply_to_nobody(client):
    """There is no route to one that is gone, nor to an address that never was."""
    asker = Inbox(client.new_channel())
    asker.consume(REPLY_TO, "replies", auto_ack=True)
    address = asked(client, asker.channel).properties.reply_to
    asker.channel.close()
    return [client.publish(to, "reply", mandatory=True) for to in (address, f"{REPLY_TO}.never")]


@feature(
    {
        "with acks": "406 PRECONDITION_FAILED - reply consumer cannot acknowledge",
        "twice": "406 PRECONDITION_FAILED - reply consumer already set",
        "a question without a consumer": "406 PRECONDITION_FAILED - fast reply consumer does not exist",
        "basic.get": "404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'",
    }
)
def refused(client):
    """What cannot be done with the pseudo-queue."""

    def twice(channel):
        channel.basic_consume(REPLY_TO, print, auto_ack=True)
        channel.basic_consume(REPLY_TO, print, auto_ack=True)

    def question(channel):
        channel.basic_publish("", "nowhere", b"question", pika.BasicProperties(reply_to=REPLY_TO))

    return {
        "with acks": client.refused(lambda channel: channel.basic_consume(REPLY_TO, print)),
        "twice": client.refused(twice),
        "a question without a consumer": client.refused(question),
        "basic.get": client.refused(lambda channel: channel.basic_get(REPLY_TO)),
    }
