import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before } from "../bounded.js";
import { launchBrowser } from "./browser.js";
import { DemoPage } from "./demo-page.js";
import { ROOT, startSystem } from "./system.js";

export const digestOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
export const sampleNamed = (name) => join(ROOT, "sandbox/samples", name);

/** Waits until it is true. */
export async function until(condition) {
  const giveUpAt = Date.now() + 10_000;
  while (!(await condition())) {
    assert.ok(Date.now() < giveUpAt, "It did not come true in ten seconds.");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Sets the stage for one file of tests: the running system, a browser, a folder for files. */
export function setStage() {
  const stage = {};
  let browser;
  let folder;
  let contexts = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "browser-tests-"));
    stage.system = await startSystem();
    browser = await launchBrowser();
  });

  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await stage.system.calm();
  });

  after(async () => {
    await browser?.close();
    await stage.system?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Opens an empty page in a fresh profile. */
  stage.newPage = async () => {
    const context = await browser.createBrowserContext();
    contexts.push(context);
    await context.overridePermissions(stage.system.demo, [
      "clipboard-read",
      "clipboard-write",
      "clipboard-sanitized-write",
    ]);
    return context.newPage();
  };

  /** Opens the demo page in a fresh profile, as a user who has nothing yet unless one is named. */
  stage.open = async ({ user = `user-${randomUUID()}`, scheme = "light", width = 1200 } = {}) => {
    const page = await stage.newPage();
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    const demo = new DemoPage(page, user);
    await demo.visit(stage.system.demo);
    return demo;
  };

  /** Writes a file of this name, which may hold folders, and gives its path. */
  stage.write = async (name, bytes) => {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    return path;
  };

  /** A sample with bytes behind its end, which players ignore: another file of the same kind. */
  stage.variant = async (name, sample, tail) =>
    stage.write(name, Buffer.concat([await readFile(sampleNamed(sample)), Buffer.from(tail)]));

  /** Asserts that storage serves exactly this file's bytes as the asset. */
  stage.assertStored = async (user, assetId, path) => {
    const { asset } = await stage.system.ask(user, `/assets/${assetId}`);
    const stored = await fetch(asset.url);
    assert.equal(stored.status, 200);
    assert.equal(digestOf(Buffer.from(await stored.arrayBuffer())), digestOf(await readFile(path)));
  };

  return stage;
}
