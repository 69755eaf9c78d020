"""The composition root: settings become one broker for each container.

The sandbox and the tests may install a broker of their own with `use`.
"""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.auth import open_mode
from chalicelib.auth.caller import Caller, CallerIds
from chalicelib.auth.claims import Rules
from chalicelib.auth.keys import Keys, SharedSecret
from chalicelib.auth.open_mode import Everybody
from chalicelib.auth.tokens import Authenticator
from chalicelib.aws import clients, secrets
from chalicelib.aws.due_index import DueIndex
from chalicelib.aws.secrets import CachedSecret, Parameters
from chalicelib.aws.table import Table
from chalicelib.core import errors, log, settings
from chalicelib.core.clock import MINUTE, Clock
from chalicelib.core.errors import Misconfigured
from chalicelib.core.settings import Settings
from chalicelib.idempotency import IdempotencyRecords
from chalicelib.jobs.sweeper import Sweeper
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.store import QuotaStore
from chalicelib.ratelimit.limiter import RateLimiter
from chalicelib.syncapi.client import SyncClient, Timeouts
from chalicelib.uploads.items import FILE_SHARDS, URL_SHARD
from chalicelib.uploads.recovery import KIND, UploadRecovery
from chalicelib.uploads.registration import ATTEMPT_SECONDS, Registration
from chalicelib.uploads.repository import UploadRepository
from chalicelib.uploads.service import UploadService
from chalicelib.web.router import Host

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

API_HANDLER = "app.app"  # Chalice's name of the function that serves requests
PREPARE_SECONDS = 7.0  # for which a container's start waits for its preparation
# A public URL may occupy a worker of the sweep until its time-out, so no file waits behind one.
SHARDS = (FILE_SHARDS, (URL_SHARD,))


@dataclass(frozen=True)
class Broker:
    """The parts of one container's broker.

    The routes and the jobs use them, except `idempotency`, `sync`, `repository`, `registration` and
    `due`: other parts are built from these, and only tests read them here.

    Attributes:
        settings: What the operator set.
        clock: The time.
        authenticator: Verifies who sends a request.
        caller_ids: Derives the ids of callers, with a secret of the table.
        quotas: What callers have used.
        idempotency: The records of `Idempotency-Key`.
        presigns: The rate limiter for presigns.
        sync: Sync's API.
        repository: The uploads' records.
        registration: Registers uploads.
        uploads: The use cases of uploads.
        due: The items that need work.
        sweeper: Finishes what no request finished.
    """

    settings: Settings
    clock: Clock
    authenticator: Authenticator | Everybody
    caller_ids: CallerIds
    quotas: QuotaStore
    idempotency: IdempotencyRecords
    presigns: RateLimiter
    sync: SyncClient
    repository: UploadRepository
    registration: Registration
    uploads: UploadService
    due: DueIndex
    sweeper: Sweeper

    def admit(self, headers: Mapping[str, str]) -> None:
        """Refuse a request of another site's page, where nobody needs a token.

        Raises:
            ForbiddenOrigin: The broker is open, and the request is not from an allowed origin.
        """
        if self.settings.auth_mode == "open":
            open_mode.refuse_foreign(headers, self.settings.allowed_origins)

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """Return who sent a request.

        Raises:
            Unauthorized: It has no valid token.
        """
        return self.authenticator.caller(headers.get("authorization"))

    def prepare(self) -> None:
        """Read the secrets and open the connections, so that the first request need not.

        What fails here is done by the first request.
        """
        for step in (self.authenticator.prepare, self.sync.prepare, self.caller_ids.prepare):
            try:
                step()
            except errors.BrokerError:
                pass  # The part has logged the reason.
            except Exception as error:  # noqa: BLE001 - the routes may work without it
                log.failure("unexpected", error)


def build(
    environ: Mapping[str, str],
    clock: Clock = Clock(),  # noqa: B008 - it has no state
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - it is frozen
) -> Broker:
    """Return a new broker.

    Args:
        environ: Environment variables.
        clock: The time.
        timeouts: How long to wait for Sync.

    Raises:
        Misconfigured: The settings are not complete, or contradict each other.
    """
    chosen, client = _load(environ)
    table = Table(client, chosen.uploads_table, clock)
    repository, quotas = UploadRepository(table), QuotaStore(table, clock)
    caller_ids, idempotency, due = (
        CallerIds(table),
        IdempotencyRecords(table, clock),
        DueIndex(table),
    )
    presigns = presign_limiter(table, clock, chosen)
    registrations = registration_limiter(table, clock, chosen)
    api_key, jwt_secret = _secrets(chosen, clock)
    sync = SyncClient(chosen.sync_base_url, api_key, clock, timeouts)
    registration = Registration(repository, sync, registrations, clock, chosen.settle_seconds)
    uploads = UploadService(
        repository,
        quotas,
        idempotency,
        presigns,
        sync,
        registration,
        registrations,
        clock,
        chosen.sync_storage_hosts,
        chosen.upload_window_seconds * 1000,
    )
    per_minute = chosen.sweep_registers_per_minute
    kinds = {KIND: UploadRecovery(repository, due, registration, clock, per_minute).task}
    return Broker(
        settings=chosen,
        clock=clock,
        authenticator=_authenticator(chosen, caller_ids, jwt_secret, clock),
        caller_ids=caller_ids,
        quotas=quotas,
        idempotency=idempotency,
        presigns=presigns,
        sync=sync,
        repository=repository,
        registration=registration,
        uploads=uploads,
        due=due,
        sweeper=Sweeper(due, kinds, SHARDS, quotas, clock, per_minute, lambda: not sync.responds()),
    )


