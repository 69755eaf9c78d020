"""AWS as the operator's shell is set up for it, and what its refusals mean."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from ops.terminal import UNREACHABLE, USAGE, WRONG, Problem

_SIGN_IN = "Sign in: `aws configure`, `aws sso login`, or AWS_PROFILE."
_WHO = {
    "ExpiredToken": "The credentials have expired.",
    "ExpiredTokenException": "The credentials have expired.",
    "InvalidClientTokenId": "AWS does not know these credentials.",
    "InvalidSignatureException": "AWS does not take the signature: a wrong secret key, or clock.",
    "SignatureDoesNotMatch": "AWS does not take the signature: a wrong secret key, or clock.",
    "UnrecognizedClientException": "AWS does not know these credentials.",
}
_SERVER_ERROR = 500
_BUSY = {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"}
_BUSY |= {"ContinuousBackupsUnavailableException"}  # of a table that was restored just now
REGION_ADVICE = "Set AWS_DEFAULT_REGION, which Chalice reads too, such as us-east-1."


class Account:
    """Clients of one account in one region, chosen as Chalice chooses them.

    Args:
        profile: A profile of AWS's own configuration; None for what the shell is set to.

    Raises:
        Problem: There is no such profile.
    """

    def __init__(self, profile: str | None = None) -> None:
        try:
            self._session: Any = boto3.Session(profile_name=profile)
        except ProfileNotFound as error:
            raise Problem(str(error), "See `aws configure list-profiles`.", USAGE) from error

    @property
    def region(self) -> str:
        """The region, or nothing where none is set."""
        return self._session.region_name or ""

    @cache  # noqa: B019 - one account for each run
    def client(self, service: str) -> Any:
        """Make a client of a service.

        Raises:
            Problem: No region is set.
        """
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        try:
            return self._session.client(service, config=config)
        except NoRegionError as error:
            raise Problem("No region is set.", REGION_ADVICE, USAGE) from error


def explain(error: ClientError | BotoCoreError) -> Problem:
    """Say what a failed call means for the operator."""
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Problem("There are no credentials.", _SIGN_IN, UNREACHABLE)
    if isinstance(error, CredentialRetrievalError | SSOError):
        return Problem(f"The credentials can't be read: {error}", _SIGN_IN, UNREACHABLE)
    if isinstance(error, NoRegionError):
        return Problem("No region is set.", REGION_ADVICE, USAGE)
    if isinstance(error, HTTPClientError | NoConnectionError):  # what never got an answer
        return Problem(f"AWS can't be reached: {error}", "Look at the network.", UNREACHABLE)
    return Problem(f"AWS's own settings or the call are not valid: {error}", _SIGN_IN)


def _refusal(error: ClientError) -> Problem:
    said: Any = error.response.get("Error", {})
    code = said.get("Code", "")
    if code in _WHO:
        return Problem(_WHO[code], _SIGN_IN, UNREACHABLE)
    if "AccessDenied" in code or code in {"UnauthorizedOperation", "AuthorizationError"}:
        return Problem(
            f"AWS does not let you call {error.operation_name}: {said.get('Message', '')}",
            "docs/deploy.md lists what your identity needs.",
            UNREACHABLE,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_passing = code in _BUSY or status >= _SERVER_ERROR
    advice = "Try again in a minute." if is_passing else ""
    message = f"AWS answered {code} to {error.operation_name}: {said.get('Message', '')}"
    return Problem(message, advice, UNREACHABLE if is_passing else WRONG)


def code_of(error: ClientError) -> str:
    """Return AWS's own name of an error."""
    return error.response["Error"]["Code"]
