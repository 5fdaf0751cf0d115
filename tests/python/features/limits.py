"""Queues that may only be so long."""

from .client import QUORUM, dead_letters_to
from .feature import Differs, feature


@feature({"confirmed": ["ack", "ack", "ack"], "left": ["2", "3"]})
def max_length(client):
    """x-max-length: the oldest message goes when there is one too many; every publish is confirmed."""
    queue = client.queue("queue", {"x-max-length": 2})
    return {"confirmed": [client.publish(queue, body) for body in "123"], "left": client.rest(queue)}


@feature(["4444", "55555"])
def max_length_bytes(client):
    """x-max-length-bytes: bytes of bodies."""
    queue = client.queue("queue", {"x-max-length-bytes": 10})
    for body in ("1", "22", "333", "4444", "55555"):
        client.publish(queue, body)
    return client.rest(queue)


@feature(["2"])
def both_limits(client):
    """With both limits the stricter one counts."""
    queue = client.queue("queue", {"x-max-length": 1, "x-max-length-bytes": 1000})
    client.publish(queue, "1")
    client.publish(queue, "2")
    return client.rest(queue)


@feature({"confirmed": ["ack", "ack", "ack"], "ready": 1, "left": ["2", "3"]})
def unacked_messages_do_not_count(client):
    """Only ready messages count: one that a consumer has makes room for another, and has room when it comes
    back."""
    queue = client.queue("queue", {"x-max-length": 1, "x-overflow": "reject-publish"})
    confirmed = [client.publish(queue, "1")]
    first = client.get(queue)
    confirmed.append(client.publish(queue, "2"))
    second = client.get(queue)
    confirmed.append(client.publish(queue, "3"))
    ready = client.ready(queue)
    client.channel.basic_ack(first.delivery_tag)
    client.channel.basic_nack(second.delivery_tag, requeue=True)
    client.settled()
    return {"confirmed": confirmed, "ready": ready, "left": client.rest(queue)}


@feature({"confirmed": ["ack", "nack", "nack"], "left": ["1"], "then": "ack"})
def reject_publish(client):
    """x-overflow reject-publish: a publisher with confirms is told by basic.nack. When there is room again, it
    is told that too."""
    queue = client.queue("queue", {"x-max-length": 1, "x-overflow": "reject-publish"})
    confirmed = [client.publish(queue, body) for body in "123"]
    return {"confirmed": confirmed, "left": client.rest(queue), "then": client.publish(queue, "4")}


@feature({"confirmed": "nack"})
def reject_publish_of_a_mandatory_message(client):
    """A message that its queue refuses was routed: it is not returned."""
    queue = client.queue("queue", {"x-max-length": 0, "x-overflow": "reject-publish"})
    return {"confirmed": client.publish(queue, "message", mandatory=True)}


@feature({"confirmed": ["ack", "nack"], "left": ["1"], "dead": ["2", ["1 maxlen in queue, from '' to queue"]]})
def reject_publish_dlx(client):
    """x-overflow reject-publish-dlx: what is refused is a dead letter too."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-max-length": 1, "x-overflow": "reject-publish-dlx"} | dead_letters_to(dead))
    confirmed = [client.publish(queue, body) for body in "12"]
    (letter,) = client.take(dead, 1)
    return {"confirmed": confirmed, "left": client.rest(queue), "dead": [letter.body, letter.deaths]}


@feature({"confirmed": ["ack", "nack"], "full": ["1"], "roomy": ["1", "2"]})
def one_of_two_queues_rejects(client):
    """A message that one of its queues refuses is not confirmed, although the other one has it."""
    full = client.queue("full", {"x-max-length": 1, "x-overflow": "reject-publish"})
    roomy = client.queue("roomy")
    fanout = client.exchange("fanout", "fanout", [(full, ""), (roomy, "")])
    confirmed = [client.publish("", body, exchange=fanout) for body in "12"]
    return {"confirmed": confirmed, "full": client.rest(full), "roomy": client.rest(roomy)}


@feature({"confirmed": "ack", "ready": 0})
def zero(client):
    """A queue of length 0 keeps nothing that nobody waits for."""
    queue = client.queue("queue", {"x-max-length": 0})
    return {"confirmed": client.publish(queue, "message"), "ready": client.ready(queue)}


@feature({"confirmed": ["ack", "ack", "ack"], "left": ["2", "3"]})
def max_length_of_a_quorum_queue(client):
    """The same in a quorum queue."""
    queue = client.queue("queue", QUORUM | {"x-max-length": 2})
    return {"confirmed": [client.publish(queue, body) for body in "123"], "left": client.rest(queue)}


@feature(
    {"confirmed": ["ack", "nack", "nack"], "left": ["1"]},
    Differs(
        "a quorum queue of RabbitMQ finds out too late and keeps one more; here a limit is a limit",
        {"confirmed": ["ack", "ack", "nack"], "left": ["1", "2"]},
    ),
)
def reject_publish_of_a_quorum_queue(client):
    """The same in a quorum queue."""
    queue = client.queue("queue", QUORUM | {"x-max-length": 1, "x-overflow": "reject-publish"})
    return {"confirmed": [client.publish(queue, body) for body in "123"], "left": client.rest(queue)}
