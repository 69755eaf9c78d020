"""Callers, and their ids: hashes of issuer and subject, keyed with a secret in the table.

Without the secret nobody can guess the subject of an id, or search for a subject whose id begins
like another caller's. All records hold ids, so the secret never changes. With another one, every
caller would lose their uploads.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.aws.table import Change, Table
from chalicelib.core import log
from chalicelib.quotas.limits import Limits

PK = "secret#callers"
SECRET_BYTES = 32
_HEX_DIGITS = 32

# Returns the id for an issuer and a subject, such as `CallerIds.of`.
CallerId = Callable[[str, str], str]


@dataclass(frozen=True)
class Caller:
    """A user of the broker.

    Attributes:
        id: Keyed hash of the token's issuer and subject, 32 hex digits. Records and logs have it
            instead of the subject, which may be an e-mail address.
        limits: The caller's limits.
    """

    id: str
    limits: Limits


class CallerIds:
    """The ids of callers.

    Args:
        table: The broker's table, which has the secret.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._secret: bytes | None = None

    def of(self, issuer: str, subject: str) -> str:
        """Return the id of a caller: 32 hex digits.

        Raises:
            StoreUnavailable: The secret was not read before and can't be read now.
        """
        if self._secret is None:
            self._secret = self._read()
        # With the length, no other issuer and subject give the same text.
        text = f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, "sha256").hex()[:_HEX_DIGITS]

    def prepare(self) -> None:
        """Read the secret, so that the first request need not.

        Raises:
            StoreUnavailable: It can't be read now.
        """
        self._secret = self._read()

    def _read(self) -> bytes:
        """Return the secret, which the first container creates."""
        # The container reads it once, so no request is charged with it.
        with log.uncounted():
            item = self._table.get(PK)
            if item is None:
                # The write is refused if another container was faster, or if its response was lost
                # and boto3 sent it again. The refusal returns the secret that was written.
                new = secrets.token_bytes(SECRET_BYTES)
                change = Change(pk=PK, condition="attribute_not_exists(#pk)", sets={"secret": new})
                item = self._table.write(change).item or {}
        return bytes(item["secret"]["B"])

    def __repr__(self) -> str:
        return "CallerIds(...)"
