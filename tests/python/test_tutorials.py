"""RabbitMQ's six tutorials with pika: what a newcomer tries first."""

import pika

from broker import PATIENCE
from deliveries import bodies, ready


def test_hello_world(connect, unique):
    queue = unique("hello")
    sender = connect().channel()
    sender.queue_declare(queue, auto_delete=True)
    sender.basic_publish("", queue, b"Hello World!")
    assert bodies(connect().channel(), queue, 1) == ["Hello World!"]


def test_work_queues(connect, channel, unique):
    """Durable tasks, one at a time per worker; a task of a worker that dies goes to another one."""
    queue = unique("task_queue")
    channel.queue_declare(queue, durable=True)
    connections = [connect(), connect()]
    workers = [connection.channel() for connection in connections]
    taken = [[], []]
    for worker, tasks in zip(workers, taken):
        worker.basic_qos(prefetch_count=1)
        worker.basic_consume(queue, lambda _, method, __, body, tasks=tasks: tasks.append((method, body)))
    persistent = pika.BasicProperties(delivery_mode=2)
    for task in (b"first", b"second", b"third"):
        channel.basic_publish("", queue, task, persistent)

    wait_for(connections[0], taken[0], 1)
    wait_for(connections[1], taken[1], 1)
    assert [taken[0][0][1], taken[1][0][1]] == [b"first", b"second"]
    workers[1].basic_ack(taken[1][0][0].delivery_tag)
    wait_for(connections[1], taken[1], 2)
    assert taken[1][1][1] == b"third"
    assert len(taken[0]) == 1

    connections[0].close()
    workers[1].basic_ack(taken[1][1][0].delivery_tag)
    wait_for(connections[1], taken[1], 3)
    method, body = taken[1][2]
    assert (method.redelivered, body) == (True, b"first")
    workers[1].basic_ack(method.delivery_tag)
    workers[1].close()
    assert ready(channel, queue) == 0
    channel.queue_delete(queue)


def wait_for(connection, tasks, count):
    """Handles what arrives on a connection until so many tasks are there."""
    while len(tasks) < count:
        before = len(tasks)
        connection.process_data_events(time_limit=PATIENCE)
        assert len(tasks) > before, f"{before} of {count} tasks came in time"


def test_publish_subscribe(channel, unique):
    logs = declare(channel, unique("logs"), "fanout")
    screen, file = (subscribe(channel, logs, [""]) for _ in range(2))
    channel.basic_publish(logs, "ignored", b"to everyone")
    assert bodies(channel, screen, 1) == ["to everyone"]
    assert bodies(channel, file, 1) == ["to everyone"]


def test_routing(channel, unique):
    logs = declare(channel, unique("direct_logs"), "direct")
    errors = subscribe(channel, logs, ["error"])
    everything = subscribe(channel, logs, ["info", "warning", "error"])
    # Only what is confirmed is sure to be counted.
    channel.confirm_delivery()
    for severity in ("info", "warning", "error", "debug", "info"):
        channel.basic_publish(logs, severity, severity.encode())
    assert ready(channel, errors) == 1
    assert ready(channel, everything) == 4
    assert bodies(channel, errors, 1) == ["error"]
    assert bodies(channel, everything, 4) == ["info", "warning", "error", "info"]


def test_topics(channel, unique):
    animals = declare(channel, unique("topic_logs"), "topic")
    orange = subscribe(channel, animals, ["*.orange.*"])
    rabbits = subscribe(channel, animals, ["*.*.rabbit", "lazy.#"])
    channel.confirm_delivery()
    for key in (
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "quick.orange.fox",
        "lazy.pink.rabbit",
        "quick.brown.fox",
        "orange",
        "lazy",
        "lazy.orange.new.rabbit",
    ):
        channel.basic_publish(animals, key, key.encode())
    assert (ready(channel, orange), ready(channel, rabbits)) == (3, 5)
    assert bodies(channel, orange, 3) == ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"]
    assert bodies(channel, rabbits, 5) == [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "lazy.pink.rabbit",
        "lazy",
        "lazy.orange.new.rabbit",
    ]


def test_remote_procedure_call(connect, unique):
    """A request names the queue for its reply, and carries an id that the reply carries back."""
    server_connection, client_connection = connect(), connect()
    server, client = server_connection.channel(), client_connection.channel()
    rpc_queue = server.queue_declare(unique("rpc_queue"), exclusive=True).method.queue
    served, replies = [], []

    def serve(channel, method, properties, body):
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, str(fibonacci(int(body))).encode(), reply)
        channel.basic_ack(method.delivery_tag)
        served.append(body)

    server.basic_qos(prefetch_count=1)
    server.basic_consume(rpc_queue, serve)
    reply_queue = client.queue_declare("", exclusive=True).method.queue
    assert reply_queue.startswith("amq.gen-")
    client.basic_consume(reply_queue, lambda _, __, properties, body: replies.append((properties, body)), auto_ack=True)
    request = pika.BasicProperties(reply_to=reply_queue, correlation_id="call-1")
    client.basic_publish("", rpc_queue, b"30", request)
    wait_for(server_connection, served, 1)
    wait_for(client_connection, replies, 1)
    properties, body = replies[0]
    assert (properties.correlation_id, body) == ("call-1", b"832040")


def fibonacci(n):
    current, following = 0, 1
    for _ in range(n):
        current, following = following, current + following
    return current


def declare(channel, exchange, kind):
    """An exchange that goes with its last binding."""
    channel.exchange_declare(exchange, kind, auto_delete=True)
    return exchange


def subscribe(channel, exchange, keys):
    """An exclusive queue with a name from the broker, bound with each key."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(queue, exchange, key)
    return queue
