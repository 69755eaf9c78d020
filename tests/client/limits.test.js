import assert from "node:assert/strict";
import { RefusedError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";

const BEGIN = "POST /uploads";
const start = setUpUploader();

for (const type of [
  "",
  "application/octet-stream",
  "application/ogg",
  "audio/x-m4a",
  "text/plain",
  "video/mp4;codecs=avc1.42000a,mp4a.40.2",
  "video/webm;codecs=vp8,opus",
  "video/webm; codecs=vp9;",
  "video/x-matroska;codecs=avc1,opus",
]) {
  test(`the type "${type}" goes to the broker unchanged`, async () => {
    const { server, uploader } = await start();
    await uploader.upload(new File(["x"], "take.bin", { type }));
    assert.equal(JSON.parse(server.at(BEGIN)[0].body).contentType, type);
    assert.equal(server.at("GET /limits").length, 0);
  });
}

test("a refusal of the file has the broker's message, and nothing is sent", async () => {
  const detail = '"take.mp4" is 6.4 GB. The largest file allowed is 5.4 GB.';
  const { server, uploader } = await start({
    [BEGIN]: [problem(413, "file_too_large", { detail })],
  });
  const error = await failureOf(uploader.upload(new File(["x"], "take.mp4")));
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.code, error.message], ["file_too_large", detail]);
  assert.deepEqual(server.routes(), [BEGIN]);
});

for (const resume of [undefined, { id: "upload-1", fileName: "interview.mp4", size: 0 }]) {
  test(`an empty file is refused before any request${resume ? ", also when it resumes" : ""}`, async () => {
    const { server, uploader } = await start();
    const reported = [];
    const error = await failureOf(
      uploader.upload(new File([], "interview.mp4", { type: "video/mp4" }), {
        resume,
        onProgress: (progress) => reported.push(progress),
      }),
    );
    assert.ok(error instanceof RefusedError);
    assert.deepEqual([error.code, error.message], ["file_empty", '"interview.mp4" is empty.']);
    assert.deepEqual([server.routes(), reported], [[], []]);
  });
}
