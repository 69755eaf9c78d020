import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "../bounded.js";

const SCHEMAS = new URL("../../chalicelib/schemas/", import.meta.url);
const DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069";

for (const [schema, member] of [
  ["new-upload", "fileName"],
  ["new-upload", "name"],
  ["new-asset", "name"],
]) {
  test(`JavaScript reads the pattern of ${member} in ${schema} as Python does`, async () => {
    const { properties } = JSON.parse(await readFile(new URL(`${schema}.json`, SCHEMAS), "utf8"));
    for (const flags of ["", "u"]) {
      const pattern = new RegExp(properties[member].pattern, flags);
      for (const character of [...DIRECTIONS, "\n", "\u2028", "\u2029", "\u009b"]) {
        assert.ok(!pattern.test(`a${character}gpj.mp4`), JSON.stringify(character));
      }
      for (const name of ["\u05e9\u05dc\u05d5\u05dd.mp4", "10.14\u202fAM.mp4", "🎬.mp4"]) {
        assert.ok(pattern.test(name), name);
      }
    }
  });
}
