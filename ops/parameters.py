"""The stage's secrets in SSM. Commands print their names, and never their values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.core import settings
from ops.account import code_of
from ops.terminal import USAGE, Problem

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


@dataclass(frozen=True)
class Parameter:
    """An SSM parameter that holds a secret of the broker.

    Attributes:
        title: A description of the secret.
        variable: The secret's setting. The setting with `_PARAMETER` added names the parameter.
        name: The parameter's name.
        check: Returns a valid value, or raises ValueError with a description of valid values.
    """

    title: str
    variable: str
    name: str
    check: Callable[[str], str]


class State(StrEnum):
    """Whether the broker can use a parameter."""

    VALID = "valid"
    MISSING = "missing"
    NOT_VALID = "not valid"
    NOT_ENCRYPTED = "not encrypted"


@dataclass(frozen=True)
class Found:
    """The state and the value of a parameter.

    Attributes:
        state: Whether the broker can use it.
        reason: What is wrong with it.
        value: Its value, if it is encrypted.
    """

    state: State
    reason: str = ""
    value: str | None = field(default=None, repr=False)


_KINDS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("the Sync API key", "SYNC_API_KEY", settings.api_key),
    ("the secret that signs tokens", "JWT_SECRET", settings.jwt_secret),
)


def of(environment: Mapping[str, str]) -> list[Parameter]:
    """Return the parameters that a stage reads.

    Raises:
        Problem: The configuration contains a secret.
    """
    found = []
    for title, variable, check in _KINDS:
        if environment.get(variable):
            raise Problem(
                f"{variable} is in .chalice/config.json, where others can read it.",
                f"Make a new secret, and set {variable}_PARAMETER to a parameter's name instead.",
                USAGE,
            )
        if name := environment.get(f"{variable}_PARAMETER"):
            found.append(Parameter(title, variable, name, check))
    return found


def read(client: "SSMClient", parameter: Parameter) -> Found:
    """Return the state and the value of a parameter, by the broker's rules."""
    try:
        response = client.get_parameter(Name=parameter.name, WithDecryption=True)["Parameter"]
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return Found(State.MISSING, "there is no such parameter")
        raise
    if response.get("Type") != "SecureString":
        reason = f"it is a {response.get('Type')}, not a SecureString"
        return Found(State.NOT_ENCRYPTED, reason)
    value = response["Value"].strip()
    try:
        return Found(State.VALID, value=parameter.check(value))
    except ValueError as error:
        return Found(State.NOT_VALID, f"it must be {error}", value)


def put(client: "SSMClient", parameter: Parameter, value: str, *, replace: bool) -> None:
    """Store a secret.

    Args:
        client: A client of SSM.
        parameter: The parameter.
        value: The secret.
        replace: Whether to replace an existing parameter.
    """
    client.put_parameter(
        Name=parameter.name,
        Description=f"{parameter.title} (upload broker)",
        Value=value,
        Type="SecureString",
        Overwrite=replace,
    )


def delete(client: "SSMClient", parameter: Parameter) -> bool:
    """Delete a secret.

    Returns:
        Whether it existed.
    """
    try:
        client.delete_parameter(Name=parameter.name)
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return False
        raise
    return True
