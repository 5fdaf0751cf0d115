"""A broker as a child process: the binary named by HAREMQ_BIN, on free loopback ports, in a directory of
its own.

With AMQP_URL set, the broker at that address is used instead, to see that a test asks for no more than
RabbitMQ gives. AMQP_RESTART may name a command that restarts it, AMQP_CRASH one that kills and starts it;
without, tests that need them are skipped and say so. A test that names the data directory, to fill or to
damage it, always gets a broker of its own.
"""

import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pika
import pytest

# The longest wait, in seconds, for anything that must happen.
PATIENCE = 30

# Part of the line that the broker logs when its listeners accept connections.
READY = "accepting"


class Broker:
    """A running broker."""

    def __init__(self, data=None, options=()):
        self._own = data is not None or "AMQP_URL" not in os.environ
        self.url = os.environ.get("AMQP_URL")
        if self._own:
            self._temporary = tempfile.TemporaryDirectory(prefix="haremq-python-") if data is None else None
            self._data = data or self._temporary.name
            self._options = options
            self.ports = free_ports(3)
            self.url = f"amqp://guest:guest@127.0.0.1:{self.ports[0]}/%2f"
            self.start()

    @property
    def pid(self):
        """The process id; of a broker of our own."""
        return self._process.pid

    def connect(self, **parameters):
        """A new connection; parameters are attributes of pika's connection parameters."""
        return connect(self.url, **parameters)

    def restart(self):
        """Ends the broker in an orderly way and starts it again on the same ports and data."""
        if self._own:
            self.stop()
            self.start()
        else:
            run_named_by("AMQP_RESTART", "how to restart")

    def crash(self):
        """Kills the broker, which has no time for anything, and starts it again on the same ports and data."""
        if self._own:
            self.kill()
            self.start()
        else:
            run_named_by("AMQP_CRASH", "how to kill and start")

    def kill(self):
        """Kills a broker of our own, `kill -9`."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def stop(self):
        """Asks the process to end, and expects that it succeeds."""
        if not self._own:
            return
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert status == 0, f"exit status {status}; the broker wrote:\n{self.log()}"

    def close(self):
        """Stops for good and removes the data, unless who named the directory still wants it."""
        self.stop()
        if self._own and self._temporary is not None:
            self._temporary.cleanup()

    def wait(self, seconds):
        """Lets the broker run for so long, and expects that it does."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        self._reader.join(PATIENCE)
        raise AssertionError(f"the broker ended, exit status {status}; it wrote:\n{self.log()}")

    @property
    def data(self):
        """The data directory; a broker that is not ours shows none, and the test is skipped."""
        if not self._own:
            pytest.skip("the data directory of the broker at AMQP_URL is not known")
        return Path(self._data)

    def store(self, command, *arguments, status=0):
        """What `haremq store` prints about the data directory, and the standard error output."""
        done = subprocess.run(
            [os.environ["HAREMQ_BIN"], "store", command, self.data, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == status, f"exit status {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout, done.stderr

    def log(self):
        """What the broker wrote since its last start."""
        return "".join(self._lines)

    def logs(self, pattern, patience_s=PATIENCE):
        """Whether the broker writes such a line in time; what it wrote may still be on its way to us."""
        with self._changed:
            return self._changed.wait_for(lambda: pattern.search(self.log()) is not None, patience_s)

    def start(self, patience_s=PATIENCE):
        """Starts the process and waits until it accepts; returns after how many seconds it did."""
        began = time.monotonic()
        changed = self.spawn()
        with changed:
            changed.wait_for(lambda: self._ready() or not self._reader.is_alive(), patience_s)
        if not self._ready():
            self.kill()
            raise AssertionError(f"the broker did not log «{READY}»; it wrote:\n{self.log()}")
        return time.monotonic() - began

    def spawn(self):
        """Starts the process and waits for nothing; returns the condition that each line of its log notifies."""
        amqp, http, metrics = (f"127.0.0.1:{port}" for port in self.ports)
        options = ["--data-dir", self._data, "--amqp", amqp, "--http", http, "--metrics", metrics, *self._options]
        self._process = subprocess.Popen(
            [os.environ["HAREMQ_BIN"], "serve", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines = []
        self._changed = changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(changed,), daemon=True)
        self._reader.start()
        return changed

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
