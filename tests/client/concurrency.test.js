import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";

const BEGIN = "POST /uploads";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const start = setUpUploader();
const files = (count) =>
  Array.from({ length: count }, (_, n) => new File([`bytes ${n}`], "t.mp4", { type: "video/mp4" }));

/** Return a response that waits for `release`, and counts in `most` how many requests waited at once. */
function gate() {
  let open = 0;
  const seen = { most: 0, release: () => {} };
  const opened = new Promise((resolve) => {
    seen.release = resolve;
  });
  seen.before = async () => {
    seen.most = Math.max(seen.most, ++open);
    await opened;
    open -= 1;
  };
  return seen;
}

for (const [concurrency, expected] of [
  [undefined, 3],
  [0, 1],
  [1, 1],
  [5, 5],
]) {
  test(`with concurrency ${concurrency ?? "by default"}, ${expected} files are sent at once`, async () => {
    const { before, release } = gate();
    const { server, uploader } = await start({ [PUT]: [{ before, body: "" }] }, { concurrency });
    const uploads = Promise.all(files(7).map((file) => uploader.upload(file)));
    await server.arrival(PUT, expected);
    // A further file would have arrived by now.
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(server.at(PUT).length, expected);
    assert.equal(server.at(BEGIN).length, expected);
    release();
    assert.equal((await uploads).length, 7);
  });
}

test("files are sent in the order of the calls", async () => {
  const { server, uploader } = await start({}, { concurrency: 1 });
  await Promise.all(files(5).map((file) => uploader.upload(file)));
  assert.deepEqual(
    server.at(PUT).map(({ body }) => body.toString()),
    ["bytes 0", "bytes 1", "bytes 2", "bytes 3", "bytes 4"],
  );
});

test("a slow registration does not delay the next file", async () => {
  const { before, release } = gate();
  const { server, uploader } = await start(
    { [COMPLETE]: [{ before, body: { asset: { id: "a" } } }] },
    { concurrency: 1 },
  );
  const uploads = Promise.all(files(3).map((file) => uploader.upload(file)));
  await server.arrival(COMPLETE, 3);
  release();
  await uploads;
});

test("a file that fails lets the next one be sent", async () => {
  const { uploader } = await start(
    { [BEGIN]: [problem(422, "invalid_input")] },
    { concurrency: 1 },
  );
  for (const error of await Promise.all(files(3).map((file) => failureOf(uploader.upload(file)))))
    assert.equal(error.code, "invalid_input");
});

test("a file that is aborted while it waits is not sent, and the next one is", async () => {
  const { before, release } = gate();
  const { server, uploader } = await start({ [PUT]: [{ before, body: "" }] }, { concurrency: 1 });
  const [first, second, third] = files(3);
  const controller = new AbortController();
  const uploads = [uploader.upload(first)];
  const aborted = failureOf(uploader.upload(second, { signal: controller.signal }));
  uploads.push(uploader.upload(third));
  await server.arrival(PUT);
  controller.abort();
  assert.equal((await aborted).code, "aborted");
  release();
  await Promise.all(uploads);
  assert.deepEqual(
    server.at(PUT).map(({ body }) => body.toString()),
    ["bytes 0", "bytes 2"],
  );
});

test("a file that waits for others reports the phase waiting", async () => {
  const { before, release } = gate();
  const { server, uploader } = await start({ [PUT]: [{ before, body: "" }] }, { concurrency: 1 });
  const [first, second] = files(2);
  const seen = [];
  const uploads = [
    uploader.upload(first),
    uploader.upload(second, { onProgress: (progress) => seen.push(progress) }),
  ];
  await server.arrival(PUT);
  assert.deepEqual(seen, [{ loaded: 0, total: 7, percentage: 0, phase: "waiting", id: undefined }]);
  release();
  await Promise.all(uploads);
});
