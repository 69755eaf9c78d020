"""Files from a browser: begin, complete, renew, cancel, read."""

import re

from chalicelib import validation, wiring
from chalicelib.api import render
from chalicelib.core import errors, log
from chalicelib.responses import Answer, Request, Routes
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import (
    NO_UPLOAD,
    ContentTypeNotAccepted,
    FileEmpty,
    FileNotUploaded,
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    TooManyUnknownUrls,
    UploadBusy,
    UploadCancelled,
    UploadExpired,
    UploadNotPending,
    UrlTimeout,
)
from chalicelib.uploads.models import Status

_ID = re.compile(r"[0-9a-f]{32}")
_REFUSED = (errors.InvalidJson, errors.BodyTooLarge, errors.UnsupportedMediaType)
_SYNC = (
    sync_errors.UpstreamUnauthorized,
    sync_errors.UpstreamBusy,
    sync_errors.UpstreamUnreachable,
    sync_errors.UpstreamTimeout,
    sync_errors.UpstreamFault,
)
# Of a presign: the type, the size by the plan, or the address.
_NOT_PRESIGNED = (
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    sync_errors.UpstreamRefused,
)
_KEY = (errors.InvalidIdempotencyKey, errors.RequestInProgress, errors.IdempotencyKeyReused)
_LINE = (errors.WaitingInLine, errors.LineFull)
_ENDED = (UploadCancelled, UploadExpired)

routes = Routes(__name__, wiring.broker, wiring.allowed_origins)


@routes.operation(
    "POST",
    "/uploads",
    {201: "begun-upload"},
    body="new-upload",
    problems=(
        *_REFUSED,
        errors.InvalidInput,
        ContentTypeNotAccepted,
        FileEmpty,
        *_NOT_PRESIGNED,
        errors.QuotaExceeded,
        *_KEY,
        *_LINE,
        *_SYNC,
    ),
    is_in_line=True,
)
def begin(request: Request) -> Answer:
    """Begin an upload and get the address to PUT its bytes to."""
    broker = wiring.broker()
    document = validation.parse(request.body, request.headers.get("content-type"))
    file = validation.new_file(document, request.caller.limits)
    key = validation.request_key(request.headers, "POST /uploads", document)
    ticket = request.headers.get("upload-ticket")
    upload, used, line = broker.lifecycle.begin(request.caller, file, key, ticket)
    log.note(uploadId=upload.id)
    headers = render.rate_limit(used, request.caller.limits, line)
    headers["Location"] = render.location(request, upload)
    is_pending = upload.status is Status.PENDING
    relay = broker.settings.storage_relay
    body = render.pending(upload, relay) if is_pending else render.upload(upload)
    return Answer(201, body, headers)


@routes.operation(
    "GET", "/uploads", {200: "upload-list"}, problems=(errors.InvalidInput,), is_list=True
)
def list_all(request: Request) -> Answer:
    """List your uploads, newest first."""
    limit, cursor = validation.page(request.query)
    page = wiring.broker().lifecycle.list_uploads(request.caller, limit, cursor)
    return render.page(page, limit)


@routes.operation("GET", "/uploads/{upload_id}", {200: "upload"}, problems=(errors.NotFound,))
def read(request: Request) -> Answer:
    """Read one of your uploads."""
    upload = wiring.broker().lifecycle.get(request.caller, _upload_id(request))
    return Answer(200, render.upload(upload))


@routes.operation(
    "DELETE",
    "/uploads/{upload_id}",
    {204: None},
    problems=(errors.NotFound, UploadBusy, UploadNotPending, UploadExpired),
)
def cancel(request: Request) -> Answer:
    """Cancel a pending upload; repeatable."""
    wiring.broker().lifecycle.cancel(request.caller, _upload_id(request))
    return Answer(204)


@routes.operation(
    "POST",
    "/uploads/{upload_id}/complete",
    {200: "upload", 202: "upload"},
    problems=(
        errors.NotFound,
        FileNotUploaded,
        FileEmpty,
        FileTooLarge,
        FileRejected,
        ProjectNotFound,
        errors.RateLimited,
        TooManyUnknownUrls,
        UrlTimeout,
        *_ENDED,
        *_SYNC,
    ),
)
def complete(request: Request) -> Answer:
    """Register an upload whose bytes are there; repeatable for ever with the same answer."""
    outcome = wiring.broker().lifecycle.complete(request.caller, _upload_id(request))
    return render.outcome(outcome, request, 200)


@routes.operation(
    "POST",
    "/uploads/{upload_id}/renew",
    {200: "pending-upload"},
    problems=(
        errors.NotFound,
        UploadBusy,
        UploadNotPending,
        *_NOT_PRESIGNED,
        *_ENDED,
        *_LINE,
        *_SYNC,
    ),
    is_in_line=True,
)
def renew(request: Request) -> Answer:
    """Get a fresh address for a pending upload whose address is about to expire."""
    ticket = request.headers.get("upload-ticket")
    broker = wiring.broker()
    upload, line = broker.lifecycle.renew(request.caller, _upload_id(request), ticket)
    body = render.pending(upload, broker.settings.storage_relay)
    return Answer(200, body, line.headers() if line else {})


def _upload_id(request: Request) -> str:
    """Read the id from the path; a malformed one is as unknown as any other."""
    upload_id = request.params["upload_id"]
    if not _ID.fullmatch(upload_id):
        raise errors.NotFound(NO_UPLOAD)
    log.note(uploadId=upload_id)
    return upload_id
