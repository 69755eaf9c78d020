"""The composition root: settings become objects, once for each container.

The sandbox and the tests may put a broker of their own in place with `use`.
"""

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.auth.caller import CallerId, CallerIds
from chalicelib.auth.claims import Rules
from chalicelib.auth.keys import Keys, SharedSecret
from chalicelib.auth.open_mode import Everybody
from chalicelib.auth.tokens import Authenticator
from chalicelib.aws import clients, secrets
from chalicelib.aws.secrets import CachedSecret
from chalicelib.aws.table import Table
from chalicelib.core import log, settings
from chalicelib.core.errors import Misconfigured
from chalicelib.idempotency import IdempotencyRecords
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.store import QuotaStore
from chalicelib.ratelimit.limiter import Line
from chalicelib.ratelimit.policy import Budget
from chalicelib.ratelimit.registrations import RegistrationLimiter
from chalicelib.sweeper import Sweeper
from chalicelib.syncapi.client import SyncClient, Timeouts
from chalicelib.uploads.registration import ATTEMPT_SECONDS, Registration
from chalicelib.uploads.repository import UploadRepository
from chalicelib.uploads.service import UploadService

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Broker:
    """All that the routes need.

    Attributes:
        settings: What the operator set.
        limits: What every caller may do.
        authenticator: Tells who asks.
        caller_ids: Names who asks, by a secret of the table.
        lifecycle: The use cases.
        sweeper: Finishes what was left behind.
    """

    settings: settings.Settings
    limits: Limits
    authenticator: Authenticator | Everybody
    caller_ids: CallerIds
    lifecycle: UploadService
    sweeper: Sweeper

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token, as in the sandbox's open mode."""
        return self.settings.auth_mode == "open"


def build(
    environ: Mapping[str, str],
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - it is frozen
) -> Broker:
    """Make a broker.

    Args:
        environ: Environment variables.
        now: Milliseconds since 1970.
        timeouts: How long to wait for sync.

    Raises:
        Misconfigured: The settings are not complete, or contradict each other.
    """
    chosen, client = _load(environ)
    limits = Limits(
        max_upload_bytes=chosen.max_upload_bytes,
        content_types=chosen.allowed_content_types,
        project_ids=chosen.allowed_project_ids,
        max_open_uploads=chosen.max_open_uploads,
        uploads_per_day=chosen.uploads_per_day,
        bytes_per_day=chosen.bytes_per_day,
    )
    table = Table(client, chosen.uploads_table)
    store, quotas = UploadRepository(table), QuotaStore(table, now)
    caller_ids = CallerIds(table)
    upstream = SyncClient(chosen.sync_base_url, _api_key(chosen), timeouts)
    limiter = RegistrationLimiter(table, chosen.registrations_per_minute, now)
    registration = Registration(store, upstream, limiter, now, chosen.settle_seconds)
    return Broker(
        settings=chosen,
        limits=limits,
        authenticator=_authenticator(chosen, limits, caller_ids.of),
        caller_ids=caller_ids,
        lifecycle=UploadService(
            store,
            quotas,
            IdempotencyRecords(table, now),
            Line(table, Budget(chosen.presigns_per_minute, chosen.max_wait_seconds * 1000), now),
            upstream,
            registration,
            limiter,
            now,
            chosen.sync_storage_hosts,
            chosen.upload_window_seconds * 1000,
        ),
        sweeper=Sweeper(
            store,
            quotas,
            registration,
            now,
            chosen.sweep_registers_per_minute,
        ),
    )


def _load(environ: Mapping[str, str]) -> tuple[settings.Settings, "DynamoDBClient"]:
    """Read the broker's settings and AWS's own, so that one message tells all that is wrong."""
    problems = []
    try:
        chosen = settings.load(environ)
    except Misconfigured as error:
        problems.append(error.detail)
    try:
        client = clients.dynamodb()
    except Misconfigured as error:
        problems.append(error.detail)
    if problems:
        raise Misconfigured("; ".join(problems))
    return chosen, client


