"""Asks for secrets: at the terminal without echo, or in a pipe. Never in an argument or a file."""

import getpass
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from ops.parameters import Parameter
from ops.terminal import USAGE, Problem, Terminal

TRIES = 3
Answers = dict[str, str]  # secrets by their variables' names


def at_terminal(
    terminal: Terminal,
    wanted: Iterable[Parameter],
    *,
    may_keep: bool,
    stdin: TextIO = sys.stdin,
    ask: Callable[[str], str] = getpass.getpass,
) -> Answers:
    """Ask a person.

    Args:
        terminal: Where it is said what is wrong with an answer.
        wanted: What to ask for.
        may_keep: Whether an empty answer keeps what is there.
        stdin: Standard input, which must be a terminal.
        ask: Shows a question, and reads the answer without showing it.

    Raises:
        Problem: There is no terminal, or no answer that can be a secret.
    """
    if not stdin.isatty():
        raise Problem(
            "Secrets are asked for at a terminal, and standard input is none.",
            "Pipe them in, each as NAME=value on a line, and say --secrets-from-stdin.",
            USAGE,
        )
    keeps = "; empty to keep what is there" if may_keep else ""
    answers = {}
    for parameter in wanted:
        for number in range(TRIES):
            value = ask(f"Type {parameter.title} (not shown{keeps}): ")
            value = value.strip()
            terminal.hide(value)
            if may_keep and not value:
                break
            try:
                answers[parameter.variable] = parameter.check(value)
            except ValueError as error:
                terminal.progress(f"  It must be {error}.")
                if number == TRIES - 1:
                    raise Problem(f"No {parameter.variable} was given.", code=USAGE) from None
            else:
                break
    return answers


def in_pipe(
    terminal: Terminal, wanted: Iterable[Parameter], *, may_keep: bool, stdin: TextIO = sys.stdin
) -> Answers:
    """Read secrets, each as `NAME=value` on a line of its own.

    Args:
        terminal: From which they are hidden.
        wanted: Which of them are needed; the others are passed over.
        may_keep: Whether one that is not there keeps what is stored.
        stdin: Standard input.

    Raises:
        Problem: It is a terminal; a line is none of these; one is missing or can't be a secret.
    """
    if stdin.isatty():  # which would show what is typed
        advice = "Leave --secrets-from-stdin out, and they are asked for without being shown."
        raise Problem("Standard input is a terminal, no pipe.", advice, USAGE)
    given: Answers = {}
    for number, line in enumerate(stdin.read().splitlines(), start=1):
        name, is_there, value = line.partition("=")
        terminal.hide(value.strip())
        if line.strip() and (not is_there or name.strip() not in {"SYNC_API_KEY", "JWT_SECRET"}):
            # What the line says stays out of the message: it may be the secret itself.
            advice = "Write SYNC_API_KEY=... and JWT_SECRET=..., each on a line."
            raise Problem(f"Line {number} of standard input is no NAME=value.", advice, USAGE)
        given[name.strip()] = value.strip()
    answers = {}
    for parameter in wanted:
        if not given.get(parameter.variable):
            if may_keep:
                continue
            raise Problem(f"{parameter.variable} is not in standard input.", code=USAGE)
        try:
            answers[parameter.variable] = parameter.check(given[parameter.variable])
        except ValueError as error:
            message = f"{parameter.variable} in standard input is not valid: it must be {error}."
            raise Problem(message, code=USAGE) from None
    return answers
