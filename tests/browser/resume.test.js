import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { test } from "../bounded.js";
import { setUpFixture, until } from "./fixture.js";

const fixture = setUpFixture();
const MEGABYTE = 1_048_576;
const BEGUN = /^Started \d+ \w+ \d{4}, [\d:]{8}\. Choose the same file to upload it again\.$/;

/** Reload the page during an upload, and wait until the new page shows the unfinished upload. */
async function reloadDuringPut(name = "left.mp4", known = name) {
  await fixture.system.injectFault({
    match: { method: "PUT" },
    do: { kind: "slow", bytesPerSecond: 1_000_000 },
  });
  const demo = await fixture.open();
  const path = await fixture.variant(name, "sample.mp4", Buffer.alloc(24 * MEGABYTE));
  await demo.choose(path);
  await demo.page.waitForFunction(() => document.querySelector("progress")?.value > 5);
  demo.page.once("dialog", (dialog) => dialog.accept());
  await demo.visit(fixture.system.demo);
  await demo.rowIn("unfinished", known);
  return { demo, path };
}

/** Choose a file in the chooser that the row's button opens. */
async function chooseFor(demo, path) {
  const chooser = demo.page.waitForFileChooser();
  // The browser processes commands in order, so after this one it expects the file chooser.
  await demo.page.evaluate(() => {});
  await demo.press("Choose file");
  await (await chooser).accept([path]);
}

