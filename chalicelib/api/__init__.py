"""The routes: parse, call, render."""

from chalicelib.api import assets, service, uploads
from chalicelib.responses import Routes

ALL: tuple[Routes, ...] = (uploads.routes, assets.routes, service.routes)
