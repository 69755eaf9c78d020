"""The sandbox's four ports, all on loopback, each changeable by a variable."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

HOST = "127.0.0.1"
DEFAULTS = {
    "BROKER_PORT": 8000,
    "UPSTREAM_PORT": 8001,
    "DYNAMODB_PORT": 8002,
    "DEMO_PORT": 8080,
}


@dataclass(frozen=True)
class Ports:
    """Where each part listens."""

    broker: int
    upstream: int
    dynamodb: int
    demo: int


def read(environ: Mapping[str, str]) -> Ports:
    """Read the ports.

    Raises:
        ValueError: A variable is no port, or two parts would share one.
    """
    numbers: dict[str, int] = {}
    for name, default in DEFAULTS.items():
        raw = environ.get(name) or str(default)
        if not raw.isascii() or not raw.isdigit() or not 0 < int(raw) < 2**16:
            raise ValueError(f"{name} must be a port from 1 to 65535, not {raw!r}.")
        for other, number in numbers.items():
            if number == int(raw):
                raise ValueError(f"{name} and {other} are both {raw}; each needs its own.")
        numbers[name] = int(raw)
    return Ports(*numbers.values())


def taken(ports: Ports) -> list[str]:
    """Say which ports somebody else listens on, and which variable changes each."""
    found = []
    for name, number in zip(DEFAULTS, vars(ports).values(), strict=True):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, number))
            except OSError:
                other = number + 100 if number + 100 < 2**16 else number - 100
                found.append(f"Port {number} is taken. Choose another: {name}={other}")
    return found
