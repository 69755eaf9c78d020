"""A TLS proxy in front of servers on loopback, as Sync and AWS are behind TLS.

`python -m benchmarks.cold_start.tls FOLDER PORT...` prints the ports that it listens on, and writes
its certificate to FOLDER.
"""

import asyncio
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CERTIFICATE, KEY = "certificate.pem", "key.pem"


def write_certificate(folder: Path) -> None:
    """Write a certificate of `localhost` that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / CERTIFICATE).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / KEY).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, old: bytes = b"", new: bytes = b""
) -> None:
    try:
        while data := await source.read(65536):
            target.write(data.replace(old, new) if old else data)
            await target.drain()
    except OSError:
        pass
    target.close()


async def serve(folder: Path, ports: list[int]) -> None:
    """Serve until the process is stopped."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    servers = []
    for port in ports:

        async def forward(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
        ) -> None:
            inside, outside = await asyncio.open_connection("127.0.0.1", port)
            # The servers refuse a Host that is not their own.
            shown = f"localhost:{writer.get_extra_info('sockname')[1]}".encode()
            own = f"localhost:{port}".encode()
            await asyncio.gather(_copy(reader, outside, shown, own), _copy(inside, writer))

        servers.append(await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
    print(*(one.sockets[0].getsockname()[1] for one in servers), flush=True)
    await asyncio.gather(*(one.serve_forever() for one in servers))


if __name__ == "__main__":
    write_certificate(Path(sys.argv[1]))
    asyncio.run(serve(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
