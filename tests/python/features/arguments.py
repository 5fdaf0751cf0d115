"""What a broker says to arguments and properties of a queue that cannot be."""

from .client import QUORUM
from .feature import Differs, feature


def declared(client, name, arguments, **properties):
    """What the broker says to the declaration of a queue; it is deleted if it was accepted."""
    properties = {"durable": True} | properties
    said = client.refused(lambda channel: channel.queue_declare(name, arguments=arguments, **properties))
    client.channel.queue_delete(name)
    return said


def invalid(argument, why):
    """The refusal of an argument."""
    return f"406 PRECONDITION_FAILED - invalid arg '{argument}' for queue 'queue' in vhost '/': {why}"


REFUSED = [
    ("x-message-ttl", -1, "{value_negative,-1}"),
    ("x-message-ttl", "1000", '"expected integer, got longstr"'),
    ("x-message-ttl", True, '"expected integer, got bool"'),
    ("x-message-ttl", None, '"expected integer, got void"'),
    ("x-message-ttl", 315360000001, "{value_too_large,315360000001}"),
    ("x-expires", 0, "{value_zero,0}"),
    ("x-expires", -1, "{value_negative,-1}"),
    ("x-max-length", -1, "{value_negative,-1}"),
    ("x-max-length", "1", '"expected integer, got longstr"'),
    ("x-max-length-bytes", -1, "{value_negative,-1}"),
    ("x-max-priority", -1, "{value_negative,-1}"),
    ("x-max-priority", 256, "{max_value_exceeded,256}"),
    ("x-dead-letter-routing-key", "key", "routing_key_but_no_dlx_defined"),
    ("x-overflow", "drop-tail", "invalid_overflow"),
    ("x-overflow", 5, "{unacceptable_type,signedint}"),
    ("x-single-active-consumer", "true", "{unacceptable_type,longstr}"),
    ("x-queue-type", "fast", "\"unsupported queue type 'fast'\""),
    ("x-queue-type", 5, "{unacceptable_type,signedint}"),
    ("x-queue-version", 3, "\"unsupported queue version '3'\""),
]


@feature([invalid(argument, why) for argument, _, why in REFUSED])
def refused(client):
    """Arguments of a wrong type or out of their range."""
    return [declared(client, client.name("queue"), {argument: value}) for argument, value, _ in REFUSED]


@feature(
    [
        "406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'queue' in "
        "vhost '/'"
    ]
)
def dead_letter_exchange_that_is_no_name(client):
    """Of all arguments, this one has words of its own."""
    return [declared(client, client.name("queue"), {"x-dead-letter-exchange": 5})]


ACCEPTED = [
    {"x-message-ttl": 0},
    {"x-max-length": 0},
    {"x-max-priority": 0},
    {"x-max-priority": 255},
    {"x-overflow": "reject-publish-dlx"},
    {"x-queue-version": 2},
    {"x-queue-mode": "lazy"},
    {"x-unknown": None},
]


@feature(["accepted" for _ in ACCEPTED])
def accepted(client):
    """Arguments at the end of their range, old ones that say nothing any more, and unknown ones."""
    return [declared(client, client.name("queue"), arguments) for arguments in ACCEPTED]


def inequivalent(argument, received, current):
    """The refusal of another declaration."""
    told = f"received {received} but current is {current}"
    return f"406 PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'queue' in vhost '/': {told}"


