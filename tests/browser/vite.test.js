import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { after, before, describe, test } from "../bounded.js";
import { sampleNamed, setUpFixture } from "./fixture.js";
import { Registry } from "./registry.js";
import { ROOT } from "./system.js";

const MEGABYTE = 1_048_576;
const PACKAGES = [
  "@uppy/core",
  "@uppy/dashboard",
  "@uppy/golden-retriever",
  "@uppy/webcam",
  "filepond",
  "react",
  "react-dom",
  "vite",
];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** The pages of the app, each with its module and its HTML. */
const PAGES = {
  react: [
    `import { createRoot } from "react-dom/client";
     import { Upload } from "./examples/react.tsx";
     createRoot(document.querySelector("#app")).render(<Upload />);`,
    '<div id="app"></div>',
  ],
  uppy: [
    `import GoldenRetriever from "@uppy/golden-retriever";
     import { uppy } from "./examples/uppy.ts";
     window.uppy = uppy.use(GoldenRetriever);`,
    '<div id="app"></div>',
  ],
  webcam: [
    `import Webcam from "@uppy/webcam";
     import { uppy } from "./examples/uppy.ts";
     import "@uppy/webcam/css/style.min.css";
     window.uppy = uppy.use(Webcam, { modes: ["video-audio"] });`,
    '<div id="app"></div>',
  ],
  filepond: [`import "./examples/filepond.ts";`, '<form><input type="file"></form>'],
};

const run = promisify(execFile);
const fixture = setUpFixture();
let folder;
let registry;
let clone;
let server;
let user;

/** Run a command as on a separate machine: npm's cache has the machine's name, and is empty at first. */
const runOn = (machine, cwd, ...command) =>
  run(command[0], command.slice(1), {
    cwd,
    env: {
      ...process.env,
      npm_config_registry: registry.url,
      npm_config_noproxy: "127.0.0.1",
      npm_config_cache: join(folder, "caches", machine),
      npm_config_loglevel: "error",
      npm_config_update_notifier: "false",
      npm_config_audit: "false",
    },
  });

/** Write an app from the examples, without the client. */
async function writeApp(app) {
  const { devDependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const dependencies = Object.fromEntries(PACKAGES.map((name) => [name, devDependencies[name]]));
  const input = Object.keys(PAGES).map((name) => `${name}.html`);
  const files = {
    "package.json": JSON.stringify({ private: true, type: "module", dependencies }),
    "vite.config.js": `export default { build: { rolldownOptions: { input: ${JSON.stringify(input)} } } };`,
    ".gitignore": "node_modules\ndist\n",
    ".env": `VITE_BROKER=${fixture.system.broker}\n`,
  };
  for (const [name, [code, body]] of Object.entries(PAGES)) {
    files[`${name}.jsx`] = code;
    const script = `<script type="module" src="./${name}.jsx"></script>`;
    files[`${name}.html`] = `<!doctype html><body>${body}${script}`;
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, name), text);
  for (const name of ["react.tsx", "uppy.ts", "filepond.ts"])
    await cp(join(ROOT, "docs/examples", name), join(app, "examples", name));
}

/** Install the client as documented and commit it, and build and serve a clone on another machine. */
async function buildClone() {
  folder = await mkdtemp(join(tmpdir(), "vite-"));
  registry = await Registry.start();
  const app = join(folder, "app");
  await mkdir(app);
  await writeApp(app);
  await symlink(ROOT, join(folder, "broker"));
  const page = await readFile(join(ROOT, "docs/client.md"), "utf8");
  const [, commands] = page.match(/^```sh\n([\s\S]*?)^```$/m);
  await runOn("first", app, "git", "init", "--quiet");
  await runOn("first", app, "sh", "-ec", commands);
  await runOn("first", app, "git", "add", "--all");
  const settings = ["user.name=App", "user.email=app@example.com", "commit.gpgSign=false"];
  const options = settings.flatMap((setting) => ["-c", setting]);
  await runOn("first", app, "git", ...options, "commit", "--quiet", "--message", "Add the client");
  clone = join(folder, "elsewhere/clone");
  await runOn("second", folder, "git", "clone", "--quiet", app, clone);
  await rm(app, { recursive: true });
  await rm(join(folder, "broker"));
  await runOn("second", clone, "npm", "ci");
  await runOn("second", clone, "npx", "vite", "build", "--logLevel", "error");
  server = createServer(serve).listen(new URL(fixture.system.page).port, "127.0.0.1");
  await once(server, "listening");
}

/** Serve the built app, and the token of the signed-in user. */
async function serve({ url }, response) {
  if (url === "/token") {
    const issued = await fetch(`${fixture.system.demo}/token?sub=${user}`);
    return response.end((await issued.json()).token);
  }
  const body = await readFile(join(clone, "dist", url)).catch(() => null);
  response.writeHead(body ? 200 : 404, { "Content-Type": TYPES[extname(url)] ?? "text/plain" });
  response.end(body);
}

