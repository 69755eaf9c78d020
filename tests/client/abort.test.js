import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { AbortError, UploadError } from "../../client/index.js";
import { TIMED_OUT, withTimeout } from "../../client/timing.js";
import { test } from "../bounded.js";
import { failureOf, setUpUploader } from "./server.js";

const BEGIN = "POST /uploads";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const bench = setUpUploader();

let server;
async function start(overrides = {}, getToken = "token-1") {
  const started = await bench(overrides, { getToken });
  server = started.server;
  return started.uploader;
}

/** Upload, abort while the server handles the route, and return the error. */
async function abortDuring(route) {
  const controller = new AbortController();
  const uploader = await start({
    [route]: [{ before: () => new Promise(() => controller.abort("Enough.")) }],
  });
  return failureOf(uploader.upload(file, { signal: controller.signal }));
}

function assertAborted(error) {
  assert.ok(error instanceof AbortError && error instanceof UploadError);
  assert.deepEqual(
    [error.name, error.code, error.cause, error.retryable],
    ["AbortError", "aborted", "Enough.", false],
  );
}

test("an upload with an aborted signal sends nothing", async () => {
  const uploader = await start();
  assertAborted(await failureOf(uploader.upload(file, { signal: AbortSignal.abort("Enough.") })));
  assert.deepEqual(server.routes(), []);
});

test("an abort ends the wait for a getToken that ignores its signal", async () => {
  const controller = new AbortController();
  const uploader = await start({}, () => {
    controller.abort("Enough.");
    return new Promise(() => {});
  });
  assertAborted(await failureOf(uploader.upload(file, { signal: controller.signal })));
  assert.deepEqual(server.routes(), []);
});

test("getToken gets the signal", async () => {
  const { signal } = new AbortController();
  let seen;
  const uploader = await start({}, (context) => {
    seen = context.signal;
    return "token-1";
  });
  await uploader.upload(file, { signal });
  assert.equal(seen, signal);
});

test("an abort during the presign sends no further request", async () => {
  assertAborted(await abortDuring("POST /uploads"));
  assert.deepEqual(server.routes(), [BEGIN]);
});

test("an abort during the PUT cancels the upload at the broker and completes nothing", async () => {
  assertAborted(await abortDuring(PUT));
  await server.arrival(CANCEL);
  assert.ok(!server.routes().includes(COMPLETE));
});

test("an abort during complete cancels the upload at the broker", async () => {
  assertAborted(await abortDuring(COMPLETE));
  await server.arrival(CANCEL);
});

test("an abort ends the pause before the next complete", async () => {
  const controller = new AbortController();
  const uploader = await start({
    [COMPLETE]: [{ status: 202, body: {}, headers: { "Retry-After": "1" } }],
  });
  const upload = failureOf(uploader.upload(file, { signal: controller.signal }));
  await server.arrival(COMPLETE);
  controller.abort("Enough.");
  assertAborted(await upload);
  await server.arrival(CANCEL);
});

test("an abort whose cancel the broker refuses is still an AbortError", async () => {
  const controller = new AbortController();
  const uploader = await start({
    [PUT]: [{ before: () => new Promise(() => controller.abort("Enough.")) }],
    [CANCEL]: [{ status: 409, body: { detail: "It is registering." } }],
  });
  assertAborted(await failureOf(uploader.upload(file, { signal: controller.signal })));
  await server.arrival(CANCEL);
});

for (const [how, promise, result] of [
  ["times out", new Promise(() => {}), TIMED_OUT],
  ["gets its result", Promise.resolve("done"), "done"],
]) {
  test(`a wait that ${how} leaves no listener behind`, async () => {
    const { signal } = new AbortController();
    assert.equal(await withTimeout(promise, 0, signal), result);
    assert.deepEqual(getEventListeners(signal, "abort"), []);
  });
}

test("an abort in the progress callback stops the upload at once", async () => {
  for (const phase of ["waiting", "uploading", "finishing"]) {
    const controller = new AbortController();
    const uploader = await start();
    const onProgress = (progress) => progress.phase === phase && controller.abort("Enough.");
    assertAborted(
      await failureOf(uploader.upload(file, { signal: controller.signal, onProgress })),
    );
    assert.ok(!server.routes().includes(COMPLETE) || phase === "finishing");
    await server.stop();
  }
});

test("an abort during the pause before a retry sends no further request", async () => {
  const controller = new AbortController();
  const uploader = await start({
    [BEGIN]: [{ status: 429, body: {}, headers: { "Retry-After": "60" } }],
  });
  const onProgress = ({ error }) => error && controller.abort("Enough.");
  assertAborted(await failureOf(uploader.upload(file, { signal: controller.signal, onProgress })));
  assert.deepEqual(server.routes(), [BEGIN]);
});

test("an abort also ends pending, assets, limits and registerUrl", async () => {
  const signal = AbortSignal.abort("Enough.");
  const uploader = await start();
  for (const call of [
    () => uploader.pending({ signal }),
    () => uploader.assets({ signal }),
    () => uploader.limits({ signal }),
    () => uploader.registerUrl({ url: "https://media.example/t.mp4", type: "VIDEO", signal }),
  ])
    assertAborted(await failureOf(call()));
  assert.deepEqual(server.routes(), []);
});

test("an abort whose reason is null is an AbortError", async () => {
  const uploader = await start();
  const error = await failureOf(uploader.upload(file, { signal: AbortSignal.abort(null) }));
  assert.equal(error.code, "aborted");
});
