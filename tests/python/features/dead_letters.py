"""Messages that die in a queue with a dead letter exchange, and what their headers tell of it."""

from .client import QUORUM, dead_letters_to
from .feature import Differs, feature


@feature(["1 rejected in queue, from '' to queue"])
def by_reject(client):
    """basic.reject without requeue."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    client.publish(queue, "message")
    client.take_and_reject(queue)
    return client.take(dead, 1)[0].deaths


@feature({"dead": ["1", "2"], "alive": ["3"], "deaths": ["1 rejected in queue, from '' to queue"]})
def by_nack_of_several(client):
    """basic.nack without requeue, of all messages up to one."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    for body in "123":
        client.publish(queue, body)
    client.get(queue)
    client.channel.basic_nack(client.get(queue).delivery_tag, multiple=True, requeue=False)
    letters = client.take(dead, 2)
    return {"dead": [letter.body for letter in letters], "alive": client.rest(queue), "deaths": letters[1].deaths}


@feature(
    {
        "by queue": ["1 expired in slow, from '' to slow", None],
        "by message": ["1 expired in queue, from '' to queue, expiration was 50", None],
    }
)
def by_expiry(client):
    """A message that expired. Its own expiration is taken away, lest it expires again where it goes."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    slow = client.queue("slow", {"x-message-ttl": 50} | dead_letters_to(dead))
    client.publish(slow, "message")
    (by_queue,) = client.take(dead, 1)
    client.publish(queue, "message", expiration="50")
    (by_message,) = client.take(dead, 1)
    return {
        "by queue": [*by_queue.deaths, by_queue.properties.expiration],
        "by message": [*by_message.deaths, by_message.properties.expiration],
    }


@feature({"dead": ["1", ["1 maxlen in queue, from '' to queue"]], "alive": ["2"]})
def by_maxlen(client):
    """The oldest message of a queue that is too long."""
    dead = client.queue("dead")
    queue = client.queue("queue", {"x-max-length": 1} | dead_letters_to(dead))
    client.publish(queue, "1")
    client.publish(queue, "2")
    (letter,) = client.take(dead, 1)
    return {"dead": [letter.body, letter.deaths], "alive": client.rest(queue)}


@feature(
    {
        "x-death": [
            "1 maxlen in full, from '' to full",
            "1 expired in slow, from '' to slow",
            "1 rejected in queue, from '' to queue, expiration was 60000",
        ],
        "x-first-death": ["rejected", "queue", ""],
    },
    Differs(
        "RabbitMQ 3.10 had only the last one in its place; later versions have all in order",
        {
            "x-death": [
                "1 maxlen in full, from '' to full",
                "1 rejected in queue, from '' to queue, expiration was 60000",
                "1 expired in slow, from '' to slow",
            ],
            "x-first-death": ["rejected", "queue", ""],
        },
    ),
)
def over_three_hops(client):
    """x-death tells of every death, the last one first; x-first-death-* tell of the first one."""
    dead = client.queue("dead")
    full = client.queue("full", {"x-max-length": 0} | dead_letters_to(dead))
    slow = client.queue("slow", {"x-message-ttl": 50} | dead_letters_to(full))
    queue = client.queue("queue", dead_letters_to(slow))
    client.publish(queue, "message", expiration="60000")
    client.channel.basic_nack(client.get(queue).delivery_tag, requeue=False)
    (letter,) = client.take(dead, 1)
    first = [letter.headers[f"x-first-death-{what}"] for what in ("reason", "queue", "exchange")]
    return {"x-death": letter.deaths, "x-first-death": first}


@feature(
    ["expired", "slow", ""],
    Differs("RabbitMQ 3.10 did not have x-last-death-* yet", [None, None, None]),
)
def the_last_death(client):
    """x-last-death-* tell of the last one."""
    dead = client.queue("dead")
    slow = client.queue("slow", {"x-message-ttl": 50} | dead_letters_to(dead))
    queue = client.queue("queue", dead_letters_to(slow))
    client.publish(queue, "message")
    client.channel.basic_nack(client.get(queue).delivery_tag, requeue=False)
    (letter,) = client.take(dead, 1)
    return [letter.headers.get(f"x-last-death-{what}") for what in ("reason", "queue", "exchange")]


@feature(
    [
        [],
        ["1 expired in retry, from '' to retry", "1 rejected in queue, from '' to queue"],
        ["2 expired in retry, from '' to retry", "2 rejected in queue, from '' to queue"],
    ]
)
def counts_of_a_retry_cycle(client):
    """Two queues that are each other's dead letter queue: the usual retry by hand. A consumer rejects, so this
    goes round as often as it likes, and the counts grow."""
    queue = client.queue("queue", dead_letters_to(client.name("retry")))
    client.queue("retry", {"x-message-ttl": 50} | dead_letters_to(queue))
    client.publish(queue, "message")
    return [client.take_and_reject(queue).deaths for _ in range(3)]


@feature({"came round": ["800 ms"], "queue": 0, "other": 0})
def a_cycle_without_a_consumer_is_cut(client):
    """A message that comes to the same queue again, with no consumer to reject it on the way, is dropped."""
    seen = client.queue("seen")
    queue = client.queue("queue", {"x-message-ttl": 100} | dead_letters_to(client.name("other")))
    other = client.queue("other", {"x-message-ttl": 100} | dead_letters_to(queue))
    client.publish(queue, "message")
    client.bell(seen, "800 ms", 800)
    return {"came round": client.bodies(seen, 1), "queue": client.ready(queue), "other": client.ready(other)}


@feature(["dlx", "queue", ["1 rejected in queue, from '' to queue"]])
def without_a_routing_key(client):
    """Without x-dead-letter-routing-key a message keeps its routing key."""
    dead = client.queue("dead")
    dlx = client.exchange("dlx", "direct", [(dead, client.name("queue"))])
    queue = client.queue("queue", {"x-dead-letter-exchange": dlx})
    client.publish(queue, "message")
    client.take_and_reject(queue)
    (letter,) = client.take(dead, 1)
    return [letter.exchange, letter.routing_key, letter.deaths]


@feature(["dlx", "new key", ["1 rejected in queue, from '' to queue"]])
def with_a_routing_key(client):
    """x-dead-letter-routing-key replaces the routing key; x-death keeps the old one."""
    dead = client.queue("dead")
    dlx = client.exchange("dlx", "direct", [(dead, "new key")])
    queue = client.queue("queue", {"x-dead-letter-exchange": dlx, "x-dead-letter-routing-key": "new key"})
    client.publish(queue, "message")
    client.take_and_reject(queue)
    (letter,) = client.take(dead, 1)
    return [letter.exchange, letter.routing_key, letter.deaths]


@feature(
    {
        "by key": ["1 rejected in queue, from '' to queue cc"],
        "by cc": ["1 rejected in queue, from '' to queue cc"],
        "by bcc": ["1 rejected in queue, from '' to queue cc"],
        "headers": {"CC": ["cc"]},
    }
)
def with_cc_and_bcc(client):
    """Without x-dead-letter-routing-key a message is routed by its CC and BCC again; nobody gets to see BCC."""
    queues = {name: client.queue(name) for name in ("by key", "by cc", "by bcc")}
    bound = list(zip(queues.values(), (client.name("queue"), "cc", "bcc")))
    queue = client.queue("queue", {"x-dead-letter-exchange": client.exchange("dlx", "direct", bound)})
    client.publish(queue, "message", headers={"CC": ["cc"], "BCC": ["bcc"]})
    client.take_and_reject(queue)
    letters = {name: client.take(queue, 1)[0] for name, queue in queues.items()}
    seen = letters["by bcc"].headers
    headers = {name: seen[name] for name in ("CC", "BCC") if name in seen}
    return {name: letter.deaths for name, letter in letters.items()} | {"headers": headers}


@feature(
    {"by key": 1, "by cc": 0, "CC": ["cc"]},
    Differs("RabbitMQ 3.10 took CC away here; 4.3 does not", {"by key": 1, "by cc": 0, "CC": None}),
)
def with_cc_and_a_routing_key(client):
    """x-dead-letter-routing-key is the only key that counts; the header CC stays."""
    by_key, by_cc = client.queue("by key"), client.queue("by cc")
    dlx = client.exchange("dlx", "direct", [(by_key, "new key"), (by_cc, "cc")])
    queue = client.queue("queue", {"x-dead-letter-exchange": dlx, "x-dead-letter-routing-key": "new key"})
    client.publish(queue, "message", headers={"CC": ["cc"]})
    client.take_and_reject(queue)
    (letter,) = client.take(by_key, 1)
    return {"by key": 1, "by cc": client.ready(by_cc), "CC": letter.headers.get("CC")}


@feature(["next"])
def to_a_missing_exchange(client):
    """The exchange may be missing: the message is dropped, and nobody is told."""
    queue = client.queue("queue", {"x-dead-letter-exchange": client.name("missing")})
    client.publish(queue, "message")
    client.publish(queue, "next")
    client.take_and_reject(queue)
    return client.rest(queue)


@feature(["message", ["1 rejected in queue, from '' to queue"]])
def at_least_once(client):
    """x-dead-letter-strategy at-least-once: a quorum queue keeps a dead letter until another queue has it."""
    dead = client.queue("dead")
    safely = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    queue = client.queue("queue", QUORUM | safely | dead_letters_to(dead))
    client.publish(queue, "message")
    client.take_and_reject(queue)
    (letter,) = client.take(dead, 1)
    return [letter.body, letter.deaths]


@feature({"purged": 1, "deleted": 1, "dead letters": ["300 ms"]})
def not_by_purge_or_delete(client):
    """What is purged or deleted with its queue is no dead letter."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    client.publish(queue, "1")
    purged = client.channel.queue_purge(queue).method.message_count
    client.publish(queue, "2")
    deleted = client.channel.queue_delete(queue).method.message_count
    client.bell(dead, "300 ms", 300)
    return {"purged": purged, "deleted": deleted, "dead letters": client.bodies(dead, 1)}


@feature(
    ["1 rejected in queue, from '' to queue"],
    Differs(
        "RabbitMQ 3.10 believed it; since 4.0 it does not",
        ["1 rejected in queue, from '' to queue", "7 rejected in elsewhere, from '' to elsewhere"],
    ),
)
def a_publisher_that_tells_of_deaths(client):
    """An x-death header that a publisher wrote is not taken for the broker's."""
    dead = client.queue("dead")
    queue = client.queue("queue", dead_letters_to(dead))
    told = {"count": 7, "reason": "rejected", "queue": "elsewhere", "exchange": "", "routing-keys": ["elsewhere"]}
    client.publish(queue, "message", headers={"x-death": [told]})
    client.take_and_reject(queue)
    return client.take(dead, 1)[0].deaths
