"""Presigned URLs: AWS Signature Version 4 in the query, computed by botocore's own signer.

There is no cryptography here. A URL is verified as S3 does it: sign what arrived once more, and
compare.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes, urlencode

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_ACCESS_KEY = "SANDBOXACCESSKEY"
_REGION = "us-east-1"
# S3 ignores the host's spelling in the URL and signs the header, so any will do in between.
_NOWHERE = "http://storage.invalid"


class SignatureMismatchError(Exception):
    """The signature is not that of this method, path, query and headers."""


class UnsignedError(Exception):
    """The request carries no signature at all."""


class UrlExpiredError(Exception):
    """The signature is right and its time is over."""

    def __init__(self, expired_at: datetime, expires_in: int) -> None:
        super().__init__("Request has expired")
        self.expired_at = expired_at
        self.expires_in = expires_in


class UrlSigner:
    """Signs and verifies with one secret.

    Args:
        secret: The secret access key.
    """

    def __init__(self, secret: str) -> None:
        self._credentials = Credentials(_ACCESS_KEY, secret)

    def presign(  # noqa: PLR0913 - these are the parts that a signature covers
        self,
        method: str,
        origin: str,
        path: str,
        headers: Mapping[str, str],
        *,
        now: float,
        expires_in: int,
    ) -> str:
        """Sign a URL.

        Args:
            method: The only method that the URL will work for.
            origin: Scheme, host and port.
            path: Percent-encoded.
            headers: Those that must be sent exactly so, by lower-case name; `host` is one of them.
            now: Unix seconds.
            expires_in: Seconds that the URL is good for.
        """
        stamp = datetime.fromtimestamp(now, UTC).strftime(SIGV4_TIMESTAMP)
        query = urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"{_ACCESS_KEY}/{stamp[:8]}/{_REGION}/s3/aws4_request",
                "X-Amz-Date": stamp,
                "X-Amz-Expires": str(expires_in),
                "X-Amz-SignedHeaders": ";".join(sorted(headers)),
            },
            quote_via=quote,
            safe="",
        )
        signature = self._signature(method, f"{path}?{query}", headers, stamp)
        return f"{origin}{path}?{query}&X-Amz-Signature={signature}"

    def verify(self, method: str, target: str, headers: Mapping[str, str], *, now: float) -> None:
        """Check the signature of a request, then its time.

        Args:
            method: As received.
            target: Path and query as received.
            headers: As received, by lower-case name.
            now: Unix seconds.

        Raises:
            UnsignedError: There is no signature.
            SignatureMismatchError: Anything that is signed was changed or left out.
            UrlExpiredError: The URL was good once.
        """
        path, _, query = target.partition("?")
        pairs = [_decoded(pair) for pair in query.split("&") if pair]
        given = [value for name, value in pairs if name == "X-Amz-Signature"]
        if not given:
            raise UnsignedError
        signed = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
        values = dict(signed)
        names = values.get("X-Amz-SignedHeaders", "").split(";")
        if len(given) > 1 or len(values) < len(signed) or not set(names) <= set(headers):
            raise SignatureMismatchError
        # S3 decodes and encodes again before it signs: a client may escape more than is needed.
        canonical = quote(unquote_to_bytes(path), safe="/~")
        rebuilt = (
            f"{canonical}?{urlencode(signed, quote_via=quote, safe='', errors='surrogateescape')}"
        )
        stamp = values.get("X-Amz-Date", "")
        sent = {name: headers[name] for name in names}
        try:
            expected = self._signature(method, rebuilt, sent, stamp)
        except UnicodeError as error:
            raise SignatureMismatchError from error
        if not hmac.compare_digest(expected.encode(), given[0].encode()):
            raise SignatureMismatchError
        started = datetime.strptime(stamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
        expires_in = int(values["X-Amz-Expires"])
        expired_at = started + timedelta(seconds=expires_in)
        if datetime.fromtimestamp(now, UTC) >= expired_at:
            raise UrlExpiredError(expired_at, expires_in)

    def _signature(self, method: str, target: str, headers: Mapping[str, str], stamp: str) -> str:
        signer = S3SigV4QueryAuth(self._credentials, "s3", _REGION)
        request = AWSRequest(method=method, url=_NOWHERE + target, headers=dict(headers))
        request.context["timestamp"] = stamp
        return signer.signature(
            signer.string_to_sign(request, signer.canonical_request(request)), request
        )


def _decoded(pair: str) -> tuple[str, str]:
    # Bytes that are no UTF-8 stay distinct from each other, so that no two queries look alike.
    name, _, value = pair.partition("=")
    return tuple(  # type: ignore[return-value]
        unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in (name, value)
    )
