"""`python -m ops`: what an operator does before, after and beside `chalice deploy`."""

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import errors, log
from chalicelib.core.clock import Clock
from ops import asking, deployment, destroy, doctor, provision, settle
from ops import stage as stages
from ops.account import Account, explain
from ops.checks.findings import Patient
from ops.stage import Stage
from ops.terminal import FINE, UNREACHABLE, WRONG, Problem, Terminal

_CODES = """exit codes:
  0  fine
  1  something is wrong
  2  usage: an argument, the configuration, or what was typed
  3  AWS or Sync can't be reached or denies access: nothing was found wrong, but not
     everything was done or checked
  130  interrupted by Ctrl-C
"""
_INTERRUPTED = 130  # as shells say it
Commands: TypeAlias = Any  # argparse gives the class no public name


@dataclass(frozen=True)
class Call:
    """What a command gets."""

    arguments: argparse.Namespace
    stage: Stage
    account: Account
    terminal: Terminal
    stdin: TextIO


def _provision(call: Call) -> int:
    given = call.arguments
    orders = provision.Orders(
        is_dry=given.dry_run,
        replaces_secrets=given.replace_secrets,
        leaves_table=given.secrets_only,
    )
    how = asking.in_pipe if given.secrets_from_stdin else asking.at_terminal
    ask = partial(how, call.terminal, may_keep=given.replace_secrets, stdin=call.stdin)
    steps = provision.run(call.stage, call.account, call.terminal, orders, ask)
    document = provision.document("provision", call.stage, steps, is_dry=given.dry_run)
    call.terminal.result(provision.told(steps), document)
    return FINE


def _doctor(call: Call) -> int:
    given = call.arguments
    patient = Patient(call.stage, call.account, call.terminal, url=given.url)
    found = doctor.run(patient, given.stack, may_presign=not given.no_presign)
    call.terminal.result(doctor.told(found), doctor.document(patient, found))
    return doctor.exit_code(found)


def _destroy(call: Call) -> int:
    given = call.arguments
    orders = destroy.Orders(
        is_dry=given.dry_run,
        table=given.table,
        deletes_table=given.delete_table,
        confirmed=given.yes_delete_the_table,
        stack=given.stack,
    )
    steps = destroy.run(call.stage, call.account, call.terminal, orders, call.stdin)
    document = provision.document("destroy", call.stage, steps, is_dry=given.dry_run)
    call.terminal.result(provision.told(steps), document)
    return FINE


def _settle(call: Call) -> int:
    given = call.arguments
    environment = call.stage.environment
    if given.stack:
        environment = deployment.stack(call.stage, call.account, given.stack).environment
    one = settle.settler(environment, call.account, call.terminal, Clock())
    upload = one.read(given.upload_id)
    outcome, found = None, []
    if given.asset:
        one.register(upload, given.asset)
        outcome = "registered"
    elif given.failed:
        one.fail(upload)
        outcome = "failed"
    else:
        call.terminal.progress("Looking through sync.'s assets ...")
        found = one.candidates(upload)
    call.terminal.result(
        settle.told(upload, found, outcome), settle.document(upload, found, outcome)
    )
    return FINE


