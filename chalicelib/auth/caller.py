"""Caller ids: keyed hashes of issuer and subject, by a secret of the table.

Without the secret nobody can find the subject of an id by guessing, nor search for a subject whose
id begins as another caller's does. All records hold ids, so the secret never changes: with another
one every caller would be somebody else and own nothing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.aws.table import Change, Table
from chalicelib.core import errors, log
from chalicelib.quotas.limits import Limits

PK = "secret#callers"
SECRET_BYTES = 32
_HEX_DIGITS = 32

# From issuer and subject to an id that tells neither: `CallerIds.of` is one.
CallerId = Callable[[str, str], str]


@dataclass(frozen=True)
class Caller:
    """A user of the broker.

    Attributes:
        id: Keyed hash of the token's issuer and subject, 32 hex digits. Records and logs have it
            in place of the subject, which may be an e-mail address.
        limits: What this caller may do.
    """

    id: str
    limits: Limits


class CallerIds:
    """Names callers.

    Args:
        table: The broker's table, which holds the secret.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._secret: bytes | None = None

    def of(self, issuer: str, subject: str) -> str:
        """Return the id of a caller: 32 hex digits.

        Raises:
            StoreUnavailable: The secret has never been read, and can't be read now.
        """
        if self._secret is None:
            self._secret = self._read()
        # The length keeps issuer and subject apart.
        text = f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:_HEX_DIGITS]

    def prepare(self) -> None:
        """Read the secret if it can be read now; otherwise the next request reads it."""
        with suppress(errors.StoreUnavailable):
            self._secret = self._read()

    def _read(self) -> bytes:
        """Read the secret; the first container of all makes it."""
        # The container needs it once, whichever request comes first: no request is charged.
        with log.uncounted():
            item = self._table.get(PK)
            if item is None:
                # If another container was faster, or the answer to this very write was lost and
                # boto3 has sent it again, the refusal brings the secret that was written.
                new = secrets.token_bytes(SECRET_BYTES)
                change = Change(pk=PK, condition="attribute_not_exists(#pk)", sets={"secret": new})
                item = self._table.write(change).item or {}
        return bytes(item["secret"]["B"])

    def __repr__(self) -> str:
        return "CallerIds(...)"
