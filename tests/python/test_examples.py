"""The examples of README.md in Python: the consumer prints what the publisher sent."""

import os
import pathlib
import subprocess
import sys
import threading

from broker import PATIENCE

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def test_the_consumer_prints_what_the_publisher_sent(broker, channel):
    # A broker named by AMQP_URL may hold messages of an earlier run.
    channel.queue_delete("greetings")
    environment = {**os.environ, "AMQP_URL": broker.url}
    publisher = [sys.executable, EXAMPLES / "publisher.py"]
    published = subprocess.run(publisher, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (published.stdout, published.stderr) == ("10 messages are safe\n", "")

    consumer = [sys.executable, EXAMPLES / "consumer.py"]
    with subprocess.Popen(consumer, env=environment, stdout=subprocess.PIPE, text=True) as process:
        # A consumer runs for ever: it is ended when it has printed enough, or when patience ends.
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        printed = [process.stdout.readline() for _ in range(10)]
        patience.cancel()
        process.kill()
    assert printed == [f"Hello {number}\n" for number in range(10)]
