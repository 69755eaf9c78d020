"""The API key and the tokens' secrets: from the environment or from SSM, kept, refreshed.

A secret is read once for each container, again after some time, and at once when somebody says
that it no longer holds, so that it can be rotated without a deploy.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import errors, log
from chalicelib.core.allowance import REFRESH_SECONDS, Allowance
from chalicelib.core.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEEP_SECONDS = 300.0  # how long a secret is used before it is read again


class CachedSecret:
    """One secret.

    Args:
        load: Reads it. Raises ValueError with what would be right, or SecretsUnavailable.
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
            SecretsUnavailable: It has never been read, and can't be read now.
            Misconfigured: What was read can't be one.
        """
        if self._is_due():
            with self._lock:
                # Another thread may have read while this one waited. Where nothing could be read
                # so far, every stranger's request comes here, so it is not read for each of them.
                if self._is_due() and (self._failure is None or self._allowance.take()):
                    self._read()
        value = self._value
        if value is None:
            failure = self._failure or errors.SecretsUnavailable(
                "This service can't read its secrets. Try again in a moment."
            )
            raise type(failure)(failure.detail, retry_after=REFRESH_SECONDS)
        return value

    def refresh(self, stale: str) -> bool:
        """Read again, because `stale` no longer holds.

        Returns:
            Whether there is another value now.
        """
        with self._lock:
            # Another thread may have been told the same, and read already.
            if self._value == stale and self._allowance.take():
                self._read()
            return self._value != stale

    def _is_due(self) -> bool:
        return self._value is None or self._clock.monotonic() - self._read_at > KEEP_SECONDS

    def _read(self) -> None:
        """Read, and keep the old value where that fails."""
        self._read_at = self._clock.monotonic()
        try:
            self._value = self._load()
            self._failure = None
        except errors.SecretsUnavailable as error:
            log.event("secret_not_read", level=40, reason=error.detail)
            self._failure = errors.SecretsUnavailable(
                "This service can't read its secrets. Try again in a moment."
            )
        except ValueError as error:
            log.event("secret_not_valid", level=40, reason=f"it must be {error}")
            self._failure = errors.Misconfigured(
                "This service is not set up correctly. Tell those who run it."
            )

    def __repr__(self) -> str:
        return "CachedSecret(...)"


def fixed(value: str, clock: Clock) -> CachedSecret:
    """Make a secret of a value that never changes, as one from the environment."""
    return CachedSecret(lambda: value, clock)


def parameter(
    client: Callable[[], "SSMClient"], name: str, check: Callable[[str], str], clock: Clock
) -> CachedSecret:
    """Make a secret of an SSM SecureString.

    Args:
        client: Makes the client; called only when the parameter is read.
        name: The parameter's name.
        check: Returns the value, or raises ValueError with what would be right.
        clock: The time.
    """

    def load() -> str:
        try:
            answer = client().get_parameter(Name=name, WithDecryption=True)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise errors.SecretsUnavailable(f"SSM answered {code} for {name}.") from error
        except BotoCoreError as error:
            raise errors.SecretsUnavailable("SSM can't be reached.") from error
        if answer["Parameter"].get("Type") != "SecureString":
            # A plain parameter is stored in the clear, and read by all who may read any parameter.
            raise ValueError("of the type SecureString")
        return check(answer["Parameter"]["Value"].strip())

    return CachedSecret(load, clock)
