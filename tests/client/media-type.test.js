import assert from "node:assert/strict";
import { contentTypeOf } from "../../client/media-type.js";
import { test } from "../bounded.js";

test("the type that the browser knows is taken byte for byte", () => {
  const type = "video/webm;codecs=vp9";
  assert.equal(contentTypeOf(new File(["x"], "take.mp4", { type })), type);
});

for (const [name, type] of [
  ["take.mp4", "video/mp4"],
  ["TAKE.MOV", "video/quicktime"],
  ["old.avi", "video/x-msvideo"],
  ["voice.m4a", "audio/x-m4a"],
  ["voice.wav", "audio/wav"],
  ["a.b.flac", "audio/flac"],
  ["face.jpeg", "image/jpeg"],
  ["face.webp", "image/webp"],
]) {
  test(`without a type, ${name} is ${type}`, () => {
    assert.equal(contentTypeOf(new File(["x"], name)), type);
  });
}

test("application/octet-stream says nothing, so the extension decides", () => {
  const file = new File(["x"], "take.mp4", { type: "application/octet-stream" });
  assert.equal(contentTypeOf(file), "video/mp4");
});

for (const name of ["notes", "notes.xyz", "x.constructor", "x.__proto__", ""]) {
  test(`without a type, a file called "${name}" is refused clearly`, () => {
    assert.throws(() => contentTypeOf(new File(["x"], name)), { code: "unknown_content_type" });
  });
}

test("a blob without a name and without a type is refused clearly", () => {
  assert.throws(() => contentTypeOf(new Blob(["x"])), { code: "unknown_content_type" });
});
