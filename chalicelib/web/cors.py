"""CORS: which origins may read a response, and what a preflight allows. Pure."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Upload-Ticket, traceparent"
EXPOSED_HEADERS = "Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"
PREFLIGHT_SECONDS = 7200  # the longest that Chromium caches
PREFLIGHT = {
    # Every method on every path: a browser sends, and can read the 405 of, only what is listed.
    "Access-Control-Allow-Methods": ", ".join((*METHODS, "OPTIONS")),
    "Access-Control-Allow-Headers": ALLOWED_HEADERS,
    "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
}


def headers(origin: str | None, allowed: tuple[str, ...]) -> dict[str, str]:
    """Return the headers for a response to an origin; none if the origin may not read it.

    Args:
        origin: The request's `Origin`.
        allowed: The allowed origins, or only `*`.
    """
    if allowed == ("*",):
        granted = "*"
    elif origin is not None and origin in allowed:
        granted = origin
    else:
        return {}
    return {
        "Access-Control-Allow-Origin": granted,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    }
