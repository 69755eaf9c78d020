"""Asks the media worker about a file, and outlives it."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from sandbox.upstream.media import MediaFacts

_SECONDS = 20.0  # for one file; then the worker counts as stuck


class MediaProbe:
    """One worker process, started at the first question and again whenever it died.

    Args:
        folder: Where thumbnails go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: Process | None = None
        self._turn = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def thumbnail(self, asset_id: str) -> Path:
        """Give the place of an asset's thumbnail."""
        return self._folder / f"{asset_id}.jpg"

    async def examine(self, path: Path, file_name: str, asset_id: str) -> MediaFacts:
        """Give a file's facts; unknown ones for a file that the worker cannot survive."""
        order = {
            "path": str(path),
            "fileName": file_name,
            "thumbnail": str(self.thumbnail(asset_id)),
        }
        async with self._turn:
            try:
                async with asyncio.timeout(_SECONDS):
                    return await self._ask(json.dumps(order).encode() + b"\n")
            except (TimeoutError, OSError, ValueError):
                await self.close()
                return MediaFacts()

    async def _ask(self, line: bytes) -> MediaFacts:
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sandbox.upstream.media"),
                stdin=PIPE,
                stdout=PIPE,
                # What FFmpeg says about broken files is no news for whoever runs the sandbox.
                stderr=DEVNULL,
            )
        stdin, stdout = self._worker.stdin, self._worker.stdout
        if stdin is None or stdout is None:
            raise BrokenPipeError
        stdin.write(line)
        await stdin.drain()
        # A worker that crashed answers with an empty line, which is no JSON.
        return MediaFacts(**json.loads(await stdout.readline()))

    def clear(self) -> None:
        """Delete all thumbnails."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """End the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
