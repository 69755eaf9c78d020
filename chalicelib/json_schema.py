"""As much of JSON Schema (2020-12) as the schemas of requests use. Pure.

The library `jsonschema` knows all of it, and takes a fifth of a cold start and a megabyte of the
deployed zip, with a compiled part for each architecture. The tests hold this module against it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

_ANNOTATIONS = frozenset({"$schema", "title", "description", "examples"})


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold.

    Attributes:
        path: The members that lead to what is wrong.
        keyword: The rule's keyword.
        rule: What the schema says there.
        instance: What is wrong.
        schema: The schema that the rule stands in.
    """

    path: tuple[str, ...]
    keyword: str
    rule: Any
    instance: Any
    schema: Mapping[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
    # 5.0 is an integer too: JSON has one kind of number.
    "integer": lambda value: _is_number(value) and value == value // 1,
}
_pattern = cache(re.compile)
# Each holds for whatever it does not speak of, as the specification has it.
_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda rule, value: _TYPES[rule](value),
    "enum": lambda rule, value: value in rule,
    "minLength": lambda rule, value: not isinstance(value, str) or len(value) >= rule,
    "maxLength": lambda rule, value: not isinstance(value, str) or len(value) <= rule,
    "pattern": lambda rule, value: (
        not isinstance(value, str) or _pattern(rule).search(value) is not None
    ),
    "minimum": lambda rule, value: not _is_number(value) or value >= rule,
    "maximum": lambda rule, value: not _is_number(value) or value <= rule,
    "required": lambda rule, value: not isinstance(value, dict) or set(rule) <= set(value),
}


def violations(
    schema: Mapping[str, Any], instance: Any, path: tuple[str, ...] = ()
) -> Iterator[Violation]:
    """Find all that is wrong, in the order of the schema.

    Raises:
        NotImplementedError: The schema uses a keyword that is not known here.
    """
    for keyword, rule in schema.items():
        if keyword == "properties":
            present = [name for name in rule if isinstance(instance, dict) and name in instance]
            for name in present:
                yield from violations(rule[name], instance[name], (*path, name))
        elif keyword not in _ANNOTATIONS and not _holds(keyword, rule, instance, schema):
            yield Violation(path, keyword, rule, instance, schema)


def _holds(keyword: str, rule: Any, instance: Any, schema: Mapping[str, Any]) -> bool:
    if keyword == "additionalProperties":
        # Only ever the value false: whatever is not named is wrong.
        return not isinstance(instance, dict) or set(instance) <= set(schema["properties"])
    if keyword not in _HOLDS:
        raise NotImplementedError(keyword)
    return _HOLDS[keyword](rule, instance)
