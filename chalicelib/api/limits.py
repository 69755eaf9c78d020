"""What a caller may upload, and what is left of it."""

from chalicelib.api import serializers
from chalicelib.bootstrap import Broker
from chalicelib.web.messages import Request, Response
from chalicelib.web.router import Routes

routes = Routes[Broker](__name__)


@routes.operation("GET", "/limits", "ServiceLimits", {200: "limits"})
def read(request: Request, broker: Broker) -> Response:
    """Read what you may upload, to refuse early in the browser."""
    limits = request.caller.limits
    now = broker.clock.now()
    used = broker.quotas.read(request.caller.id)
    presigns = broker.presigns.state(request.caller.id)
    return Response(
        200,
        {
            "maxUploadBytes": limits.max_upload_bytes,
            "contentTypes": list(limits.content_types),
            **serializers.quota(used, limits, now),
            "presigns": serializers.presigns(presigns),
        },
        serializers.rate_limit(used, limits, presigns, now),
    )
