import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "vite";
import { after, before, describe, test } from "../bounded.js";
import { sampleNamed, setStage } from "./stage.js";
import { ROOT } from "./system.js";

const MEGABYTE = 1_048_576;
const PACKAGES = ["@uppy", "filepond", "react", "react-dom"];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** The pages of the app, each with its module and its place for what that shows. */
const PAGES = {
  react: [
    `import { createRoot } from "react-dom/client";
     import { Upload } from "./examples/react.jsx";
     createRoot(document.querySelector("#app")).render(<Upload />);`,
    '<div id="app"></div>',
  ],
  uppy: [
    `import GoldenRetriever from "@uppy/golden-retriever";
     import { uppy } from "./examples/uppy.js";
     window.uppy = uppy.use(GoldenRetriever);`,
    '<div id="app"></div>',
  ],
  filepond: [`import "./examples/filepond.js";`, '<form><input type="file"></form>'],
};

const stage = setStage();
let folder;
let server;
let user;

/** Builds an app out of the examples, as somebody who has installed the client does, and serves it. */
async function buildApp() {
  folder = await mkdtemp(join(tmpdir(), "vite-"));
  const modules = join(folder, "node_modules");
  await mkdir(modules);
  await cp(join(ROOT, "client"), join(modules, "sync-upload-broker-client"), { recursive: true });
  for (const name of PACKAGES) await symlink(join(ROOT, "node_modules", name), join(modules, name));
  for (const name of ["react.jsx", "uppy.js", "filepond.js"])
    await cp(join(ROOT, "docs/examples", name), join(folder, "examples", name));
  await writeFile(join(folder, ".env"), `VITE_BROKER=${stage.system.broker}\n`);
  for (const [name, [code, body]] of Object.entries(PAGES)) {
    await writeFile(join(folder, `${name}.jsx`), code);
    const script = `<script type="module" src="./${name}.jsx"></script>`;
    await writeFile(join(folder, `${name}.html`), `<!doctype html><body>${body}${script}`);
  }
  const input = Object.keys(PAGES).map((name) => join(folder, `${name}.html`));
  await build({ root: folder, logLevel: "error", build: { rolldownOptions: { input } } });
  server = createServer(serve).listen(new URL(stage.system.page).port, "127.0.0.1");
  await once(server, "listening");
}

/** Plays the app's own backend, which knows who is signed in. */
async function serve({ url }, response) {
  if (url === "/token") {
    const answer = await fetch(`${stage.system.demo}/token?sub=${user}`);
    return response.end((await answer.json()).token);
  }
  const body = await readFile(join(folder, "dist", url)).catch(() => null);
  response.writeHead(body ? 200 : 404, { "Content-Type": TYPES[extname(url)] ?? "text/plain" });
  response.end(body);
}

/** Opens a page of the app as a user who has nothing yet. */
async function open(name) {
  user = `vite-${name}-${Date.now()}`;
  const page = await stage.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(`${stage.system.page}/${name}.html`);
  return { page, errors };
}

/** Asserts that this file is the user's one upload, byte for byte. */
async function assertOnly(path) {
  const { items } = await stage.system.ask(user, "/uploads");
  assert.deepEqual(
    items.map(({ status }) => status),
    ["registered"],
  );
  await stage.assertStored(user, items[0].asset.id, path);
  return items[0].asset.id;
}

describe("an app that Vite built", () => {
  before(buildApp);

  after(async () => {
    server?.closeAllConnections();
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("the React example uploads to the real broker, and shows the asset's id", async () => {
    const { page, errors } = await open("react");
    const path = sampleNamed("sample.mp4");
    await (await page.waitForSelector("input[type=file]")).uploadFile(path);
    const output = await page.waitForSelector("output");
    const shown = await output.evaluate(({ textContent }) => textContent);
    assert.equal(shown, await assertOnly(path));
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
    assert.equal(value, await assertOnly(path));
    assert.deepEqual(errors, []);
  });

  test("Uppy's Dashboard uploads to the real broker, and its result has the asset's id", async () => {
    const { page, errors } = await open("uppy");
    const path = sampleNamed("sample.mp4");
    await (await page.waitForSelector("input.uppy-Dashboard-input")).uploadFile(path);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0].progress.uploadComplete);
    const id = await page.evaluate(() => window.uppy.getFiles()[0].response.body.asset.id);
    assert.equal(id, await assertOnly(path));
    assert.deepEqual(errors, []);
  });

  test("with Golden Retriever, Uppy's Dashboard goes on after a reload, with the same upload", async () => {
    await stage.system.arm({
      match: { method: "PUT" },
      do: { kind: "slow", bytesPerSecond: 500_000 },
    });
    const { page } = await open("uppy");
    const path = await stage.variant("kept.mp4", "sample.mp4", Buffer.alloc(8 * MEGABYTE));
    await (await page.waitForSelector("input.uppy-Dashboard-input")).uploadFile(path);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.percentage > 5);
    // Golden Retriever writes twice a second what it knows.
    await sleep(1000);
    await page.reload();
    await page.waitForFunction(() => window.uppy.getState().recoveredState);
    await (await page.waitForSelector(".uppy-StatusBar-actionBtn--upload")).click();
    await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.uploadComplete);
    await assertOnly(path);
  });
});
