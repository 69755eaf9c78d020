"""Registered uploads, and the registration of public URLs."""

import re
from dataclasses import replace
from urllib.parse import unquote

from chalicelib.api import new_uploads, serializers
from chalicelib.bootstrap import Broker
from chalicelib.core import errors, log
from chalicelib.syncapi import errors as sync_errors
from chalicelib.uploads.errors import (
    ContentTypeNotAccepted,
    FileEmpty,
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    TooManyUnknownUrls,
    UploadCancelled,
    UrlTimeout,
    no_such_upload,
)
from chalicelib.web import bodies, pagination
from chalicelib.web.messages import Request, Response
from chalicelib.web.router import Routes

# Sync's ids are opaque. An id with other characters can't exist, so it is not looked up.
_ASSET_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")

routes = Routes[Broker](__name__)


@routes.operation(
    "POST",
    "/assets",
    "AssetsRegister",
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
        errors.QueueFull,
        TooManyUnknownUrls,
        errors.InvalidIdempotencyKey,
        errors.RequestInProgress,
        errors.IdempotencyKeyReused,
        # Only a repeated request gets these two: its upload ended after the first request.
        UrlTimeout,
        UploadCancelled,
        sync_errors.UpstreamUnauthorized,
        sync_errors.UpstreamBusy,
        sync_errors.UpstreamUnavailable,
        sync_errors.UpstreamUnreachable,
    ),
)
def register(request: Request, broker: Broker) -> Response:
    """Register a public URL; Sync fetches it."""
    document = bodies.read(request)
    new = new_uploads.new_url(
        document,
        request.caller.limits,
        broker.uploads.storage_hosts,
        broker.settings.public_url_exceptions,
    )
    key = bodies.request_key(request.headers, "POST /assets", document)
    outcome, used = broker.uploads.register_url(request.caller, new, key)
    log.note(uploadId=outcome.upload.id)
    response = serializers.outcome(outcome, request, 201)
    return replace(
        response,
        headers=response.headers
        | serializers.rate_limit(used, request.caller.limits, None, broker.clock.now()),
    )


@routes.operation(
    "GET",
    "/assets",
    "AssetsListAll",
    {200: "upload-list"},
    problems=(errors.InvalidInput,),
    is_list=True,
)
def list_all(request: Request, broker: Broker) -> Response:
    """List the uploads that you registered, the last registered first."""
    limit, cursor = pagination.page_of(request.query)
    page = broker.uploads.list_assets(request.caller, limit, cursor)
    return serializers.page(page, limit)


@routes.operation(
    "GET", "/assets/{asset_id}", "AssetsRead", {200: "upload"}, problems=(errors.NotFound,)
)
def read(request: Request, broker: Broker) -> Response:
    """Read the upload that you registered as an asset."""
    asset_id = unquote(request.params["asset_id"])
    if not _ASSET_ID.fullmatch(asset_id):
        raise no_such_upload()
    upload = broker.uploads.get_asset(request.caller, asset_id)
    log.note(uploadId=upload.id)
    return Response(200, serializers.upload(upload))
