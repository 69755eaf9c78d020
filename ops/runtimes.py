"""The ends of Lambda's Python runtimes.

Source: AWS's table of Lambda runtimes, https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html,
read on 2026-11-28; for `python3.14` https://endoflife.date/aws-lambda. AWS moves these dates at
times.
"""

from dataclasses import dataclass
from datetime import date, timedelta

WARNING_TIME = timedelta(days=183)  # six months
ADVISED = "3.13"


@dataclass(frozen=True)
class Runtime:
    """A runtime.

    Attributes:
        deprecated: From then on AWS repairs nothing in it.
        frozen: From then on AWS refuses to update functions that use it.
        system: The operating system.
    """

    deprecated: date
    frozen: date
    system: str


RUNTIMES = {
    "python3.11": Runtime(date(2027, 6, 30), date(2027, 8, 31), "Amazon Linux 2"),
    "python3.12": Runtime(date(2028, 10, 31), date(2029, 1, 10), "Amazon Linux 2023"),
    "python3.13": Runtime(date(2029, 6, 30), date(2029, 8, 31), "Amazon Linux 2023"),
    "python3.14": Runtime(date(2029, 6, 30), date(2029, 8, 31), "Amazon Linux 2023"),
}


def describe(name: str) -> str:
    """Return a runtime's name and its end, if that is known."""
    found = RUNTIMES.get(name)
    if found is None:
        return f"{name}, whose end this version of the broker does not know"
    return f"{name} on {found.system}, until {found.deprecated}"


def is_frozen(name: str, today: date) -> bool:
    """Whether AWS refuses to update functions that use a runtime."""
    return name in RUNTIMES and today >= RUNTIMES[name].frozen


def ends_soon(name: str, today: date) -> bool:
    """Whether a runtime ends within six months, or has ended."""
    return name in RUNTIMES and today >= RUNTIMES[name].deprecated - WARNING_TIME
