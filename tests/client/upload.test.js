import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { UploadError } from "../../client/index.js";
import { createUploader } from "../../client/uploader.js";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";
import { putWithNode } from "./transport.js";

const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/upload-1/complete";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const file = new File(["0123456789".repeat(1000)], "take 1.mp4", { type: "video/mp4" });
const start = setUpUploader();

test("an upload presigns, sends and completes in this order, and returns the asset", async () => {
  const { server, uploader } = await start();
  const upload = await uploader.upload(file);
  assert.equal(upload.asset.id, "asset-1");
  assert.deepEqual(server.routes(), [BEGIN, PUT, COMPLETE]);
});

test("the presign has the file's name, type and size and the caller's labels, and nothing else", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file, { name: "Take 1", type: "AUDIO", projectId: "project-1" });
  assert.deepEqual(JSON.parse(server.at(BEGIN)[0].body), {
    fileName: "take 1.mp4",
    contentType: "video/mp4",
    size: 10_000,
    name: "Take 1",
    type: "AUDIO",
    projectId: "project-1",
  });
});

test("the storage gets the file's bytes, with exactly the headers that the broker listed", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file);
  const put = server.at(PUT)[0];
  const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(digest(put.body), digest(Buffer.from(await file.arrayBuffer())));
  assert.equal(put.headers["content-type"], "video/mp4");
  assert.equal(put.headers["x-amz-acl"], "private");
  assert.equal(put.headers.authorization, undefined);
});

test("complete has no body", async () => {
  const { server, uploader } = await start();
  await uploader.upload(file);
  assert.equal(server.at(COMPLETE)[0].body.length, 0);
  assert.equal(server.at(COMPLETE)[0].headers["content-type"], undefined);
});

test("a slash at the end of the endpoint is ignored", async () => {
  const { server } = await start();
  const options = { endpoint: `${server.url}/`, getToken: "token-1" };
  await createUploader(options, putWithNode).upload(file);
  assert.equal(server.at(BEGIN).length, 1);
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
    { loaded: 0, total: 10_000, percentage: 0, phase: "waiting", id: undefined },
    { loaded: 0, total: 10_000, percentage: 0, phase: "uploading", id: "upload-1" },
    { loaded: 5_000, total: 10_000, percentage: 50, phase: "uploading", id: "upload-1" },
    { loaded: 10_000, total: 10_000, percentage: 99, phase: "uploading", id: "upload-1" },
    { loaded: 10_000, total: 10_000, percentage: 99, phase: "finishing", id: "upload-1" },
    { loaded: 10_000, total: 10_000, percentage: 100, phase: "done", id: "upload-1" },
  ]);
  assert.equal(seenBeforeTheAnswer, 5);
});

test("an async getToken is called before each request", async () => {
  let count = 0;
  const getToken = async () => `token-${++count}`;
  const { server, uploader } = await start({}, { getToken });
  await uploader.upload(file);
  assert.equal(server.at(BEGIN)[0].headers.authorization, "Bearer token-1");
  assert.equal(server.at(COMPLETE)[0].headers.authorization, "Bearer token-2");
});

test("a presign keeps its key while it is repeated", async () => {
  const { server, uploader } = await start({ [BEGIN]: [{ cut: true }, { cut: true }] });
  const controller = new AbortController();
  const upload = failureOf(uploader.upload(file, { signal: controller.signal }));
  await server.arrival(BEGIN, 3);
  controller.abort();
  await upload;
  const keys = server.at(BEGIN).map(({ headers }) => headers["idempotency-key"]);
  assert.match(keys[0], /^[\d.e-]{12,}$/);
  assert.equal(new Set(keys).size, 1);
});

test("two uploads have two keys", async () => {
  const { server, uploader } = await start();
  await Promise.all([uploader.upload(file), uploader.upload(file)]);
  const keys = server.at(BEGIN).map(({ headers }) => headers["idempotency-key"]);
  assert.equal(new Set(keys).size, 2);
});

test("a blob without a name gets the name upload", async () => {
  const { server, uploader } = await start();
  await uploader.upload(new Blob(["x"], { type: "audio/wav" }));
  assert.equal(JSON.parse(server.at(BEGIN)[0].body).fileName, "upload");
});

test("complete is repeated after a 202, a retryable problem and a lost response", async () => {
  const { server, uploader } = await start({
    [COMPLETE]: [
      { status: 202, body: { status: "registering" }, headers: { "Retry-After": "0" } },
      problem(409, "file_not_uploaded", { retryable: true }),
      { cut: true },
      { body: { asset: { id: "asset-7" } } },
    ],
  });
  const upload = await uploader.upload(file);
  assert.equal(upload.asset.id, "asset-7");
  assert.equal(server.at(COMPLETE).length, 4);
});

test("a final refusal of complete ends the upload at once", async () => {
  const { server, uploader } = await start({
    [COMPLETE]: [problem(413, "file_too_large", { detail: "Over the plan." })],
  });
  const error = await failureOf(uploader.upload(file));
  assert.deepEqual([error.code, error.message], ["file_too_large", "Over the plan."]);
  assert.equal(server.at(COMPLETE).length, 1);
});

test("a registration that takes longer than the patience is still_registering", async () => {
  const { uploader } = await start(
    { [COMPLETE]: [{ status: 202, body: {}, headers: { "Retry-After": "1" } }] },
    { patience: 0.5 },
  );
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof UploadError);
  assert.deepEqual([error.code, error.status, error.retryable], ["still_registering", 202, true]);
  assert.equal(error.message, "It is still being processed.");
});

test("an upload that was given up is resumed by another try, without a second upload", async () => {
  const { server, uploader } = await start(
    { [COMPLETE]: [{ cut: true }, { body: { asset: { id: "asset-8" } } }] },
    { patience: 0 },
  );
  const take = new File(["bytes"], "take.mp4", { type: "video/mp4" });
  const { upload: resume } = await failureOf(uploader.upload(take));
  assert.equal(resume.id, "upload-1");
  assert.equal((await uploader.upload(take, { resume })).asset.id, "asset-8");
  assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [1, 1]);
});

for (const [how, overrides] of [
  ["before it was begun", { [BEGIN]: [{ status: 503, body: "" }] }],
  ["for good", { [COMPLETE]: [problem(413, "file_too_large")] }],
]) {
  test(`an upload that failed ${how} can't be resumed`, async () => {
    const { uploader } = await start(overrides, { patience: 0 });
    assert.equal((await failureOf(uploader.upload(file))).upload, undefined);
  });
}

test("the body of a 202 does not become part of the error", async () => {
  const { uploader } = await start(
    {
      [COMPLETE]: [
        { status: 202, body: { name: "Take", status: "x" }, headers: { "Retry-After": "9" } },
      ],
    },
    { patience: 0.5 },
  );
  const error = await failureOf(uploader.upload(file));
  assert.deepEqual([error.name, error.status], ["UploadError", 202]);
});
