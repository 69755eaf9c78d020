import assert from "node:assert/strict";
import { ExpiredError, RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader, target } from "./server.js";

const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const FRESH = "PUT /bucket/object?X-Amz-Signature=fresh";
const COMPLETE = "POST /uploads/upload-1/complete";
const RENEW = "POST /uploads/upload-1/renew";
const EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const missing = problem(409, "file_not_uploaded", { retryable: true });
const done = { body: { asset: { id: "asset-3" } } };
const start = setUpUploader();

test("an expired URL is renewed, and the file is sent to the fresh one", async () => {
  const { server, uploader } = await start((url) => ({
    [PUT]: [{ status: 403, body: EXPIRED }],
    [RENEW]: [
      { body: { ...target(url, "fresh"), headers: { "Content-Type": "x/y", "x-new": "1" } } },
    ],
    [FRESH]: [{ body: "" }],
    [COMPLETE]: [missing, done],
  }));
  const seen = [];
  const upload = await uploader.upload(file, { onProgress: (progress) => seen.push(progress) });
  assert.equal(upload.asset.id, "asset-3");
  const [put] = server.at(FRESH);
  assert.deepEqual([put.headers["content-type"], put.headers["x-new"]], ["x/y", "1"]);
  assert.equal(put.body.toString(), "bytes");
  const pause = seen.find(({ error }) => error);
  assert.ok(pause.error instanceof ExpiredError);
  assert.deepEqual([pause.phase, pause.loaded, pause.error.code], ["waiting", 0, "url_expired"]);
  assert.equal(pause.error.message, "The upload link expired. Trying again …");
});

test("an upload ends if the storage refuses a URL that the broker does not replace", async () => {
  const { server, uploader } = await start({
    [PUT]: [{ status: 403, body: EXPIRED }],
    [COMPLETE]: [missing],
  });
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof ExpiredError);
  assert.deepEqual(
    [error.code, error.status, error.retryable, error.message],
    ["url_expired", 403, false, "The upload link expired. Try again."],
  );
  assert.equal(error.cause, EXPIRED);
  assert.deepEqual([server.at(PUT).length, server.at(RENEW).length], [1, 1]);
  await server.arrival("DELETE /uploads/upload-1");
});

test("a URL may expire more than once", async () => {
  const { server, uploader } = await start((url) => ({
    [PUT]: [{ status: 403, body: EXPIRED }],
    [RENEW]: [{ body: target(url, "fresh") }, { body: target(url, "third") }],
    [FRESH]: [{ status: 403, body: EXPIRED }],
    "PUT /bucket/object?X-Amz-Signature=third": [{ body: "" }],
    [COMPLETE]: [missing, missing, done],
  }));
  assert.equal((await uploader.upload(file)).asset.id, "asset-3");
  assert.equal(server.at(RENEW).length, 2);
});

test("an upload that can't be renewed again ends with the broker's message", async () => {
  const { uploader } = await start({
    [PUT]: [{ status: 403, body: EXPIRED }],
    [COMPLETE]: [missing],
    [RENEW]: [problem(409, "upload_not_pending", { detail: "It has had 5 URLs." })],
  });
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof RefusedError);
  assert.equal(error.message, "It has had 5 URLs.");
});

test("after a lost connection the URL is renewed before the file is sent again", async () => {
  const { server, uploader } = await start((url) => ({
    [PUT]: [{ cut: true }],
    [RENEW]: [{ body: target(url, "fresh") }],
    [FRESH]: [{ body: "" }],
    [COMPLETE]: [missing, done],
  }));
  await uploader.upload(file);
  assert.deepEqual(server.routes().slice(1), [PUT, COMPLETE, RENEW, FRESH, COMPLETE]);
});

test("an upload that was cancelled by another page is not sent again", async () => {
  const { server, uploader } = await start({
    [PUT]: [{ status: 503, body: "" }],
    [COMPLETE]: [problem(410, "upload_cancelled")],
  });
  assert.equal((await failureOf(uploader.upload(file))).code, "upload_cancelled");
  assert.equal(server.at(PUT).length, 1);
});
