"""Upload a file through the broker and print the asset's id: `python upload.py FILE`."""

import mimetypes
import os
import sys
import time
from pathlib import Path

import requests

BROKER = os.environ.get("BROKER_URL", "http://127.0.0.1:8000")
BACKEND = os.environ.get("BACKEND_URL", "http://127.0.0.1:8080")

file = Path(sys.argv[1])
content_type = mimetypes.guess_type(file)[0] or ""  # then the broker goes by the extension

# In your app its own backend hands out the token; in the sandbox the demo page does.
token = requests.get(f"{BACKEND}/token", params={"sub": "alice"}, timeout=10).json()["token"]
session = requests.Session()
session.headers["Authorization"] = f"Bearer {token}"

wanted = {"fileName": file.name, "contentType": content_type, "size": file.stat().st_size}
begun = session.post(f"{BROKER}/uploads", json=wanted, timeout=30)
if not begun.ok:
    sys.exit(begun.json()["detail"])
upload = begun.json()

with file.open("rb") as body:  # exactly the headers that the broker named, and no token
    requests.put(
        upload["uploadUrl"], data=body, headers=upload["headers"], timeout=600
    ).raise_for_status()

while True:
    done = session.post(f"{BROKER}/uploads/{upload['id']}/complete", timeout=30)
    if done.status_code == requests.codes.ok:
        break
    if done.status_code != requests.codes.accepted and not done.json()["retryable"]:
        sys.exit(done.json()["detail"])
    time.sleep(int(done.headers.get("Retry-After", "1")))

print(done.json()["asset"]["id"])
