import assert from "node:assert/strict";
import { RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, PENDING, problem, setUpUploader, target } from "./server.js";

const LIST = "GET /uploads?limit=100";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/upload-1/complete";
const READ = "GET /uploads/upload-1";
const RENEW = "POST /uploads/upload-1/renew";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const missing = problem(409, "file_not_uploaded", { retryable: true });
const registered = { ...PENDING, status: "registered", asset: { id: "asset-4" } };
const start = setUpUploader();

const list = (...statuses) => [
  { body: { items: statuses.map((status, index) => ({ ...PENDING, id: `u${index}`, status })) } },
];

test("an upload that has ended is not pending", async () => {
  const { server, uploader } = await start({
    [LIST]: list("registered", "failed", "expired", "cancelled"),
  });
  assert.deepEqual(await uploader.pending(), []);
  assert.deepEqual(server.routes(), [LIST]);
});

test("pending completes an upload whose bytes are stored", async () => {
  const { uploader } = await start({
    [LIST]: [{ body: { items: [PENDING] } }],
    [COMPLETE]: [{ body: registered }],
  });
  assert.deepEqual(await uploader.pending(), [registered]);
});

test("pending returns an upload whose bytes are not stored as it is", async () => {
  const { uploader } = await start({
    [LIST]: [{ body: { items: [PENDING] } }],
    [COMPLETE]: [missing],
    [READ]: [{ body: PENDING }],
  });
  assert.deepEqual(await uploader.pending(), [PENDING]);
});

for (const [status, answer] of [
  ["registering", { status: 202, body: {}, headers: { "Retry-After": "5" } }],
  ["failed", problem(413, "file_too_large")],
  ["expired", problem(410, "upload_expired")],
]) {
  test(`pending returns the status ${status} that an upload has after the list`, async () => {
    const { uploader } = await start({
      [LIST]: [{ body: { items: [PENDING] } }],
      [COMPLETE]: [answer],
      [READ]: [{ body: { ...PENDING, status } }],
    });
    assert.deepEqual(await uploader.pending(), [{ ...PENDING, status }]);
  });
}

test("an abort ends pending", async () => {
  const controller = new AbortController();
  const { uploader } = await start({
    [LIST]: [{ body: { items: [PENDING] } }],
    [COMPLETE]: [{ before: () => new Promise(() => controller.abort()) }],
  });
  const error = await failureOf(uploader.pending({ signal: controller.signal }));
  assert.equal(error.code, "aborted");
});

test("a failure of one upload hides no other, and the order is the broker's", async () => {
  const { uploader } = await start({
    [LIST]: list("pending", "pending", "pending"),
    "POST /uploads/u0/complete": [{ cut: true }],
    "GET /uploads/u0": [{ cut: true }, { body: { ...PENDING, id: "u0" } }],
    "POST /uploads/u1/complete": [{ body: { ...registered, id: "u1" } }],
    "POST /uploads/u2/complete": [missing],
    "GET /uploads/u2": [{ body: { ...PENDING, id: "u2" } }],
  });
  const found = await uploader.pending();
  assert.deepEqual(
    found.map(({ id, status }) => [id, status]),
    [
      ["u0", "pending"],
      ["u1", "registered"],
      ["u2", "pending"],
    ],
  );
});

test("the list is requested again after a lost connection", async () => {
  const { uploader } = await start({ [LIST]: [{ cut: true }, ...list("expired")] });
  assert.deepEqual(await uploader.pending(), []);
});

test("the same file resumes its upload, without a new one", async () => {
  const { server, uploader } = await start({ [COMPLETE]: [missing, { body: registered }] });
  const seen = [];
  const upload = await uploader.upload(file, {
    resume: PENDING,
    onProgress: ({ phase }) => seen.push(phase),
  });
  assert.equal(upload.asset.id, "asset-4");
  assert.deepEqual(server.routes(), [COMPLETE, RENEW, PUT, COMPLETE]);
  assert.equal(server.at(PUT)[0].body.toString(), "bytes");
  assert.deepEqual([...new Set(seen)], ["waiting", "uploading", "finishing", "done"]);
});

test("a resumed upload whose bytes are stored sends nothing", async () => {
  const { server, uploader } = await start({ [COMPLETE]: [{ body: registered }] });
  const upload = await uploader.upload(file, { resume: PENDING });
  assert.equal(upload.asset.id, "asset-4");
  assert.ok(!server.routes().some((route) => route.startsWith("PUT") || route === RENEW));
});

for (const [what, other] of [
  ["another name", new File(["bytes"], "other.mp4", { type: "video/mp4" })],
  ["another size", new File(["more bytes"], "take.mp4", { type: "video/mp4" })],
]) {
  test(`a file of ${what} is refused, and the upload stays as it is`, async () => {
    const { server, uploader } = await start();
    const error = await failureOf(uploader.upload(other, { resume: PENDING }));
    assert.ok(error instanceof RefusedError);
    assert.deepEqual(
      [error.code, error.message],
      ["different_file", `"${other.name}" is another file. Choose "take.mp4" as it was.`],
    );
    assert.deepEqual(server.routes(), []);
  });
}

test("a file without a type can resume, since the broker knows the type", async () => {
  const { server, uploader } = await start({ [COMPLETE]: [missing, { body: registered }] });
  await uploader.upload(new File(["bytes"], "take.mp4"), { resume: PENDING });
  assert.equal(server.at(PUT)[0].headers["content-type"], "video/mp4");
});

test("a resumed upload that has expired is an ExpiredError", async () => {
  const { uploader } = await start({ [COMPLETE]: [problem(410, "upload_expired")] });
  const error = await failureOf(uploader.upload(file, { resume: PENDING }));
  assert.equal(error.name, "ExpiredError");
});

test("a resumed upload renews an expired URL", async () => {
  const { server, uploader } = await start((url) => ({
    [COMPLETE]: [missing, missing, { body: registered }],
    [PUT]: [{ status: 403, body: "" }],
    [RENEW]: [{ body: target(url) }, { body: target(url, "fresh") }],
    "PUT /bucket/object?X-Amz-Signature=fresh": [{ body: "" }],
  }));
  await uploader.upload(file, { resume: PENDING });
  assert.ok(!server.routes().includes(BEGIN));
});
