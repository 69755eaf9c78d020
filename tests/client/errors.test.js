import assert from "node:assert/strict";
import * as client from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";

const { AbortError, ExpiredError, RateLimitError, NetworkError, RefusedError, UploadError } =
  client;
const BEGIN = "POST /uploads";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const start = setUpUploader();

/** Upload with no patience, and return the error. */
async function errorOf(overrides, options) {
  const { server, uploader } = await start(overrides, { patience: 0, ...options });
  return Object.assign(await failureOf(uploader.upload(file)), { server });
}

test("the package exports createUploader, isSameFile and the errors, and nothing else", () => {
  assert.deepEqual(Object.keys(client).sort(), [
    "AbortError",
    "ExpiredError",
    "NetworkError",
    "RateLimitError",
    "RefusedError",
    "UploadError",
    "createUploader",
    "isSameFile",
  ]);
});

for (const [Kind, name] of Object.entries({
  UploadError,
  AbortError,
  ExpiredError,
  RateLimitError,
  NetworkError,
  RefusedError,
}).map(([text, type]) => [type, text])) {
  test(`${name} has its name, and is an UploadError`, () => {
    const error = new Kind("What.", { code: "x" });
    assert.ok(error instanceof UploadError && error instanceof Error);
    assert.deepEqual(
      [error.name, error.message, error.code, error.retryable, error.errors],
      [name, "What.", "x", false, []],
    );
    assert.match(String(error.stack), /errors\.test\.js/);
  });
}

test("a refusal has the broker's message, code, status, request id and field errors", async () => {
  const errors = [{ pointer: "/size", detail: "must be at least 1" }];
  const error = await errorOf({ [BEGIN]: [problem(422, "invalid_input", { errors })] });
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.message, error.code, error.status, error.retryable, error.requestId, error.errors],
    ["The server's own words.", "invalid_input", 422, false, "request-9", errors],
  );
});

test("a server's body adds fields to an error, and replaces neither its prototype nor a method", async () => {
  const body =
    '{"code": "invalid_input", "detail": "Words.", "__proto__": {"evil": true}, "constructor": "x",' +
    ' "toString": "x", "hasOwnProperty": "x", "name": "x", "stack": "x", "status": 200, "quota": 7}';
  const headers = { "Content-Type": "application/problem+json" };
  const error = await errorOf({ [BEGIN]: [{ status: 422, headers, body }] });
  assert.equal(Object.getPrototypeOf(error), RefusedError.prototype);
  assert.equal(error.evil, undefined);
  assert.deepEqual([error.name, error.constructor], ["RefusedError", RefusedError]);
  assert.deepEqual([error.code, error.status, error.quota], ["invalid_input", 422, 7]);
  assert.equal(String(error), "RefusedError: Words.");
  assert.equal(error.hasOwnProperty, Object.prototype.hasOwnProperty);
  assert.match(error.stack, /failures\.js/);
});

test("a response that is no problem document is an error with status and request id", async () => {
  const error = await errorOf({
    [BEGIN]: [{ status: 502, body: "<h1>Bad gateway</h1>", headers: { "X-Request-Id": "r-2" } }],
  });
  assert.ok(error instanceof UploadError);
  assert.deepEqual(
    [error.message, error.code, error.status, error.retryable, error.requestId],
    ["The server has a problem. Try again later.", "unexpected_response", 502, true, "r-2"],
  );
});

test("a page of another server has the hint of a broker out of reach", async () => {
  for (const status of [200, 404]) {
    const error = await errorOf(
      { [BEGIN]: [{ status, body: "<!doctype html>" }] },
      { patience: 0 },
    );
    assert.deepEqual([error.code, error.status], ["unexpected_response", status]);
    assert.match(error.hint, /^Can't reach the broker at http:/);
  }
});

test("a gateway's message is the cause of the error", async () => {
  const error = await errorOf({ [BEGIN]: [{ status: 403, body: { message: "Forbidden" } }] });
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.message, error.code, error.cause],
    ["The server has a problem. Try again later.", "unexpected_response", "Forbidden"],
  );
});

