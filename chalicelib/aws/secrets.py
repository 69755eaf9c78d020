"""Sync's API key and the secret of tokens: from the environment or from SSM, cached.

Each container reads a secret once, again after some minutes, and at once when it was refused. So a
secret can be rotated without a deploy.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import errors, log
from chalicelib.core.allowance import REFRESH_SECONDS, Allowance
from chalicelib.core.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEEP_SECONDS = 300.0  # until a secret is read again
_UNREADABLE = "This service can't read its secrets. Try again in a moment."


class CachedSecret:
    """A cached secret.

    Args:
        load: Returns the secret. It raises SecretsUnavailable if the secret can't be read, and
            ValueError with the words that follow "it must be" if its content is wrong.
        clock: The time.
    """

    def __init__(self, load: Callable[[], str], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._value: str | None = None
        self._failure: errors.BrokerError | None = None
        self._read_at = 0.0
        self._allowance = Allowance(clock)
        self._lock = threading.Lock()

    def current(self) -> str:
        """Return the secret.

        Raises:
            SecretsUnavailable: It was not read before and can't be read now.
            Misconfigured: Its content is wrong, and there is no earlier one.
        """
        if self._is_due():
            with self._lock:
                # Another thread may have read it while this one waited. While it can't be read, any
                # stranger's request gets here, so the allowance bounds the reads.
                if self._is_due() and (self._failure is None or self._allowance.take()):
                    self._read()
        value = self._value
        if value is None:
            failure = self._failure or errors.SecretsUnavailable(_UNREADABLE)
            raise type(failure)(failure.detail, retry_after=REFRESH_SECONDS)
        return value

    def refresh(self, stale: str) -> bool:
        """Read the secret again, because `stale` was refused.

        Returns:
            Whether the secret differs from `stale` now.
        """
        with self._lock:
            # Another thread may have read it for the same reason.
            if self._value == stale and self._allowance.take():
                self._read()
            return self._value != stale

    def _is_due(self) -> bool:
        return self._value is None or self._clock.monotonic() - self._read_at > KEEP_SECONDS

    def _read(self) -> None:
        """Read the secret, or keep the old value if that fails."""
        self._read_at = self._clock.monotonic()
        try:
            self._value = self._load()
            self._failure = None
        except errors.SecretsUnavailable as error:
            log.event("secret_not_read", level=logging.ERROR, reason=error.detail)
            self._failure = errors.SecretsUnavailable(_UNREADABLE)
        except ValueError as error:
            log.event("secret_not_valid", level=logging.ERROR, reason=f"it must be {error}")
            self._failure = errors.Misconfigured()

    def __repr__(self) -> str:
        return "CachedSecret(...)"


def fixed(value: str, clock: Clock) -> CachedSecret:
    """Return a secret that never changes, such as one from the environment."""
    return CachedSecret(lambda: value, clock)


def parameter(
    client: Callable[[], "SSMClient"], name: str, check: Callable[[str], str], clock: Clock
) -> CachedSecret:
    """Return a secret in an SSM parameter of the type SecureString.

    Args:
        client: Returns the SSM client. It is called only when the parameter is read.
        name: The parameter's name.
        check: Returns the value, or raises ValueError as in `CachedSecret`.
        clock: The time.
    """

    def load() -> str:
        try:
            response = client().get_parameter(Name=name, WithDecryption=True)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise errors.SecretsUnavailable(f"SSM returned {code} for {name}.") from error
        except BotoCoreError as error:
            raise errors.SecretsUnavailable("SSM can't be reached.") from error
        if response["Parameter"].get("Type") != "SecureString":
            # Another type is stored in plain text, for everybody who may read parameters.
            raise ValueError("of the type SecureString")
        return check(response["Parameter"]["Value"].strip())

    return CachedSecret(load, clock)