@feature(
    [
        inequivalent("x-message-ttl", "the value '1000' of type 'signedint'", "none"),
        inequivalent("x-message-ttl", "none", "the value '1000' of type 'signedint'"),
        inequivalent("x-max-length", "'2'", "'1'"),
        inequivalent("x-overflow", "'reject-publish'", "'drop-head'"),
        inequivalent("x-single-active-consumer", "'false'", "'true'"),
        "accepted",
        "accepted",
    ]
)
def declared_again(client):
    """Another declaration of a queue must have the same arguments, those that a broker knows."""
    pairs = [
        ({}, {"x-message-ttl": 1000}),
        ({"x-message-ttl": 1000}, {}),
        ({"x-max-length": 1}, {"x-max-length": 2}),
        ({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}),
        ({"x-single-active-consumer": True}, {"x-single-active-consumer": False}),
        ({}, {"x-queue-type": "classic"}),
        ({"x-unknown": 1}, {"x-unknown": 2}),
    ]
    said = []
    for first, second in pairs:
        queue = client.name("queue")
        client.channel.queue_declare(queue, durable=True, arguments=first)
        said.append(declared(client, queue, second))
    return said


@feature(
    [
        inequivalent("x-queue-type", "'quorum'", "'classic'"),
        inequivalent("x-queue-type", "'classic'", "'quorum'"),
    ],
    Differs(
        "RabbitMQ 3.10 did not know yet that a queue without a type is a classic one",
        [
            inequivalent("x-queue-type", "the value 'quorum' of type 'longstr'", "none"),
            inequivalent("x-queue-type", "none", "the value 'quorum' of type 'longstr'"),
        ],
    ),
)
def declared_again_with_another_type(client):
    """A queue without a type is a classic one."""
    said = []
    for first, second in (({}, QUORUM), (QUORUM, {})):
        queue = client.name("queue")
        client.channel.queue_declare(queue, durable=True, arguments=first)
        said.append(declared(client, queue, second))
    return said


@feature(
    {
        "transient": "406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'queue' in vhost '/'",
        "exclusive": "406 PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'queue' in vhost '/'",
        "auto-delete": "406 PRECONDITION_FAILED - invalid property 'auto-delete' for queue 'queue' in vhost '/'",
        "named by the server": "406 PRECONDITION_FAILED - Cannot declare a server-named queue for type "
        "rabbit_quorum_queue",
    }
)
def quorum_properties(client):
    """A quorum queue is durable, for all connections, to stay, and has a name."""
    name = client.name("queue")
    return {
        "transient": declared(client, name, QUORUM, durable=False),
        "exclusive": declared(client, name, QUORUM, exclusive=True),
        "auto-delete": declared(client, name, QUORUM, auto_delete=True),
        "named by the server": client.refused(
            lambda channel: channel.queue_declare("", durable=True, arguments=QUORUM)
        ),
    }


@feature(
    [
        "accepted",
        invalid("x-expires", "{value_zero,0}"),
        invalid("x-dead-letter-strategy", "invalid_dlx_strategy"),
        "accepted",
    ],
    Differs(
        "HareMQ's features work on every type of queue",
        [
            "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'queue' in vhost '/' of queue type "
            "rabbit_quorum_queue",
            invalid("x-expires", "{value_zero,0}"),
            invalid("x-dead-letter-strategy", "invalid_dlx_strategy"),
            "accepted",
        ],
    ),
)
def quorum_arguments(client):
    """Arguments that a quorum queue does not have, or checks itself."""
    arguments = [
        {"x-max-priority": 5},
        {"x-expires": 0},
        {"x-dead-letter-strategy": "sometimes"},
        {"x-delivery-limit": -1},
    ]
    return [declared(client, client.name("queue"), QUORUM | argument) for argument in arguments]


@feature(
    {"if-unused": "accepted", "if-empty": "accepted"},
    Differs(
        "HareMQ's features work on every type of queue",
        {
            condition: "540 NOT_IMPLEMENTED - cannot delete queue 'queue' in vhost '/'. queue.delete operations with "
            f"{condition} flag set are not supported by quorum queues"
            for condition in ("if-unused", "if-empty")
        },
    ),
)
def quorum_delete(client):
    """A quorum queue that is deleted under a condition."""
    queue = client.queue("queue", QUORUM)
    return {
        "if-unused": client.refused(lambda channel: channel.queue_delete(queue, if_unused=True)),
        "if-empty": client.refused(lambda channel: channel.queue_delete(queue, if_empty=True)),
    }
