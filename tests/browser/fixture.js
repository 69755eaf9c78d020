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

/** Wait until a condition is true. */
export async function until(condition) {
  const giveUpAt = Date.now() + 10_000;
  while (!(await condition())) {
    assert.ok(Date.now() < giveUpAt, "The condition was not true within ten seconds.");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Return the fixture of a file of tests: the running system, a browser, a folder for files. */
export function setUpFixture() {
  const fixture = {};
  let browser;
  let folder;
  let contexts = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "browser-tests-"));
    fixture.system = await startSystem();
    browser = await launchBrowser();
  });

  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await fixture.system.restore();
  });

  after(async () => {
    await browser?.close();
    await fixture.system?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Open an empty page in a new profile. */
  fixture.newPage = async () => {
    const context = await browser.createBrowserContext();
    contexts.push(context);
    await context.overridePermissions(fixture.system.demo, [
      "clipboard-read",
      "clipboard-write",
      "clipboard-sanitized-write",
    ]);
    return context.newPage();
  };

  /** Open the demo page in a new profile, by default as a new user. */
  fixture.open = async ({ user = `user-${randomUUID()}`, scheme = "light", width = 1200 } = {}) => {
    const page = await fixture.newPage();
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    const demo = new DemoPage(page, user);
    await demo.visit(fixture.system.demo);
    return demo;
  };

  /** Write a file of this name, which may have folders, and return its path. */
  fixture.write = async (name, bytes) => {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    return path;
  };

  /** Write a sample with additional bytes at its end, which players ignore, and return its path. */
  fixture.variant = async (name, sample, tail) =>
    fixture.write(name, Buffer.concat([await readFile(sampleNamed(sample)), Buffer.from(tail)]));

  /** Assert that the storage serves exactly this file's bytes as the asset. */
  fixture.assertStored = async (user, assetId, path) => {
    const { asset } = await fixture.system.ask(user, `/assets/${assetId}`);
    const stored = await fetch(asset.url);
    assert.equal(stored.status, 200);
    assert.equal(digestOf(Buffer.from(await stored.arrayBuffer())), digestOf(await readFile(path)));
  };

  return fixture;
}
