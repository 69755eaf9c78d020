"""Clients of the operator's AWS account, and explanations of AWS's errors."""

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

_SIGN_IN = "Sign in with `aws configure` or `aws sso login`, or set AWS_PROFILE."
_BAD_SIGNATURE = "AWS rejects the signature: the secret key or this machine's clock is wrong."
_CREDENTIAL_ERRORS = {
    "ExpiredToken": "The credentials have expired.",
    "ExpiredTokenException": "The credentials have expired.",
    "InvalidClientTokenId": "AWS does not know these credentials.",
    "InvalidSignatureException": _BAD_SIGNATURE,
    "SignatureDoesNotMatch": _BAD_SIGNATURE,
    "UnrecognizedClientException": "AWS does not know these credentials.",
}
_SERVER_ERROR = 500
_BUSY = {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"}
_BUSY |= {"ContinuousBackupsUnavailableException"}  # a table that was restored a moment ago
REGION_ADVICE = "Set AWS_DEFAULT_REGION, for example to us-east-1. Chalice reads it too."


class Account:
    """Clients of one account in one region, which are chosen in the same way as Chalice's.

    Args:
        profile: A profile in the AWS configuration; None for the shell's settings.

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
        """The region, or an empty string if no region is set."""
        return self._session.region_name or ""

    @cache  # noqa: B019 - a run has one account
    def client(self, service: str) -> Any:
        """Return a client of a service.

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
    """Return a failed call as a problem that an operator understands."""
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Problem("There are no credentials.", _SIGN_IN, UNREACHABLE)
    if isinstance(error, CredentialRetrievalError | SSOError):
        return Problem(f"The credentials can't be read: {error}", _SIGN_IN, UNREACHABLE)
    if isinstance(error, NoRegionError):
        return Problem("No region is set.", REGION_ADVICE, USAGE)
    if isinstance(error, HTTPClientError | NoConnectionError):  # there was no response
        return Problem(f"AWS can't be reached: {error}", "Check the network.", UNREACHABLE)
    return Problem(f"The AWS configuration or the call is not valid: {error}", _SIGN_IN)


def _refusal(error: ClientError) -> Problem:
    details: Any = error.response.get("Error", {})
    code = details.get("Code", "")
    if code in _CREDENTIAL_ERRORS:
        return Problem(_CREDENTIAL_ERRORS[code], _SIGN_IN, UNREACHABLE)
    if "AccessDenied" in code or code in {"UnauthorizedOperation", "AuthorizationError"}:
        return Problem(
            f"AWS does not let you call {error.operation_name}: {details.get('Message', '')}",
            "docs/deploy.md lists the permissions that you need.",
            UNREACHABLE,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_temporary = code in _BUSY or status >= _SERVER_ERROR
    advice = "Try again in a minute." if is_temporary else ""
    message = f"AWS returned {code} for {error.operation_name}: {details.get('Message', '')}"
    return Problem(message, advice, UNREACHABLE if is_temporary else WRONG)


def code_of(error: ClientError) -> str:
    """Return AWS's code of an error."""
    return error.response["Error"]["Code"]
