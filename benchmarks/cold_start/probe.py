"""Import an app and serve its first request, as a cold container does; print the milliseconds.

Run it with `-I -S -B`: then only the standard library and the two folders are importable, and
Python writes no `.pyc` files. In Lambda it can't, since the code is read-only.
"""

import json
import sys
import time

code, runtime, event = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path[:0] = [code]
sys.path.append(runtime)  # Lambda's own libraries come after the function's
started, worked = time.perf_counter(), time.process_time()
from app import app  # noqa: E402 - the import is measured

imported = time.perf_counter()
response = app(event, None)
ended, done = time.perf_counter(), time.process_time()
print(
    json.dumps(
        {
            "status": response["statusCode"],
            "body": json.loads(response["body"]),
            "import": (imported - started) * 1000,
            "response": (ended - started) * 1000,
            "cpu": (done - worked) * 1000,
        }
    )
)
