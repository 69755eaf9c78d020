import assert from "node:assert/strict";
import { RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, setBench } from "./server.js";

const LIMITS = "GET /limits";
const BEGIN = "POST /uploads";
const start = setBench();
const limits = (maxUploadBytes, ...contentTypes) => ({ body: { maxUploadBytes, contentTypes } });
const fileOf = (type, size = 5) => new File(["x".repeat(size)], "file.bin", { type });

test("a file that is too large is refused without a presign", async () => {
  const { server, uploader } = await start({ [LIMITS]: [limits(4, "video/*")] });
  const error = await failureOf(uploader.upload(fileOf("video/mp4")));
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.code, error.message],
    ["file_too_large", "Accepted are video/* of at most 4 bytes. This is video/mp4 of 5 bytes."],
  );
  assert.deepEqual(server.routes(), [LIMITS]);
});

test("a file of just that size is taken", async () => {
  const { uploader } = await start({ [LIMITS]: [limits(5, "video/*")] });
  await uploader.upload(fileOf("video/mp4"));
});

test("a kind of file that is not accepted is refused without a presign", async () => {
  const { server, uploader } = await start({ [LIMITS]: [limits(9, "video/*", "audio/wav")] });
  const error = await failureOf(uploader.upload(fileOf("text/plain")));
  assert.deepEqual(
    [error.code, error.message],
    [
      "content_type_not_accepted",
      "Accepted are video/*,audio/wav of at most 9 bytes. This is text/plain of 5 bytes.",
    ],
  );
  assert.deepEqual(server.routes(), [LIMITS]);
});

for (const [type, accepted] of [
  ["video/webm;codecs=vp9", "video/*"],
  ["image/svg+xml", "image/svg+xml"],
  ["audio/x-m4a", "audio/x-m4a"],
  ["application/vnd.apple.mpegurl", "application/vnd.apple.mpegurl"],
  ["text/plain", "*/*"],
]) {
  test(`${type} is taken where ${accepted} is accepted`, async () => {
    const { server, uploader } = await start({ [LIMITS]: [limits(9, "font/ttf", accepted)] });
    await uploader.upload(fileOf(type));
    assert.equal(server.at(BEGIN).length, 1);
  });
}

test("limits that can't be had are no obstacle", async () => {
  const { uploader } = await start({ [LIMITS]: [{ status: 500, body: "no" }] });
  assert.equal((await uploader.upload(fileOf("text/plain"))).asset.id, "asset-1");
});

test("limits are asked for once, and again after a refusal", async () => {
  const { server, uploader } = await start({ [LIMITS]: [limits(4, "*/*"), limits(9, "*/*")] });
  await failureOf(uploader.upload(fileOf("video/mp4")));
  await uploader.upload(fileOf("video/mp4"));
  await uploader.upload(fileOf("video/mp4"));
  assert.equal(server.at(LIMITS).length, 2);
});
