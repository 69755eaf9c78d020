import assert from "node:assert/strict";
import { titleOf } from "../../sandbox/demo/page/title.js";
import { test } from "../bounded.js";

const asset = { id: "0b5e", name: null };

test("the title is the name, or else the file name, or else the asset's name", () => {
  const sourceUrl = "https://media.example/talk.mp4";
  assert.equal(titleOf({ name: "A talk", fileName: "a.mp4", sourceUrl, asset }), "A talk");
  assert.equal(titleOf({ name: null, fileName: "a.mp4", sourceUrl, asset }), "a.mp4");
  assert.equal(titleOf({ sourceUrl, asset: { ...asset, name: "Sync's" } }), "Sync's");
});

for (const [sourceUrl, title] of [
  ["https://media.example/talks/one.mp4?v=2#t=3", "one.mp4"],
  ["https://media.example/talks/", "talks"],
  ["https://media.example/my%20talk.mp4", "my talk.mp4"],
  ["https://media.example/100%25%.mp4", "100%25%.mp4"],
  ["https://media.example/", "0b5e"],
  [null, "0b5e"],
]) {
  test(`an asset from ${sourceUrl} without a name has the title ${title}`, () =>
    assert.equal(titleOf({ name: null, fileName: null, sourceUrl, asset }), title));
}