test("a gateway's null message leaves the error its own message", async () => {
  const error = await errorOf({ [BEGIN]: [{ status: 502, body: { message: null } }] });
  assert.equal(error.message, "The server has a problem. Try again later.");
});

for (const code of ["upload_expired", "upload_cancelled"]) {
  test(`${code} is an ExpiredError`, async () => {
    const error = await errorOf({ [COMPLETE]: [problem(410, code)] });
    assert.ok(error instanceof ExpiredError);
    assert.equal(error.status, 410);
  });
}

for (const [status, code] of [
  [429, "rate_limited"],
  [503, "queue_full"],
]) {
  test(`${code} is a RateLimitError`, async () => {
    const more = { retryable: true, position: 7 };
    const error = await errorOf({ [BEGIN]: [problem(status, code, more, { "Retry-After": "9" })] });
    assert.ok(error instanceof RateLimitError);
    assert.deepEqual([error.position, error.retryAfter], [7, 9]);
  });
}

test("fields of a wrong type in a server's body do no harm", async () => {
  for (const body of [
    "text",
    [1],
    7,
    { code: 7, errors: "none", detail: { a: 1 }, retryable: null },
  ]) {
    const error = await errorOf({ [BEGIN]: [{ status: 422, body: JSON.stringify(body) }] });
    assert.ok(error instanceof UploadError);
    assert.deepEqual([error.status, Array.isArray(error.errors)], [422, true]);
    assert.equal(typeof error.message, "string");
  }
});

test("a used up quota is neither a RateLimitError nor final", async () => {
  const quota = problem(429, "quota_exceeded", { retryable: true }, { "Retry-After": "600" });
  const error = await errorOf({ [BEGIN]: [quota] });
  assert.ok(!(error instanceof RateLimitError) && !(error instanceof RefusedError));
  assert.equal(error.retryAfter, 600);
});

test("a page of HTML with status 200 is not taken for an upload", async () => {
  const error = await errorOf({ [COMPLETE]: [{ body: "<h1>Sign in to the Wi-Fi</h1>" }] });
  assert.ok(error instanceof NetworkError);
  assert.deepEqual([error.code, error.status], ["unexpected_response", 200]);
  assert.equal(error.message, "Can't reach the server. Check your connection and try again.");
});

test("a broker that does not run is a NetworkError with its cause", async () => {
  const { server, uploader } = await start({}, { patience: 0 });
  await server.stop();
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof NetworkError);
  assert.deepEqual([error.code, error.retryable, error.status], ["broker_unreachable", true, 0]);
  assert.ok(error.cause instanceof TypeError);
});

test("a refusal of the storage has a plain message and the XML as its cause, and cancels the upload", async () => {
  const body =
    "<?xml version='1.0'?><Error><Code>EntityTooLarge</Code><Message>It is too large</Message>" +
    "<RequestId>s3-1</RequestId></Error>";
  const error = await errorOf({ [PUT]: [{ status: 400, body }] });
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.message, error.code, error.status, error.retryable, error.requestId, error.cause],
    [
      '"take.mp4" could not be stored. Try again later.',
      "storage_refused",
      400,
      false,
      "s3-1",
      body,
    ],
  );
  await error.server.arrival("DELETE /uploads/upload-1");
  assert.ok(!error.server.routes().includes(COMPLETE));
});

test("a 503 of the storage is retryable, and cancels nothing", async () => {
  const error = await errorOf({ [PUT]: [{ status: 503, body: "" }] });
  assert.deepEqual(
    [error.message, error.code, error.retryable],
    ['"take.mp4" could not be stored. Try again later.', "storage_refused", true],
  );
  assert.ok(!error.server.routes().includes("DELETE /uploads/upload-1"));
});

test("a connection that is lost during the PUT is a NetworkError", async () => {
  const error = await errorOf({ [PUT]: [{ cut: true }] });
  assert.ok(error instanceof NetworkError);
  assert.deepEqual(
    [error.message, error.code, error.status, error.retryable],
    [
      "Can't reach the server. Check your connection and try again.",
      "storage_unreachable",
      0,
      true,
    ],
  );
});
