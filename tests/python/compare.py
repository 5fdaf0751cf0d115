"""Shows what the features do in HareMQ and in Debian's RabbitMQ, side by side.

    compare.py [TEXT...]    only features whose name contains one of these texts

HAREMQ_BIN names the binary of HareMQ; RabbitMQ is the one that `scripts/rabbitmq.sh` starts. Exits with 1 when
they differ in something that is not known, or when one of them does not do what is expected of it.
"""

import difflib
import pprint
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from broker import Broker, connect, free_ports
from features import FEATURES, Differs

RABBITMQ = Path(__file__).parents[2] / "scripts" / "rabbitmq.sh"


@contextmanager
def haremq():
    """HareMQ with its data in a directory of its own; gives what opens a connection."""
    broker = Broker()
    try:
        yield broker.connect
    finally:
        broker.close()


@contextmanager
def rabbitmq():
    """RabbitMQ, likewise."""
    # The script takes the next two ports as well.
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="rabbitmq-python-") as directory:
        try:
            subprocess.run([RABBITMQ, "start", directory, str(port)], stdout=subprocess.DEVNULL, check=True)
            yield partial(connect, f"amqp://guest:guest@127.0.0.1:{port}/%2f")
        finally:
            subprocess.run([RABBITMQ, "stop", directory], check=True)


def transcript(feature, connect):
    """What happened, or how it failed."""
    try:
        return feature.transcript(connect)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def compared(feature, haremq, rabbitmq):
    """The verdict on a feature, and its explanation: lines that are printed below it."""
    ours = transcript(feature, haremq)
    faults = difference("HareMQ", feature.expected, ours)
    if feature.lacking:
        return verdict(f"HareMQ alone: {feature.rabbitmq.because}", faults)
    theirs = transcript(feature, rabbitmq)
    faults += difference("RabbitMQ", feature.expected_of_rabbitmq, theirs)
    if isinstance(feature.rabbitmq, Differs):
        return verdict(f"differs on purpose: {feature.rabbitmq.because}", faults)
    return verdict("equal", faults)


def verdict(good, faults):
    """That all is as expected, or what is not."""
    return ("DIFFERS", faults) if faults else (good, [])


def difference(broker, expected, transcript):
    """The lines in which a transcript is not the expected one."""
    expected, transcript = (pprint.pformat(each, width=100).splitlines() for each in (expected, transcript))
    return list(difflib.unified_diff(expected, transcript, "expected", f"{broker} did", n=1, lineterm=""))


def main(texts):
    wanted = [feature for feature in FEATURES if not texts or any(text in feature.name for text in texts)]
    width = max((len(feature.name) for feature in wanted), default=0)
    verdicts = []
    with haremq() as ours, rabbitmq() as theirs:
        for feature in wanted:
            said, lines = compared(feature, ours, theirs)
            verdicts.append(said)
            print(f"{feature.name:{width}}  {said}", *lines, sep="\n    ", flush=True)
    unexplained = verdicts.count("DIFFERS")
    print(f"{len(verdicts)} features, {verdicts.count('equal')} equal, {unexplained} differ without a reason")
    return 1 if unexplained or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
