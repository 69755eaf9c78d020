"""Tickets: whose they are, and for when."""

import pytest

from chalicelib.ratelimit.tickets import Tickets

CALLER = "1" * 32
TICKETS = Tickets(b"a secret")


def test_read() -> None:
    """A ticket proves the moment that it was written for."""
    assert TICKETS.read(CALLER, TICKETS.write(CALLER, 1_800_000_000_000)) == 1_800_000_000_000


@pytest.mark.parametrize("ticket", ["", ".", "1", "1.", "zz.zz", "1.\u00e9", "9" * 5000])
def test_nonsense(ticket: str) -> None:
    """What nobody wrote proves nothing."""
    assert TICKETS.read(CALLER, ticket) is None


def test_bound() -> None:
    """It is another caller's, another moment's or another line's no more than it is forged."""
    ticket = TICKETS.write(CALLER, 1000)
    assert TICKETS.read("2" * 32, ticket) is None
    assert TICKETS.read(CALLER, f"3e9.{ticket.partition('.')[2]}") is None
    assert Tickets(b"another secret").read(CALLER, ticket) is None
