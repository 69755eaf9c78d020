import assert from "node:assert/strict";
import { AbortError, RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, PENDING, problem, setBench } from "./server.js";

const CANCEL = "DELETE /uploads/upload-1";
const start = setBench();

test("an unfinished upload is cancelled without its file", async () => {
  const { server, uploader } = await start();
  await uploader.cancel(PENDING);
  assert.deepEqual(server.routes(), [CANCEL]);
});

test("a cancel is repeated while the broker is busy with the upload, or can't be reached", async () => {
  const busy = problem(409, "upload_busy", { retryable: true }, { "Retry-After": "1" });
  const { server, uploader } = await start({ [CANCEL]: [busy, { cut: true }, { status: 204 }] });
  await uploader.cancel(PENDING);
  assert.equal(server.at(CANCEL).length, 3);
});

test("what is registered already can't be cancelled, and the broker says so", async () => {
  const { server, uploader } = await start({ [CANCEL]: [problem(409, "upload_not_pending")] });
  const error = await failureOf(uploader.cancel(PENDING));
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.code, error.message], ["upload_not_pending", "The server's own words."]);
  assert.equal(server.at(CANCEL).length, 1);
});

test("a cancel that waits for its next try can be aborted", async () => {
  const { server, uploader } = await start({ [CANCEL]: [{ status: 503, body: "" }] });
  const controller = new AbortController();
  const cancelled = failureOf(uploader.cancel(PENDING, { signal: controller.signal }));
  await server.arrival(CANCEL);
  controller.abort("Enough.");
  assert.ok((await cancelled) instanceof AbortError);
});
