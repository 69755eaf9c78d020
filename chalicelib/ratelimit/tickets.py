"""Tickets: each the proof of a turn in the line, bound to a caller and a moment. Pure."""

import base64
import hashlib
import hmac

_SIGNATURE_BYTES = 12


class Tickets:
    """Writes and reads tickets: the moment in hexadecimal, a dot, and a signature.

    Args:
        secret: What they are signed with, the same for all containers.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, caller_id: str, at: int) -> str:
        """Write the proof that a caller's turn is at a moment, in milliseconds since 1970."""
        return f"{at:x}.{self._signature(caller_id, at)}"

    def read(self, caller_id: str, ticket: str) -> int | None:
        """Return the moment of the turn that a ticket proves; None if it proves nothing."""
        moment, _, signature = ticket.partition(".")
        try:
            at = int(moment[:16], 16)
        except ValueError:
            return None
        expected = self._signature(caller_id, at)
        is_valid = hmac.compare_digest(signature.encode(errors="replace"), expected.encode())
        return at if is_valid else None

    def _signature(self, caller_id: str, at: int) -> str:
        digest = hmac.new(self._secret, f"{caller_id}#{at}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest.digest()[:_SIGNATURE_BYTES]).decode()
