// Measures the bytes that each client adds to an app: `node benchmarks/client_bytes.js`.
//
// The app imports only the upload function of a client. The same esbuild bundles and minifies each of them for the same
// browsers, and gzip compresses the bundle. React is not counted for clients with hooks, since the app has it already.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Each client's title, its package, and the code with which an app imports it. */
const CLIENTS = [
  ["the core", "../client", `export { createUploader } from "./client/index.js";`],
  [
    "with useUpload",
    "../client",
    `export * from "./client/index.js"; export * from "./client/react/index.js";`,
  ],
  ["better-upload", "@better-upload/client", `export { uploadFile } from "@better-upload/client";`],
  [
    "better-upload, hook",
    "@better-upload/client",
    `export { useUploadFile } from "@better-upload/client";`,
  ],
  ["UploadThing", "uploadthing", `export { genUploader } from "uploadthing/client";`],
  ["@vercel/blob/client", "@vercel/blob", `export { upload } from "@vercel/blob/client";`],
  [
    "Uppy and aws-s3",
    "@uppy/aws-s3",
    `export { default as Uppy } from "@uppy/core"; export { default as AwsS3 } from "@uppy/aws-s3";`,
  ],
  [
    "Uppy and SyncUpload",
    "@uppy/core",
    `export { default as Uppy } from "@uppy/core"; export * from "./client/index.js"; export * from "./client/uppy/index.js";`,
  ],
];

/** Return the size of a bundle in bytes, minified, and minified and gzipped. */
async function measure(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: ROOT },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    external: ["react"],
    define: { "process.env.NODE_ENV": '"production"' },
    legalComments: "none",
    logLevel: "error",
    write: false,
  });
  const minified = outputFiles[0].contents;
  return { minified: minified.length, gzipped: gzipSync(minified, { level: 9 }).length };
}

async function versionOf(name) {
  const folder = name.startsWith("../") ? `${ROOT}client` : `${ROOT}node_modules/${name}`;
  return JSON.parse(await readFile(`${folder}/package.json`, "utf8")).version;
}

console.log("| client | version | minified | gzipped | beside the core |\n|---|---|---|---|---|");
let core;
for (const [title, name, contents] of CLIENTS) {
  const { minified, gzipped } = await measure(contents);
  core ??= gzipped;
  const cells = [title, await versionOf(name), minified, gzipped, (gzipped / core).toFixed(1)];
  console.log(`| ${cells.join(" | ")} |`);
}
