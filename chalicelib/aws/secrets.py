"""Sync's API key and the secret of tokens: from the environment or from SSM, cached.

Each container reads a secret once, again after some minutes, and at once when it was refused. So a
secret can be rotated without a deploy.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from chalicelib.core import errors, log
from chalicelib.core.allowance import Allowance
from chalicelib.core.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

    _Result = ParameterTypeDef | str  # or why it can't be read

KEEP_SECONDS = 300.0  # until a secret is read again
# SSM allows 40 calls a second for a whole account, so containers that start together have to share
# them. Five attempts, spread at random over five seconds, and as many in the first request if those
# fail while the container starts, let 300 containers start at once (benchmarks/ssm_burst.py).
ATTEMPTS = 5
ATTEMPTS_SECONDS = 5.0
SHARE_SECONDS = 1.0  # for which one secret may use what was read for another
_LATER = (1.0, 5.0)  # seconds after which a caller may try again, at random
_THROTTLED = {"ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"}
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
            later = random.uniform(*_LATER)  # noqa: S311 - it spreads retries and hides nothing
            raise type(failure)(failure.detail, retry_after=later)
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


class Parameters:
    """The secrets in SSM parameters of the type SecureString. One call reads all of them.

    Args:
        client: Returns the SSM client, which must not repeat calls. It is called only when
            parameters are read.
        names: The parameters' names, 1 to 10 (SSM's limit for a call).
        clock: The time.
    """

    def __init__(
        self, client: Callable[[], "SSMClient"], names: Sequence[str], clock: Clock
    ) -> None:
        self._client = client
        self._names = names
        self._clock = clock
        # The results of the last call, each of which is used once, by its own secret.
        self._unused: dict[str, _Result] = {}
        self._called_at = 0.0
        self._attempts = ATTEMPTS  # of the next call
        self._lock = threading.Lock()

    def secret(self, name: str, check: Callable[[str], str]) -> CachedSecret:
        """Return one of the secrets.

        Args:
            name: The parameter's name.
            check: Returns the value, or raises ValueError as in `CachedSecret`.
        """

        def load() -> str:
            found = self._result(name)
            if isinstance(found, str):
                raise errors.SecretsUnavailable(found)
            if found.get("Type") != "SecureString":
                # Another type is stored in plain text, for everybody who may read parameters.
                raise ValueError("of the type SecureString")
            return check(found["Value"].strip())

        return CachedSecret(load, self._clock)

    def _result(self, name: str) -> "_Result":
        """Return a parameter, or why it can't be read."""
        with self._lock:
            if self._clock.monotonic() - self._called_at > SHARE_SECONDS:
                self._unused = {}
            if name not in self._unused:
                self._unused = self._call()
                self._called_at = self._clock.monotonic()
            return self._unused.pop(name)

    def _call(self) -> dict[str, "_Result"]:
        """Read all parameters, with pauses between the attempts."""
        ends = self._clock.monotonic() + ATTEMPTS_SECONDS
        left = self._attempts
        while True:
            left -= 1
            try:
                found = self._client().get_parameters(Names=self._names, WithDecryption=True)
            except (ClientError, BotoCoreError) as error:
                pause = _pause(ends - self._clock.monotonic(), left)
                if pause is None or not _is_temporary(error):
                    asked = ", ".join(self._names)
                    return dict.fromkeys(self._names, f"{_reason(error)} It was asked for {asked}.")
            else:
                # The secrets are known from now on, so a request need not wait for a new one.
                self._attempts = 1
                read = {one["Name"] + one.get("Selector", ""): one for one in found["Parameters"]}
                missing = "SSM returned no parameter {}."
                return {name: read.get(name) or missing.format(name) for name in self._names}
            self._clock.sleep(pause)


def _pause(seconds: float, attempts: int) -> float | None:
    """Return the pause before the next of some attempts that fit into the seconds, or None."""
    if seconds <= 0 or attempts == 0:
        return None
    # Containers that failed in one moment come again over the whole time, and none of them uses up
    # its attempts early.
    return random.uniform(0.5, 1.5) * seconds / (attempts + 1)  # noqa: S311 - as above


def _is_temporary(error: ClientError | BotoCoreError) -> bool:
    """Whether another attempt may succeed: not after a refusal of the role or of a name."""
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or error.response["Error"]["Code"] in _THROTTLED  # noqa: PLR2004 - server errors
    return isinstance(error, HTTPClientError | NoConnectionError)


def _reason(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return f"SSM returned {error.response['Error']['Code']}."
    return "SSM can't be reached."
