import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { test } from "../bounded.js";
import { setStage, until } from "./stage.js";

const stage = setStage();
const MEGABYTE = 1_048_576;
const BEGUN = /^Started \d+ \w+ \d{4}, [\d:]{8}\. Choose the same file to upload it again\.$/;

/** Reloads the page in the middle of a file, and waits for what the new one finds. */
async function reloadInMidPut(name = "left.mp4", known = name) {
  await stage.system.arm({
    match: { method: "PUT" },
    do: { kind: "slow", bytesPerSecond: 1_000_000 },
  });
  const demo = await stage.open();
  const path = await stage.variant(name, "sample.mp4", Buffer.alloc(24 * MEGABYTE));
  await demo.choose(path);
  await demo.page.waitForFunction(() => document.querySelector("progress")?.value > 5);
  demo.page.once("dialog", (dialog) => dialog.accept());
  await demo.visit(stage.system.demo);
  await demo.rowIn("unfinished", known);
  return { demo, path };
}

/** Answers the file chooser that the row's button opens. */
async function chooseFor(demo, path) {
  const chooser = demo.page.waitForFileChooser();
  // The browser has to know that somebody waits before the click comes, and it answers in order.
  await demo.page.evaluate(() => {});
  await demo.press("Choose file");
  await (await chooser).accept([path]);
}

