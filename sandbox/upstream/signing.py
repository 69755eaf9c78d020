"""Presigned URLs: AWS Signature Version 4 in the query, computed by botocore's signer.

This module has no cryptography. As in S3, a URL is verified by signing the request again and
comparing the signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
ACCESS_KEY = "SANDBOXACCESSKEY"
REGION = "us-east-1"
SERVICE = "s3"
# S3 ignores the host in the URL and signs the `Host` header, so any host works for the signer.
_NOWHERE = "http://storage.invalid"


@dataclass(frozen=True)
class Signed:
    """A signature and its input.

    Attributes:
        canonical_request: The request in SigV4's canonical form.
        string_to_sign: The hash of that form with its date and scope.
        signature: In hex.
    """

    canonical_request: str
    string_to_sign: str
    signature: str


class UrlSigner:
    """Signs with one secret.

    Args:
        secret: The secret access key.
    """

    def __init__(self, secret: str) -> None:
        self._credentials = Credentials(ACCESS_KEY, secret)

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
        """Return a presigned URL.

        Args:
            method: The only method that the URL is valid for.
            origin: Scheme, host and port.
            path: Percent-encoded.
            headers: The headers that a client must send, by lower-case name, including `host`.
            now: Unix seconds.
            expires_in: Seconds that the URL is valid.
        """
        stamp = datetime.fromtimestamp(now, UTC).strftime(SIGV4_TIMESTAMP)
        query = urlencode(
            {
                "X-Amz-Algorithm": ALGORITHM,
                "X-Amz-Credential": f"{ACCESS_KEY}/{stamp[:8]}/{REGION}/{SERVICE}/aws4_request",
                "X-Amz-Date": stamp,
                "X-Amz-Expires": str(expires_in),
                "X-Amz-SignedHeaders": ";".join(sorted(headers)),
            },
            quote_via=quote,
            safe="",
        )
        signed = self.sign(method, f"{path}?{query}", headers, stamp)
        return f"{origin}{path}?{query}&X-Amz-Signature={signed.signature}"

    def sign(self, method: str, target: str, headers: Mapping[str, str], stamp: str) -> Signed:
        """Return the signature of a request with only these headers.

        Args:
            method: HTTP method.
            target: Path and query, percent-encoded.
            headers: By lower-case name.
            stamp: `X-Amz-Date`.

        Raises:
            UnicodeError: The target or a header is not text.
        """
        signer = S3SigV4QueryAuth(self._credentials, SERVICE, REGION)
        request = AWSRequest(method=method, url=_NOWHERE + target, headers=dict(headers))
        request.context["timestamp"] = stamp
        canonical = signer.canonical_request(request)
        to_sign = signer.string_to_sign(request, canonical)
        return Signed(canonical, to_sign, signer.signature(to_sign, request))
