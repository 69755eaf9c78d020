"""`python -m ops`: set up, check and remove a stage, settle an upload, and find out about Sync."""

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import errors, log, urls
from chalicelib.core.clock import Clock
from ops import deployment, destroy, doctor, origins, provision, record, secret_input, settle
from ops import stage as stages
from ops.account import Account, explain
from ops.checks.findings import Target
from ops.probing import journal
from ops.stage import Stage
from ops.terminal import FINE, UNREACHABLE, USAGE, WRONG, Problem, Terminal

_CODES = """exit codes:
  0  success
  1  something is wrong
  2  usage: an argument, the configuration or the input is not valid
  3  AWS or Sync can't be reached or denies access: nothing wrong was found, but the command
     could not do or check everything
  130  interrupted by Ctrl-C
"""
_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
Commands: TypeAlias = Any  # argparse gives the class no public name


@dataclass(frozen=True)
class Call:
    """The arguments of a command, and what it works with."""

    arguments: argparse.Namespace
    terminal: Terminal
    stdin: TextIO
    open_account: Callable[[str | None], Account]

    @cached_property
    def stage(self) -> Stage:
        """The stage that the operator named.

        Raises:
            Problem: The configuration can't be read, or has no such stage.
        """
        return stages.read(self.arguments.project_dir, self.arguments.stage)

    @cached_property
    def account(self) -> Account:
        """The AWS account."""
        return self.open_account(self.arguments.profile)


def _provision(call: Call) -> int:
    given = call.arguments
    options = provision.Options(
        is_dry=given.dry_run,
        replaces_secrets=given.replace_secrets,
        leaves_table=given.secrets_only,
        is_deployed_elsewhere=given.deployed_elsewhere,
    )
    how = secret_input.from_pipe if given.secrets_from_stdin else secret_input.from_terminal
    ask = partial(how, call.terminal, may_keep=given.replace_secrets, stdin=call.stdin)
    steps = provision.run(call.stage, call.account, call.terminal, options, ask)
    document = provision.to_document("provision", call.stage, steps, is_dry=given.dry_run)
    call.terminal.result(provision.to_lines(steps), document)
    return FINE


def _compile(call: Call) -> int:
    folder = call.arguments.project_dir
    if not (folder / "app.py").exists():
        message = f"There is no app.py in {folder}, so nothing would be deployed from there."
        raise Problem(message, "Run this in the project's folder, or use --project-dir.", USAGE)
    step = provision.compile_bytecode(folder, call.terminal)
    document = {"command": "compile", "steps": [asdict(step)]}
    call.terminal.result(provision.to_lines([step]), document)
    return FINE


def _doctor(call: Call) -> int:
    given = call.arguments
    target = Target(call.stage, call.account, call.terminal, url=given.url)
    more = [_behavior(given.behavior)] if given.behavior else []
    found = doctor.run(target, given.stack, may_presign=not given.no_presign, more=more)
    call.terminal.result(doctor.to_lines(found), doctor.to_document(target, found))
    return doctor.exit_code(found)


def _behavior(file: Path) -> doctor.Check:
    # As for `probe`: only this check needs the sandbox's folder.
    from ops import probe  # noqa: PLC0415 - as above
    from ops.checks import behavior  # noqa: PLC0415 - as above

    check = partial(behavior.compare, file=file, behavior=probe.read_behavior(file))
    return doctor.Check(behavior.CHECK, check, needs_aws=False)


def _record(call: Call) -> int:
    given = call.arguments
    steps = record.run(call.stage, call.account, given.api_id, is_dry=given.dry_run)
    document = provision.to_document("record", call.stage, steps, is_dry=given.dry_run)
    call.terminal.result(provision.to_lines(steps), document)
    return FINE


def _destroy(call: Call) -> int:
    given = call.arguments
    options = destroy.Options(
        is_dry=given.dry_run,
        table=given.table,
        deletes_table=given.delete_table,
        confirmed=given.yes_delete_the_table,
        stack=given.stack,
        deletes_logs=given.delete_logs,
    )
    steps = destroy.run(call.stage, call.account, call.terminal, options, call.stdin)
    document = provision.to_document("destroy", call.stage, steps, is_dry=given.dry_run)
    call.terminal.result(provision.to_lines(steps), document)
    return FINE


def _settle(call: Call) -> int:
    given = call.arguments
    environment = call.stage.environment
    if given.stack:
        environment = deployment.from_stack(call.stage, call.account, given.stack).environment
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
        call.terminal.progress("Searching Sync's assets ...")
        found = one.matches(upload)
    call.terminal.result(
        settle.to_lines(upload, found, outcome), settle.to_document(upload, found, outcome)
    )
    return FINE


