"""The AWS command line, as far as the runbook uses it: each option is looked up in AWS's own model.

It stands in for the real one, whose package pins another boto3. An unknown operation or option, or
a value of a wrong type, is an error, as there.
"""

import json
import sys
from typing import Any

import boto3
from botocore import xform_name


def value(shape: Any, words: list[str]) -> Any:
    """Read an option's words as its shape has them."""
    if shape.type_name == "list":
        return [value(shape.member, [word]) for word in words]
    (word,) = words
    if shape.type_name == "map":
        return json.loads(word)
    if shape.type_name == "structure":
        pairs = dict(pair.split("=", 1) for pair in word.split(","))
        names = {name.lower(): name for name in shape.members}
        return {
            names[name.lower()]: value(shape.members[names[name.lower()]], [one])
            for name, one in pairs.items()
        }
    if shape.type_name in {"integer", "long"}:
        return int(word)
    return word


def options(members: Any, words: list[str]) -> dict[str, Any]:
    """Read all options; a flag has no word."""
    known = {"--" + xform_name(name, "-"): name for name in members}
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            given[known[word]] = []
        else:
            given[list(given)[-1]].append(word)
    return {name: value(members[name], found) if found else True for name, found in given.items()}


def main() -> None:
    """Run one command."""
    service, operation, *words = sys.argv[1:]
    client = boto3.client(service)
    if operation == "wait":
        waiter, *words = words
        one = client.get_waiter(waiter.replace("-", "_"))
        name = one.config.operation
        one.wait(
            **options(client.meta.service_model.operation_model(name).input_shape.members, words)
        )
        return
    method = operation.replace("-", "_")
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    answer = getattr(client, method)(**options(model.input_shape.members, words))
    answer.pop("ResponseMetadata")
    print(json.dumps(answer, default=str))  # noqa: T201 - as the real one does


if __name__ == "__main__":
    main()
