import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "../bounded.js";
import { launchBrowser } from "./browser.js";
import { DemoPage } from "./demo-page.js";
import { sampleNamed } from "./fixture.js";
import { startSystem } from "./system.js";

const FILE = JSON.stringify({ fileName: "clip.mp4", contentType: "video/mp4", size: 5 });
let system;
let browser;
let server;
let foreign;

before(async () => {
  server = createServer((_request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>Another site</title>");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  foreign = `http://127.0.0.1:${server.address().port}`;
  system = await startSystem({ AUTH_MODE: "open", JWT_SECRET: "" });
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await system?.stop();
  server?.close();
});

async function uploads() {
  return (await (await fetch(`${system.broker}/uploads`)).json()).items;
}

/** Open another site's page, and collect the status of each of the broker's responses. */
async function openForeign() {
  const page = await browser.newPage();
  const statuses = [];
  page.on("response", (response) => {
    if (response.url().startsWith(system.broker)) statuses.push(response.status());
  });
  await page.goto(foreign);
  return { page, statuses };
}

for (const [what, type] of [
  ["of plain text", "text/plain"],
  ["without a type", undefined],
]) {
  test(`another site's script can't begin an upload by a POST ${what}`, async () => {
    const { page, statuses } = await openForeign();
    const request = page.waitForResponse((response) => response.url().endsWith("/uploads"));
    await page.evaluate(
      (url, body, contentType) => {
        // A blob without a type is sent without a content type, and its POST needs no preflight.
        const blob = new Blob([body], contentType && { type: contentType });
        return fetch(url, { method: "POST", mode: "no-cors", body: blob });
      },
      `${system.broker}/uploads`,
      FILE,
      type,
    );
    await request;
    assert.deepEqual(statuses, [403]);
    assert.deepEqual(await uploads(), []);
    await page.close();
  });
}

test("another site's form can't begin an upload", async () => {
  const { page, statuses } = await openForeign();
  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(
      (action, body) => {
        const form = Object.assign(document.createElement("form"), {
          action,
          method: "post",
          enctype: "text/plain",
        });
        const [name, value] = [body.slice(0, -1), "}"];
        form.append(Object.assign(document.createElement("input"), { name, value }));
        document.body.append(form);
        form.submit();
      },
      `${system.broker}/uploads`,
      FILE,
    ),
  ]);
  assert.deepEqual(statuses, [403]);
  assert.deepEqual(await uploads(), []);
  await page.close();
});

test("another site can't read, load or open a list", async () => {
  const { page } = await openForeign();
  const url = `${system.broker}/uploads`;
  const read = await page.evaluate(async (list) => {
    try {
      return await (await fetch(list)).text();
    } catch {
      return null;
    }
  }, url);
  assert.equal(read, null);
  const loaded = await page.evaluate(
    (list) =>
      new Promise((resolve) => {
        const script = document.createElement("script");
        script.onload = () => resolve("loaded");
        script.onerror = () => resolve("refused");
        script.src = list;
        document.head.append(script);
      }),
    url,
  );
  assert.equal(loaded, "refused");
  const [navigation] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate((list) => location.assign(list), url),
  ]);
  assert.equal(navigation.status(), 403);
  await page.close();
});

test("DNS rebinding does not reach the broker", async () => {
  const other = await launchBrowser("--host-resolver-rules=MAP rebound.example 127.0.0.1");
  try {
    const page = await other.newPage();
    const { port } = new URL(system.broker);
    const response = await page.goto(`http://rebound.example:${port}/uploads`);
    assert.equal(response.status(), 403);
    // The policy of the refusal's page blocks all its requests.
    const outcomes = await page.evaluate((body) => {
      const headers = { "Content-Type": "application/json" };
      const outcomeOf = (request) =>
        request.then(
          ({ status }) => status,
          () => "blocked",
        );
      const begun = fetch("/uploads", { method: "POST", headers, body });
      return Promise.all([outcomeOf(begun), outcomeOf(fetch("/limits"))]);
    }, FILE);
    assert.deepEqual(outcomes, ["blocked", "blocked"]);
  } finally {
    await other.close();
  }
  assert.deepEqual(await uploads(), []);
});

test("the demo page can upload a file without a token", async () => {
  const demo = new DemoPage(await browser.newPage(), `user-${randomUUID()}`);
  await demo.visit(system.demo);
  const [{ state }] = await demo.upload(sampleNamed("sample.png"));
  assert.equal(state, "done");
  assert.equal((await uploads()).length, 1);
});
