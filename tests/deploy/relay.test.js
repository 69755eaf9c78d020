import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "../bounded.js";
import { launchBrowser } from "../browser/browser.js";
import { DemoPage } from "../browser/demo-page.js";
import { digestOf, sampleNamed } from "../browser/fixture.js";
import { freePorts, ROOT, startSystem } from "../browser/system.js";

const USER = "relayed";
let system;
let relay;
let browser;

before(async () => {
  const [port] = await freePorts(1);
  system = await startSystem({ STORAGE_RELAY: `https://127.0.0.1:${port}` });
  await system.behave({ storageCors: false });
  relay = spawn(join(ROOT, ".venv/bin/python"), [
    join(ROOT, "tests/deploy/relay.py"),
    ...[port, system.upstream, system.demo],
  ]);
  await once(relay.stdout, "data");
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  if (relay) {
    const exit = once(relay, "exit");
    relay.kill("SIGTERM");
    await exit;
  }
  await system?.stop();
});

test("If storage refuses browsers, a page can upload through the relay.", async () => {
  const page = await browser.newPage();
  // The relay's certificate is self-signed, so a browser would warn its user.
  const session = await page.createCDPSession();
  await session.send("Security.setIgnoreCertificateErrors", { ignore: true });
  const demo = new DemoPage(page, USER);
  await demo.visit(system.demo);
  const path = sampleNamed("sample.mp4");
  const [row] = await demo.upload(path);
  assert.equal(row.state, "done", row.says);
  const { items } = await system.ask(USER, "/assets");
  const stored = await fetch(items[0].asset.url);
  assert.equal(digestOf(Buffer.from(await stored.arrayBuffer())), digestOf(await readFile(path)));
});

test("Without the relay, the same storage refuses the page.", async () => {
  const page = await browser.newPage();
  await page.goto(system.demo);
  const { token } = await (await fetch(`${system.demo}/token?sub=${USER}`)).json();
  const begun = await fetch(`${system.broker}/uploads`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ fileName: "clip.mp4", contentType: "video/mp4", size: 5 }),
  });
  const { uploadUrl, headers } = await begun.json();
  const direct = uploadUrl.replace(new URL(uploadUrl).origin, system.upstream);
  const outcome = await page.evaluate(
    (url, sent) =>
      fetch(url, { method: "PUT", headers: sent, body: "hello" }).then(
        ({ status }) => status,
        (error) => error.name,
      ),
    direct,
    headers,
  );
  assert.equal(outcome, "TypeError");
});
