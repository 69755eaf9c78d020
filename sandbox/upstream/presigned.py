"""Checks presigned URLs as S3 does: parameters, unsigned headers, time, signature."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes, urlencode

from botocore.auth import SIGV4_TIMESTAMP

from sandbox.upstream.s3_errors import StorageRefusal
from sandbox.upstream.signing import ACCESS_KEY, ALGORITHM, REGION, SERVICE, UrlSigner

_NEEDED = ("Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires")
_LONGEST_SECONDS = 604_800
_SKEW = timedelta(minutes=15)  # how far in the future a URL's date may be
_SCOPE_PARTS = 5
_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it was received.

    Attributes:
        method: HTTP method.
        target: Path and query, percent-encoded.
        headers: By lower-case name; values of one name are joined by commas.
    """

    method: str
    target: str
    headers: Mapping[str, str]


def check(signer: UrlSigner, request: ReceivedRequest, *, now: float) -> None:
    """Check the presigned URL of a request.

    Raises:
        StorageRefusal: S3 would refuse the request.
    """
    path, _, query = request.target.partition("?")
    pairs = [_decoded(pair) for pair in query.split("&") if pair]
    _check_mechanism(dict(pairs), request.headers.get("authorization"))
    signed = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    values = dict(pairs)
    stamp = _check_form(values)
    names = values["X-Amz-SignedHeaders"].split(";")
    _check_headers_signed(names, request.headers)
    _check_time(stamp, int(values["X-Amz-Expires"]), datetime.fromtimestamp(now, UTC))
    # S3 normalizes the escapes before it signs, so a client may escape more than is needed.
    canonical = quote(unquote_to_bytes(path), safe="/~")
    rebuilt = f"{canonical}?{urlencode(signed, quote_via=quote, safe='', errors='surrogateescape')}"
    sent = {name: request.headers.get(name, "") for name in names}
    try:
        expected = signer.sign(request.method, rebuilt, sent, values["X-Amz-Date"])
    except UnicodeError as error:
        raise _mismatch(values["X-Amz-Signature"]) from error
    is_complete = set(names) <= set(request.headers) and len(values) == len(pairs)
    is_payload = request.headers.get("x-amz-content-sha256", _UNSIGNED_PAYLOAD) == _UNSIGNED_PAYLOAD
    given = values["X-Amz-Signature"].encode(errors="surrogateescape")
    is_equal = hmac.compare_digest(expected.signature.encode(), given)
    if not (is_complete and is_payload and is_equal):
        raise _mismatch(
            values["X-Amz-Signature"],
            StringToSign=expected.string_to_sign,
            CanonicalRequest=expected.canonical_request,
        )


def _decoded(pair: str) -> tuple[str, str]:
    # Bytes that are not UTF-8 stay distinct, so that two different queries never match.
    name, _, value = pair.partition("=")
    return tuple(  # type: ignore[return-value]
        unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in (name, value)
    )


def _check_mechanism(values: Mapping[str, str], authorization: str | None) -> None:
    has_query = bool({"X-Amz-Algorithm", "X-Amz-Signature", "Signature"} & values.keys())
    if authorization is None:
        if not has_query:
            raise StorageRefusal(403, "AccessDenied", "Access Denied")
        return
    message = "Unsupported Authorization Type"
    if has_query:
        message = (
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature"
            " query string parameter or the Authorization header should be specified"
        )
    raise StorageRefusal(
        400,
        "InvalidArgument",
        message,
        ArgumentName="Authorization",
        ArgumentValue=authorization,
    )


def _check_form(values: Mapping[str, str]) -> datetime:
    """Check the parameters of the query, and return the time of the signature."""
    if values.get("X-Amz-Algorithm", ALGORITHM) != ALGORITHM:
        raise _malformed(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    names = [f"X-Amz-{name}" for name in _NEEDED]
    if not set(names) <= values.keys():
        words = f"{', '.join(names[:-1])}, and {names[-1]} parameters."
        raise _malformed(f"Query-string authentication version 4 requires the {words}")
    stamp = _moment(values["X-Amz-Date"])
    _check_expires(values["X-Amz-Expires"])
    _check_credential(values["X-Amz-Credential"].split("/"), values["X-Amz-Date"][:8])
    return stamp


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as error:
        long = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        raise _malformed(long) from error


def _check_expires(text: str) -> None:
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > len("-604800000"):
        raise _malformed("X-Amz-Expires should be a number")
    if int(text) < 0:
        raise _malformed("X-Amz-Expires must be non-negative")
    if int(text) > _LONGEST_SECONDS:
        raise _malformed(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires"
            f" must be less than {_LONGEST_SECONDS} seconds"
        )


def _check_credential(parts: list[str], date: str) -> None:
    start = "Error parsing the X-Amz-Credential parameter; "
    if len(parts) != _SCOPE_PARTS:
        shape = "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"
        raise _malformed(f'{start}the Credential is mal-formed; expecting "{shape}".')
    key, *scope = parts
    if key != ACCESS_KEY:
        raise StorageRefusal(
            403,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            AWSAccessKeyId=key,
        )
    expected = (("date", date), ("region", REGION), ("service", SERVICE), ("end", "aws4_request"))
    for (name, right), given in zip(expected, scope, strict=True):
        if given != right:
            raise _malformed(f"{start}the {name} '{given}' is wrong; expecting '{right}'")


def _malformed(message: str) -> StorageRefusal:
    return StorageRefusal(400, "AuthorizationQueryParametersError", message)


def _check_headers_signed(names: list[str], headers: Mapping[str, str]) -> None:
    # For S3, the payload's hash is a part of the request, so a wrong one is a mismatch.
    unsigned = sorted(
        name
        for name in headers
        if (name in {"host", "content-md5"} or name.startswith("x-amz-"))
        and name != "x-amz-content-sha256"
        and name not in names
    )
    if unsigned:
        raise StorageRefusal(
            403,
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )


def _check_time(signed_at: datetime, expires_in: int, now: datetime) -> None:
    if signed_at > now + _SKEW:
        raise StorageRefusal(403, "AccessDenied", "Request is not yet valid")
    expired_at = signed_at + timedelta(seconds=expires_in)
    if now >= expired_at:
        raise StorageRefusal(
            403,
            "AccessDenied",
            "Request has expired",
            **{"X-Amz-Expires": str(expires_in)},
            Expires=f"{expired_at:%Y-%m-%dT%H:%M:%SZ}",
            ServerTime=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )


def _mismatch(given: str, **computed: str) -> StorageRefusal:
    as_bytes = {
        f"{name}Bytes": text.encode(errors="replace").hex(" ") for name, text in computed.items()
    }
    return StorageRefusal(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        AWSAccessKeyId=ACCESS_KEY,
        SignatureProvided=given,
        **computed,
        **as_bytes,
    )
