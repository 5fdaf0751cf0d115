"""Confirms, returns, and what survives a restart."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from deliveries import bodies, ready, receive

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def test_what_is_confirmed_is_in_the_queue(channel, unique):
    queue = unique("confirmed")
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    # In this mode pika returns from each publish when its confirm has come.
    for number in range(20):
        channel.basic_publish("", queue, str(number).encode(), PERSISTENT)
    assert ready(channel, queue) == 20
    channel.queue_delete(queue)


def test_an_unroutable_mandatory_message_comes_back(channel, unique):
    channel.confirm_delivery()
    with pytest.raises(UnroutableError) as raised:
        channel.basic_publish("", unique("nowhere"), b"lost", mandatory=True)
    (returned,) = raised.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert returned.body == b"lost"


def test_an_unroutable_message_without_mandatory_is_confirmed(channel, unique):
    channel.confirm_delivery()
    channel.basic_publish("", unique("nowhere"), b"dropped")


def test_unacknowledged_messages_come_back_in_their_order(connect, unique):
    queue = unique("requeue")
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(queue, auto_delete=False)
    for number in range(5):
        channel.basic_publish("", queue, str(number).encode())
    taken = [channel.basic_get(queue) for _ in range(3)]
    assert [method.redelivered for method, _, _ in taken] == [False] * 3
    channel.basic_nack(taken[2][0].delivery_tag, multiple=True, requeue=True)
    again = receive(channel, queue, 5)
    assert [body for _, _, body in again] == [b"0", b"1", b"2", b"3", b"4"]
    assert [method.redelivered for method, _, _ in again] == [True] * 3 + [False] * 2
    channel.queue_delete(queue)


def test_durable_things_survive_a_restart(broker, connect, unique):
    exchange, durable, transient = unique("logs"), unique("durable"), unique("transient")
    channel = connect().channel()
    channel.confirm_delivery()
    channel.exchange_declare(exchange, "direct", durable=True)
    channel.queue_declare(durable, durable=True)
    channel.queue_bind(durable, exchange, "key")
    channel.queue_declare(transient)
    channel.queue_bind(transient, exchange, "key")
    # Confirmed, so these are on the disk: persistent ones stay, the one between them does not.
    for body, properties in ((b"1", PERSISTENT), (b"gone", None), (b"2", PERSISTENT), (b"x" * 300_000, PERSISTENT)):
        channel.basic_publish(exchange, "key", body, properties)

    # An exception of the lost connection is no concern of this test.
    channel.connection.close()
    broker.restart()

    channel = connect().channel()
    assert ready(channel, durable) == 3
    channel.exchange_declare(exchange, "direct", passive=True)
    channel.basic_publish(exchange, "key", b"after")
    assert bodies(channel, durable, 4) == ["1", "2", "x" * 300_000, "after"]
    channel.queue_delete(durable)
    channel.exchange_delete(exchange)
    with pytest.raises(ChannelClosedByBroker) as raised:
        channel.queue_declare(transient, passive=True)
    assert raised.value.reply_code == 404
