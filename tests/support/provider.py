"""An identity provider over real HTTP. Its tokens are made by jose, not by the broker's library."""

import json
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.upstream_process import ROOT

ISSUER = "https://login.example.com/"
AUDIENCE = "uploads"


class Jose:
    """A Node process that makes keys and signs tokens."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "tests/support/tokens.mjs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request and return its response."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def token(
        self, key: str, header: dict[str, Any] | None = None, alg: str | None = None, **claims: Any
    ) -> str:
        """Return a token with good claims, changed by `claims`; None removes one."""
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": uuid.uuid4().hex, "exp": time.time() + 600}
        kept = {name: v for name, v in {**good, **claims}.items() if v is not None}
        named = {"kid": key} if header is None else header
        alg = alg or {"r": "RS256", "e": "ES256", "p": "ES384", "s": "HS256", "o": "EdDSA"}[key[0]]
        made: str = self.ask(sign=kept, alg=alg, key=key, header=named)
        return made

    def raw(self, key: str, payload: str, **header: Any) -> str:
        """Return a token with any payload and any header."""
        made: str = self.ask(raw=payload, key=key, header=header)
        return made

    def keys(self, *names: str, **fields: Any) -> dict[str, Any]:
        """Return a set of public keys, each with other values of some fields."""
        made: dict[str, Any] = self.ask(set=list(names), **{"with": fields})
        return made

    def stop(self) -> None:
        """Stop the process."""
        self._process.communicate(timeout=10)


class KeyServer:
    """Serves a key set on loopback, with the faults that a test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.content = b""
        self.delay = 0.0
        self.piece: int | None = None  # bytes in each write; all bytes unless set
        self.pause = 0.0  # seconds after each write
        self.requests: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                seen = {name.lower(): value for name, value in self.headers.items()}
                server.headers_seen.append(seen)
                time.sleep(server.delay)
                try:
                    self.send_response(server.status)
                    for name, value in server.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    size = server.piece or len(server.content) or 1
                    for start in range(0, len(server.content), size):
                        self.wfile.write(server.content[start : start + size])
                        time.sleep(server.pause)
                except OSError:
                    self.close_connection = True  # The broker stopped reading.

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys.json"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def serve(self, document: Any) -> None:
        """Serve a JSON document from now on, without faults."""
        self.status, self.headers, self.delay, self.piece = 200, {}, 0.0, None
        self.content = json.dumps(document).encode()

    def stop(self) -> None:
        """Stop the server and close its port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
