import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, test } from "node:test";
import { UploadError } from "../../client/index.js";
import { createUploaderWith } from "../../client/uploader.js";
import { goodScripts, startServer } from "./server.js";
import { putWithNode } from "./transport.js";

const COMPLETE = "POST /uploads/upload-1/complete";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const file = new File(["0123456789".repeat(1000)], "take 1.mp4", { type: "video/mp4" });
const problem = (fields) => ({
  body: { detail: "The server's own words.", ...fields },
  headers: { "Retry-After": "0", "X-Request-Id": "request-9" },
  ...fields,
});

let running = [];
afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
});

async function start(overrides = {}, options = {}) {
  const scripts = {};
  const server = await startServer(scripts);
  running.push(server);
  Object.assign(scripts, goodScripts(server.url, overrides));
  const uploader = createUploaderWith(putWithNode, {
    endpoint: server.url,
    getToken: "token-1",
    ...options,
  });
  return { server, uploader };
}

const failure = (promise) =>
  promise.then(
    () => assert.fail("It should have been refused."),
    (error) => error,
  );

test("an upload presigns, sends and completes, in this order, and gives the asset", async () => {
  const { server, uploader } = await start();
  const upload = await uploader.upload(file);
  assert.equal(upload.asset.id, "asset-1");
  assert.deepEqual(server.routes(), ["POST /uploads", PUT, COMPLETE]);
});

test("the broker is told the file's facts and the caller's labels, and nothing else", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file, { name: "Take 1", type: "AUDIO", projectId: "project-1" });
  assert.deepEqual(JSON.parse(server.requests[0].body), {
    fileName: "take 1.mp4",
    contentType: "video/mp4",
    size: 10_000,
    name: "Take 1",
    type: "AUDIO",
    projectId: "project-1",
  });
});

test("storage gets the very bytes, with exactly the headers that the broker listed", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file);
  const put = server.requests[1];
  const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(digest(put.body), digest(Buffer.from(await file.arrayBuffer())));
  assert.equal(put.headers["content-type"], "video/mp4");
  assert.equal(put.headers["x-amz-acl"], "private");
  assert.equal(put.headers.authorization, undefined);
});

test("complete is asked without a body", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file);
  assert.equal(server.requests[2].body.length, 0);
  assert.equal(server.requests[2].headers["content-type"], undefined);
});

test("a slash at the end of the endpoint changes nothing", async () => {
  const { server } = await start();
  const uploader = createUploaderWith(putWithNode, {
    endpoint: `${server.url}/`,
    getToken: "token-1",
  });
  await uploader.upload(file);
  assert.equal(server.requests[0].path, "/uploads");
});

test("progress grows through the phases, and is 100 only when the asset is recorded", async () => {
  const seen = [];
  let seenBeforeTheAnswer;
  const { uploader } = await start({
    [COMPLETE]: [
      {
        before: () => {
          seenBeforeTheAnswer = seen.length;
        },
        body: { asset: { id: "asset-1" } },
      },
    ],
  });
  await uploader.upload(file, { onProgress: (progress) => seen.push(progress) });
  assert.deepEqual(seen, [
    { loaded: 0, total: 10_000, percentage: 0, phase: "waiting" },
    { loaded: 0, total: 10_000, percentage: 0, phase: "uploading" },
    { loaded: 5_000, total: 10_000, percentage: 50, phase: "uploading" },
    { loaded: 10_000, total: 10_000, percentage: 99, phase: "uploading" },
    { loaded: 10_000, total: 10_000, percentage: 99, phase: "finishing" },
    { loaded: 10_000, total: 10_000, percentage: 100, phase: "done" },
  ]);
  assert.equal(seenBeforeTheAnswer, 5);
});

test("the token may come from an async function, which is asked before each request", async () => {
  let count = 0;
  const getToken = async () => `token-${++count}`;
  const { server, uploader } = await start({}, { getToken });
  await uploader.upload(file);
  assert.equal(server.requests[0].headers.authorization, "Bearer token-1");
  assert.equal(server.requests[2].headers.authorization, "Bearer token-2");
});

test("a token that can't be had ends the upload with the app's own words", async () => {
  const cause = new Error("Please sign in.");
  const { server, uploader } = await start({}, { getToken: () => Promise.reject(cause) });
  const error = await failure(uploader.upload(file));
  assert.ok(error instanceof UploadError);
  assert.deepEqual(
    [error.code, error.message, error.cause],
    ["token_failed", "Please sign in.", cause],
  );
  assert.deepEqual(server.routes(), []);
});

test("a refusal carries the broker's text, code, status, request id and field errors", async () => {
  const errors = [{ pointer: "/size", detail: "must be at least 1" }];
  const { uploader } = await start({
    "POST /uploads": [
      problem({
        status: 422,
        body: { detail: "Empty.", code: "invalid_request", requestId: "r-1", errors },
      }),
    ],
  });
  const error = await failure(uploader.upload(file));
  assert.ok(error instanceof UploadError);
  assert.equal(error.message, "Empty.");
  assert.equal(error.code, "invalid_request");
  assert.equal(error.status, 422);
  assert.equal(error.retryable, false);
  assert.equal(error.requestId, "r-1");
  assert.deepEqual(error.errors, errors);
});

