"""Checks of Sync: its response to the key, its clock, and its storage's CORS."""

import hashlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from chalicelib.aws import secrets
from chalicelib.aws.table import Table
from chalicelib.bootstrap import presign_limiter
from chalicelib.core import errors, settings
from chalicelib.core.clock import Clock
from chalicelib.core.settings import Settings
from chalicelib.ratelimit.limiter import RateLimiter
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import Presigned
from chalicelib.uploads.public_urls import storage_refusal
from chalicelib.uploads.registration import LOOKBACK_SECONDS
from ops import parameters
from ops import stage as stages
from ops.account import explain
from ops.checks import web
from ops.checks.api import sample_origins
from ops.checks.findings import Finding, State, Target, make_finding
from ops.terminal import Problem

CALLER = hashlib.sha256(b"an operator").hexdigest()[:32]  # the rate limiter's id of this command
SYNC_PRESIGNS_PER_MINUTE = 120  # for a key, as Sync documents it
LONGEST_WAIT = 90.0  # seconds until the rate limiter grants the presign
# Reconciliation searches from LOOKBACK_SECONDS before a registration, since clocks may differ.
MAX_SKEW_SECONDS = LOOKBACK_SECONDS / 3
_RELAY = (
    "Browsers can't upload. Put a relay in front of storage (docs/relay.md), and set STORAGE_RELAY."
)


def key(target: Target) -> Iterator[Finding]:
    """Check the stage's key and Sync's clock with Sync's cheapest request."""
    value = target.secrets.get("SYNC_API_KEY")
    if value is None:
        missing = "there is no key to check"
        yield Finding("Sync", "key", State.UNKNOWN, missing, "Fix the parameters first.")
        return
    yield from _stages_with_same_key(target, value)
    base = target.environment.get("SYNC_BASE_URL") or "https://api.sync.so"
    sent = target.now()
    headers = {"x-api-key": value, "accept": "application/json"}
    response = web.send("GET", f"{base.rstrip('/')}/v2/assets?limit=1", headers)
    yield _key_finding(target, base, response.status_code)
    ahead = web.seconds_ahead(response.headers.get("Date"), sent)
    if ahead is not None:
        # The deployed broker uses AWS's clock.
        ahead -= target.aws_ahead or 0
        yield make_finding(
            "Sync",
            "clock",
            is_right=abs(ahead) <= MAX_SKEW_SECONDS,
            detail=f"Sync's clock differs from AWS's by {round(ahead):+d} s",
            advice="The broker may fail to reconcile uploads. Check your clock, or contact Sync.",
        )


def _stages_with_same_key(target: Target, value: str) -> Iterator[Finding]:
    """Find other stages with this stage's key, and compare their presigns with Sync's limit."""
    shares = {target.stage.name: _presigns_per_minute(target.environment)}
    for name in target.stage.others:
        try:
            other = stages.read(target.stage.folder, name)
            found = _key_of(target, other.environment)
        except (ClientError, Problem) as error:
            # The operator of one stage may lack access to another's key, and it may be unfinished.
            problem = explain(error) if isinstance(error, ClientError) else error
            reason = f"not compared: {problem.message}"
            yield Finding("Sync", f"key of the stage {name}", State.SKIPPED, reason)
            continue
        target.terminal.hide(found)
        if _digest(found) == _digest(value):
            shares[name] = _presigns_per_minute(other.environment)
    if len(shares) > 1:
        yield _shares(shares)


def _key_of(target: Target, environment: Mapping[str, str]) -> str:
    """Return the key that a stage's settings name, or an empty text."""
    named = {one.variable: one for one in parameters.of(environment)}
    if "SYNC_API_KEY" not in named:
        return ""
    return parameters.read(target.account.client("ssm"), named["SYNC_API_KEY"]).value or ""


def _presigns_per_minute(environment: Mapping[str, str]) -> int:
    """Return a stage's setting, or its default if it is not valid, which is another finding."""
    given = environment.get("PRESIGNS_PER_MINUTE", "")
    return int(given) if given.isdecimal() else SYNC_PRESIGNS_PER_MINUTE


def _shares(shares: Mapping[str, int]) -> Finding:
    """Compare the presigns of stages with one key, each of which counts alone, with Sync's."""
    total = sum(shares.values())
    detail = (
        f"{', '.join(f'{name} has {count}' for name, count in shares.items())}: together {total}"
        f" a minute. Sync allows {SYNC_PRESIGNS_PER_MINUTE}"
    )
    if total <= SYNC_PRESIGNS_PER_MINUTE:
        return Finding("Sync", "stages with this key", State.OK, detail)
    return Finding(
        "Sync",
        "stages with this key",
        State.WARNING,
        detail,
        "Make a key for each stage, or divide PRESIGNS_PER_MINUTE and REGISTRATIONS_PER_MINUTE"
        " between them, unless Sync allows your key more.",
    )


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


def _key_finding(target: Target, base: str, status: int) -> Finding:
    detail = f"{base} returns {status}"
    if status == HTTPStatus.OK:
        return Finding("Sync", "key", State.OK, f"{base} accepts it")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}:
        advice = (
            "Check the key and your plan at Sync. Store a new key with"
            f" `{target.provision_command} --replace-secrets`."
        )
        return Finding("Sync", "key", State.WRONG, detail, advice)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding("Sync", "key", State.UNKNOWN, detail, "Try again in a minute.")
    return Finding("Sync", "key", State.WRONG, detail, "Check SYNC_BASE_URL.")


