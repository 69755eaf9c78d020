"""Secrets from the operator: typed at a terminal without echo, or read from a pipe.

They are never arguments, which other users of the machine can see, and never written to a file.
"""

import getpass
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from ops.parameters import Parameter
from ops.terminal import USAGE, Problem, Terminal

TRIES = 3
Secrets = dict[str, str]  # by the names of their variables


def from_terminal(
    terminal: Terminal,
    wanted: Iterable[Parameter],
    *,
    may_keep: bool,
    stdin: TextIO = sys.stdin,
    ask: Callable[[str], str] = getpass.getpass,
) -> Secrets:
    """Ask the operator for secrets.

    Args:
        terminal: Reports why an input is not valid.
        wanted: The parameters whose secrets are needed.
        may_keep: Whether an empty input keeps the stored secret.
        stdin: Standard input, which must be a terminal.
        ask: Shows a question, and reads a line without echo.

    Raises:
        Problem: There is no terminal, or no input was valid.
    """
    if not stdin.isatty():
        raise Problem(
            "Standard input is not a terminal, so the command can't ask for the secrets.",
            "Pipe them in, one NAME=value on each line, and add --secrets-from-stdin.",
            USAGE,
        )
    keeps = "; leave it empty to keep the stored one" if may_keep else ""
    secrets = {}
    for parameter in wanted:
        for number in range(TRIES):
            value = ask(f"Type {parameter.title} (not shown{keeps}): ")
            value = value.strip()
            terminal.hide(value)
            if may_keep and not value:
                break
            try:
                secrets[parameter.variable] = parameter.check(value)
            except ValueError as error:
                terminal.progress(f"  It must be {error}.")
                if number == TRIES - 1:
                    message = f"You entered no valid {parameter.variable}."
                    raise Problem(message, code=USAGE) from None
            else:
                break
    return secrets


def from_pipe(
    terminal: Terminal, wanted: Iterable[Parameter], *, may_keep: bool, stdin: TextIO = sys.stdin
) -> Secrets:
    """Read secrets, one `NAME=value` on each line.

    Args:
        terminal: Masks them from now on.
        wanted: The parameters whose secrets are needed; others are ignored.
        may_keep: Whether a missing secret keeps the stored one.
        stdin: Standard input.

    Raises:
        Problem: Standard input is a terminal, a line has another form, or a secret is missing or
            not valid.
    """
    if stdin.isatty():  # a terminal would show what is typed
        advice = "Leave out --secrets-from-stdin: the command then asks for them without echo."
        raise Problem("Standard input is a terminal, not a pipe.", advice, USAGE)
    given: Secrets = {}
    for number, line in enumerate(stdin.read().splitlines(), start=1):
        name, separator, value = line.partition("=")
        terminal.hide(value.strip())
        if line.strip() and (not separator or name.strip() not in {"SYNC_API_KEY", "JWT_SECRET"}):
            # The message does not quote the line, which may be the secret itself.
            advice = "Write SYNC_API_KEY=... and JWT_SECRET=..., one on each line."
            message = f"Line {number} of standard input is not NAME=value."
            raise Problem(message, advice, USAGE)
        given[name.strip()] = value.strip()
    secrets = {}
    for parameter in wanted:
        if not given.get(parameter.variable):
            if may_keep:
                continue
            raise Problem(f"{parameter.variable} is not in standard input.", code=USAGE)
        try:
            secrets[parameter.variable] = parameter.check(given[parameter.variable])
        except ValueError as error:
            message = f"{parameter.variable} in standard input is not valid: it must be {error}."
            raise Problem(message, code=USAGE) from None
    return secrets
