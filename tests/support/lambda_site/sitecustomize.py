"""Lets the emulator's functions finish what they are at, as Lambda does, before they are replaced.

Python imports a module of this name when it starts. The emulator ends a replaced function by
SIGTERM, even in the middle of a request, and answers nobody until the process has ended. So a
busy process leaves the rest of its request to a child, which has the same connections and pipes.
"""

import os
import signal
import sys
from types import FrameType

LAMBDA_SECONDS = 30  # after which Lambda would end the request too


def _end(_signal: int, frame: FrameType | None) -> None:
    """End; but while a request is handled, the frame is deeper than the worker's own loop."""
    is_busy = frame is not None and frame.f_code.co_name != "run"
    if is_busy and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(LAMBDA_SECONDS)
        return
    os._exit(0)


if any("_worker" in argument for argument in sys.orig_argv):
    signal.signal(signal.SIGTERM, _end)
