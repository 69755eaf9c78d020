"""The routes: each handler parses, calls one use case, serializes."""

from chalicelib.api import assets, health, limits, uploads
from chalicelib.bootstrap import Broker
from chalicelib.web.router import Routes

ALL: tuple[Routes[Broker], ...] = (uploads.routes, assets.routes, limits.routes, health.routes)
