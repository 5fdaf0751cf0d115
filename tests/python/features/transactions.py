"""Transactions: publishes and acks that happen together or not at all."""

from .feature import Differs, feature


@feature({"before": [0, 0], "after": [["1"], ["2"]]})
def commit(client):
    """What is published in a transaction is in its queues after the commit, and not before."""
    queues = client.queue("a"), client.queue("b")
    client.channel.tx_select()
    for body, queue in zip("12", queues):
        client.channel.basic_publish("", queue, body.encode())
    client.settled()
    before = [ready(client, queue) for queue in queues]
    client.channel.tx_commit()
    return {"before": before, "after": [rest(client, queue) for queue in queues]}


@feature(["2"])
def rollback(client):
    """What is published and rolled back never was; the next transaction begins at once."""
    queue = client.queue("queue")
    client.channel.tx_select()
    client.channel.basic_publish("", queue, b"1")
    client.channel.tx_rollback()
    client.channel.basic_publish("", queue, b"2")
    client.channel.tx_commit()
    return rest(client, queue)


@feature([])
def end_of_the_channel(client):
    """A transaction that is open when its channel ends is rolled back."""
    queue = client.queue("queue")
    channel = client.new_channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"1")
    channel.close()
    return rest(client, queue)


@feature({"after the rollback": [], "after the commit": ["rejected"]})
def acks(client):
    """Acks, nacks and rejects of a transaction count when it is committed. A rollback takes them back, and the
    messages stay with the consumer, to be acked again."""
    queue = client.queue("queue")
    for body in ("acked", "rejected"):
        client.publish(queue, body)
    acked, rejected = client.get(queue), client.get(queue)
    client.channel.tx_select()

    def answer():
        client.channel.basic_ack(acked.delivery_tag)
        client.channel.basic_reject(rejected.delivery_tag, requeue=True)

    answer()
    client.channel.tx_rollback()
    after_the_rollback = rest(client, queue)
    answer()
    client.channel.tx_commit()
    return {"after the rollback": after_the_rollback, "after the commit": rest(client, queue)}


@feature({"done": [], "answers": ["answer"]})
def consume_and_publish(client):
    """The usual transaction: a message is acked and its answer published, both or none."""
    questions, answers = client.queue("questions"), client.queue("answers")
    client.publish(questions, "question")
    question = client.get(questions)
    client.channel.tx_select()
    client.channel.basic_publish("", answers, b"answer")
    client.channel.basic_ack(question.delivery_tag)
    client.channel.tx_commit()
    client.channel.close()
    return {"done": rest(client, questions), "answers": rest(client, answers)}


@feature({"before the commit": [], "after": ["returned NO_ROUTE"]})
def mandatory(client):
    """A mandatory message without a route is returned by the commit."""
    returned = []
    client.channel.add_on_return_callback(lambda _, method, *__: returned.append(f"returned {method.reply_text}"))
    client.channel.tx_select()
    client.channel.basic_publish("", "nowhere", b"message", mandatory=True)
    client.settled()
    client.channel.connection.process_data_events(time_limit=0)
    before = list(returned)
    client.channel.tx_commit()
    client.channel.connection.process_data_events(time_limit=0)
    return {"before the commit": before, "after": returned}


@feature(
    {
        "commit without select": "406 PRECONDITION_FAILED - channel is not transactional",
        "rollback without select": "406 PRECONDITION_FAILED - channel is not transactional",
        "confirms in a transaction": "406 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
        "a transaction with confirms": "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        "an unknown tag": "406 PRECONDITION_FAILED - unknown delivery tag 9",
        "a missing exchange": "404 NOT_FOUND - no exchange 'missing' in vhost '/'",
        "select twice": "accepted",
    }
)
def refused(client):
    """What is wrong is refused when it is said, not when it is committed."""

    def in_transaction(action):
        return client.refused(lambda channel: (channel.tx_select(), action(channel)))

    def with_confirms(channel):
        channel.confirm_delivery()
        channel.tx_select()

    missing = client.name("missing")
    return {
        "commit without select": client.refused(lambda channel: channel.tx_commit()),
        "rollback without select": client.refused(lambda channel: channel.tx_rollback()),
        "confirms in a transaction": in_transaction(lambda channel: channel.confirm_delivery()),
        "a transaction with confirms": client.refused(with_confirms),
        "an unknown tag": in_transaction(lambda channel: channel.basic_ack(9)),
        "a missing exchange": in_transaction(lambda channel: channel.basic_publish(missing, "key", b"message")),
        "select twice": in_transaction(lambda channel: channel.tx_select()),
    }


def ready(client, queue):
    """How many messages others see ready."""
    return client.new_channel().queue_declare(queue, passive=True).method.message_count


def rest(client, queue):
    """The bodies that others get."""
    channel = client.new_channel()
    got = iter(lambda: channel.basic_get(queue, auto_ack=True)[2], None)
    return [body.decode() for body in got]


@feature(["returned", "published"])
def what_comes_back_does_not_take_the_room(client):
    """A message that a transaction gives back to a full queue does not make it refuse what the transaction publishes
    there."""
    queue = client.queue("queue", {"x-max-length": 1, "x-overflow": "reject-publish"})
    client.publish(queue, "returned")
    returned = client.get(queue)
    client.channel.tx_select()
    client.channel.basic_nack(returned.delivery_tag, requeue=True)
    client.channel.basic_publish("", queue, b"published")
    client.channel.tx_commit()
    return rest(client, queue)


@feature(
    {
        "commit": "406 PRECONDITION_FAILED - transaction not carried out: queue 'queue' in vhost '/' is full",
        "left": [],
    },
    Differs(
        "a transaction of RabbitMQ takes effect in part",
        {"commit": "406 PRECONDITION_FAILED - partial tx completion", "left": ["1"]},
    ),
)
def all_or_nothing(client):
    """One message too many, and none is published."""
    queue = client.queue("queue", {"x-max-length": 1, "x-overflow": "reject-publish"})
    channel = client.new_channel()
    channel.tx_select()
    for body in (b"1", b"2"):
        channel.basic_publish("", queue, body)
    commit = client.refused(lambda channel: channel.tx_commit(), channel)
    return {"commit": commit, "left": rest(client, queue)}
