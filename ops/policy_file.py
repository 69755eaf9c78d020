"""The policy that `chalice deploy` and Terraform give the functions' roles."""

import fnmatch
import json
from typing import Any

from ops.stage import Stage
from ops.terminal import Problem


def read(stage: Stage) -> dict[str, Any] | None:
    """Return the stage's policy; None if the project does not manage the roles.

    Raises:
        Problem: The file can't be read as a policy.
    """
    file = stage.policy_file
    if file is None:
        return None
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        resources(document, "")
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        message = f"{file} can't be read as a policy ({type(error).__name__})."
        raise Problem(message, "Restore it from the project's repository.") from error
    return document


def resources(document: dict[str, Any], service: str) -> list[str]:
    """Return the resources of the statements that allow an action of a service."""
    return [
        resource
        for statement in _as_list(document["Statement"])
        if any(one.startswith(service) for one in _as_list(statement.get("Action", "*")))
        for resource in _as_list(statement.get("Resource", "*"))
    ]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def lacks(stage: Stage) -> list[str]:
    """Return the stage's table and parameters that its policy does not name.

    That happens to a policy that was copied from another stage, and after a restore of the table.

    Raises:
        Problem: The file can't be read as a policy.
    """
    document = read(stage)
    if document is None:
        return []
    settings = stage.environment
    table = settings.get("UPLOADS_TABLE", "")
    wanted = [("dynamodb:", table, f"table/{table}")]
    for secret in ("SYNC_API_KEY", "JWT_SECRET"):
        name = settings.get(f"{secret}_PARAMETER", "")
        wanted.append(("ssm:", name, f"parameter{name}"))
    return [
        name
        for service, name, resource in wanted
        if name and not _matches(resource, resources(document, service))
    ]


def _matches(resource: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(resource, one.split(":", 5)[-1]) for one in patterns)
