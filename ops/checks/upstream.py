"""sync.: whether it takes this key, what time it has, and whether its storage lets browsers in."""

import hashlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from chalicelib.aws import secrets
from chalicelib.aws.table import Table
from chalicelib.core import errors, settings
from chalicelib.core.clock import Clock
from chalicelib.core.settings import Settings
from chalicelib.ratelimit.limiter import Line
from chalicelib.ratelimit.policy import Budget
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import SyncClient
from chalicelib.syncapi.models import Presigned
from chalicelib.uploads.public_urls import storage_refusal
from chalicelib.uploads.registration import LOOK_BACK_SECONDS
from ops.checks import web
from ops.checks.api import samples
from ops.checks.findings import Finding, Patient, State, judged
from ops.terminal import Problem

CALLER = hashlib.sha256(b"an operator").hexdigest()[:32]  # a caller in the line like any other
LONGEST_WAIT = 90.0  # seconds in the line
# A registration whose answer was lost is looked for from so long before it on.
MOST_SECONDS = LOOK_BACK_SECONDS / 3
_RELAY = "Browsers can't upload. See docs/relay.md: a relay in front of storage, and STORAGE_RELAY."


def key(patient: Patient) -> Iterator[Finding]:
    """Send sync. the cheapest request there is, with the stage's key."""
    value = patient.secrets.get("SYNC_API_KEY")
    if value is None:
        missing = "there is no key to try"
        yield Finding("sync.", "key", State.UNKNOWN, missing, "Put the parameters right first.")
        return
    base = patient.environment.get("SYNC_BASE_URL") or "https://api.sync.so"
    sent = patient.now()
    headers = {"x-api-key": value, "accept": "application/json"}
    answer = web.ask("GET", f"{base.rstrip('/')}/v2/assets?limit=1", headers)
    yield _key_finding(patient, base, answer.status_code)
    ahead = web.ahead(answer.headers.get("Date"), sent)
    if ahead is not None:
        # The broker lives by AWS's clocks.
        ahead -= patient.aws_ahead or 0
        yield judged(
            "sync.",
            "clock",
            is_right=abs(ahead) <= MOST_SECONDS,
            detail=f"sync.'s is {round(ahead):+d} s from AWS's",
            advice="Lost registrations may not be found again. Tell sync., or look at your clock.",
        )


def _key_finding(patient: Patient, base: str, status: int) -> Finding:
    detail = f"{base} answers {status}"
    if status == HTTPStatus.OK:
        return Finding("sync.", "key", State.OK, f"{base} takes it")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}:
        advice = f"Look at the key and the plan at sync. New: `{patient.provision}"
        return Finding("sync.", "key", State.WRONG, detail, f"{advice} --replace-secrets`.")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding("sync.", "key", State.UNKNOWN, detail, "Try again in a minute.")
    return Finding("sync.", "key", State.WRONG, detail, "Is SYNC_BASE_URL right?")


def storage(patient: Patient) -> Iterator[Finding]:
    """Ask storage, or the relay before it, what a browser asks before its PUT.

    That takes one presign, and a place in the line like every presign.
    """
    value = patient.secrets.get("SYNC_API_KEY")
    origins = samples(settings.origins(patient.environment))
    if value is None or not origins:
        missing = "there is no key" if value is None else "no origin is allowed"
        advice = "Put that right first."
        yield Finding("storage", "preflight", State.UNKNOWN, missing, advice)
        return
    try:
        chosen = settings.load(patient.environment)
        presigned = _presigned(patient, chosen, value)
    except errors.BrokerError as error:
        yield _no_address(patient, error)
        return
    url = presigned.upload_url
    patient.terminal.hide(url)
    yield _hosts(chosen, presigned)
    relay = chosen.storage_relay
    # The broker does the same to an address that it hands out.
    asked = url if relay is None else f"{relay}/{url.partition('://')[2].partition('/')[2]}"
    host = asked.partition("://")[2].partition("/")[0]
    what = "the relay" if relay else "storage"
    advice = "Look at the relay's configuration, docs/relay.md." if relay else _RELAY
    for origin in origins:
        reason = web.preflight(asked, origin, "PUT", "content-type")
        yield judged(
            "storage",
            f"preflight from {origin}",
            is_right=not reason,
            detail=f"{what}, {host}: {reason or 'a PUT is allowed'}",
            advice=advice,
        )
    if relay:
        yield _through(asked, host)


