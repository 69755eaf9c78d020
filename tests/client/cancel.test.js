import assert from "node:assert/strict";
import { AbortError, RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, PENDING, problem, setUpUploader } from "./server.js";

const CANCEL = "DELETE /uploads/upload-1";
const start = setUpUploader();

test("an unfinished upload is cancelled without its file", async () => {
  const { server, uploader } = await start();
  await uploader.cancel(PENDING);
  assert.deepEqual(server.routes(), [CANCEL]);
});

test("a cancel is repeated while the upload is busy or the broker can't be reached", async () => {
  const busy = problem(409, "upload_busy", { retryable: true }, { "Retry-After": "1" });
  const { server, uploader } = await start({ [CANCEL]: [busy, { cut: true }, { status: 204 }] });
  await uploader.cancel(PENDING);
  assert.equal(server.at(CANCEL).length, 3);
});

test("a cancel of a registered upload fails with the broker's message", async () => {
  const { server, uploader } = await start({ [CANCEL]: [problem(409, "upload_not_pending")] });
  const error = await failureOf(uploader.cancel(PENDING));
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.code, error.message], ["upload_not_pending", "The server's own words."]);
  assert.equal(server.at(CANCEL).length, 1);
});

test("an abort ends the pause of a cancel", async () => {
  const { server, uploader } = await start({ [CANCEL]: [{ status: 503, body: "" }] });
  const controller = new AbortController();
  const cancelled = failureOf(uploader.cancel(PENDING, { signal: controller.signal }));
  await server.arrival(CANCEL);
  controller.abort("Enough.");
  assert.ok((await cancelled) instanceof AbortError);
});
