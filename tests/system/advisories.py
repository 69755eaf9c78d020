"""The services that `make audit` uses, on loopback: npm's registry, and PyPI behind a proxy."""

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

# A status and a body; None closes the connection without a response.
Response = tuple[int, bytes] | None
Behavior = Callable[[str], Response]


def no_advisories(_path: str) -> Response:
    """Respond as either service does without an advisory."""
    return 200, b"{}"


class Authority:
    """The certificate authority of the hosts that the proxy imitates."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self.file = folder / "authority.pem"
        made = self._certificate(self._name, self._key, x509.BasicConstraints(True, 0))  # noqa: FBT003 - the signature of x509
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
        """Return the TLS settings of a server with a host's certificate."""
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
        """Imitate the host that the client wants to connect to."""
        host = self.path.rpartition(":")[0]
        if self.server.refuses_connect:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        context = self.server.authority.context(host)
        with suppress(OSError):  # the client does not trust the certificate
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.handle()
            self.connection.close()

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requested.append(self.path)
        response = self.server.behavior(self.path)
        self.close_connection = True
        if response is None:
            return
        status, body = response
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Respond to a request of pip-audit, or of npm for a package."""
        self._respond()

    def do_POST(self) -> None:
        """Respond to a request of npm for advisories."""
        self._respond()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Service(ThreadingHTTPServer):
    """A service on a free port.

    Args:
        folder: The folder for the certificate of its authority.

    Attributes:
        behavior: Returns the response for a path.
        requested: The paths of the requests.
        refuses_connect: Whether it refuses to connect to any host, as a proxy.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.behavior: Behavior = no_advisories
        self.requested: list[str] = []
        self.refuses_connect = False
        self._is_stopped = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop_listening(self) -> None:
        """Refuse further connections, and keep the existing ones."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
            self.socket.close()

    def stop(self) -> None:
        """Stop the service, and end the responses that still wait."""
        self._is_stopped.set()
        self.stop_listening()
        self.server_close()

    def never_respond(self, _path: str) -> Response:
        """Send no response until the service stops."""
        self._is_stopped.wait()
        return None

    def respond_once(self, _path: str) -> Response:
        """Send one response, after refusing further connections."""
        self.stop_listening()
        return 200, json.dumps({"vulnerabilities": []}).encode()