def _hosts(chosen: Settings, presigned: Presigned) -> Finding:
    """Compare the hosts of a presign with the setting.

    A caller could register what is at another host as a public URL, and so past its upload. The
    broker learns such a host, but only with the first presign after a deploy.
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
    return judged(
        "storage",
        "hosts",
        is_right=not unknown,
        detail=f"a presign names {names}" if unknown else "SYNC_STORAGE_HOSTS has them all",
        advice=f"Add to SYNC_STORAGE_HOSTS: {names}",
    )


def _through(address: str, host: str) -> Finding:
    """Send the byte that was signed for. Nothing is registered, so nothing is made of it."""
    try:
        status = web.ask("PUT", address, {"Content-Type": "video/mp4"}, b"0").status_code
    except Problem as problem:
        return Finding("storage", "PUT", State.UNKNOWN, problem.message, problem.advice)
    return judged(
        "storage",
        "PUT",
        is_right=status == HTTPStatus.OK,
        detail=f"a byte through the relay, {host}: storage answers {status}",
        advice="Is STORAGE_ORIGIN in the relay's configuration the host of sync.'s addresses?",
    )


class _LambdaClock(Clock):
    """The time at AWS, where the deployed broker runs.

    Args:
        patient: The stage, and what is known of it.
    """

    def __init__(self, patient: Patient) -> None:
        self._patient = patient

    def now(self) -> int:
        """Return the time."""
        return int((self._patient.now() + (self._patient.aws_ahead or 0)) * 1000)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._patient.sleep(seconds)


def _presigned(patient: Patient, chosen: Settings, value: str) -> Presigned:
    client: Any = patient.account.client("dynamodb")
    budget = Budget(chosen.presigns_per_minute, chosen.max_wait_seconds * 1000)
    clock = _LambdaClock(patient)
    line = Line(Table(client, chosen.uploads_table, clock), budget, clock)
    upstream = SyncClient(chosen.sync_base_url, secrets.fixed(value, clock), clock)
    try:
        presigned = upstream.presign("doctor.mp4", "video/mp4", 1, lambda: _admit(patient, line))
    except sync_errors.UpstreamBusy as error:
        line.slow_down(error.retry_after or 0)  # as the broker does
        raise
    return presigned


def _admit(patient: Patient, line: Line) -> None:
    """Take a place, and wait for it where others are before.

    Raises:
        BrokerError: There is none in reasonable time.
    """
    ticket, deadline = "", patient.now() + LONGEST_WAIT
    while True:
        try:
            line.take(line.enter(CALLER, ticket))
        except errors.RateLimited as error:
            wait = max(error.retry_after or 0, 0.5)
            if patient.now() + wait > deadline:
                raise
            ticket = str(error.fields.get("ticket", ""))
            patient.terminal.progress(f"  waiting in the line for a presign ({wait:.0f} s)")
            patient.sleep(wait)
        else:
            return


def _no_address(patient: Patient, error: errors.BrokerError) -> Finding:
    """Say why there is no address to try."""
    what = f"no presign: {error.code}" + (f", {error.detail}" if error.detail else "")
    if isinstance(error, sync_errors.UpstreamUnauthorized):
        advice = f"Look at the key: `{patient.provision} --replace-secrets`."
        return Finding("storage", "preflight", State.WRONG, what, advice)
    if isinstance(error, errors.Misconfigured):
        return Finding("storage", "preflight", State.UNKNOWN, what, "Put the settings right first.")
    if isinstance(error, sync_errors.UpstreamRefused):
        advice = "sync. takes no presign of this key. Ask sync."
        return Finding("storage", "preflight", State.WRONG, what, advice)
    advice = "Try again in a minute; or --no-presign."
    return Finding("storage", "preflight", State.UNKNOWN, what, advice)
