"""Uploads of files: begin, complete, renew, cancel, read."""

import re

from chalicelib.api import new_uploads, serializers
from chalicelib.bootstrap import Broker
from chalicelib.core import errors, log
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import (
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
    no_such_upload,
)
from chalicelib.uploads.models import Status
from chalicelib.web import bodies, pagination
from chalicelib.web.messages import Request, Response
from chalicelib.web.router import Routes

_ID = re.compile(r"[0-9a-f]{32}")
_REFUSED = (errors.InvalidJson, errors.BodyTooLarge, errors.UnsupportedMediaType)
_SYNC = (
    sync_errors.UpstreamUnauthorized,
    sync_errors.UpstreamBusy,
    sync_errors.UpstreamUnavailable,
    sync_errors.UpstreamUnreachable,
    sync_errors.UpstreamTimeout,
    sync_errors.UpstreamFault,
)
# Refusals of a presign: by the type, by the plan's size, or by the URL.
_NOT_PRESIGNED = (
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    sync_errors.UpstreamRefused,
)
_KEY = (errors.InvalidIdempotencyKey, errors.RequestInProgress, errors.IdempotencyKeyReused)
_RATE = (errors.RateLimited, errors.QueueFull)
_ENDED = (UploadCancelled, UploadExpired)

routes = Routes[Broker](__name__)


@routes.operation(
    "POST",
    "/uploads",
    "UploadsBegin",
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
        *_RATE,
        *_SYNC,
    ),
    is_rate_limited=True,
)
def begin(request: Request, broker: Broker) -> Response:
    """Begin an upload and get the URL to PUT its bytes to."""
    document = bodies.read(request)
    file = new_uploads.new_file(document, request.caller.limits)
    key = bodies.request_key(request.headers, "POST /uploads", document)
    ticket = request.headers.get("upload-ticket")
    upload, used, state = broker.uploads.begin(request.caller, file, key, ticket)
    log.note(uploadId=upload.id)
    now = broker.clock.now()
    headers = serializers.rate_limit(used, request.caller.limits, state, now)
    headers["Location"] = serializers.location(request, upload)
    is_pending = upload.status is Status.PENDING
    relay = broker.settings.storage_relay
    body = serializers.pending(upload, relay, now) if is_pending else serializers.upload(upload)
    return Response(201, body, headers)


@routes.operation(
    "GET",
    "/uploads",
    "UploadsListAll",
    {200: "upload-list"},
    problems=(errors.InvalidInput,),
    is_list=True,
)
def list_all(request: Request, broker: Broker) -> Response:
    """List your uploads, newest first."""
    limit, cursor = pagination.page_of(request.query)
    page = broker.uploads.list_uploads(request.caller, limit, cursor)
    return serializers.page(page, limit)


@routes.operation(
    "GET", "/uploads/{upload_id}", "UploadsRead", {200: "upload"}, problems=(errors.NotFound,)
)
def read(request: Request, broker: Broker) -> Response:
    """Read one of your uploads."""
    upload = broker.uploads.get(request.caller, _upload_id(request))
    return Response(200, serializers.upload(upload))


@routes.operation(
    "DELETE",
    "/uploads/{upload_id}",
    "UploadsCancel",
    {204: None},
    problems=(errors.NotFound, UploadBusy, UploadNotPending, UploadExpired),
)
def cancel(request: Request, broker: Broker) -> Response:
    """Cancel a pending upload. The call is idempotent."""
    broker.uploads.cancel(request.caller, _upload_id(request))
    return Response(204)


@routes.operation(
    "POST",
    "/uploads/{upload_id}/complete",
    "UploadsComplete",
    {200: "upload", 202: "upload"},
    problems=(
        errors.NotFound,
        FileNotUploaded,
        FileEmpty,
        FileTooLarge,
        FileRejected,
        ProjectNotFound,
        *_RATE,
        TooManyUnknownUrls,
        UrlTimeout,
        *_ENDED,
        *_SYNC,
    ),
)
def complete(request: Request, broker: Broker) -> Response:
    """Register an upload whose bytes are there. The call is idempotent."""
    outcome = broker.uploads.complete(request.caller, _upload_id(request))
    return serializers.outcome(outcome, request, 200)


@routes.operation(
    "POST",
    "/uploads/{upload_id}/renew",
    "UploadsRenew",
    {200: "pending-upload"},
    problems=(
        errors.NotFound,
        UploadBusy,
        UploadNotPending,
        *_NOT_PRESIGNED,
        *_ENDED,
        *_RATE,
        *_SYNC,
    ),
    is_rate_limited=True,
)
def renew(request: Request, broker: Broker) -> Response:
    """Get a fresh URL for a pending upload whose URL is about to expire."""
    ticket = request.headers.get("upload-ticket")
    upload, state = broker.uploads.renew(request.caller, _upload_id(request), ticket)
    body = serializers.pending(upload, broker.settings.storage_relay, broker.clock.now())
    return Response(200, body, state.headers() if state else {})


def _upload_id(request: Request) -> str:
    """Return the id of the path; a malformed one is not found."""
    upload_id = request.params["upload_id"]
    if not _ID.fullmatch(upload_id):
        raise no_such_upload()
    log.note(uploadId=upload_id)
    return upload_id
