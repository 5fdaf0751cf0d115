"""What a broker refuses, with RabbitMQ's codes and words, and that only the guilty channel is closed."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError


@pytest.fixture
def refused(connect):
    """Runs an action on a channel of its own, and returns how the broker closed that channel."""

    def refused(action):
        connection = connect()
        with pytest.raises(ChannelClosedByBroker) as raised:
            action(connection.channel())
        # The connection is none the worse.
        assert connection.channel().is_open
        return raised.value.reply_code, raised.value.reply_text

    return refused


def test_no_such_queue(refused, unique):
    queue = unique("missing")
    said = (404, f"NOT_FOUND - no queue '{queue}' in vhost '/'")
    assert refused(lambda channel: channel.queue_declare(queue, passive=True)) == said
    assert refused(lambda channel: channel.basic_get(queue)) == said
    assert refused(lambda channel: channel.basic_consume(queue, print)) == said


def test_no_such_exchange(refused, unique):
    exchange = unique("missing")
    said = (404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'")
    assert refused(lambda channel: channel.exchange_declare(exchange, passive=True)) == said

    def publish(channel):
        channel.confirm_delivery()
        channel.basic_publish(exchange, "key", b"body")

    assert refused(publish) == said


def test_another_declaration_of_a_queue(refused, channel, unique):
    queue = unique("declared")
    channel.queue_declare(queue, durable=False, auto_delete=True)
    said = refused(lambda other: other.queue_declare(queue, durable=True, auto_delete=True))
    expected = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{}' in vhost '/': "
    assert said == (406, expected.format(queue) + "received 'true' but current is 'false'")
    channel.queue_delete(queue)


def test_another_declaration_of_an_exchange(refused, channel, unique):
    exchange = unique("declared")
    channel.exchange_declare(exchange, "direct")
    said = refused(lambda other: other.exchange_declare(exchange, "topic"))
    expected = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{}' in vhost '/': "
    assert said == (406, expected.format(exchange) + "received 'topic' but current is 'direct'")
    channel.exchange_delete(exchange)


def test_an_unknown_delivery_tag(refused, unique):
    def acknowledge(channel):
        channel.basic_ack(99)
        channel.queue_declare(unique("never"), exclusive=True)

    assert refused(acknowledge) == (406, "PRECONDITION_FAILED - unknown delivery tag 99")


def test_reserved_names(refused):
    code, text = refused(lambda channel: channel.exchange_declare("amq.mine", "direct"))
    assert code == 403
    assert text.startswith("ACCESS_REFUSED - ")
    assert refused(lambda channel: channel.queue_declare("amq.mine"))[0] == 403
    code, text = refused(lambda channel: channel.queue_bind("q", "", "key") if declared(channel, "q") else None)
    assert (code, text) == (403, "ACCESS_REFUSED - operation not permitted on the default exchange")


def declared(channel, queue):
    return channel.queue_declare(queue, exclusive=True).method.queue == queue


def test_an_exclusive_queue_of_another_connection(refused, channel, unique):
    queue = unique("mine")
    channel.queue_declare(queue, exclusive=True)
    code, text = refused(lambda other: other.queue_declare(queue, passive=True))
    assert code == 405
    assert text.startswith(f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'")


def test_a_wrong_password(broker):
    with pytest.raises(ProbableAuthenticationError, match="ACCESS_REFUSED - Login was refused"):
        broker.connect(credentials=pika.PlainCredentials("guest", "wrong"))


def test_an_unknown_vhost(broker, unique):
    with pytest.raises((ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker), match="NOT_ALLOWED - vhost"):
        broker.connect(virtual_host=unique("nowhere"))
