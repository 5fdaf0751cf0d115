"""Features of queues and channels, one small function each, in the words of a client.

A feature returns a transcript of what happened: bodies, headers, confirms, refusals. Beside it stands what
HareMQ is expected to do, and where Debian's RabbitMQ does something else, what that is and why. They run
against any broker: `test_features.py` checks one, `compare.py` shows two side by side.

Time is the broker's: nothing here sleeps. To see when something happens, let it arrive in a queue between two
bells (`Client.bell`): one begun before it, which is first, and one begun after it, which is last.
"""

from . import arguments, consumers, dead_letters, limits, priorities, redelivery
from . import replies, retry, routing, transactions, ttl
from .feature import FEATURES, Differs, Lacks

__all__ = ["FEATURES", "Differs", "Lacks"]
