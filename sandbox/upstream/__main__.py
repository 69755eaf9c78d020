"""`python -m sandbox.upstream`: start the upstream."""

import asyncio
import os
import sys
import time

from sandbox import log_lines
from sandbox.upstream.database import DatabaseBusyError
from sandbox.upstream.server import PortTakenError, listen, serve
from sandbox.upstream.settings import SettingsError, read_settings
from sandbox.upstream.state import open_upstream


def main() -> int:
    """Run until a signal stops it, and return the exit code."""
    log_lines.install()
    os.umask(0o077)  # only the owner may read uploaded files
    try:
        settings = read_settings(os.environ)
        with listen(settings.port) as listener:
            upstream = open_upstream(settings, time.time)
            try:
                asyncio.run(serve(upstream, listener))
            finally:
                upstream.database.close()
    except (SettingsError, PortTakenError, DatabaseBusyError) as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