def _probe(call: Call) -> int:
    # The other commands work in a folder without the sandbox, whose behaviours this one imports.
    from ops import probe  # noqa: PLC0415 - as above
    from ops.probing.steps import Options  # noqa: PLC0415 - as above

    given = call.arguments
    folder = given.out or given.project_dir / journal.FOLDER
    expected = probe.read_behavior(given.compare) if given.compare else None
    if given.dry_run:
        url = probe.base_url(call.stage.environment if given.stage else os.environ)
        call.terminal.result(probe.plan_lines(url, folder), probe.plan_document(url, folder))
        return FINE
    if given.stage:
        target = probe.from_stage(call.stage, call.account)
    else:
        target = probe.from_environment(os.environ)
    options = Options(given.origin or target.origin, given.project)
    made = probe.run(target, folder, call.terminal, Clock(), options, expected)
    call.terminal.result(probe.to_lines(made, folder), probe.to_document(made, folder))
    return probe.exit_code(made)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, which docs/deploy.md describes."""
    made = argparse.ArgumentParser(
        prog="python -m ops",
        description="Set up, check and remove a stage, settle an upload, and find out about Sync.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        *(_add_provision, _add_compile, _add_doctor, _add_record),
        *(_add_destroy, _add_settle, _add_probe),
    ):
        add(commands)
    return made


def _add_provision(commands: Commands) -> None:
    one = _command(
        commands,
        "provision",
        "create or update a stage's table and secrets",
        "Stores the secrets in SSM, and creates or updates the table with a separate CloudFormation"
        " stack. The command is idempotent: it fixes what it can and reports the rest. Repeat it"
        " after an interruption.",
    )
    one.add_argument(
        "--dry-run", action="store_true", help="report what would change; change nothing"
    )
    one.add_argument(
        "--replace-secrets",
        action="store_true",
        help="ask for stored secrets again, to rotate them",
    )
    one.add_argument(
        "--secrets-from-stdin",
        action="store_true",
        help="read SYNC_API_KEY=... and JWT_SECRET=... from a pipe, one on each line",
    )
    one.add_argument(
        "--secrets-only", action="store_true", help="store the secrets; do not change the table"
    )
    one.add_argument(
        "--deployed-elsewhere",
        action="store_true",
        help="Terraform deploys the stage, so this folder has no record of it",
    )


def _add_compile(commands: Commands) -> None:
    _command(
        commands,
        "compile",
        "compile what is deployed, for shorter cold starts",
        "Compiles the modules that Chalice ships, as `provision` does too. Run it after a change of"
        " the code, before the next deployment. It needs no account.",
        needs_account=False,
    )


def _add_doctor(commands: Commands) -> None:
    one = _command(
        commands,
        "doctor",
        "check a stage, and advise how to fix it",
        "Checks the settings, account, clocks, table, secrets, roles, functions and API, Sync and"
        " its storage. It makes one presign, which counts against the rate limit, and changes"
        " nothing else. With --behavior it also compares the settings with what `probe` saw.",
    )
    one.add_argument(
        "--stack", metavar="NAME", help="the CloudFormation stack, if it was deployed as one"
    )
    one.add_argument("--url", type=_url, help="the API's URL, if it has your own domain")
    one.add_argument("--no-presign", action="store_true", help="do not check storage")
    one.add_argument(
        "--behavior",
        metavar="FILE",
        type=Path,
        help="compare the settings and Sync with this behavior.json of a probe",
    )


def _url(given: str) -> str:
    try:
        return urls.base_url(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{given!r} must be {error}") from error


def _origin(given: str) -> str:
    advice = origins.advice(given)
    if advice or not given.strip() or "," in given or given == "*":
        raise argparse.ArgumentTypeError(
            f"{given!r} is not an origin. {advice or 'Write one origin.'}"
        )
    return given


def _add_record(commands: Commands) -> None:
    one = _command(
        commands,
        "record",
        "write a stage's lost record in .chalice/deployed again",
        "Finds what `chalice deploy` has deployed by its names, and writes Chalice's record of it,"
        " so that this folder can update and delete the stage. It changes nothing at AWS.",
    )
    one.add_argument(
        "--dry-run", action="store_true", help="report what would be written; write nothing"
    )
    one.add_argument("--api-id", metavar="ID", help="the API, if several may call the function")


def _add_destroy(commands: Commands) -> None:
    one = _command(
        commands,
        "destroy",
        "remove a stage's secrets, and its table if you confirm it",
        "Run `chalice delete` first. Only the table records who owns which asset. It is deleted"
        " only if you confirm it: with --delete-table, which asks for its name, or with"
        " --yes-delete-the-table.",
    )
    one.add_argument(
        "--dry-run", action="store_true", help="report what would change; change nothing"
    )
    one.add_argument(
        "--delete-table", action="store_true", help="also delete the table, after asking"
    )
    one.add_argument(
        "--yes-delete-the-table", metavar="NAME", help="also delete this table, without asking"
    )
    one.add_argument("--table", metavar="NAME", help="the table, if it is not UPLOADS_TABLE")
    one.add_argument(
        "--stack", metavar="NAME", help="a CloudFormation stack that must be deleted already"
    )
    one.add_argument(
        "--delete-logs",
        action="store_true",
        help="also delete the functions' and gateway's log groups",
    )


def _add_settle(commands: Commands) -> None:
    one = _command(
        commands,
        "settle",
        "settle an upload whose outcome is unknown",
        "Shows an upload that the log reports as `outcome_undecided` (docs/architecture.md), and"
        " the assets at Sync that may belong to it. With --asset or --failed it settles the upload,"
        " with the same writes as the broker.",
    )
    one.add_argument("upload_id", metavar="UPLOAD_ID")
    ends = one.add_mutually_exclusive_group()
    ends.add_argument("--asset", metavar="ID", help="this asset at Sync belongs to the upload")
    ends.add_argument(
        "--failed", action="store_true", help="the upload has no asset, so it has failed"
    )
    one.add_argument(
        "--stack", metavar="NAME", help="the CloudFormation stack, if it was deployed as one"
    )


def _add_probe(commands: Commands) -> None:
    one = _command(
        commands,
        "probe",
        "find out what Sync does where its documentation is silent",
        "Asks Sync with a few harmless calls that cost nothing, in less than two minutes, deletes"
        " what it has made, and writes a report and the behaviours for the sandbox. The key is that"
        " of --stage, or SYNC_API_KEY in the environment with SYNC_BASE_URL.",
        needs_stage=False,
    )
    one.add_argument("--dry-run", action="store_true", help="list what would be asked; ask nothing")
    one.add_argument(
        "--out", metavar="DIR", type=Path, help=f"the folder for the results ({journal.FOLDER})"
    )
    one.add_argument(
        "--compare", metavar="FILE", type=Path, help="report what differs from this behavior.json"
    )
    one.add_argument("--project", metavar="ID", help="a project at Sync to make an asset in")
    one.add_argument(
        "--origin", type=_origin, help="the origin of a page; by default the stage's first"
    )


def _command(  # noqa: PLR0913 - each argument is a fact about the command
    commands: Commands,
    name: str,
    words: str,
    more: str,
    *,
    needs_stage: bool = True,
    needs_account: bool = True,
) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(
        name,
        help=words,
        description=textwrap.fill(more, 78),
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if needs_account:
        one.add_argument("--stage", required=needs_stage, help="a stage in .chalice/config.json")
        one.add_argument("--profile", help="a profile in your AWS configuration")
    one.add_argument("--project-dir", default=".", type=Path, help="the project's folder")
    one.add_argument("--json", action="store_true", help="write only JSON to standard output")
    return one


_COMMANDS: dict[str, Callable[[Call], int]] = {
    "provision": _provision,
    "compile": _compile,
    "doctor": _doctor,
    "record": _record,
    "destroy": _destroy,
    "settle": _settle,
    "probe": _probe,
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
    log.configure("CRITICAL")  # the broker's log lines are meant for CloudWatch
    try:
        return _COMMANDS[given.command](Call(given, terminal, stdin, account))
    except Problem as problem:
        found = problem
    except (ClientError, BotoCoreError) as error:
        found = explain(error)
    except errors.BrokerError as error:
        advice = "Try again in a minute." if error.retryable else ""
        code = UNREACHABLE if error.retryable else WRONG
        found = Problem(f"{error.title}: {error.detail or error.code}", advice, code)
    except (KeyboardInterrupt, EOFError):
        terminal.progress("")  # end the line of an open question
        found = Problem("Interrupted.", "Run it again: it resumes where it stopped.", _INTERRUPTED)
    except BrokenPipeError:  # the reader of the result has gone, so nobody would read a message
        return WRONG
    except Exception as error:  # noqa: BLE001 - Python would print its text, unmasked
        terminal.progress(traceback.format_exc())
        found = Problem(
            f"Internal error: {type(error).__name__}.", "Please report the lines above."
        )
    terminal.failed(given.command, found)
    return found.code


if __name__ == "__main__":
    # Standard input is None if the shell has closed it.
    exit_code = main(sys.argv[1:], sys.stdout, sys.stderr, sys.stdin or io.StringIO())
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes again at its end, and would report the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(exit_code)
