"""The stage's secrets in SSM. Their names are told to everybody, their values to nobody."""

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
    """An SSM parameter that the broker reads a secret from.

    Attributes:
        title: What it holds, in words.
        variable: The secret's name among the settings; the parameter's is behind `_PARAMETER`.
        name: The parameter's name.
        check: Returns a value that can be one, or raises ValueError with what would be right.
    """

    title: str
    variable: str
    name: str
    check: Callable[[str], str]


class State(StrEnum):
    """How a parameter stands."""

    FINE = "fine"
    MISSING = "missing"
    NOT_VALID = "not valid"
    IN_THE_CLEAR = "not encrypted"


@dataclass(frozen=True)
class Found:
    """A parameter as it is.

    Attributes:
        state: How it stands.
        reason: What is wrong with it.
        value: What it holds, where that can be used.
    """

    state: State
    reason: str = ""
    value: str | None = field(default=None, repr=False)


_KINDS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("sync.'s API key", "SYNC_API_KEY", settings.api_key),
    ("the secret that tokens are signed with", "JWT_SECRET", settings.jwt_secret),
)


def of(environment: Mapping[str, str]) -> list[Parameter]:
    """Name the parameters that a stage reads.

    Raises:
        Problem: A secret stands in the configuration itself.
    """
    found = []
    for title, variable, check in _KINDS:
        if environment.get(variable):
            raise Problem(
                f"{variable} stands in .chalice/config.json, where everybody can read it.",
                f"Set {variable}_PARAMETER to a parameter's name instead, and make a new secret.",
                USAGE,
            )
        if name := environment.get(f"{variable}_PARAMETER"):
            found.append(Parameter(title, variable, name, check))
    return found


def read(client: "SSMClient", parameter: Parameter) -> Found:
    """Look at a parameter, as the broker will."""
    try:
        answer = client.get_parameter(Name=parameter.name, WithDecryption=True)["Parameter"]
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return Found(State.MISSING, "there is no such parameter")
        raise
    if answer.get("Type") != "SecureString":
        return Found(State.IN_THE_CLEAR, f"it is a {answer.get('Type')}, no SecureString")
    value = answer["Value"].strip()
    try:
        return Found(State.FINE, value=parameter.check(value))
    except ValueError as error:
        return Found(State.NOT_VALID, f"it must be {error}", value)


def put(client: "SSMClient", parameter: Parameter, value: str, *, replace: bool) -> None:
    """Store a secret.

    Args:
        client: SSM.
        parameter: Where.
        value: What.
        replace: Whether another one may be there.
    """
    client.put_parameter(
        Name=parameter.name,
        Description=f"{parameter.title} (upload broker)",
        Value=value,
        Type="SecureString",
        Overwrite=replace,
    )


def delete(client: "SSMClient", parameter: Parameter) -> bool:
    """Delete a secret, and say whether there was one."""
    try:
        client.delete_parameter(Name=parameter.name)
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return False
        raise
    return True
