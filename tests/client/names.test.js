import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { isSameFile } from "../../client/index.js";
import { fileNameOf, sanitize } from "../../client/names.js";
import { test } from "../bounded.js";
import { failureOf, PENDING, setUpUploader } from "./server.js";

const SCHEMAS = new URL("../../chalicelib/schemas/", import.meta.url);
const DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069";

const start = setUpUploader();
const named = (name, type = "video/mp4") => new File(["bytes"], name, { type });
const points = (text) => [...text].length;

/** The broker's own pattern for a file's name. */
const { pattern } = JSON.parse(await readFile(new URL("new-upload.json", SCHEMAS), "utf8"))
  .properties.fileName;
const accepted = new RegExp(pattern, "u");

for (const [what, name] of [
  ["letters", `${"a".repeat(300)}.mp4`],
  ["Cyrillic letters", `${"ж".repeat(300)}.mp4`],
  ["emoji", `${"🎬".repeat(300)}.mp4`],
  ["Korean letters in pieces", `${"한국어".normalize("NFD").repeat(60)}.mp4`],
]) {
  test(`a name of too many ${what} is shortened in the middle, and keeps its extension`, () => {
    const short = fileNameOf(named(name));
    assert.equal(points(short), 255);
    assert.ok(short.startsWith(name.slice(0, 100)) && short.endsWith(name.slice(-20)));
    assert.match(short, /….*\.mp4$/u);
    assert.equal(sanitize(short), short);
  });
}

test("a name of 255 characters is not shortened, however many bytes it has", () => {
  const name = `${"🎬".repeat(251)}.mp4`;
  assert.equal(fileNameOf(named(name)), name);
});

for (const [name, expected] of [
  ["a\ud83cb.mp4", "ab.mp4"],
  ["a\u202egpj.mp4", "agpj.mp4"],
  ["\u200eWhatsApp Video.mp4", "WhatsApp Video.mp4"],
  ["line\nbreak\u2028.mp4", "linebreak.mp4"],
  ["a\u0000b\u007f\u009b.mp4", "ab.mp4"],
  ["takes\\one.mp4", "takes_one.mp4"],
  ["שלום.mp4", "שלום.mp4"],
  ["family 👨‍👩‍👧.mp4", "family 👨‍👩‍👧.mp4"],
  ["\u202e", "upload"],
]) {
  test(`${JSON.stringify(name)} goes to the broker as ${JSON.stringify(expected)}`, () => {
    const tidied = fileNameOf({ name, type: "video/mp4", size: 5 });
    assert.equal(tidied, expected);
    assert.ok(accepted.test(tidied) && tidied.isWellFormed());
  });
}

test("a separator in a name becomes an underscore", () => {
  assert.equal(fileNameOf({ name: "takes/one.mp4", type: "" }), "takes_one.mp4");
});

for (const [type, expected] of [
  ["video/webm;codecs=vp8,opus", "upload"],
  ["application/ogg", "upload.ogg"],
  ["application/mp4", "upload.mp4"],
  ["", "upload"],
]) {
  test(`a blob of the type "${type}" gets the name ${expected}`, () => {
    assert.equal(fileNameOf(new Blob(["x"], { type })), expected);
  });
}

test("the broker gets shortened names, and a file with its long name can resume the upload", async () => {
  const file = named(`${"a".repeat(300)}\ud83c.mp4`);
  const { server, uploader } = await start();
  await uploader.upload(file, { name: `${"b".repeat(300)}\n` });
  const { fileName, name } = JSON.parse(server.at("POST /uploads")[0].body);
  assert.deepEqual([points(fileName), points(name)], [255, 255]);
  const resume = { ...PENDING, fileName };
  assert.ok(isSameFile(file, resume));
  assert.equal((await uploader.upload(file, { resume })).asset.id, "asset-1");
  // An app may have stored the file's own name.
  assert.ok(isSameFile(file, { ...PENDING, fileName: file.name }));
  assert.ok(!isSameFile(named("b.mp4"), resume));
  assert.ok(!isSameFile(new File(["other bytes"], file.name), resume));
  const error = await failureOf(uploader.upload(named("b.mp4"), { resume }));
  assert.equal(error.code, "different_file");
});

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
