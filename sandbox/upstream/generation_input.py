"""Checks the body of `POST /v2/generate`."""

import re
import sqlite3
from typing import Any

from aiohttp import web

from sandbox.upstream.bodies import choice, is_public_url, project, text
from sandbox.upstream.problems import Problem, invalid
from sandbox.upstream.state import Upstream, upstream_of

MODELS = ("sync-3", "lipsync-2", "lipsync-2-pro", "lipsync-1.9.0-beta", "react-1")
SYNC_MODES = ("bounce", "loop", "cut_off", "silence", "remap")
_KINDS = ("video", "audio", "text", "image")
_OUTPUT_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def check_generation(request: web.Request, body: dict[str, Any]) -> None:
    """Check a body and its assets.

    Raises:
        Problem: 400 if the body is invalid; `generationAssetStatus` if an asset is unsuitable.
    """
    model = choice(body, "model", MODELS)
    items = body.get("input")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise invalid("input", "must be an array of objects")
    kinds = {_check_item(upstream_of(request), item) for item in items}
    # Only `sync-3` accepts an image instead of a video.
    if "video" not in kinds and not (model == "sync-3" and "image" in kinds):
        raise invalid("input", "must include one video")
    if not kinds & {"audio", "text"}:
        raise invalid("input", "must include at least one audio or text")
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise invalid("options", "must be an object")
    choice(options, "sync_mode", SYNC_MODES, default="bounce")
    webhook = text(body, "webhookUrl", longest=8192, required=False)
    if webhook is not None and not is_public_url(webhook):
        raise invalid("webhookUrl", "must be a URL address")
    name = text(body, "outputFileName", longest=255, required=False)
    if name is not None and not _OUTPUT_NAME.fullmatch(name):
        raise invalid("outputFileName", "may contain only letters, digits, '_' and '-'")
    project(request, body)


def _check_item(upstream: Upstream, item: dict[str, Any]) -> str:
    kind = choice(item, "type", _KINDS)
    if kind == "text":
        if not isinstance(item.get("provider"), dict):
            raise invalid("input.provider", "must be an object")
        return kind
    url, asset_id = item.get("url"), item.get("assetId")
    if (url is None) == (asset_id is None):
        raise invalid("input", "must each have exactly one of url and assetId")
    if url is not None:
        if not isinstance(url, str) or not is_public_url(url):
            raise invalid("input.url", "must be a URL address")
        return kind
    _check_asset(upstream, asset_id, kind)
    return kind


def _check_asset(upstream: Upstream, asset_id: object, kind: str) -> None:
    row = upstream.assets.find(asset_id) if isinstance(asset_id, str) else None
    status = upstream.behavior.generation_asset_status
    if row is None:
        raise Problem(status, f"Asset {asset_id} not found", code="asset_not_found")
    if row["type"] != kind.upper():
        raise Problem(
            status,
            f"Asset {asset_id} is of type {row['type']}, but the input's type is {kind}",
            code="generation_input_asset_type_mismatch",
        )


def source_of(upstream: Upstream, body: dict[str, Any]) -> sqlite3.Row | None:
    """Return the asset of the first video, or None if the video is given by URL."""
    for item in body["input"]:
        if item["type"] == "video" and "assetId" in item:
            return upstream.assets.find(item["assetId"])
    return None
