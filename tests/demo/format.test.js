import assert from "node:assert/strict";
import {
  endSentence,
  formatBytes,
  formatLength,
  formatMoment,
  formatSeconds,
} from "../../sandbox/demo/page/format.js";
import { test } from "../bounded.js";

for (const [bytes, text] of [
  [0, "0 bytes"],
  [1, "1 byte"],
  [2, "2 bytes"],
  [999, "999 bytes"],
  [1000, "1 kB"],
  [1536, "1.5 kB"],
  [150_000, "150 kB"],
  [999_949, "999.9 kB"],
  [999_950, "1 MB"],
  [6_442_450_944, "6.4 GB"],
  [5 * 1024 ** 3, "5.4 GB"],
  [1e15, "1000 TB"],
]) {
  test(`${bytes} bytes are shown as ${text}`, () => assert.equal(formatBytes(bytes), text));
}

for (const [seconds, text] of [
  [0.2, "1 s"],
  [59, "59 s"],
  [75, "1 min 15 s"],
  [3725, "1 h 2 min"],
]) {
  test(`${seconds} seconds left are shown as ${text}`, () =>
    assert.equal(formatSeconds(seconds), text));
}

for (const [seconds, text] of [
  [5.4, "0:05"],
  [75, "1:15"],
  [3725, "1:02:05"],
]) {
  test(`a length of ${seconds} seconds is shown as ${text}`, () =>
    assert.equal(formatLength(seconds), text));
}

test("a moment is shown to the second in the user's time zone", () => {
  const noon = new Date(2026, 4, 4, 12, 2, 7);
  assert.equal(formatMoment(noon.toISOString()), "4 May 2026, 12:02:07");
});

for (const [text, sentence] of [
  ["1 file added", "1 file added."],
  ["a.mp4 failed: Try again.", "a.mp4 failed: Try again."],
  ["Waiting …", "Waiting …"],
]) {
  test(`"${text}" is announced with one end mark`, () => assert.equal(endSentence(text), sentence));
}
