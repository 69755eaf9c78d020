"""Start an app and serve its first request, as a cold container does; print the milliseconds.

Run it with `-I -S -B`: then only the standard library and the two folders are importable, and
Python writes no `.pyc` files. In Lambda it can't, since the code is read-only.
"""

import json
import os
import sys
import time
from pathlib import Path

code, runtime, group, event = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
sys.path[:0] = [code]
sys.path.append(runtime)  # Lambda's own libraries come after the function's
started, worked = time.perf_counter(), time.process_time()
from app import app  # noqa: E402 - the import is measured

ready, prepared = time.perf_counter(), time.process_time()
known = set(sys.modules)
if group:
    # Lambda starts a function on a whole CPU, and serves requests with its memory's share of one.
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
began, busy = time.perf_counter(), time.process_time()
response = app(event, None)
ended, done = time.perf_counter(), time.process_time()
print(
    json.dumps(
        {
            "status": response["statusCode"],
            "body": json.loads(response["body"]),
            "imported": sorted(set(sys.modules) - known),
            "init": (ready - started) * 1000,
            "handler": (ended - began) * 1000,
            "init CPU": (prepared - worked) * 1000,
            "handler CPU": (done - busy) * 1000,
        }
    )
)
