import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { UploadError } from "../../client/index.js";
import { createUploaderWith } from "../../client/uploader.js";
import { goodScripts, startServer } from "./server.js";
import { putWithNode } from "./transport.js";

const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });

let server;
afterEach(() => server.stop());

async function start(overrides = {}, getToken = "token-1") {
  const scripts = {};
  server = await startServer(scripts);
  Object.assign(scripts, goodScripts(server.url, overrides));
  return createUploaderWith(putWithNode, { endpoint: server.url, getToken });
}

/** Uploads, aborts while the route is being answered, and gives the error. */
async function abortDuring(route) {
  const controller = new AbortController();
  const uploader = await start({
    [route]: [{ before: () => new Promise(() => controller.abort("Enough.")) }],
  });
  return rejection(uploader.upload(file, { signal: controller.signal }));
}

const rejection = (promise) =>
  promise.then(
    () => assert.fail("It should have been aborted."),
    (error) => error,
  );

function assertAborted(error) {
  assert.ok(error instanceof UploadError);
  assert.deepEqual(
    [error.name, error.code, error.cause, error.retryable],
    ["AbortError", "aborted", "Enough.", false],
  );
}

test("a signal that is aborted already sends nothing", async () => {
  const uploader = await start();
  assertAborted(await rejection(uploader.upload(file, { signal: AbortSignal.abort("Enough.") })));
  assert.deepEqual(server.routes(), []);
});

test("an abort ends the wait for a token that knows no signals", async () => {
  const controller = new AbortController();
  const uploader = await start({}, () => {
    controller.abort("Enough.");
    return new Promise(() => {});
  });
  assertAborted(await rejection(uploader.upload(file, { signal: controller.signal })));
  assert.deepEqual(server.routes(), []);
});

test("the token function gets the signal", async () => {
  const { signal } = new AbortController();
  let seen;
  const uploader = await start({}, (context) => {
    seen = context.signal;
    return "token-1";
  });
  await uploader.upload(file, { signal });
  assert.equal(seen, signal);
});

test("an abort during the presign stops there", async () => {
  assertAborted(await abortDuring("POST /uploads"));
  assert.deepEqual(server.routes(), ["POST /uploads"]);
});

test("an abort during the PUT cancels the upload at the broker and completes nothing", async () => {
  assertAborted(await abortDuring(PUT));
  await server.arrival(CANCEL);
  assert.ok(!server.routes().includes(COMPLETE));
});

test("an abort while complete runs cancels the upload at the broker", async () => {
  assertAborted(await abortDuring(COMPLETE));
  await server.arrival(CANCEL);
});

test("an abort ends a pause between two questions", async () => {
  const controller = new AbortController();
  const uploader = await start({
    [COMPLETE]: [{ status: 202, body: {}, headers: { "Retry-After": "1" } }],
  });
  const upload = rejection(uploader.upload(file, { signal: controller.signal }));
  await server.arrival(COMPLETE);
  controller.abort("Enough.");
  assertAborted(await upload);
  await server.arrival(CANCEL);
});

test("a cancel that the broker refuses changes nothing about the abort", async () => {
  const controller = new AbortController();
  const uploader = await start({
    [PUT]: [{ before: () => new Promise(() => controller.abort("Enough.")) }],
    [CANCEL]: [{ status: 409, body: { detail: "It is registering." } }],
  });
  assertAborted(await rejection(uploader.upload(file, { signal: controller.signal })));
  await server.arrival(CANCEL);
});

test("uploads that share a signal leave no listener behind", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const counting = new Proxy(signal, {
    get(target, name) {
      if (name === "addEventListener") listeners += 1;
      if (name === "removeEventListener") listeners -= 1;
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { pause } = await import("../../client/abort.js");
  await start();
  await pause(0, counting);
  assert.equal(listeners, 0);
});