def presign_limiter(table: Table, clock: Clock, chosen: Settings) -> RateLimiter:
    """Return the rate limiter for presigns, which the broker and the doctor share."""
    return RateLimiter(
        table,
        clock,
        "presigns",
        chosen.presigns_per_minute,
        MINUTE,
        busy="Many uploads are starting.",
        has_tickets=True,
    )


def registration_limiter(table: Table, clock: Clock, chosen: Settings) -> RateLimiter:
    """Return the rate limiter for all calls that register an asset, or look for one."""
    most, busy = chosen.registrations_per_minute, "Many files are being added."
    return RateLimiter(table, clock, "registrations", most, MINUTE, busy=busy)


def _load(environ: Mapping[str, str]) -> tuple[Settings, "DynamoDBClient"]:
    """Read the broker's settings and AWS's own, so that one message reports all that is wrong."""
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


def _secrets(chosen: Settings, clock: Clock) -> tuple[CachedSecret, CachedSecret | None]:
    """Return Sync's API key, and the secret of tokens if there is one."""
    key, jwt = chosen.sync_api_key_parameter, chosen.jwt_secret_parameter
    stored = Parameters(clients.ssm, [name for name in (key, jwt) if name], clock)
    api_key = (
        stored.secret(key, settings.api_key)
        if key
        else secrets.fixed(chosen.sync_api_key or "", clock)
    )
    if jwt:
        return api_key, stored.secret(jwt, settings.jwt_secret)
    return api_key, secrets.fixed(chosen.jwt_secret, clock) if chosen.jwt_secret else None


def _authenticator(
    chosen: Settings, caller_ids: CallerIds, jwt_secret: CachedSecret | None, clock: Clock
) -> Authenticator | Everybody:
    limits = Limits(
        max_upload_bytes=chosen.max_upload_bytes,
        content_types=chosen.allowed_content_types,
        project_ids=chosen.allowed_project_ids,
        max_open_uploads=chosen.max_open_uploads,
        uploads_per_day=chosen.uploads_per_day,
        bytes_per_day=chosen.bytes_per_day,
    )
    if chosen.auth_mode == "open":
        return Everybody(limits, caller_ids.of)
    verifying: Keys
    if jwt_secret is not None:
        verifying = SharedSecret(jwt_secret)
    else:
        # Imported here: a broker with a shared secret fetches no keys.
        from chalicelib.auth.jwks import Jwks  # noqa: PLC0415 - as above

        verifying = Jwks(chosen.jwt_jwks_url or "", clock)
    rules = Rules(
        issuer=chosen.jwt_issuer,
        audiences=chosen.jwt_audience,
        audience_claim=chosen.jwt_audience_claim,
        limits_claim=chosen.limits_claim,
    )
    return Authenticator(verifying, rules, limits, caller_ids.of, clock)


def sweep(milliseconds_left: int) -> None:
    """Run the sweep in a scheduled Lambda function, which must not be cut off in an attempt."""
    broker().sweeper.run(milliseconds_left / 1000 - ATTEMPT_SECONDS)


_broker: Broker | None = None
_trouble: str | None = None


def broker() -> Broker:
    """Return this container's broker.

    Raises:
        Misconfigured: The settings are wrong. The log has the reason, the response has not.
    """
    start(os.environ)
    if _broker is None:
        raise Misconfigured(retry_after=60)
    return _broker


def allowed_origins() -> tuple[str, ...]:
    """Return the origins that a browser may call from, whatever else is wrong with the settings."""
    start(os.environ)
    return _broker.settings.allowed_origins if _broker else settings.origins(os.environ)


HOST = Host(broker, allowed_origins, Broker.admit, Broker.authenticate)


def start(environ: Mapping[str, str]) -> str | None:
    """Build this container's broker if that has not been tried yet.

    Returns:
        What is wrong with the settings, or None.
    """
    global _broker, _trouble  # noqa: PLW0603 - one broker for each container is the point
    if _broker is None and _trouble is None:
        is_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environ
        table = environ.get("UPLOADS_TABLE") if is_lambda else None
        # Errors in the settings are logged even if one of them is the log's level.
        log.configure("INFO", table=table)
        try:
            _broker = build(environ)
        except Misconfigured as error:
            _trouble = error.detail
            log.event("misconfigured", level=40, problems=error.detail.split("; "))
        else:
            log.configure(_broker.settings.log_level, table=table)
    return _trouble


def warm() -> None:
    """Build and prepare the broker while Lambda starts a container that serves requests.

    Lambda gives the start a whole CPU, and a request of 512 MB 0.29 of one. The sweep's container
    has the same code, but must not open connections that it may not need. Lambda ends a start after
    ten seconds and begins anew, so nobody waits longer here for a service that hangs.
    """
    if os.environ.get("_HANDLER") == API_HANDLER:
        start(os.environ)
        if _broker is not None:
            preparing = threading.Thread(target=_broker.prepare, daemon=True)
            preparing.start()
            preparing.join(PREPARE_SECONDS)


def warn_if_unconfigured() -> None:
    """Print which settings are missing or wrong, for somebody who ran plain `chalice local`.

    Chalice's other commands load the app too, without the stage's settings: they print nothing.
    """
    if "AWS_CHALICE_CLI_MODE" in os.environ and "local" in sys.argv:
        try:
            build(os.environ)
        except Misconfigured as error:
            lines = ["The broker is not configured, so every request gets 503."]
            lines += [f"  - {problem}" for problem in error.detail.split("; ")]
            lines += ["Set these, or use `make run`, which needs no account and no key."]
            print("\n".join(lines), file=sys.stderr)  # noqa: T201 - for a person at a terminal


def use(replacement: Broker | None) -> None:
    """Install a broker; None makes the next request build one from the environment."""
    global _broker, _trouble
    _broker, _trouble = replacement, None
