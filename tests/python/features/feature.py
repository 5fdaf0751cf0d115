"""What a feature is: a function that uses one feature of a broker and tells what happened, and beside it
what is expected to happen."""

import json
import re
from dataclasses import dataclass
from typing import Callable

from .client import Client

FEATURES = []


@dataclass(frozen=True)
class Differs:
    """RabbitMQ 3.10, the version of Debian, does something else, and HareMQ does so on purpose."""

    because: str
    transcript: list


@dataclass(frozen=True)
class Lacks:
    """RabbitMQ 3.10 does not have it, and is not asked."""

    because: str


@dataclass(frozen=True)
class Feature:
    """A feature: `run` takes a `Client` and returns a transcript, a list of plain values."""

    run: Callable
    expected: list
    rabbitmq: Differs | Lacks | None

    @property
    def name(self):
        """Such as «ttl: by queue»."""
        room = self.run.__module__.rpartition(".")[2]
        return f"{room}: {self.run.__name__}".replace("_", " ")

    @property
    def lacking(self):
        """Whether RabbitMQ 3.10 does not have it."""
        return isinstance(self.rabbitmq, Lacks)

    @property
    def expected_of_rabbitmq(self):
        """The transcript of RabbitMQ 3.10, if it has the feature."""
        return self.rabbitmq.transcript if isinstance(self.rabbitmq, Differs) else self.expected

    def transcript(self, connect):
        """What happens at the broker that `connect` opens connections to; nothing is left there after."""
        with Client(connect) as client:
            return normalised(self.run(client), client.mark)


def feature(expected, rabbitmq=None):
    """Makes a function a feature that ends with this transcript, and with another one at RabbitMQ 3.10 if
    `rabbitmq` says so."""

    def register(run):
        FEATURES.append(Feature(run, expected, rabbitmq))
        return run

    return register


def normalised(transcript, mark):
    """The transcript as two brokers can agree on it: plain JSON values, without what makes names unique."""
    text = json.dumps(transcript, ensure_ascii=False).replace(mark, "")
    return json.loads(re.sub(r"(amq\.rabbitmq\.reply-to\.)[^\"' ]+", r"\1<unique>", text))
