// The vendor's TypeScript SDK, unchanged, with the sandbox.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SyncClient, SyncError } from "@sync.so/sdk";
import { after, before, beforeEach, test } from "../bounded.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KEY = "test-key";
const SORTS = ["name", "date", "duration", "size", "kind"].flatMap((key) => [
  `${key}Asc`,
  `${key}Desc`,
]);

let upstream;
let folder;
let url;
let client;

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function call(method, path, body) {
  const headers = { "x-api-key": KEY, "content-type": "application/json" };
  const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.status === 204 ? undefined : response.json();
}

async function makeAsset(fields, bytes = Buffer.from("hello")) {
  const contentType = "video/mp4";
  const file = { fileName: "clip.mp4", contentType, size: bytes.length };
  const presigned = await call("POST", "/v2/assets/upload", file);
  const headers = { "content-type": contentType };
  const put = await fetch(presigned.uploadUrl, { method: "PUT", headers, body: bytes });
  assert.equal(put.status, 200);
  return call("POST", "/v2/assets", { url: presigned.url, type: "VIDEO", ...fields });
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sandbox-"));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  upstream = spawn(join(ROOT, ".venv/bin/python"), ["-m", "sandbox.upstream"], {
    cwd: ROOT,
    env: { ...process.env, UPSTREAM_PORT: port, SANDBOX_DIR: folder, SYNC_API_KEY: KEY },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(createInterface(upstream.stdout), "line");
  client = new SyncClient({ baseUrl: url, apiKey: KEY });
});

beforeEach(() => call("POST", "/_sandbox/reset"));

after(async () => {
  const ended = once(upstream, "exit");
  upstream.kill("SIGTERM");
  assert.equal((await ended)[0], 0);
  await rm(folder, { recursive: true });
});

test("the SDK gets every field of an asset", async () => {
  const asset = await makeAsset(
    { name: "take" },
    await readFile(join(ROOT, "sandbox/samples/sample.mp4")),
  );
  const got = await client.assets.get(asset.id);
  assert.deepEqual(got, asset);
  assert.equal(got.durationSeconds, 2);
});

test("the SDK lists assets with every filter, every sort and the cursor", async () => {
  await makeAsset({ name: "one", type: "AUDIO" });
  await makeAsset({ name: "two", projectId: "sandbox-project" });
  await makeAsset({ name: "three", type: "IMAGE" });
  const names = (page) => page.items.map((asset) => asset.name);
  const chosen = await client.assets.list({ types: ["AUDIO", "VIDEO"], sortBy: "nameAsc" });
  assert.deepEqual(names(chosen), ["one", "two"]);
  assert.deepEqual(names(await client.assets.list({ types: [] })), ["three", "two", "one"]);
  assert.deepEqual(names(await client.assets.list({ searchQuery: "TW" })), ["two"]);
  assert.deepEqual(names(await client.assets.list({ projectId: "sandbox-project" })), ["two"]);
  for (const sortBy of SORTS) {
    assert.equal((await client.assets.list({ sortBy })).totalCount, 3);
  }
  const first = await client.assets.list({ limit: 2 });
  const second = await client.assets.list({ limit: 2, cursor: first.nextCursor });
  assert.deepEqual([...names(first), ...names(second)], ["three", "two", "one"]);
  assert.equal(second.nextCursor, undefined);
});

test("the SDK throws its own error for a refusal", async () => {
  await assert.rejects(client.assets.get("nobody"), (error) => {
    assert.ok(error instanceof SyncError);
    assert.equal(error.statusCode, 404);
    assert.equal(error.body.errorCode, "asset_not_found");
    return true;
  });
});

test("the SDK creates a generation from an assetId, gets it until it completes, and lists it", async () => {
  await call("PATCH", "/_sandbox/behavior", { generationSeconds: 0.3 });
  const video = await makeAsset({});
  const audio = await makeAsset({ type: "AUDIO" });
  const created = await client.generations.create({
    model: "lipsync-2",
    input: [
      { type: "video", assetId: video.id },
      { type: "audio", assetId: audio.id },
    ],
    options: { sync_mode: "cut_off" },
  });
  assert.equal(created.status, "PENDING");
  await new Promise((resolve) => setTimeout(resolve, 400));
  const done = await client.generations.get(created.id);
  assert.equal(done.status, "COMPLETED");
  assert.equal((await fetch(done.outputUrl)).status, 200);
  const listed = await client.generations.list({ status: ["COMPLETED"], ids: [created.id] });
  assert.deepEqual(
    listed.map((item) => item.id),
    [created.id],
  );
});
