"""A broker as a child process: the binary named by HAREMQ_BIN, on free loopback ports, in a directory of
its own.

With AMQP_URL set, the broker at that address is used instead, to see that a test asks for no more than
RabbitMQ gives. AMQP_RESTART may name a command that restarts it, AMQP_CRASH one that kills and starts it;
without, tests that need them are skipped and say so.
"""

import os
import random
import signal
import socket
import subprocess
import tempfile
import threading

import pika
import pytest

# The longest wait, in seconds, for anything that must happen.
PATIENCE = 30

# Part of the line that the broker logs when its listeners accept connections.
READY = "accepting"


class Broker:
    """A running broker."""

    def __init__(self):
        self.url = os.environ.get("AMQP_URL")
        if self.url is None:
            self._data = tempfile.TemporaryDirectory(prefix="haremq-python-")
            self._ports = free_ports(3)
            self.url = f"amqp://guest:guest@127.0.0.1:{self._ports[0]}/%2f"
            self._start()

    def connect(self, **parameters):
        """A new connection; parameters are attributes of pika's connection parameters."""
        return connect(self.url, **parameters)

    def restart(self):
        """Ends the broker in an orderly way and starts it again on the same ports and data."""
        if "AMQP_URL" not in os.environ:
            self.stop()
            self._start()
        else:
            run_named_by("AMQP_RESTART", "how to restart")

    def crash(self):
        """Kills the broker, which has no time for anything, and starts it again on the same ports and data."""
        if "AMQP_URL" not in os.environ:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._reader.join(PATIENCE)
            self._start()
        else:
            run_named_by("AMQP_CRASH", "how to kill and start")

    def stop(self):
        """Asks the process to end, and expects that it succeeds."""
        if "AMQP_URL" in os.environ:
            return
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert status == 0, f"exit status {status}; the broker wrote:\n{self.log()}"

    def close(self):
        """Stops for good and removes the data."""
        self.stop()
        if "AMQP_URL" not in os.environ:
            self._data.cleanup()

    def log(self):
        """What the broker wrote since its last start."""
        return "".join(self._lines)

    def _start(self):
        amqp, http, metrics = (f"127.0.0.1:{port}" for port in self._ports)
        options = ["--data-dir", self._data.name, "--amqp", amqp, "--http", http, "--metrics", metrics]
        self._process = subprocess.Popen(
            [os.environ["HAREMQ_BIN"], "serve", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines = []
        changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(changed,), daemon=True)
        self._reader.start()
        with changed:
            changed.wait_for(lambda: self._ready() or not self._reader.is_alive(), PATIENCE)
        assert self._ready(), f"the broker did not log «{READY}»; it wrote:\n{self.log()}"

    def _ready(self):
        return any(READY in line for line in self._lines)

    def _read(self, changed):
        """Reads the output to its end, so that the broker never waits for us to read."""
        with self._process.stdout as output:
            for line in output:
                with changed:
                    self._lines.append(line)
                    changed.notify_all()
        with changed:
            changed.notify_all()


def run_named_by(variable, purpose):
    """Runs the command that an environment variable names; without it, the test is skipped."""
    if variable not in os.environ:
        pytest.skip(f"{variable} does not say {purpose} the broker at AMQP_URL")
    subprocess.run(os.environ[variable], shell=True, check=True, timeout=4 * PATIENCE)


def connect(url, **parameters):
    """A new connection to the broker at an address."""
    wanted = pika.URLParameters(url)
    wanted.socket_timeout = wanted.blocked_connection_timeout = PATIENCE
    for name, value in parameters.items():
        setattr(wanted, name, value)
    return pika.BlockingConnection(wanted)


def free_ports(count):
    """Ports that nothing listens on, from below those that the system gives to outgoing connections."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port not in ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports
