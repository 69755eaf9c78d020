"""A ticket is valid for one caller and one time."""

import pytest

from chalicelib.ratelimit.tickets import Tickets

CALLER = "1" * 32
TICKETS = Tickets(b"a secret")


def test_ticket_proves_its_time() -> None:
    """A ticket proves the time for which it was written."""
    assert TICKETS.read(CALLER, TICKETS.write(CALLER, 1_800_000_000_000)) == 1_800_000_000_000


@pytest.mark.parametrize("ticket", ["", ".", "1", "1.", "zz.zz", "1.\u00e9", "9" * 5000])
def test_nonsense_is_no_ticket(ticket: str) -> None:
    """A text that the limiter did not write is no ticket."""
    assert TICKETS.read(CALLER, ticket) is None


def test_ticket_is_bound_to_caller_and_time() -> None:
    """A ticket is invalid for another caller, another time or another secret."""
    ticket = TICKETS.write(CALLER, 1000)
    assert TICKETS.read("2" * 32, ticket) is None
    assert TICKETS.read(CALLER, f"3e9.{ticket.partition('.')[2]}") is None
    assert Tickets(b"another secret").read(CALLER, ticket) is None
