"""Read `.chalice/config.json`, and refuse what Chalice would deploy wrongly or not at all."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from chalice.config import Config

from ops.terminal import USAGE, Problem

API, SWEEP = FUNCTIONS = ("api_handler", "sweep")  # Chalice's names of the functions
Rule = tuple[str, Callable[[Any], bool]]
_RESTORE = (
    "Restore it, for example by `git checkout .chalice/config.json`, and change only the lines that"
    " docs/deploy.md shows."
)
_LIKENESS = 0.8  # of two names, from 0 to 1: ALOWED_ORIGINS and ALLOWED_ORIGINS have 0.97
# Names in the file, as chalice/config.py reads them.
_NAMES = {"version", "stages", "lambda_functions", "xray", "app_name", "api_gateway_stage"}
_NAMES |= {"api_gateway_endpoint_type", "api_gateway_endpoint_vpce", "api_gateway_policy_file"}
_NAMES |= {"api_gateway_custom_domain", "websocket_api_custom_domain", "autogen_policy"}
_NAMES |= {"automatic_layer", "environment_variables", "iam_policy_file", "iam_role_arn"}
_NAMES |= {"lambda_architecture", "lambda_memory_size", "lambda_timeout", "layers", "tags"}
_NAMES |= {"log_retention_in_days", "manage_iam_role", "minimum_compression_size", "profile"}
_NAMES |= {"reserved_concurrency", "security_group_ids", "subnet_ids"}


def _whole(words: str, lowest: int, highest: int) -> Rule:
    return (
        f"a whole number {words} from {lowest} to {highest}, without quotes",
        lambda value: type(value) is int and lowest <= value <= highest,
    )


def _one_of(*choices: str) -> Rule:
    return f"one of {', '.join(choices)}", choices.__contains__


_OBJECT: Rule = ("in braces: {...}", lambda value: isinstance(value, dict))
_FLAG: Rule = ("true or false, without quotes", lambda value: isinstance(value, bool))
_TEXT: Rule = ("text, in quotes", lambda value: isinstance(value, str) and value != "")
_RULES: Mapping[str, Rule] = {
    "app_name": (
        "a name of letters, digits and -, in quotes",
        lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9-]+", value) is not None,
    ),
    "environment_variables": _OBJECT,
    "lambda_functions": _OBJECT,
    "lambda_timeout": _whole("of seconds", 1, 900),
    "lambda_memory_size": _whole("of MB", 128, 10_240),
    "reserved_concurrency": _whole("of requests", 0, 1_000_000),
    "lambda_architecture": _one_of("arm64", "x86_64"),
    "api_gateway_endpoint_type": _one_of("EDGE", "REGIONAL", "PRIVATE"),
    "api_gateway_stage": _TEXT,
    "iam_policy_file": _TEXT,
    "autogen_policy": _FLAG,
    "manage_iam_role": _FLAG,
    "minimum_compression_size": _whole("of bytes", 0, 10_485_760),
    "xray": _FLAG,
}


def read(folder: Path, stage: str) -> dict[str, Any]:
    """Return the content, with the stage in it.

    Raises:
        Problem: The file can't be read, has no such stage, or something in it is wrong.
    """
    file = folder / ".chalice" / "config.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        names = sorted(content["stages"].keys())
    except OSError as error:
        advice = "Run this in the project's folder, or use --project-dir."
        raise Problem(f"{file} can't be read: {error.strerror}.", advice, USAGE) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else f"is not right: {error}"
        raise Problem(f"{file} {reason}.", _RESTORE, USAGE) from error
    if stage not in names:
        message = f"There is no stage {stage!r} in .chalice/config.json."
        raise Problem(message, f"Its stages are: {', '.join(names)}.", USAGE)
    wrong = [reason for place, part in _parts(content, stage) for reason in _wrong(place, part)]
    if wrong:
        advice = "Correct these lines. Chalice's documentation of config.json describes them."
        raise Problem(f"In {file}: {'; '.join(wrong)}.", advice, USAGE)
    if losses := _losses(content, stage):
        raise Problem(f"{file} has lost lines: {'; '.join(losses)}.", _RESTORE, USAGE)
    return content


def resembling(names: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Return the names that are not known, each with the known one that it resembles in any case.

    Names that resemble none are left out, since they may be meant for something else.
    """
    lower = {one.lower(): one for one in known}
    found = {}
    for name in sorted(set(names) - set(known)):
        for meant in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=_LIKENESS):
            found[name] = lower[meant]
    return found


def _parts(content: Mapping[str, Any], stage: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts that may have Chalice's lines, each with its place in the file."""
    for place, part in (("", content), (f"stages.{stage}.", content["stages"][stage])):
        yield place, part
        functions = part.get("lambda_functions") if isinstance(part, dict) else None
        if isinstance(functions, dict):
            for name, function in functions.items():
                yield f"{place}lambda_functions.{name}.", function


def _wrong(place: str, part: Any) -> Iterator[str]:
    """Yield what is wrong with the lines of a part."""
    if not isinstance(part, dict):
        yield f"{place[:-1]} must be {_OBJECT[0]}"
        return
    for name, (words, is_right) in _RULES.items():
        # Chalice takes null for a line that is missing, but fails for this one.
        is_given = name in part and (part[name] is not None or name == "lambda_functions")
        if is_given and not is_right(part[name]):
            yield f"{place}{name} must be {words}"
    for name, meant in resembling(part, _NAMES).items():
        yield f"Chalice does not know {place}{name}: write {meant}"
    functions = part.get("lambda_functions")
    named = functions if isinstance(functions, dict) else {}
    for name, meant in resembling(named, FUNCTIONS).items():
        yield f"there is no function {place}lambda_functions.{name}: write {meant}"


def _losses(content: dict[str, Any], stage: str) -> list[str]:
    """Return which lines are missing without which Chalice deploys, but not the broker."""
    config: Any = Config(chalice_stage=stage, config_from_disk=content)
    losses = []
    if content.get("version") != "2.0":
        losses.append('"version" must be "2.0"')
    if not config.app_name:
        losses.append(
            '"app_name" must be "sync-upload-broker", or the functions would be called'
            f" None-{stage}"
        )
    for function in FUNCTIONS:
        scope = config.scope(stage, function)
        if not scope.manage_iam_role and not scope.iam_role_arn:
            losses.append('"iam_role_arn" must be set if "manage_iam_role" is false')
        if scope.manage_iam_role and scope.autogen_policy is not False:  # Chalice's default is true
            losses.append('"autogen_policy" must be false, or the roles would lack permissions')
    return list(dict.fromkeys(losses))
