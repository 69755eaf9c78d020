"""Runs the media worker, and survives its crashes."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from sandbox.upstream.media import MediaFacts

_SECONDS = 20.0  # for one file; after that, the worker is killed


class MediaProbe:
    """A worker process that is started for the first file, and again after it died.

    Args:
        folder: The folder for thumbnails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: Process | None = None
        self._lock = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def thumbnail(self, asset_id: str) -> Path:
        """Return the path of an asset's thumbnail."""
        return self._folder / f"{asset_id}.jpg"

    async def examine(self, path: Path, file_name: str, asset_id: str) -> MediaFacts:
        """Return a file's facts; all are None for a file that kills the worker."""
        request = {
            "path": str(path),
            "fileName": file_name,
            "thumbnail": str(self.thumbnail(asset_id)),
        }
        async with self._lock:
            try:
                async with asyncio.timeout(_SECONDS):
                    return await self._call(json.dumps(request).encode() + b"\n")
            except (TimeoutError, OSError, ValueError):
                await self.close()
                return MediaFacts()

    async def _call(self, line: bytes) -> MediaFacts:
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sandbox.upstream.media"),
                stdin=PIPE,
                stdout=PIPE,
                # FFmpeg's messages about broken files do not help a user of the sandbox.
                stderr=DEVNULL,
            )
        stdin, stdout = self._worker.stdin, self._worker.stdout
        if stdin is None or stdout is None:
            raise BrokenPipeError
        stdin.write(line)
        await stdin.drain()
        # If the worker crashed, the line is empty, which is not JSON.
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