/** Open a page of the app as a new user. */
async function open(name) {
  user = `vite-${name}-${Date.now()}`;
  const page = await fixture.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(`${fixture.system.page}/${name}.html`);
  return { page, errors };
}

/** Assert that the user has exactly one upload with this file's bytes, and return the asset's id. */
async function assertOnlyUpload(path) {
  const { items } = await fixture.system.ask(user, "/uploads");
  assert.deepEqual(
    items.map(({ status }) => status),
    ["registered"],
  );
  await fixture.assertStored(user, items[0].asset.id, path);
  return items[0].asset.id;
}

describe("an app that Vite built in a fresh clone", () => {
  before(buildClone);

  after(async () => {
    registry?.stop();
    server?.closeAllConnections();
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("the clone has one React, and the client as separate files", async () => {
    const { stdout } = await runOn("second", clone, "npm", "ls", "react", "--parseable");
    const modules = join(clone, "node_modules");
    assert.equal(stdout.trim(), join(modules, "react"));
    const client = await lstat(join(modules, "sync-upload-broker-client"));
    assert.ok(client.isDirectory());
  });

  test("the documented publish command works as a dry run", async () => {
    const page = await readFile(join(ROOT, "docs/client.md"), "utf8");
    const [, command] = page.match(/`(cd client && npm publish .*?)`/);
    const { stdout } = await runOn("third", ROOT, "sh", "-ec", `${command} --dry-run`);
    assert.match(stdout, /^\+ sync-upload-broker-client@/m);
  });

  test("the React example uploads to the real broker, and shows the asset's id", async () => {
    const { page, errors } = await open("react");
    const path = sampleNamed("sample.mp4");
    await (await page.waitForSelector("input[type=file]")).uploadFile(path);
    const output = await page.waitForSelector("output");
    const shown = await output.evaluate(({ textContent }) => textContent);
    assert.equal(shown, await assertOnlyUpload(path));
    assert.deepEqual(errors, []);
  });

  test("the FilePond example uploads to the real broker, and its form gets the asset's id", async () => {
    const { page, errors } = await open("filepond");
    const path = sampleNamed("sample.wav");
    await (await page.waitForSelector("input[type=file]")).uploadFile(path);
    const field = await page.waitForSelector(
      "input[type=hidden][name=asset][value]:not([value=''])",
    );
    const value = await field.evaluate((element) => element.value);
    assert.equal(value, await assertOnlyUpload(path));
    assert.deepEqual(errors, []);
  });

  test("Uppy's Dashboard uploads to the real broker, and its result has the asset's id", async () => {
    const { page, errors } = await open("uppy");
    const path = sampleNamed("sample.mp4");
    await (await page.waitForSelector("input.uppy-Dashboard-input")).uploadFile(path);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0].progress.uploadComplete);
    const id = await page.evaluate(() => window.uppy.getFiles()[0].response.body.asset.id);
    assert.equal(id, await assertOnlyUpload(path));
    assert.deepEqual(errors, []);
  });

  test("a recording of Uppy's webcam plugin becomes a video with the same bytes", async () => {
    const { page, errors } = await open("webcam");
    const click = async (selector) => (await page.waitForSelector(selector)).click();
    await click("[data-uppy-acquirer-id=Webcam] button");
    await click("button[title='Begin video recording']");
    await page.waitForFunction(() =>
      window.uppy.getPlugin("Webcam").recordingChunks?.some(({ size }) => size > 0),
    );
    await click("button[title='Stop video recording']");
    await click(".uppy-Webcam-button--submit");
    await click(".uppy-StatusBar-actionBtn--upload");
    await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.uploadComplete);
    const { type, body, bytes } = await page.evaluate(async () => {
      const [{ type, data, response }] = window.uppy.getFiles();
      return { type, body: response.body, bytes: [...new Uint8Array(await data.arrayBuffer())] };
    });
    assert.equal(type, "video/webm;codecs=vp8,opus");
    assert.deepEqual([body.contentType, body.asset.type], ["video/webm", "VIDEO"]);
    await assertOnlyUpload(await fixture.write("recorded.webm", Buffer.from(bytes)));
    assert.deepEqual(errors, []);
  });

  test("with Golden Retriever, Uppy's Dashboard resumes the same upload after a reload", async () => {
    await fixture.system.injectFault({
      match: { method: "PUT" },
      do: { kind: "slow", bytesPerSecond: 500_000 },
    });
    const { page } = await open("uppy");
    const path = await fixture.variant("kept.mp4", "sample.mp4", Buffer.alloc(8 * MEGABYTE));
    await (await page.waitForSelector("input.uppy-Dashboard-input")).uploadFile(path);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.percentage > 5);
    // Golden Retriever stores its state twice a second.
    await sleep(1000);
    await page.reload();
    await page.waitForFunction(() => window.uppy.getState().recoveredState);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.uploadComplete);
    await assertOnlyUpload(path);
  });
});
