"""A stage in `.chalice/config.json`, read by Chalice's own rules."""

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
from ops import config_file
from ops.config_file import API, FUNCTIONS
from ops.terminal import USAGE, Problem


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
        sweep_only: Settings of the sweep's function that differ from those.
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
    sweep_only: Mapping[str, str]
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
    content = config_file.read(folder, name)
    config: Any = Config(chalice_stage=name, config_from_disk=content)
    environment, sweep = (dict(config.scope(name, one).environment_variables) for one in FUNCTIONS)
    both = {**environment, **sweep}
    if numbers := [one for one, value in both.items() if not isinstance(value, str)]:
        message = f"{', '.join(numbers)} in .chalice/config.json must be text, in quotes."
        raise Problem(message, 'For example "PRESIGNS_PER_MINUTE": "90".', USAGE)
    policy = config.iam_policy_file or f"policy-{name}.json"
    return Stage(
        name=name,
        folder=folder,
        app=config.app_name,
        environment=environment,
        sweep_only=dict(sweep.items() - environment.items()),
        functions={one: _function(config.scope(name, one)) for one in FUNCTIONS},
        policy_file=folder / ".chalice" / policy if config.manage_iam_role else None,
        gateway_stage=config.api_gateway_stage or DEFAULT_APIGATEWAY_STAGE_NAME,
        others=tuple(sorted(set(content["stages"]) - {name})),
        next_runtime=config.lambda_python_version,
    )


def _function(config: Any) -> Function:
    return Function(
        memory=config.lambda_memory_size or DEFAULT_LAMBDA_MEMORY_SIZE,
        seconds=config.lambda_timeout or DEFAULT_LAMBDA_TIMEOUT,
        architecture=config.lambda_architecture,
        is_traced=bool(config.xray_enabled),
    )


def problems(*environments: Mapping[str, str]) -> list[str]:
    """Return what the broker in Lambda would report about the settings of functions."""
    found: dict[str, None] = {}
    for environment in environments:
        try:
            settings.load({**environment, "AWS_LAMBDA_FUNCTION_NAME": "broker"})
        except Misconfigured as error:
            found |= dict.fromkeys(error.detail.split("; "))
    return list(found)


def misspelled(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the names that the broker does not know, each with the setting that it resembles."""
    known = {one.name.upper() for one in fields(settings.Settings)}
    return config_file.resembling(environment, known)
