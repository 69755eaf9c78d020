"""A TLS proxy in front of servers on loopback, as Sync and AWS are behind TLS.

`python -m benchmarks.cold_start.tls FOLDER PORT...` prints the ports that it listens on, and writes
its certificate to FOLDER.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from tests.deploy.relay import certificate

HOST = "127.0.0.1"
NAME = "tls"  # of the certificate's file


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
    context.load_cert_chain(*certificate(folder, NAME))
    servers = []
    for port in ports:

        async def forward(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
        ) -> None:
            inside, outside = await asyncio.open_connection(HOST, port)
            # The servers refuse a Host that is not their own.
            shown = f"{HOST}:{writer.get_extra_info('sockname')[1]}".encode()
            own = f"{HOST}:{port}".encode()
            await asyncio.gather(_copy(reader, outside, shown, own), _copy(inside, writer))

        servers.append(await asyncio.start_server(forward, HOST, 0, ssl=context))
    print(*(one.sockets[0].getsockname()[1] for one in servers), flush=True)
    await asyncio.gather(*(one.serve_forever() for one in servers))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
