import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RefusedError } from "../../client/index.js";
import { afterEach, beforeEach, test } from "../bounded.js";
import { failureOf, problem, setBench } from "./server.js";

const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const start = setBench();
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
  assert.deepEqual([error.code, error.message], ["file_unreadable", "take.mp4 is unreadable."]);
  assert.equal(error.cause.name, "NotReadableError");
}

test("a file that changed since it was chosen is refused, and its upload is cancelled", async () => {
  const { server, uploader } = await start();
  await writeFile(path, "other bytes");
  assertUnreadable(await failureOf(uploader.upload(file)));
  assert.equal(server.at(PUT).length, 0);
  await server.arrival(CANCEL);
});

test("a file that changes between two tries is not taken for a lost connection", async () => {
  const { server, uploader } = await start({
    [PUT]: [{ before: () => writeFile(path, "other bytes"), cut: true }],
    [COMPLETE]: [problem(409, "file_not_uploaded", { retryable: true })],
  });
  assertUnreadable(await failureOf(uploader.upload(file)));
  assert.equal(server.at(PUT).length, 1);
  await server.arrival(CANCEL);
});