def parser() -> argparse.ArgumentParser:
    """Make the command line; `docs/deploy.md` says when to use what."""
    made = argparse.ArgumentParser(
        prog="python -m ops",
        description="Sets a stage up, checks it, and removes it.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_provision, _add_doctor, _add_destroy, _add_settle):
        add(commands)
    return made


def _add_provision(commands: Commands) -> None:
    one = _command(
        commands,
        "provision",
        "create or update a stage's table and secrets",
        "Stores the secrets in SSM, and creates or updates the table, by a CloudFormation stack of"
        " its own. The command is idempotent: it fixes what it can and reports the rest. Repeat it"
        " after it was interrupted.",
    )
    one.add_argument("--dry-run", action="store_true", help="say what would be done; write nothing")
    one.add_argument(
        "--replace-secrets", action="store_true", help="ask for stored secrets again, to rotate"
    )
    one.add_argument(
        "--secrets-from-stdin",
        action="store_true",
        help="read them from a pipe, as SYNC_API_KEY=... and JWT_SECRET=..., each on a line",
    )
    one.add_argument(
        "--secrets-only", action="store_true", help="store the secrets, and leave the table alone"
    )


def _add_doctor(commands: Commands) -> None:
    one = _command(
        commands,
        "doctor",
        "check everything, and say what to do about what is wrong",
        "Checks settings, account, clocks, table, secrets, roles, functions, API, sync. and its"
        " storage. Changes nothing but the line for presigns, of which it makes one.",
    )
    one.add_argument("--stack", metavar="NAME", help="it was deployed as this CloudFormation stack")
    one.add_argument(
        "--url", type=_address, help="where the API is, if not where AWS says: your own domain"
    )
    one.add_argument("--no-presign", action="store_true", help="leave storage unchecked")


def _address(given: str) -> str:
    if not given.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError(f"{given!r} does not begin with https://")
    return given.rstrip("/")


def _add_destroy(commands: Commands) -> None:
    one = _command(
        commands,
        "destroy",
        "remove a stage's secrets, and its table if told twice",
        "Run `chalice delete` first. The table, which alone knows which asset is whose, stays"
        " unless told twice: by --delete-table and its name, typed, or by --yes-delete-the-table.",
    )
    one.add_argument("--dry-run", action="store_true", help="say what would be done; write nothing")
    one.add_argument("--delete-table", action="store_true", help="the table too; asks for its name")
    one.add_argument("--yes-delete-the-table", metavar="NAME", help="the table too, without asking")
    one.add_argument("--table", metavar="NAME", help="the table, if not UPLOADS_TABLE")
    one.add_argument("--stack", metavar="NAME", help="the CloudFormation stack that must be gone")


def _add_settle(commands: Commands) -> None:
    one = _command(
        commands,
        "settle",
        "decide about an upload whose outcome is unknown",
        "Shows what is known of an upload that is `outcome_undecided` (docs/architecture.md), and"
        " which assets at sync. may be its own. Then decides, by the broker's own writes.",
    )
    one.add_argument("upload_id", metavar="UPLOAD_ID")
    ends = one.add_mutually_exclusive_group()
    ends.add_argument("--asset", metavar="ID", help="this asset at sync. is the upload's")
    ends.add_argument("--failed", action="store_true", help="there is none; the upload has failed")
    one.add_argument("--stack", metavar="NAME", help="it was deployed as this CloudFormation stack")


def _command(commands: Commands, name: str, words: str, more: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(
        name,
        help=words,
        description=textwrap.fill(more, 78),
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--stage", required=True, help="the stage of .chalice/config.json")
    one.add_argument("--project-dir", default=".", type=Path, help="the project's folder")
    one.add_argument("--profile", help="a profile of AWS's own configuration")
    one.add_argument("--json", action="store_true", help="JSON on standard output, nothing else")
    return one


_COMMANDS: dict[str, Callable[[Call], int]] = {
    "provision": _provision,
    "doctor": _doctor,
    "destroy": _destroy,
    "settle": _settle,
}


def main(
    arguments: Sequence[str],
    out: TextIO,
    err: TextIO,
    stdin: TextIO,
    account: Callable[[str | None], Account] = Account,
) -> int:
    """Run a command, and return its exit code."""
    given = parser().parse_args(arguments)
    terminal = Terminal(out, err, as_json=given.json)
    log.configure("CRITICAL")  # the broker's own lines are for CloudWatch
    try:
        stage = stages.read(given.project_dir, given.stage)
        call = Call(given, stage, account(given.profile), terminal, stdin)
        return _COMMANDS[given.command](call)
    except Problem as problem:
        found = problem
    except (ClientError, BotoCoreError) as error:
        found = explain(error)
    except errors.BrokerError as error:
        advice = "Try again in a minute." if error.retryable else ""
        code = UNREACHABLE if error.retryable else WRONG
        found = Problem(f"{error.title}: {error.detail or error.code}", advice, code)
    except (KeyboardInterrupt, EOFError):
        terminal.progress("")  # behind a question
        found = Problem("Interrupted.", "Run it again: it goes on where it is.", _INTERRUPTED)
    except BrokenPipeError:  # whoever read the result has gone, so nobody can be told more
        return WRONG
    except Exception as error:  # noqa: BLE001 - Python would show its text, which may hold a secret
        terminal.progress(traceback.format_exc())
        found = Problem(f"A defect: {type(error).__name__}.", "Please report the lines above.")
    terminal.failed(given.command, found)
    return found.code


if __name__ == "__main__":
    # A shell may have closed standard input; a result that nobody reads is dropped at the end too.
    ended = main(sys.argv[1:], sys.stdout, sys.stderr, sys.stdin or io.StringIO())
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ended)
