import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RefusedError } from "../../client/index.js";
import { afterEach, beforeEach, test } from "../bounded.js";
import { failureOf, setUpUploader, target } from "./server.js";

const BEGIN = "POST /uploads";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const start = setUpUploader();
let folder;
let path;
let file;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "unreadable-"));
  path = join(folder, "take.mp4");
  await writeFile(path, "bytes");
  file = new File([await openAsBlob(path)], "take.mp4", { type: "video/mp4" });
});

afterEach(() => rm(folder, { recursive: true }));

function assertUnreadable(error) {
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.code, error.message],
    [
      "file_unreadable",
      '"take.mp4" could not be read. It may have been changed, moved or deleted. Choose it again.',
    ],
  );
  assert.equal(error.cause.name, "NotReadableError");
}

test("a file that changed since it was chosen is refused before any request", async () => {
  const { server, uploader } = await start();
  await writeFile(path, "other bytes");
  assertUnreadable(await failureOf(uploader.upload(file)));
  assert.deepEqual(server.routes(), []);
});

test("a file that changes during the presign is not sent, and its upload is cancelled", async () => {
  const { server, uploader } = await start((url) => ({
    [BEGIN]: [{ status: 201, body: target(url), before: () => writeFile(path, "other bytes") }],
  }));
  assertUnreadable(await failureOf(uploader.upload(file)));
  await server.arrival(CANCEL);
  assert.deepEqual(server.routes(), [BEGIN, CANCEL]);
});

for (const [what, answer] of [
  ["is stored", { body: "" }],
  ["loses its connection", { cut: true }],
  ["is refused with 503", { status: 503, body: "" }],
]) {
  test(`a file that changes during its PUT and then ${what} is cancelled, not completed`, async () => {
    const { server, uploader } = await start({
      [PUT]: [{ before: () => writeFile(path, "other bytes"), ...answer }],
    });
    assertUnreadable(await failureOf(uploader.upload(file)));
    await server.arrival(CANCEL);
    assert.deepEqual(server.routes(), [BEGIN, PUT, CANCEL]);
  });
}

test("a file that changes while its PUT hangs is cancelled within seconds", async () => {
  const { server, uploader } = await start({
    [PUT]: [{ before: () => writeFile(path, "other bytes").then(() => new Promise(() => {})) }],
  });
  assertUnreadable(await failureOf(uploader.upload(file)));
  await server.arrival(CANCEL);
  assert.deepEqual(server.routes(), [BEGIN, PUT, CANCEL]);
});

/** A file as Firefox reads it: the bytes on the disk, up to the size that it had when it was chosen. */
class LiveFile extends File {
  constructor(state) {
    super(["x".repeat(state.bytes.length)], "take.mp4", { type: "video/mp4" });
    this.state = state;
  }

  slice(start = 0, end = this.size) {
    const from = start < 0 ? this.size + start : start;
    return new Blob([this.state.bytes.slice(Math.max(0, from), end)]);
  }
}

for (const [how, change] of [
  ["rewritten in place", "other"],
  ["other at its end alone", "bytez"],
  ["shorter", "byt"],
]) {
  test(`a live file that is ${how} after its PUT is not completed`, async () => {
    const state = { bytes: "bytes" };
    const { server, uploader } = await start({
      [PUT]: [
        {
          before: () => {
            state.bytes = change;
          },
        },
      ],
    });
    const error = await failureOf(uploader.upload(new LiveFile(state)));
    assert.equal(error.code, "file_unreadable");
    await server.arrival(CANCEL);
    assert.equal(server.at(COMPLETE).length, 0);
  });
}

// Browsers dispatch this event when they find the network again, which ends pauses; Node has no such event.
const network = new EventTarget();
globalThis.addEventListener = network.addEventListener.bind(network);

test("a file that can't be read for a moment during its PUT is registered", async () => {
  const state = { bytes: "bytes" };
  let reads = 0;
  class HeldFile extends LiveFile {
    slice(...range) {
      if (range.length === 1) reads += 1;
      return super.slice(...range);
    }
  }
  const readAgain = async () => {
    const known = reads;
    for (let tries = 0; reads === known && tries < 1000; tries += 1) {
      network.dispatchEvent(new Event("online"));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const { uploader } = await start({
    [PUT]: [
      {
        before: async () => {
          state.bytes = "";
          await readAgain();
          state.bytes = "bytes";
          await readAgain();
        },
        body: "",
      },
    ],
  });
  assert.equal((await uploader.upload(new HeldFile(state))).asset.id, "asset-1");
});

test("a file on a lost network drive is retried when the network is back", async (context) => {
  const state = { bytes: "bytes" };
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
  context.after(() => delete globalThis.navigator);
  const { uploader } = await start({
    [PUT]: [
      {
        before: () => {
          state.bytes = "";
          navigator.onLine = false;
        },
        cut: true,
      },
      { body: "" },
    ],
    [COMPLETE]: [
      { status: 409, body: { code: "file_not_uploaded", retryable: true } },
      { body: { status: "registered", asset: { id: "asset-1" } } },
    ],
  });
  const onProgress = ({ wait }) => {
    if (!wait) return;
    Object.assign(state, { bytes: "bytes" });
    navigator.onLine = true;
    setTimeout(() => network.dispatchEvent(new Event("online")));
  };
  const { asset } = await uploader.upload(new LiveFile(state), { onProgress });
  assert.equal(asset.id, "asset-1");
});
