"""The sandbox's four ports. All are on loopback, and a variable changes each."""

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
    """The port of each part."""

    broker: int
    upstream: int
    dynamodb: int
    demo: int


def read(environ: Mapping[str, str]) -> Ports:
    """Return the ports.

    Raises:
        ValueError: A variable is not a port, or two parts have the same one.
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
    """Return a message for each port that is in use, with the variable that changes it."""
    found = []
    for name, number in zip(DEFAULTS, vars(ports).values(), strict=True):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, number))
            except OSError:
                other = number + 100 if number + 100 < 2**16 else number - 100
                found.append(f"Port {number} is in use. Choose another: {name}={other}")
    return found
