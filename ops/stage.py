"""A stage in `.chalice/config.json`, read by Chalice's own rules."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from chalice.config import Config
from chalice.constants import (
    DEFAULT_APIGATEWAY_STAGE_NAME,
    DEFAULT_LAMBDA_MEMORY_SIZE,
    DEFAULT_LAMBDA_TIMEOUT,
)

from chalicelib.core import settings
from chalicelib.core.errors import Misconfigured
from ops.terminal import USAGE, Problem

_RESTORE = (
    "Restore it, for example by `git checkout .chalice/config.json`, and change only the lines that"
    " docs/deploy.md shows."
)
_LIKENESS = 0.8  # of two names, from 0 to 1: ALOWED_ORIGINS and ALLOWED_ORIGINS have 0.97
API, SWEEP = "api_handler", "sweep"  # Chalice's names of the functions


@dataclass(frozen=True)
class Function:
    """The configuration of a Lambda function.

    Attributes:
        memory: In MB.
        seconds: The time-out.
        architecture: `arm64` or `x86_64`.
        is_traced: Whether X-Ray traces it.
    """

    memory: int
    seconds: int
    architecture: str
    is_traced: bool


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        name: Its name.
        folder: The project's folder.
        app: The app's name, which is the prefix of the functions' names.
        environment: The broker's settings.
        functions: The functions, by Chalice's names.
        policy_file: The policy of its roles; None if the project does not manage them.
        gateway_stage: The API's stage, which is the path of its URL.
        others: The names of the project's other stages.
        next_runtime: Lambda's name of the Python that runs this command. Chalice deploys for it.
    """

    name: str
    folder: Path
    app: str
    environment: Mapping[str, str]
    functions: Mapping[str, Function]
    policy_file: Path | None
    gateway_stage: str
    others: tuple[str, ...]
    next_runtime: str

    @property
    def architecture(self) -> str:
        """The architecture that Chalice packs for."""
        return self.functions[API].architecture

    @property
    def table(self) -> str:
        """The name of its table.

        Raises:
            Problem: The configuration names no table.
        """
        name = self.environment.get("UPLOADS_TABLE", "").strip()
        if not name:
            message = f"The stage {self.name} names no table."
            raise Problem(message, "Set UPLOADS_TABLE in .chalice/config.json.", USAGE)
        return name

    @property
    def deploy_command(self) -> str:
        """The commands that deploy it."""
        return f"python -m ops provision --stage {self.name} && chalice deploy --stage {self.name}"

    @property
    def record(self) -> Path:
        """The file in which `chalice deploy` records what it deployed."""
        return self.folder / ".chalice" / "deployed" / f"{self.name}.json"


def read(folder: Path, name: str) -> Stage:
    """Return a stage of a project.

    Raises:
        Problem: The configuration can't be read, or has no such stage.
    """
    file = folder / ".chalice" / "config.json"
    try:
        content = json.loads(file.read_text())
        names = sorted(content["stages"].keys())
    except OSError as error:
        advice = "Run this in the project's folder, or use --project-dir."
        raise Problem(f"{file} can't be read: {error.strerror}.", advice, USAGE) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else f"is not right: {error}"
        raise Problem(f"{file} {reason}.", _RESTORE, USAGE) from error
    if name not in names:
        message = f"There is no stage {name!r} in .chalice/config.json."
        raise Problem(message, f"Its stages are: {', '.join(names)}.", USAGE)
    if wrong := _not_objects(content, name):
        message = f"In {file}, {' and '.join(wrong)} must be in braces: {{...}}."
        raise Problem(message, _RESTORE, USAGE)
    config: Any = Config(chalice_stage=name, config_from_disk=content)
    if losses := _losses(content, config):
        raise Problem(
            f"{file} has lost lines: {'; '.join(losses)}.",
            _RESTORE,
            USAGE,
        )
    environment: Any = config.scope(name, API).environment_variables
    if numbers := [one for one, value in environment.items() if not isinstance(value, str)]:
        message = f"{', '.join(numbers)} in {file} must be text, in quotes."
        raise Problem(message, 'For example "PRESIGNS_PER_MINUTE": "90".', USAGE)
    policy = config.iam_policy_file or f"policy-{name}.json"
    return Stage(
        name=name,
        folder=folder,
        app=config.app_name,
        environment=environment,
        functions={one: _function(config.scope(name, one)) for one in (API, SWEEP)},
        policy_file=folder / ".chalice" / policy if config.manage_iam_role else None,
        gateway_stage=config.api_gateway_stage or DEFAULT_APIGATEWAY_STAGE_NAME,
        others=tuple(one for one in names if one != name),
        next_runtime=config.lambda_python_version,
    )


def _not_objects(content: Mapping[str, Any], name: str) -> list[str]:
    """Return which parts of the configuration are no objects, as Chalice takes them for."""
    stage = content["stages"][name]
    parts = {f"stages.{name}": stage}
    for place, holder in (("", content), (f"stages.{name}.", stage)):
        if isinstance(holder, dict):
            for part in ("environment_variables", "lambda_functions"):
                parts[f"{place}{part}"] = holder.get(part, {})
            functions = parts[f"{place}lambda_functions"]
            if isinstance(functions, dict):
                parts |= {f"{place}lambda_functions.{one}": functions[one] for one in functions}
    return [part for part, value in parts.items() if not isinstance(value, dict)]


def _losses(content: Mapping[str, Any], config: Any) -> list[str]:
    """Return which lines are missing without which Chalice deploys, but not the broker."""
    losses = []
    if content.get("version") != "2.0":
        losses.append('"version" must be "2.0"')
    if not config.app_name:
        losses.append(
            '"app_name" must be "sync-upload-broker", or the functions would be called'
            f" None-{config.chalice_stage}"
        )
    if config.manage_iam_role and config.autogen_policy is not False:  # Chalice's default is true
        losses.append('"autogen_policy" must be false, or the roles would lack permissions')
    return losses


def _function(config: Any) -> Function:
    return Function(
        memory=config.lambda_memory_size or DEFAULT_LAMBDA_MEMORY_SIZE,
        seconds=config.lambda_timeout or DEFAULT_LAMBDA_TIMEOUT,
        architecture=config.lambda_architecture,
        is_traced=bool(config.xray_enabled),
    )


def problems(environment: Mapping[str, str]) -> list[str]:
    """Return what the broker in Lambda would report about the settings."""
    try:
        settings.load({**environment, "AWS_LAMBDA_FUNCTION_NAME": "broker"})
    except Misconfigured as error:
        return error.detail.split("; ")
    return []


def misspelled(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the names that the broker does not know, each with the setting that it resembles.

    Names that resemble none may be meant for something else in the function.
    """
    known = {one.name.upper() for one in fields(settings.Settings)}
    found = {}
    for name in sorted(set(environment) - known):
        for meant in difflib.get_close_matches(name.upper(), known, n=1, cutoff=_LIKENESS):
            found[name] = meant
    return found
