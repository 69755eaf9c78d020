import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "../bounded.js";
import { launchBrowser } from "./browser.js";
import { startSystem } from "./system.js";

const FILE = { fileName: "clip.mp4", contentType: "video/mp4", size: 5 };
const pages = {};
let system;
let browser;

/** Serve an empty page on another origin. */
async function serveOrigin() {
  const server = createServer((_request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>An origin</title>");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

before(async () => {
  pages.allowed = await serveOrigin();
  pages.other = await serveOrigin();
  system = await startSystem({
    ALLOWED_ORIGINS: pages.allowed.origin,
    SANDBOX_ORIGINS: pages.allowed.origin,
  });
  browser = await launchBrowser();
  for (const page of Object.values(pages)) {
    page.tab = await browser.newPage();
    await page.tab.goto(page.origin);
  }
});

after(async () => {
  await browser?.close();
  await system?.stop();
  for (const { server } of Object.values(pages)) server?.close();
});

/** Call the broker from a page, and return the response that the page can read, or null. */
async function callFrom(page, method, path, { token, body, ...headers } = {}) {
  const request = {
    method,
    headers: {
      ...headers,
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { "Content-Type": "application/json" }),
    },
    body: body && JSON.stringify(body),
  };
  return page.tab.evaluate(
    async (url, options) => {
      try {
        const response = await fetch(url, options);
        const text = await response.text();
        return {
          status: response.status,
          headers: Object.fromEntries(response.headers),
          body: text && JSON.parse(text),
        };
      } catch {
        return null;
      }
    },
    path.startsWith("http") ? path : system.broker + path,
    request,
  );
}

async function newToken(user = `user-${randomUUID()}`) {
  return (await (await fetch(`${system.demo}/token?sub=${user}`)).json()).token;
}

async function fromAllowed(method, path, options) {
  const response = await callFrom(pages.allowed, method, path, options);
  assert.ok(response, `the allowed page could not read ${method} ${path}`);
  return response;
}

test("the allowed origin can upload a file and register it", async () => {
  const token = await newToken();
  const began = await fromAllowed("POST", "/uploads", { token, body: FILE });
  assert.equal(began.status, 201);
  assert.equal(began.headers.location, `/uploads/${began.body.id}`);
  const status = await pages.allowed.tab.evaluate(
    async ({ uploadUrl, method, headers }) =>
      (await fetch(uploadUrl, { method, headers, body: "hello" })).status,
    began.body,
  );
  assert.equal(status, 200);
  const done = await fromAllowed("POST", `/uploads/${began.body.id}/complete`, { token });
  assert.equal(done.status, 200);
  const read = await fromAllowed("GET", `/assets/${done.body.asset.id}`, { token });
  assert.equal(read.body.id, began.body.id);
});

test("the allowed origin may send every documented header and method", async () => {
  const token = await newToken();
  const headers = { "Idempotency-Key": "0123456789abcdef", "Upload-Ticket": "x", traceparent: "x" };
  const response = await fromAllowed("POST", "/uploads", { token, body: FILE, ...headers });
  assert.ok([201, 400, 422].includes(response.status));
  const cancelled = await fromAllowed("DELETE", `/uploads/${"0".repeat(32)}`, { token });
  assert.equal(cancelled.status, 404);
});

test("the allowed origin can read errors with their code and request id", async () => {
  const token = await newToken();
  const began = await fromAllowed("POST", "/uploads", { token, body: FILE });
  const failures = [
    ["POST", "/uploads", { body: FILE }, 401, "unauthorized"],
    ["POST", "/uploads", { token: "x.y.z", body: FILE }, 401, "unauthorized"],
    ["PUT", "/uploads", { token, body: FILE }, 405, "method_not_allowed"],
    ["POST", "/uploads", { token, body: { ...FILE, size: 0 } }, 422, "file_empty"],
    ["POST", "/uploads", { token, body: { ...FILE, size: -1 } }, 422, "invalid_input"],
    ["POST", "/uploads", { token, body: { ...FILE, size: 2 ** 50 } }, 413, "file_too_large"],
    ["POST", `/uploads/${began.body.id}/complete`, { token }, 409, "file_not_uploaded"],
    ["GET", `/uploads/${"0".repeat(32)}`, { token }, 404, "not_found"],
  ];
  for (const [method, path, options, status, code] of failures) {
    const response = await fromAllowed(method, path, options);
    assert.equal(response.status, status, `${method} ${path}`);
    assert.equal(response.body.code, code);
    assert.equal(response.headers["x-request-id"], response.body.requestId);
  }
});

test("the allowed origin can read the link to the next page of a list", async () => {
  const token = await newToken();
  for (const _ of [1, 2]) await fromAllowed("POST", "/uploads", { token, body: FILE });
  const list = await fromAllowed("GET", "/uploads?limit=1", { token });
  assert.match(list.headers.link, /^<\?limit=1&cursor=.+>; rel="next"$/);
});

test("another origin can read nothing, and begin no upload", async () => {
  const token = await newToken();
  const mine = await fromAllowed("POST", "/uploads", { token, body: FILE });
  const calls = [
    ["GET", "/health"],
    ["GET", "/openapi.json"],
    ["GET", "/limits", { token }],
    ["GET", "/uploads", { token }],
    ["GET", `/uploads/${mine.body.id}`, { token }],
    ["POST", "/uploads", { token, body: FILE }],
    ["POST", "/uploads"],
    ["PUT", "/uploads"],
    ["POST", `/uploads/${mine.body.id}/complete`, { token }],
    ["DELETE", `/uploads/${mine.body.id}`, { token }],
  ];
  for (const [method, path, options] of calls) {
    assert.equal(await callFrom(pages.other, method, path, options), null, `${method} ${path}`);
  }
  const { items } = (await fromAllowed("GET", "/uploads", { token })).body;
  assert.deepEqual(
    items.map(({ id, status }) => [id, status]),
    [[mine.body.id, "pending"]],
  );
});

test("the other page can read its own server, so only the broker refused it", async () => {
  const own = await pages.other.tab.evaluate(async () => (await fetch(location.href)).status);
  assert.equal(own, 200);
});

// This test is the last one, because the rate limiter pauses after Sync's 429.
test("the allowed origin can read Retry-After", async () => {
  const token = await newToken();
  await system.injectFault({
    match: { method: "POST", path: "/v2/assets/upload" },
    do: { kind: "answer", status: 429, headers: { "Retry-After": "7" }, body: {} },
  });
  const response = await fromAllowed("POST", "/uploads", { token, body: FILE });
  await system.restore();
  assert.ok([429, 503].includes(response.status));
  assert.ok(Number(response.headers["retry-after"]) >= 1);
});