/** Posts to the broker as another tab of this user would. */
async function post(user, path, body) {
  const { token } = await (await fetch(`${stage.system.demo}/token?sub=${user}`)).json();
  return fetch(stage.system.broker + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

test("after a reload an unfinished upload asks for its file, and goes on", async () => {
  const { demo, path } = await reloadInMidPut();
  await demo.rowSays("Unfinished", BEGUN);
  await chooseFor(demo, path);
  await demo.rowIn("done", path);
  await stage.assertStored(demo.user, (await demo.rows())[0].assetId, path);
  assert.equal((await stage.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("the page's own chooser goes on with it too, without a second upload or a lost focus", async () => {
  const { demo, path } = await reloadInMidPut();
  await demo.choose(await stage.write("first.txt", "Only words."));
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
  await stage.assertStored(demo.user, rows[0].assetId, path);
  assert.equal((await stage.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("two unfinished uploads of one name are told apart, and each takes one file", async () => {
  const demo = await stage.open();
  const paths = [
    await stage.variant("one/take.mp4", "sample.mp4", "first tail"),
    await stage.variant("two/take.mp4", "sample.mp4", "other tail"),
  ];
  const { size } = await stat(paths[0]);
  for (let count = 0; count < 2; count += 1) {
    // Their times are told to the second.
    await new Promise((resolve) => setTimeout(resolve, 1000 * count));
    const wanted = { fileName: "take.mp4", contentType: "video/mp4", size };
    assert.equal((await post(demo.user, "/uploads", wanted)).status, 201);
  }
  await demo.visit(stage.system.demo);
  await demo.page.waitForFunction(
    () => document.querySelectorAll('[data-state="unfinished"]').length === 2,
  );
  const told = (await demo.rows()).map((row) => row.told);
  for (const one of told) assert.match(one, BEGUN);
  assert.notEqual(told[0], told[1]);
  for (const row of await demo.upload(...paths)) assert.equal(row.state, "done");
  const { items } = await stage.system.ask(demo.user, "/uploads");
  assert.equal(new Set(items.map(({ asset }) => asset.id)).size, 2);
  assert.equal(items.length, 2);
});

test("a file that the broker knows by a tidied name is found again by its own", async () => {
  const { demo, path } = await reloadInMidPut("left\u200e.mp4", "left.mp4");
  await demo.choose(path);
  await demo.rowIn("done", "left.mp4");
  const { items } = await stage.system.ask(demo.user, "/uploads");
  assert.equal(items.length, 1);
});

test("another file is refused for it, and the upload waits on", async () => {
  const { demo, path } = await reloadInMidPut();
  await chooseFor(demo, await stage.write("other.mp4", "other bytes"));
  await demo.page.waitForSelector(".row .failure:not([hidden])");
  const [row] = await demo.rows();
  assert.deepEqual([row.name, row.state], ["left.mp4", "unfinished"]);
  assert.match(row.failure, /^"?other\.mp4"? is another file\..*\ndifferent_file/);
  await chooseFor(demo, path);
  await demo.rowIn("done", path);
});

test("an unfinished upload can be given up without its file", async () => {
  const { demo } = await reloadInMidPut();
  await demo.press("Discard left.mp4");
  await demo.page.waitForFunction(() => !document.querySelector(".row"));
  assert.equal((await demo.focused()).id, "files");
  const { items } = await stage.system.ask(demo.user, "/uploads");
  assert.deepEqual(
    items.map(({ status }) => status),
    ["cancelled"],
  );
  const asked = demo.page.waitForResponse((response) => response.url().endsWith("?limit=100"));
  await demo.visit(stage.system.demo);
  await asked;
  await demo.page.evaluate(() => {});
  assert.deepEqual(await demo.rows(), []);
});

test("what another tab has finished can't be given up, and the row says so", async () => {
  const { demo, path } = await reloadInMidPut();
  const other = await stage.open({ user: demo.user });
  await other.rowIn("unfinished", path);
  await chooseFor(other, path);
  await other.rowIn("done", path);
  await demo.press("Discard left.mp4");
  await demo.page.waitForSelector(".row .failure:not([hidden])");
  const [row] = await demo.rows();
  assert.deepEqual([row.name, row.state], ["left.mp4", "unfinished"]);
  assert.match(row.failure, /upload_not_pending · request \S+$/);
  assert.equal((await stage.system.ask(demo.user, "/assets")).items.length, 1);
});

test("what sync. is still registering after a reload becomes an asset without another one", async () => {
  await stage.system.arm({
    match: { method: "POST", path: "/v2/assets" },
    do: { kind: "delay", seconds: 6 },
  });
  const demo = await stage.open();
  const path = await stage.variant("registering.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await until(async () => {
    const { items } = await stage.system.ask(demo.user, "/uploads");
    return items[0]?.status === "registering";
  });
  demo.page.once("dialog", (dialog) => dialog.accept());
  await demo.visit(stage.system.demo);
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  await stage.assertStored(demo.user, card.assetId, path);
  assert.deepEqual(await demo.rows(), []);
});

test("while sync. is slow with what has arrived, the row speaks of no failure", async () => {
  // The answer to the PUT comes late, so that the test can have the file registered before the page.
  await stage.system.arm({
    match: { method: "PUT" },
    do: { kind: "delay", seconds: 2, when: "after" },
  });
  await stage.system.arm({
    match: { method: "POST", path: "/v2/assets" },
    do: { kind: "delay", seconds: 5 },
  });
  const demo = await stage.open();
  const answers = [];
  demo.page.on("response", (response) => {
    if (response.url().endsWith("/complete")) answers.push(response.status());
  });
  await demo.page.evaluate(() => {
    globalThis.said = new Set();
    new MutationObserver(() => {
      const text = (selector) => document.querySelector(`.row ${selector}`)?.textContent;
      said.add(`${text(".state")}: ${text(".left")}`);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  const path = await stage.variant("patient.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  let id;
  await until(async () => {
    id = (await stage.system.ask(demo.user, "/uploads")).items[0]?.id;
    return id && (await post(demo.user, `/uploads/${id}/complete`)).status !== 409;
  });
  await demo.rowIn("done", path);
  assert.ok(answers.includes(202), `the page was told ${answers}`);
  const said = await demo.page.evaluate(() => [...globalThis.said]);
  assert.ok(said.includes("Processing: The whole file has arrived. You may close this page."));
  assert.deepEqual(
    said.filter((one) => /again|answered|next/i.test(one)),
    [],
  );
});

/** Opens a page which the broker tells to wait longer than it is patient, until the end of the trouble. */
async function openImpatient(status = 202, body = { status: "registering" }) {
  const demo = await stage.open();
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
        // Longer than the page is patient.
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

test("what sync. takes too long for is no failure either, and another try finds its asset", async () => {
  const { demo, end } = await openImpatient();
  const path = await stage.variant("late.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowSays("Still processing", /^This takes longer than usual\./);
  const [row] = await demo.rows();
  assert.deepEqual([row.failure, row.buttons], ["", ["Try again", "Remove"]]);
  end();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  assert.equal((await stage.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("what sync. took too long for shows its asset by itself when it is there", async () => {
  const { demo, end } = await openImpatient();
  const path = await stage.variant("slow.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowSays("Still processing", /^This takes longer than usual\./);
  // Not by this page, but as the sweep does it.
  const [{ id }] = (await stage.system.ask(demo.user, "/uploads")).items;
  assert.equal((await post(demo.user, `/uploads/${id}/complete`)).status, 200);
  await demo.rowIn("done", path);
  const [card] = await demo.cards();
  await stage.assertStored(demo.user, card.assetId, path);
  end();
});

test("what was given up goes on by another try, and is one asset", async () => {
  const busy = { code: "rate_limited", retryable: true, detail: "Too much at once." };
  const { demo, end } = await openImpatient(429, busy);
  const path = await stage.variant("twice.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowIn("failed", path);
  end();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  assert.equal((await stage.system.ask(demo.user, "/uploads")).items.length, 1);
});

test("what had arrived before the tab was closed is an asset in the next one", async () => {
  await stage.system.arm({
    match: { method: "POST", path: "/v2/assets" },
    times: null,
    // Other than after a 503, it is certain that nothing was registered.
    do: {
      kind: "answer",
      status: 429,
      headers: { "Retry-After": "1" },
      body: { message: "Busy" },
    },
  });
  const demo = await stage.open();
  const path = await stage.variant("arrived.mp4", "sample.mp4", "tail");
  await demo.choose(path);
  await demo.rowIn("finishing", path);
  demo.page.once("dialog", (dialog) => dialog.accept());
  await stage.system.calm();
  // So long after the last 429 the broker asks Sync for nothing.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await demo.visit(stage.system.demo);
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  await stage.assertStored(demo.user, card.assetId, path);
  assert.deepEqual(await demo.rows(), []);
});
