"""Copies of a message by CC and BCC, and who a message says it is from."""

import pika

from .feature import feature


@feature(
    {
        "to": ["to", {"CC": ["cc"], "h": 1}],
        "cc": ["to", {"CC": ["cc"], "h": 1}],
        "bcc": ["to", {"CC": ["cc"], "h": 1}],
    }
)
def cc_and_bcc(client):
    """The headers CC and BCC are more routing keys. Nobody gets to see BCC, all see the first routing key."""
    queues = {name: client.queue(name) for name in ("to", "cc", "bcc")}
    headers = {"CC": [queues["cc"]], "BCC": [queues["bcc"]], "h": 1}
    client.publish(queues["to"], "message", headers=headers)
    got = {name: client.get(queue) for name, queue in queues.items()}
    return {name: [message.routing_key, message.headers] for name, message in got.items()}


@feature(["message"])
def one_copy(client):
    """However many keys lead to a queue, it gets one copy."""
    queue = client.queue("queue")
    client.publish(queue, "message", headers={"CC": [queue, queue], "BCC": [queue]})
    return client.rest(queue)


@feature(["ack", "message"])
def routed_by_cc_alone(client):
    """A mandatory message that only CC leads to a queue is not returned."""
    queue = client.queue("queue")
    confirmed = client.publish("nowhere", "message", mandatory=True, headers={"CC": [queue]})
    return [confirmed, *client.rest(queue)]


@feature(["NO_ROUTE", {}])
def returned_without_bcc(client):
    """A message that comes back to its publisher has no BCC."""
    returned = []
    channel = client.new_channel()
    channel.add_on_return_callback(lambda _, method, properties, __: returned.append((method, properties)))
    properties = pika.BasicProperties(headers={"BCC": ["nowhere"]})
    channel.basic_publish("", "nowhere", b"message", properties, mandatory=True)
    channel.basic_qos()
    channel.connection.process_data_events()
    ((method, properties),) = returned
    return [method.reply_text, properties.headers or {}]


def publishing(client, **properties):
    """What the broker says to a message with these properties."""
    message = pika.BasicProperties(**properties)
    return client.refused(lambda channel: channel.basic_publish("", "nowhere", b"message", message))


NOT_A_LIST = '406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"%s",%s}'


@feature(
    [
        NOT_A_LIST % ("CC", "longstr"),
        NOT_A_LIST % ("CC", "signedint"),
        NOT_A_LIST % ("BCC", "longstr"),
        "accepted",
    ]
)
def cc_that_is_no_list(client):
    """CC and BCC are lists, nothing else."""
    wrong = {"CC": "queue"}, {"CC": 5}, {"BCC": "queue"}, {"CC": []}
    return [publishing(client, headers=headers) for headers in wrong]


@feature(
    [
        "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
        "406 PRECONDITION_FAILED - user_id property set to '' but authenticated user was 'guest'",
        "accepted",
    ]
)
def user_id(client):
    """Who says by user_id who it is must say the truth."""
    return [publishing(client, user_id=user) for user in ("other", "", "guest")]
