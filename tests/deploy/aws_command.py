"""The part of the AWS command line that the runbook uses, based on boto3's service models.

It replaces the real one, whose package pins another boto3. As in the real one, an unknown operation
or option, or a value of the wrong type, is an error.
"""

import json
import sys
from typing import Any

import boto3
import jmespath
from botocore import xform_name


def value(shape: Any, words: list[str]) -> Any:
    """Return the value of an option, converted to its shape."""
    if shape.type_name in {"list", "structure"} and words[0].startswith(("[", "{")):
        return json.loads(words[0])
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
    if shape.type_name in {"integer", "long", "boolean"}:
        return json.loads(word)
    return word


def options(members: Any, words: list[str]) -> dict[str, Any]:
    """Return the values of all options; a flag has no words."""
    known = {"--" + xform_name(name, "-"): name for name in members}
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            given[known[word]] = []
        else:
            given[list(given)[-1]].append(word)
    return {name: value(members[name], found) if found else True for name, found in given.items()}


def as_text(found: Any) -> str:
    """Return a value as `--output text` prints it: rows as lines, and tabs between cells."""
    if not isinstance(found, list):
        return str(found)
    rows = [one if isinstance(one, list) else [one] for one in found]
    return "\n".join("\t".join(map(str, row)) for row in rows)


def main() -> None:
    """Run one command."""
    service, operation, *words = sys.argv[1:]
    query = ""
    if "--query" in words:
        at = words.index("--query")
        query = words[at + 1]
        assert words[at + 2 :] == ["--output", "text"]
        words = words[:at]
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
    response = getattr(client, method)(**options(model.input_shape.members, words))
    response.pop("ResponseMetadata")
    if query:
        print(as_text(jmespath.search(query, response)))  # noqa: T201 - the command's output
        return
    print(json.dumps(response, default=str))  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
