"""What has been registered, and the registration of what is already public."""

import re
from dataclasses import replace
from urllib.parse import unquote

from chalicelib import validation, wiring
from chalicelib.api import render
from chalicelib.core import errors, log
from chalicelib.responses import Answer, Request, Routes
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import (
    NO_UPLOAD,
    ContentTypeNotAccepted,
    FileEmpty,
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    TooManyUnknownUrls,
)

# sync.'s ids are opaque; what can't be part of one need not be asked for.
_ASSET_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")

routes = Routes(__name__, wiring.broker, wiring.allowed_origins)


@routes.operation(
    "POST",
    "/assets",
    {201: "upload", 202: "upload"},
    body="new-asset",
    problems=(
        errors.InvalidJson,
        errors.BodyTooLarge,
        errors.UnsupportedMediaType,
        errors.InvalidInput,
        ContentTypeNotAccepted,
        FileEmpty,
        FileTooLarge,
        FileRejected,
        ProjectNotFound,
        errors.QuotaExceeded,
        errors.RateLimited,
        TooManyUnknownUrls,
        errors.InvalidIdempotencyKey,
        errors.RequestInProgress,
        errors.IdempotencyKeyReused,
        sync_errors.UpstreamUnauthorized,
        sync_errors.UpstreamBusy,
        sync_errors.UpstreamUnreachable,
    ),
)
def register(request: Request) -> Answer:
    """Register a public URL; sync. fetches it."""
    broker = wiring.broker()
    document = validation.parse(request.body, request.headers.get("content-type"))
    new = validation.new_url(
        document,
        request.caller.limits,
        broker.lifecycle.storage_hosts,
        broker.settings.public_url_exceptions,
    )
    key = validation.request_key(request.headers, "POST /assets", document)
    outcome, used = broker.lifecycle.register_url(request.caller, new, key)
    log.note(uploadId=outcome.upload.id)
    answer = render.outcome(outcome, request, 201)
    return replace(
        answer, headers=answer.headers | render.rate_limit(used, request.caller.limits, None)
    )


@routes.operation(
    "GET", "/assets", {200: "upload-list"}, problems=(errors.InvalidInput,), is_list=True
)
def list_all(request: Request) -> Answer:
    """List the uploads that you registered, the last registered first."""
    limit, cursor = validation.page(request.query)
    page = wiring.broker().lifecycle.list_assets(request.caller, limit, cursor)
    return render.page(page, limit)


@routes.operation("GET", "/assets/{asset_id}", {200: "upload"}, problems=(errors.NotFound,))
def read(request: Request) -> Answer:
    """Read the upload that you registered as an asset."""
    asset_id = unquote(request.params["asset_id"])
    if not _ASSET_ID.fullmatch(asset_id):
        raise errors.NotFound(NO_UPLOAD)
    upload = wiring.broker().lifecycle.get_asset(request.caller, asset_id)
    log.note(uploadId=upload.id)
    return Answer(200, render.upload(upload))