def storage(target: Target) -> Iterator[Finding]:
    """Send storage, or the relay in front of it, the preflights of a browser's PUT.

    This needs one presign, which counts against the rate limit.
    """
    value = target.secrets.get("SYNC_API_KEY")
    origins = sample_origins(settings.origins(target.environment))
    if value is None or not origins:
        missing = "there is no key" if value is None else "no origin is allowed"
        advice = "Fix that first."
        yield Finding("storage", "preflight", State.UNKNOWN, missing, advice)
        return
    try:
        chosen = settings.load(target.environment)
        presigned = _presigned(target, chosen, value)
    except errors.BrokerError as error:
        yield _no_presign(target, error)
        return
    url = presigned.upload_url
    target.terminal.hide(url)
    target.observed["expiresIn"] = presigned.expires_in
    yield _hosts(chosen, presigned)
    relay = chosen.storage_relay
    # The broker replaces the origin of an upload URL in the same way.
    upload_url = url if relay is None else f"{relay}/{url.partition('://')[2].partition('/')[2]}"
    host = upload_url.partition("://")[2].partition("/")[0]
    kind = "the relay" if relay else "storage"
    advice = "Check the relay's configuration (docs/relay.md)." if relay else _RELAY
    for origin in origins:
        reason = web.preflight(upload_url, origin, "PUT", "content-type")
        if not relay:
            target.observed["storageCors"] = not reason
        yield make_finding(
            "storage",
            f"preflight from {origin}",
            is_right=not reason,
            detail=f"{kind}, {host}: {reason or 'a PUT is allowed'}",
            advice=advice,
        )
    if relay:
        yield _put_through_relay(upload_url, host)


def _hosts(chosen: Settings, presigned: Presigned) -> Finding:
    """Compare the hosts of a presign with SYNC_STORAGE_HOSTS.

    The broker refuses public URLs on storage hosts, since a caller could register a stored file
    without its upload. It also learns the hosts of presigns, but only after its first presign.
    """
    known = chosen.sync_storage_hosts
    unknown = sorted(
        {
            urlsplit(one).netloc
            for one in (presigned.url, presigned.upload_url)
            if storage_refusal(one, known) is None
        }
    )
    names = ", ".join(unknown)
    return make_finding(
        "storage",
        "hosts",
        is_right=not unknown,
        detail=f"the presign names {names}" if unknown else "SYNC_STORAGE_HOSTS lists them all",
        advice=f"Add to SYNC_STORAGE_HOSTS: {names}",
    )


def _put_through_relay(url: str, host: str) -> Finding:
    """Check a PUT of one byte. It is not registered, so it never becomes an asset."""
    try:
        status = web.send("PUT", url, {"Content-Type": "video/mp4"}, b"0").status_code
    except Problem as problem:
        return Finding("storage", "PUT", State.UNKNOWN, problem.message, problem.advice)
    return make_finding(
        "storage",
        "PUT",
        is_right=status == HTTPStatus.OK,
        detail=f"a byte through the relay, {host}: storage returns {status}",
        advice="STORAGE_ORIGIN in the relay's configuration must be the origin of Sync's URLs.",
    )


class _LambdaClock(Clock):
    """AWS's clock, which the deployed broker uses.

    Args:
        target: The stage, with the difference between the clocks.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def now(self) -> int:
        """Return the time."""
        return int((self._target.now() + (self._target.aws_ahead or 0)) * 1000)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._target.sleep(seconds)


def _presigned(target: Target, chosen: Settings, value: str) -> Presigned:
    client: Any = target.account.client("dynamodb")
    clock = _LambdaClock(target)
    limiter = presign_limiter(Table(client, chosen.uploads_table, clock), clock, chosen)
    upstream = SyncClient(chosen.sync_base_url, secrets.fixed(value, clock), clock)
    try:
        presigned = upstream.presign("doctor.mp4", "video/mp4", 1, lambda: _wait(target, limiter))
    except sync_errors.UpstreamBusy as error:
        limiter.back_off(error.retry_after or 0)  # for all callers, as the broker does
        raise
    return presigned


def _wait(target: Target, limiter: RateLimiter) -> None:
    """Wait until the rate limiter grants a presign.

    Raises:
        BrokerError: It would take too long.
    """
    ticket, deadline = "", target.now() + LONGEST_WAIT
    while True:
        try:
            limiter.commit(limiter.acquire(CALLER, ticket))
        except errors.RateLimited as error:
            wait = max(error.retry_after or 0, 0.5)
            if target.now() + wait > deadline:
                raise
            ticket = str(error.fields.get("ticket", ""))
            target.terminal.progress(f"  waiting for a presign ({wait:.0f} s)")
            target.sleep(wait)
        else:
            return


def _no_presign(target: Target, error: errors.BrokerError) -> Finding:
    """Return a finding that explains why there is no presign."""
    detail = f"no presign: {error.code}" + (f", {error.detail}" if error.detail else "")
    if isinstance(error, sync_errors.UpstreamUnauthorized):
        advice = (
            f"Check the key. Store a new one with `{target.provision_command} --replace-secrets`."
        )
        return Finding("storage", "preflight", State.WRONG, detail, advice)
    if isinstance(error, errors.Misconfigured):
        return Finding("storage", "preflight", State.UNKNOWN, detail, "Fix the settings first.")
    if isinstance(error, sync_errors.UpstreamRefused):
        advice = "Sync refuses presigns for this key. Contact Sync."
        return Finding("storage", "preflight", State.WRONG, detail, advice)
    advice = "Try again in a minute, or use --no-presign."
    return Finding("storage", "preflight", State.UNKNOWN, detail, advice)