/** Send a POST to the broker as another tab of this user does. */
async function post(user, path, body) {
  const { token } = await (await fetch(`${fixture.system.demo}/token?sub=${user}`)).json();
  return fetch(fixture.system.broker + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

test("after a reload an unfinished upload asks for its file and resumes", async () => {
  const { demo, path } = await reloadDuringPut();
  await demo.rowShows("Unfinished", BEGUN);
  await chooseFor(demo, path);
  await demo.rowIn("done", path);
  await fixture.assertStored(demo.user, (await demo.rows())[0].assetId, path);
  assert.equal((await fixture.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("the page's file control resumes an unfinished upload, and the focus is kept", async () => {
  const { demo, path } = await reloadDuringPut();
  await demo.choose(await fixture.write("first.txt", "Only words."));
  await demo.rowIn("failed", "first.txt");
  const button = await demo.page.waitForSelector(
    '[data-state="unfinished"] [data-action="resume"]',
  );
  await button.focus();
  await demo.choose(path);
  await demo.rowIn("done", path);
  const rows = await demo.rows();
  assert.deepEqual(
    rows.map(({ name }) => name),
    ["left.mp4", "first.txt"],
  );
  assert.match((await demo.focused()).text, /^Remove left\.mp4$/);
  await fixture.assertStored(demo.user, rows[0].assetId, path);
  assert.equal((await fixture.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("two unfinished uploads of one name show different times, and each resumes with one file", async () => {
  const demo = await fixture.open();
  const paths = [
    await fixture.variant("one/take.mp4", "sample.mp4", "first tail"),
    await fixture.variant("two/take.mp4", "sample.mp4", "other tail"),
  ];
  const { size } = await stat(paths[0]);
  for (let count = 0; count < 2; count += 1) {
    // The page shows their times to the second.
    await new Promise((resolve) => setTimeout(resolve, 1000 * count));
    const wanted = { fileName: "take.mp4", contentType: "video/mp4", size };
    assert.equal((await post(demo.user, "/uploads", wanted)).status, 201);
  }
  await demo.visit(fixture.system.demo);
  await demo.page.waitForFunction(
    () => document.querySelectorAll('[data-state="unfinished"]').length === 2,
  );
  const sentences = (await demo.rows()).map(({ sentence }) => sentence);
  for (const sentence of sentences) assert.match(sentence, BEGUN);
  assert.notEqual(sentences[0], sentences[1]);
  for (const row of await demo.upload(...paths)) assert.equal(row.state, "done");
  const { items } = await fixture.system.ask(demo.user, "/uploads");
  assert.equal(new Set(items.map(({ asset }) => asset.id)).size, 2);
  assert.equal(items.length, 2);
});

test("a file whose name the broker has cleaned resumes its upload", async () => {
  const { demo, path } = await reloadDuringPut("left\u200e.mp4", "left.mp4");
  await demo.choose(path);
  await demo.rowIn("done", "left.mp4");
  const { items } = await fixture.system.ask(demo.user, "/uploads");
  assert.equal(items.length, 1);
});

test("a different file is refused, and the upload stays unfinished", async () => {
  const { demo, path } = await reloadDuringPut();
  await chooseFor(demo, await fixture.write("other.mp4", "other bytes"));
  await demo.page.waitForSelector(".row .failure:not([hidden])");
  const [row] = await demo.rows();
  assert.deepEqual([row.name, row.state], ["left.mp4", "unfinished"]);
  assert.match(row.failure, /^"?other\.mp4"? is another file\..*\ndifferent_file/);
  await chooseFor(demo, path);
  await demo.rowIn("done", path);
});

test("an unfinished upload can be discarded without its file", async () => {
  const { demo } = await reloadDuringPut();
  await demo.press("Discard left.mp4");
  await demo.page.waitForFunction(() => !document.querySelector(".row"));
  assert.equal((await demo.focused()).id, "files");
  const { items } = await fixture.system.ask(demo.user, "/uploads");
  assert.deepEqual(
    items.map(({ status }) => status),
    ["cancelled"],
  );
  const listed = demo.page.waitForResponse((response) => response.url().endsWith("?limit=100"));
  await demo.visit(fixture.system.demo);
  await listed;
  await demo.page.evaluate(() => {});
  assert.deepEqual(await demo.rows(), []);
});

test("an upload that another tab has completed can't be discarded, and the row shows why", async () => {
  const { demo, path } = await reloadDuringPut();
  const other = await fixture.open({ user: demo.user });
  await other.rowIn("unfinished", path);
  await chooseFor(other, path);
  await other.rowIn("done", path);
  await demo.press("Discard left.mp4");
  await demo.page.waitForSelector(".row .failure:not([hidden])");
  const [row] = await demo.rows();
  assert.deepEqual([row.name, row.state], ["left.mp4", "unfinished"]);
  assert.match(row.failure, /upload_not_pending · request \S+$/);
  assert.equal((await fixture.system.ask(demo.user, "/assets")).items.length, 1);
});

test("an upload that Sync is registering during a reload becomes an asset without another upload", async () => {
  await fixture.system.injectFault({
    match: { method: "POST", path: "/v2/assets" },
    do: { kind: "delay", seconds: 6 },
  });
  const demo = await fixture.open();
  const path = await fixture.variant("registering.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await until(async () => {
    const { items } = await fixture.system.ask(demo.user, "/uploads");
    return items[0]?.status === "registering";
  });
  demo.page.once("dialog", (dialog) => dialog.accept());
  await demo.visit(fixture.system.demo);
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  await fixture.assertStored(demo.user, card.assetId, path);
  assert.deepEqual(await demo.rows(), []);
});

test("while Sync registers slowly, the row shows no failure", async () => {
  // The response to the PUT is delayed, so that the test can register the file before the page does.
  await fixture.system.injectFault({
    match: { method: "PUT" },
    do: { kind: "delay", seconds: 2, when: "after" },
  });
  await fixture.system.injectFault({
    match: { method: "POST", path: "/v2/assets" },
    do: { kind: "delay", seconds: 5 },
  });
  const demo = await fixture.open();
  const statuses = [];
  demo.page.on("response", (response) => {
    if (response.url().endsWith("/complete")) statuses.push(response.status());
  });
  await demo.page.evaluate(() => {
    globalThis.shownTexts = new Set();
    new MutationObserver(() => {
      const text = (selector) => document.querySelector(`.row ${selector}`)?.textContent;
      shownTexts.add(`${text(".state")}: ${text(".left")}`);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  const path = await fixture.variant("patient.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  let id;
  await until(async () => {
    id = (await fixture.system.ask(demo.user, "/uploads")).items[0]?.id;
    return id && (await post(demo.user, `/uploads/${id}/complete`)).status !== 409;
  });
  await demo.rowIn("done", path);
  assert.ok(statuses.includes(202), `the page received ${statuses}`);
  const texts = await demo.page.evaluate(() => [...globalThis.shownTexts]);
  assert.ok(texts.includes("Processing: The whole file has arrived. You may close this page."));
  assert.deepEqual(
    texts.filter((one) => /again|answered|next/i.test(one)),
    [],
  );
});

/** Open a page for which registrations take longer than it waits, until `end` is called. */
async function openWithSlowRegistration(status = 202, body = { status: "registering" }) {
  const demo = await fixture.open();
  await demo.page.setRequestInterception(true);
  let isSlow = true;
  demo.page.on("request", (request) => {
    const isMeant = request.method() === "POST" && request.url().endsWith("/complete");
    if (!isSlow || !isMeant) return request.continue();
    request.respond({
      status,
      contentType: "application/json",
      headers: {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After",
        // The page does not wait that long.
        "Retry-After": "999",
      },
      body: JSON.stringify(body),
    });
  });
  const end = () => {
    isSlow = false;
  };
  return { demo, end };
}

test("a registration that takes too long is not a failure, and another try finds its asset", async () => {
  const { demo, end } = await openWithSlowRegistration();
  const path = await fixture.variant("late.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowShows("Still processing", /^This takes longer than usual\./);
  const [row] = await demo.rows();
  assert.deepEqual([row.failure, row.buttons], ["", ["Try again", "Remove"]]);
  end();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  assert.equal((await fixture.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("a registration that took too long shows its asset as soon as it exists", async () => {
  const { demo, end } = await openWithSlowRegistration();
  const path = await fixture.variant("slow.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowShows("Still processing", /^This takes longer than usual\./);
  // The test completes the upload as the sweeper does, without the page.
  const [{ id }] = (await fixture.system.ask(demo.user, "/uploads")).items;
  assert.equal((await post(demo.user, `/uploads/${id}/complete`)).status, 200);
  await demo.rowIn("done", path);
  const [card] = await demo.cards();
  await fixture.assertStored(demo.user, card.assetId, path);
  end();
});

test("a failed registration resumes with another try, and makes one asset", async () => {
  const busy = { code: "rate_limited", retryable: true, detail: "Too much at once." };
  const { demo, end } = await openWithSlowRegistration(429, busy);
  const path = await fixture.variant("twice.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowIn("failed", path);
  end();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  assert.equal((await fixture.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("a file that arrived before the tab was closed is an asset in the next tab", async () => {
  await fixture.system.injectFault({
    match: { method: "POST", path: "/v2/assets" },
    times: null,
    // Unlike a 503, a 429 certainly means that nothing was registered.
    do: {
      kind: "answer",
      status: 429,
      headers: { "Retry-After": "1" },
      body: { message: "Busy" },
    },
  });
  const demo = await fixture.open();
  const path = await fixture.variant("arrived.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowIn("finishing", path);
  demo.page.once("dialog", (dialog) => dialog.accept());
  await fixture.system.restore();
  // After a 429, the broker pauses for this long.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await demo.visit(fixture.system.demo);
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  await fixture.assertStored(demo.user, card.assetId, path);
  assert.deepEqual(await demo.rows(), []);
});
