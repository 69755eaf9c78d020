import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { test } from "../bounded.js";

// 4,500 before `upload` was split into named steps and before its types and error fields were written out.
const LIMIT = 5400; // bytes, minified and gzipped

const entry = fileURLToPath(new URL("../../client/index.js", import.meta.url));

/** Bundle and minify the core, or an app's code, as an app does. */
async function bundle(contents) {
  const { outputFiles, warnings } = await build({
    stdin: contents && {
      contents,
      resolveDir: fileURLToPath(new URL("../../client", import.meta.url)),
    },
    entryPoints: contents ? undefined : [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  assert.deepEqual(warnings, []);
  return outputFiles[0].contents;
}

test(`the core is at most ${LIMIT} bytes, minified and gzipped`, async () => {
  const bytes = gzipSync(await bundle(), { level: 9 }).length;
  assert.ok(bytes <= LIMIT, `it has ${bytes} bytes`);
});

test("an app that uses nothing of the package bundles nothing of it", async () => {
  const bytes = await bundle(
    'import { createUploader as unused } from "./index.js"; console.log("an app");',
  );
  assert.equal(Buffer.from(bytes).toString().trim(), 'console.log("an app");');
});

test("an app that uses one class of errors does not bundle the uploader", async () => {
  const bytes = await bundle('import { AbortError } from "./index.js"; console.log(AbortError);');
  assert.ok(bytes.length < 600, `${bytes.length} bytes`);
  assert.ok(!Buffer.from(bytes).toString().includes("fetch"));
});

test("the bundled React entry begins with the directive of a client module", async () => {
  const path = fileURLToPath(new URL("../../client/react/index.js", import.meta.url));
  assert.ok((await readFile(path, "utf8")).startsWith('"use client";\n'));
  const { outputFiles, warnings } = await build({
    entryPoints: [path],
    bundle: true,
    format: "esm",
    external: ["react"],
    write: false,
  });
  assert.deepEqual(warnings, []);
  assert.match(
    outputFiles[0].text.split("\n").find((line) => !line.startsWith("//")),
    /^"use client";$/,
  );
});