def _api_key(chosen: settings.Settings) -> CachedSecret:
    if chosen.sync_api_key_parameter:
        return secrets.parameter(clients.ssm, chosen.sync_api_key_parameter, settings.api_key)
    return secrets.fixed(chosen.sync_api_key or "")


def _authenticator(
    chosen: settings.Settings, limits: Limits, caller_id: CallerId
) -> Authenticator | Everybody:
    if chosen.auth_mode == "open":
        return Everybody(limits, caller_id)
    verifying: Keys
    if chosen.jwt_jwks_url:
        # Imported here: a broker with a shared secret fetches no keys.
        from chalicelib.auth.jwks import Jwks  # noqa: PLC0415 - as above

        verifying = Jwks(chosen.jwt_jwks_url)
    elif chosen.jwt_secret_parameter:
        name = chosen.jwt_secret_parameter
        verifying = SharedSecret(secrets.parameter(clients.ssm, name, settings.jwt_secret))
    else:
        verifying = SharedSecret(secrets.fixed(chosen.jwt_secret or ""))
    rules = Rules(
        issuer=chosen.jwt_issuer,
        audiences=chosen.jwt_audience,
        audience_claim=chosen.jwt_audience_claim,
        limits_claim=chosen.limits_claim,
    )
    return Authenticator(verifying, rules, limits, caller_id)


def sweep(milliseconds_left: int) -> None:
    """Run the sweep in a scheduled Lambda function, which must not be cut off in an attempt."""
    broker().sweeper.run(milliseconds_left / 1000 - ATTEMPT_SECONDS)


_broker: Broker | None = None
_trouble: str | None = None


def broker() -> Broker:
    """Return this container's broker.

    Raises:
        Misconfigured: There is none. The browser is not told why; the log is.
    """
    start(os.environ)
    if _broker is None:
        raise Misconfigured(
            "This service is not set up correctly. Tell those who run it.", retry_after=60
        )
    return _broker


def allowed_origins() -> tuple[str, ...]:
    """Return the origins that a browser may call from, whatever else is wrong with the settings."""
    start(os.environ)
    return _broker.settings.allowed_origins if _broker else settings.origins(os.environ)


def start(environ: Mapping[str, str]) -> str | None:
    """Make this container's broker if that has not been tried yet.

    Returns:
        What is wrong with the settings, or None.
    """
    global _broker, _trouble  # noqa: PLW0603 - one broker for each container is the point
    if _broker is None and _trouble is None:
        is_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environ
        table = environ.get("UPLOADS_TABLE") if is_lambda else None
        # What is wrong must be written, though it were the level itself.
        log.configure("INFO", table=table)
        gc.disable()  # as in app.py: what is made now stays
        try:
            _broker = build(environ)
        except Misconfigured as error:
            _trouble = error.detail
            log.event("misconfigured", level=40, problems=error.detail.split("; "))
        else:
            log.configure(_broker.settings.log_level, table=table)
            _broker.caller_ids.prepare()
        finally:
            gc.enable()
    return _trouble


def greet() -> None:
    """Tell somebody who ran plain `chalice local` what to set.

    Chalice's other commands load the app too, without the stage's settings: they say nothing.
    """
    if "AWS_CHALICE_CLI_MODE" in os.environ and "local" in sys.argv:
        try:
            build(os.environ)
        except Misconfigured as error:
            lines = ["The broker is not configured, so it answers every request with 503."]
            lines += [f"  - {problem}" for problem in error.detail.split("; ")]
            lines += ["Set these, or use `make run`, which needs no account and no key."]
            print("\n".join(lines), file=sys.stderr)  # noqa: T201 - a person at a terminal


def use(replacement: Broker | None) -> None:
    """Put a broker in place; None makes the next request build one from the environment."""
    global _broker, _trouble
    _broker, _trouble = replacement, None
