"""Clients that well-known generators make from `/openapi.json` compile and distinguish uploads."""

import compileall
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.running_broker import RunningBroker, token
from tests.support.upstream_process import ROOT

PROGRAMS = Path(sys.executable).parent
GENERATOR = ROOT / "scripts/openapi-typescript/node_modules/openapi-typescript/bin/cli.js"

TYPESCRIPT = """
import type { components, operations, paths } from "./api.js";

type Begun = paths["/uploads"]["post"]["responses"][201]["content"]["application/json"];

export function target(upload: Begun): string | null {
  // @ts-expect-error Only a pending upload has it.
  upload.uploadUrl;
  if (upload.status === "pending") return `${upload.method} ${upload.uploadUrl}`;
  // @ts-expect-error It is not pending any more.
  if (upload.status === "pending") return null;
  switch (upload.status) {
    case "registered":
      return upload.asset?.url ?? null;
    case "registering":
    case "failed":
    case "expired":
    case "cancelled":
      return upload.error?.code ?? null;
    default: {
      const none: never = upload;
      return none;
    }
  }
}

type Renewed = operations["UploadsRenew"]["responses"][200]["content"]["application/json"];
export const renewed = (upload: Renewed): Begun => upload;
export const headers = (upload: Renewed): Record<string, string> => upload.headers;
export const wanted: components["schemas"]["new-upload"] = {
  fileName: "clip.mp4",
  contentType: "video/mp4",
  size: 5,
};
"""

PYTHON = """
import sys
import httpx
from broker_client import AuthenticatedClient, models
from broker_client.api.assets import assets_list_all
from broker_client.api.service import service_index, service_limits
from broker_client.api.uploads import uploads_begin, uploads_complete, uploads_read

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
body = models.NewUpload(file_name="clip.mp4", content_type="video/mp4", size=5)
begun = uploads_begin.sync(client=client, body=body, idempotency_key="one")
assert isinstance(begun, models.PendingUpload), begun
assert begun.headers["Content-Type"] == "video/mp4"
again = uploads_begin.sync(client=client, body=body, idempotency_key="one")
assert isinstance(again, models.PendingUpload) and again.upload_url == begun.upload_url
read = uploads_read.sync(begun.id, client=client)
assert isinstance(read, models.Upload) and read.status == "pending", read
sent = httpx.put(begun.upload_url, content=b"hello", headers=begun.headers.to_dict())
assert sent.status_code == 200, sent
assert isinstance(uploads_complete.sync(begun.id, client=client), models.Upload)
later = uploads_begin.sync(client=client, body=body, idempotency_key="one")
assert isinstance(later, models.NotPendingUpload) and later.id == begun.id, later
assert isinstance(assets_list_all.sync(client=client), models.UploadList)
assert isinstance(service_limits.sync(client=client), models.Limits)
assert isinstance(service_index.sync(client=client), models.Service)
refused = uploads_read.sync("0" * 32, client=client)
assert isinstance(refused, models.Problem) and refused.code == "not_found", refused
"""


def run(folder: Path, *command: str | Path) -> None:
    """Run a program that must succeed; generators find the formatters of this environment."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder(broker: RunningBroker, tmp_path: Path) -> Path:
    """A folder with the running broker's OpenAPI document."""
    document = requests.get(broker.url + "/openapi.json", timeout=9)
    (tmp_path / "openapi.json").write_bytes(document.content)
    return tmp_path


def test_typescript_client_narrows_by_status(folder: Path) -> None:
    """In the types of openapi-typescript, `status` distinguishes pending uploads from others."""
    run(folder, "node", GENERATOR, "openapi.json", "--output", "api.ts")
    (folder / "use.ts").write_text(TYPESCRIPT)
    compiler = ROOT / "node_modules" / ".bin" / "tsc"
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "")
    run(folder, compiler, *options, "use.ts")


def test_python_client_begins_and_reads(broker: RunningBroker, folder: Path) -> None:
    """The package of openapi-python-client is complete, and begins and reads an upload."""
    options = ("--output-path", "broker_client", "--meta", "none", "--fail-on-warning")
    program = PROGRAMS / "openapi-python-client"
    run(folder, program, "generate", "--path", "openapi.json", *options)
    assert compileall.compile_dir(folder / "broker_client", quiet=1)
    run(folder, sys.executable, "-W", "error", "-c", PYTHON, broker.url, token())
