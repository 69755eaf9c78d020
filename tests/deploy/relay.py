"""The relay of `docs/examples/relay.conf`: nginx on loopback, with a self-signed certificate.

As a program it runs a relay until SIGTERM: relay.py PORT STORAGE_ORIGIN APP_ORIGIN
"""

import datetime as dt
import getpass
import ipaddress
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
_MAIN = """
user {user};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/relay.conf;
}}
"""


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate for 127.0.0.1, and return its file and its key's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # nginx compares only DNS names, and other clients compare the IP address.
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("127.0.0.1")]
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, key_file


class Relay:
    """A started relay.

    Args:
        folder: The folder for its files.
        port: Its port.
        storage: Storage's origin.
        origin: The app's origin.
        trusted: The certificates that the relay trusts for storage, if not its own.

    Attributes:
        url: The relay's origin.
        certificate: The relay's certificate, for its clients to trust.
    """

    def __init__(
        self, folder: Path, port: int, storage: str, origin: str, trusted: Path | None = None
    ) -> None:
        self.folder = folder
        self.url = f"https://127.0.0.1:{port}"
        self.certificate, key = certificate(folder, "relay")
        names = {
            "APP_ORIGIN": origin,
            "RELAY_LISTEN": f"127.0.0.1:{port}",
            "RELAY_HOST": "127.0.0.1",
            "RELAY_CERTIFICATE": str(self.certificate),
            "RELAY_CERTIFICATE_KEY": str(key),
            "RELAY_LOGS": str(folder),
            "RESOLVER": "127.0.0.1",
            "STORAGE_ORIGIN": storage,
            "STORAGE_CA": str(trusted or self.certificate),
        }
        text = (ROOT / "docs" / "examples" / "relay.conf").read_text()
        assert set(re.findall(r"\$\{(\w+)\}", text)) == set(names)
        filled = re.sub(r"\$\{(\w+)\}", lambda found: names[found[1]], text)
        (folder / "relay.conf").write_text(filled)
        main = folder / "nginx.conf"
        main.write_text(_MAIN.format(user=getpass.getuser(), folder=folder))
        found = subprocess.run(
            [ROOT / "scripts" / "nginx"], capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        command = [found.stdout.strip(), "-p", str(folder), "-c", str(main)]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not _listens(port):
            assert self._process.poll() is None, "nginx ended"
            time.sleep(0.02)

    def logged(self) -> str:
        """Return the content of its logs."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def stop(self) -> int:
        """Stop nginx, and return its exit code."""
        self._process.terminate()
        return self._process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Run a relay until SIGTERM."""
    port, storage, origin = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        relay = Relay(Path(folder), int(port), storage, origin)
        try:
            print(relay.url, flush=True)  # noqa: T201 - the parent process waits for it
            signal.pause()
        except KeyboardInterrupt:
            relay.stop()


if __name__ == "__main__":
    main()
