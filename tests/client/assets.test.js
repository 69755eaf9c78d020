import assert from "node:assert/strict";
import { createUploader } from "../../client/index.js";
import { afterEach, test } from "../bounded.js";
import { problem, startServer } from "./server.js";

let server;
afterEach(() => server.stop());

async function start(scripts) {
  server = await startServer(scripts);
  return createUploader({ endpoint: server.url, getToken: () => "token-1" });
}

test("a public URL is registered by one request", async () => {
  const uploader = await start({ "POST /assets": [{ status: 201, body: { asset: { id: "a" } } }] });
  const url = "https://media.example/talk.mp4";
  const upload = await uploader.registerUrl({ url, type: "VIDEO", name: "Talk" });
  assert.equal(upload.asset.id, "a");
  assert.deepEqual(JSON.parse(server.requests[0].body), { url, type: "VIDEO", name: "Talk" });
});

test("a public URL is registered with the same key until its outcome is known", async () => {
  const uploader = await start({
    "POST /assets": [
      { cut: true },
      { status: 202, body: { id: "u" }, headers: { "Retry-After": "0" } },
      { status: 201, body: { asset: { id: "b" } } },
    ],
  });
  const upload = await uploader.registerUrl({ url: "https://media.example/t.mp4", type: "VIDEO" });
  assert.equal(upload.asset.id, "b");
  const sent = server.at("POST /assets");
  assert.equal(sent.length, 3);
  const keys = sent.map(({ headers }) => headers["idempotency-key"]);
  assert.match(keys[0], /^[\d.e-]{12,}$/);
  assert.equal(new Set(keys).size, 1);
});

test("a registration of a public URL sends the rate limiter's ticket back", async () => {
  const uploader = await start({
    "POST /assets": [
      problem(429, "rate_limited", { ticket: "t-1" }, { "Retry-After": "0" }),
      { status: 201, body: { asset: { id: "c" } } },
    ],
  });
  await uploader.registerUrl({ url: "https://media.example/t.mp4", type: "VIDEO" });
  const tickets = server.at("POST /assets").map(({ headers }) => headers["upload-ticket"]);
  assert.deepEqual(tickets, [undefined, "t-1"]);
});

test("an undefined option is left out of the query of assets", async () => {
  const uploader = await start({ "GET /assets?limit=3": [{ body: { items: [] } }] });
  assert.deepEqual(await uploader.assets({ limit: 3, cursor: undefined }), { items: [] });
});

test("a page of assets is requested with limit and cursor", async () => {
  const page = { items: [], nextCursor: "next" };
  const uploader = await start({ "GET /assets?limit=2&cursor=a%2Bb": [{ body: page }] });
  assert.deepEqual(await uploader.assets({ limit: 2, cursor: "a+b" }), page);
});

test("limits returns the broker's response", async () => {
  const uploader = await start({ "GET /limits": [{ body: { maxUploadBytes: 5 } }] });
  assert.deepEqual(await uploader.limits(), { maxUploadBytes: 5 });
});
