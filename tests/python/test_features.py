"""What each feature does, in the words of a client: see the folder `features`."""

import os

import pytest

from features import FEATURES


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_feature(broker, feature):
    elsewhere = "AMQP_URL" in os.environ
    if elsewhere and feature.lacking:
        pytest.skip(f"RabbitMQ 3.10 lacks it: {feature.rabbitmq.because}")
    transcript = feature.transcript(broker.connect)
    # Another broker may do as RabbitMQ 3.10 does, where that is something else.
    if not elsewhere or transcript != feature.expected_of_rabbitmq:
        assert transcript == feature.expected
