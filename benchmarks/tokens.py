"""Measure what a token costs: `python benchmarks/tokens.py`.

The real app answers events in this process: a route without a token, and a route that looks at the
token and at nothing else (an id that can't be one is 404 before the database is asked). All run in
turns in one run on this machine, so the ratios count, not the figures.
"""

import http.server
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

sys.path.insert(0, str(Path(__file__).parent.parent))
# Nothing of AWS is called; only the clients are made.
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")

from app import app
from chalicelib import bootstrap
from chalicelib.auth.caller import SECRET_BYTES
from chalicelib.core import log

SECRET = "a-secret-of-the-benchmark-that-is-long-enough"  # noqa: S105 - it protects nothing
CLAIMS = {"sub": "bench", "iss": "https://bench", "aud": "uploads", "exp": int(time.time()) + 3600}
ROUNDS = 40  # turns
CALLS = 50  # in each turn
PLAIN = {
    "UPLOADS_TABLE": "uploads",
    "AUTH_MODE": "jwt",
    "SYNC_API_KEY": "key",
    "JWT_ISSUER": "https://bench",
    "JWT_AUDIENCE": "uploads",
}


def event(path: str, resource: str, token: str | None, **params: str) -> dict[str, Any]:
    """Make what API Gateway sends to Lambda."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return {
        "requestContext": {"httpMethod": "GET", "resourcePath": resource, "path": path},
        "headers": headers,
        "multiValueQueryStringParameters": None,
        "pathParameters": params,
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }


def key_server(document: dict[str, Any]) -> str:
    """Serve a key set on loopback."""
    content = json.dumps(document).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/keys.json"


def contenders() -> dict[str, tuple[bootstrap.Broker, dict[str, Any], int]]:
    """Make a broker and an event for each way, and the status that is right."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    public = {
        "rsa": jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True),
        "ec": jwt.algorithms.ECAlgorithm.to_jwk(ec_key.public_key(), as_dict=True),
    }
    url = key_server({"keys": [{**key, "kid": kid} for kid, key in public.items()]})
    shared = bootstrap.build({**PLAIN, "JWT_SECRET": SECRET})
    provider = bootstrap.build({**PLAIN, "JWT_JWKS_URL": url})
    for broker in (shared, provider):
        # As in a container that has read the secret of its table; here there is no table.
        broker.caller_ids._secret = bytes(SECRET_BYTES)  # noqa: SLF001 - as above

    def asking(token: str) -> dict[str, Any]:
        return event("/uploads/none", "/uploads/{upload_id}", token, upload_id="none")

    hs256 = jwt.encode(CLAIMS, SECRET)
    rs256 = jwt.encode(CLAIMS, rsa_key, "RS256", {"kid": "rsa"})
    es256 = jwt.encode(CLAIMS, ec_key, "ES256", {"kid": "ec"})
    forged = hs256[:-4] + "AAAA"
    return {
        "GET /health, no token": (shared, event("/health", "/health", None), 200),
        "GET /uploads/…, no token": (shared, asking(""), 401),
        "GET /uploads/…, HS256": (shared, asking(hs256), 404),
        "GET /uploads/…, HS256 forged": (shared, asking(forged), 401),
        "GET /uploads/…, RS256": (provider, asking(rs256), 404),
        "GET /uploads/…, ES256": (provider, asking(es256), 404),
    }


def microseconds(job: Callable[[], Any]) -> float:
    """Time one turn."""
    started = time.perf_counter()
    for _ in range(CALLS):
        job()
    return (time.perf_counter() - started) / CALLS * 1e6


def main() -> None:
    """Measure all in turns, and print medians."""
    with Path(os.devnull).open("w") as nowhere:
        log.configure("ERROR", nowhere)
        ways = contenders()
        times: dict[str, list[float]] = {name: [] for name in ways}
        bare: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (broker, sent, status) in ways.items():
                bootstrap.use(broker)
                answer = app(sent, None)
                if answer["statusCode"] != status:
                    sys.exit(f"{name}: {answer}")
                times[name].append(microseconds(lambda sent=sent: app(sent, None)))
                if status == 404:  # noqa: PLR2004 - the token was accepted
                    header, ask = sent["headers"]["authorization"], broker.authenticator.caller
                    bare[name].append(microseconds(lambda header=header, ask=ask: ask(header)))
    first = statistics.median(next(iter(times.values())))
    print(f"{'':32} {'request':>10} {'ratio':>7} {'token alone':>12}")
    for name, found in times.items():
        median = statistics.median(found)
        alone = f"{statistics.median(bare[name]):9.0f} µs" if bare[name] else ""
        print(f"{name:32} {median:7.0f} µs {median / first:7.2f} {alone:>12}")


if __name__ == "__main__":
    main()
