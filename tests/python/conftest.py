"""Fixtures: one broker for the run, fresh connections and names for each test."""

import uuid
from contextlib import ExitStack, suppress

import pytest
from pika.exceptions import AMQPConnectionError

from broker import Broker


@pytest.fixture(scope="session")
def broker():
    """The broker under test."""
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def own_broker():
    """Starts brokers on directories that the test chooses; they are killed after it."""
    with ExitStack() as cleanup:

        def start(data, *options):
            broker = Broker(data=str(data), options=options)
            cleanup.callback(broker.kill)
            return broker

        yield start


@pytest.fixture
def connect(broker):
    """Opens connections that are closed after the test."""
    connections = []

    def connect(**parameters):
        connections.append(broker.connect(**parameters))
        return connections[-1]

    yield connect
    for connection in connections:
        # A test may have ended the broker that it was connected to.
        with suppress(AMQPConnectionError):
            if connection.is_open:
                connection.close()


@pytest.fixture
def channel(connect):
    """A channel on a connection of its own."""
    return connect().channel()


@pytest.fixture
def unique():
    """Makes names that no other test or run uses."""
    return lambda name: f"{name}-{uuid.uuid4().hex}"
