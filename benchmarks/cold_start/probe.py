"""What one cold container does: import the app, and answer its first request. Prints milliseconds.

Started with `-I -S -B`: nothing is importable but the standard library and the two folders, and no
`.pyc` is written, as in Lambda, where the code is read-only.
"""

import json
import sys
import time

code, runtime, event = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path[:0] = [code]
sys.path.append(runtime)  # Lambda's own libraries come after the function's
started, worked = time.perf_counter(), time.process_time()
from app import app  # noqa: E402 - it is what is measured

imported = time.perf_counter()
answer = app(event, None)
ended, done = time.perf_counter(), time.process_time()
print(
    json.dumps(
        {
            "status": answer["statusCode"],
            "body": json.loads(answer["body"]),
            "import": (imported - started) * 1000,
            "answer": (ended - started) * 1000,
            "cpu": (done - worked) * 1000,
        }
    )
)