test("an answer that is no problem document is still an error with status and request id", async () => {
  const { uploader } = await start({
    "POST /uploads": [
      { status: 502, body: "<h1>Bad gateway</h1>", headers: { "X-Request-Id": "r-2" } },
    ],
  });
  const error = await failure(uploader.upload(file));
  assert.equal(error.code, "unexpected_answer");
  assert.equal(error.status, 502);
  assert.equal(error.retryable, true);
  assert.equal(error.requestId, "r-2");
});

test("a page of HTML with status 200 is never taken for an upload", async () => {
  const { uploader } = await start({ [COMPLETE]: [{ body: "<h1>Sign in to the Wi-Fi</h1>" }] });
  const error = await failure(uploader.upload(file));
  assert.equal(error.code, "unexpected_answer");
});

test("a broker that is not there is an error of its own, and retryable", async () => {
  const { server, uploader } = await start();
  await server.stop();
  const error = await failure(uploader.upload(file));
  assert.equal(error.code, "broker_unreachable");
  assert.equal(error.retryable, true);
  assert.ok(error.cause instanceof TypeError);
});

test("storage's refusal in XML becomes one clear sentence, and nothing is completed", async () => {
  const body =
    "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message>" +
    "<RequestId>s3-1</RequestId></Error>";
  const { server, uploader } = await start({ [PUT]: [{ status: 403, body }] });
  const error = await failure(uploader.upload(file));
  assert.equal(
    error.message,
    "The storage refused the file with status 403 (AccessDenied: Request has expired).",
  );
  assert.deepEqual(
    [error.code, error.status, error.retryable, error.requestId],
    ["storage_refused", 403, false, "s3-1"],
  );
  assert.ok(!server.routes().includes(COMPLETE));
});

test("storage's 503 without a word is retryable", async () => {
  const { uploader } = await start({ [PUT]: [{ status: 503, body: "" }] });
  const error = await failure(uploader.upload(file));
  assert.equal(error.message, "The storage refused the file with status 503.");
  assert.equal(error.retryable, true);
});

test("a connection lost in the middle of the file is an error of its own, and retryable", async () => {
  const { uploader } = await start({ [PUT]: [{ cut: true }] });
  const error = await failure(uploader.upload(file));
  assert.deepEqual(
    [error.code, error.status, error.retryable],
    ["storage_unreachable", undefined, true],
  );
});

test("complete is asked again on 202, on retryable problems and on lost answers", async () => {
  const { server, uploader } = await start({
    [COMPLETE]: [
      { status: 202, body: { status: "registering" }, headers: { "Retry-After": "0" } },
      problem({ status: 409, body: { code: "file_not_uploaded", retryable: true } }),
      problem({ status: 503, body: { code: "upstream_busy", retryable: true } }),
      { body: { asset: { id: "asset-7" } } },
    ],
  });
  const upload = await uploader.upload(file);
  assert.equal(upload.asset.id, "asset-7");
  assert.equal(server.routes().filter((route) => route === COMPLETE).length, 4);
});

test("complete survives an answer that got lost", async () => {
  const { uploader } = await start({
    [COMPLETE]: [{ cut: true }, { body: { asset: { id: "asset-8" } } }],
  });
  assert.equal((await uploader.upload(file)).asset.id, "asset-8");
});

test("a final refusal of complete ends the upload at once", async () => {
  const { server, uploader } = await start({
    [COMPLETE]: [
      problem({ status: 413, body: { code: "file_too_large", detail: "Over the plan." } }),
    ],
  });
  const error = await failure(uploader.upload(file));
  assert.deepEqual([error.code, error.message], ["file_too_large", "Over the plan."]);
  assert.equal(server.routes().filter((route) => route === COMPLETE).length, 1);
});

test("a registration that takes longer than the client's patience is an error that says so", async () => {
  const { uploader } = await start(
    { [COMPLETE]: [{ status: 202, body: {}, headers: { "Retry-After": "0" } }] },
    { patience: 0.05 },
  );
  const error = await failure(uploader.upload(file));
  assert.deepEqual([error.code, error.status, error.retryable], ["still_registering", 202, true]);
});

test("a Retry-After beyond the client's patience is not waited for", async () => {
  const { uploader } = await start(
    {
      [COMPLETE]: [
        {
          status: 503,
          body: { code: "upstream_busy", retryable: true },
          headers: { "Retry-After": "3600" },
        },
      ],
    },
    { patience: 1 },
  );
  const error = await failure(uploader.upload(file));
  assert.deepEqual([error.code, error.retryAfter], ["upstream_busy", 3600]);
});
