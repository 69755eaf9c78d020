"""Both services that `make audit` asks, on loopback: npm's registry, and PyPI behind a proxy."""

import datetime as dt
import json
import ssl
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# A status and a body; None closes the connection without any.
Answer = tuple[int, bytes] | None
Behavior = Callable[[str], Answer]


def knows_nothing(_path: str) -> Answer:
    """Answer as either service does if there is no advisory."""
    return 200, b"{}"


class Authority:
    """Whoever vouches for the hosts that a proxy plays."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self.file = folder / "authority.pem"
        made = self._certificate(self._name, self._key, x509.BasicConstraints(True, 0))  # noqa: FBT003 - as x509 has it
        self.file.write_bytes(made)

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(issuer, critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, critical=critical)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def context(self, host: str) -> ssl.SSLContext:
        """Return what a server needs to be taken for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem + self._certificate(subject, key, names))
            file.flush()
            context.load_cert_chain(file.name)
        return context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Service"

    def do_CONNECT(self) -> None:
        """Play the host that the client wants to be connected with."""
        host = self.path.rpartition(":")[0]
        if self.server.is_closed_to_the_outside:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        context = self.server.authority.context(host)
        with suppress(OSError):  # a client that does not trust us
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.handle()
            self.connection.close()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(self.path)
        answer = self.server.behavior(self.path)
        self.close_connection = True
        if answer is None:
            return
        status, body = answer
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer a question of pip-audit, or of npm about a package."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a question of npm about its advisories."""
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class Service(ThreadingHTTPServer):
    """A service on a port of its own.

    Args:
        folder: Where its authority's certificate is written.

    Attributes:
        behavior: What it answers to a path.
        asked: The paths that it was asked for.
        is_closed_to_the_outside: Whether it connects with no host.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.behavior: Behavior = knows_nothing
        self.asked: list[str] = []
        self.is_closed_to_the_outside = False
        self._is_over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop_listening(self) -> None:
        """Refuse further connections; what is connected stays so."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
            self.socket.close()

    def stop(self) -> None:
        """End it, with what it still keeps waiting."""
        self._is_over.set()
        self.stop_listening()
        self.server_close()

    def never(self, _path: str) -> Answer:
        """Answer nothing as long as the service runs."""
        self._is_over.wait()
        return None

    def last_words(self, _path: str) -> Answer:
        """Answer once, and be gone before the client can ask again."""
        self.stop_listening()
        return 200, json.dumps({"vulnerabilities": []}).encode()
