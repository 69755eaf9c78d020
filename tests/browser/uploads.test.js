import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { sampleNamed, setUpFixture, until } from "./fixture.js";
import { API_KEY } from "./system.js";

const fixture = setUpFixture();
const SAMPLES = ["sample.mp4", "sample.wav", "sample.png"].map(sampleNamed);
const MEGABYTE = 1_048_576;

test("a video, an audio file and an image become assets with the same bytes", async () => {
  const demo = await fixture.open();
  const rows = await demo.upload(...SAMPLES);
  for (const [index, path] of SAMPLES.entries()) {
    assert.equal(rows[index].label, "Ready");
    await fixture.assertStored(demo.user, rows[index].assetId, path);
  }
  assert.deepEqual(demo.consoleErrors, []);
});

test("assets are listed with id, facts and thumbnail or player, even after a reload", async () => {
  const demo = await fixture.open();
  const rows = await demo.upload(...SAMPLES);
  const listed = await demo.cards();
  assert.deepEqual(
    new Set(listed.map(({ assetId }) => assetId)),
    new Set(rows.map(({ assetId }) => assetId)),
  );
  await demo.visit(fixture.system.demo);
  const cards = new Map((await demo.cards()).map((card) => [card.name, card]));
  assert.equal(cards.size, 3);
  assert.equal(cards.get("sample.mp4").kind, "video");
  assert.equal(cards.get("sample.wav").kind, "audio");
  assert.equal(cards.get("sample.png").kind, "img");
  assert.match(cards.get("sample.mp4").facts, /^Video · mp4 · 0:\d\d · \d+ × \d+ · [\d.]+ kB$/);
  for (const { name, assetId } of rows) assert.equal(cards.get(name).assetId, assetId);
  await demo.page.waitForFunction(() => document.querySelector(".card img").naturalWidth > 0);
  assert.deepEqual(demo.consoleErrors, []);
});

test("a listed video plays from the storage", async () => {
  const demo = await fixture.open();
  await demo.upload(sampleNamed("sample.mp4"));
  await demo.page.$eval(".card video", (video) => {
    video.muted = true;
    return video.play();
  });
  await demo.page.waitForFunction(() => document.querySelector(".card video").currentTime > 0);
});

test("the copy button copies the asset id and confirms it", async () => {
  const demo = await fixture.open();
  const [{ assetId }] = await demo.upload(sampleNamed("sample.png"));
  await demo.press("Copy asset id");
  await demo.copied();
  assert.equal(await demo.clipboard(), assetId);
});

test("two files of the same name, size and type become two assets, each with its own bytes", async () => {
  const paths = [
    await fixture.variant("one/take.mp4", "sample.mp4", "first tail"),
    await fixture.variant("two/take.mp4", "sample.mp4", "other tail"),
  ];
  const demo = await fixture.open();
  const rows = await demo.upload(...paths);
  assert.notEqual(rows[0].assetId, rows[1].assetId);
  await fixture.assertStored(demo.user, rows[0].assetId, paths[0]);
  await fixture.assertStored(demo.user, rows[1].assetId, paths[1]);
});

test("file names in any script, with quotes, spaces and emoji, are kept unchanged", async () => {
  const names = [
    "Ünïcödé ファイル.png",
    `it's "quoted" & <b>bold<b>.png`,
    "  two  spaces .png",
    "🎬 take 🚀.png",
    "100% + #1?.png",
  ];
  const paths = [];
  for (const [index, name] of names.entries()) {
    paths.push(await fixture.variant(`names/${name}`, "sample.png", `tail ${index}`));
  }
  const demo = await fixture.open();
  const rows = await demo.upload(...paths);
  for (const [index, path] of paths.entries()) {
    assert.deepEqual([rows[index].failure, rows[index].label], ["", "Ready"]);
    await fixture.assertStored(demo.user, rows[index].assetId, path);
  }
  const { items } = await fixture.system.ask(demo.user, "/assets");
  assert.deepEqual(items.map(({ fileName }) => fileName).sort(), [...names].sort());
});

test("many files are sent three at a time", async () => {
  const paths = [];
  for (let index = 0; index < 8; index += 1) {
    paths.push(await fixture.variant(`many/${index}.wav`, "sample.wav", `tail ${index}`));
  }
  await fixture.system.injectFault({
    match: { method: "PUT" },
    times: paths.length,
    do: { kind: "slow", bytesPerSecond: 400_000 },
  });
  const demo = await fixture.open();
  let open = 0;
  let most = 0;
  demo.page.on("request", (request) => {
    if (request.method() === "PUT") most = Math.max(most, ++open);
  });
  demo.page.on("requestfinished", (request) => {
    if (request.method() === "PUT") open -= 1;
  });
  const rows = await demo.upload(...paths);
  assert.deepEqual(new Set(rows.map(({ label }) => label)), new Set(["Ready"]));
  assert.equal(most, 3);
});

test("files that are dropped on the page are uploaded", async () => {
  const demo = await fixture.open();
  const session = await demo.page.createCDPSession();
  const data = { items: [], files: [sampleNamed("sample.png")], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: 300, y: 800, data });
  }
  await demo.rowIn("done", "sample.png");
});

test("while a file is sent, its row shows percentage, speed and time left", async () => {
  await slowDown();
  const demo = await fixture.open();
  await demo.choose(await fixture.variant("slow.mp4", "sample.mp4", Buffer.alloc(24 * MEGABYTE)));
  const shown = await demo.page.waitForFunction(() => {
    const text = (selector) => document.querySelector(selector)?.textContent ?? "";
    const [percentage, speed, left] = [".percentage", ".speed", ".left"].map(text);
    const value = document.querySelector("progress")?.value;
    return value > 0 && value < 100 && speed && left && { percentage, value, speed, left };
  });
  const { percentage, value, speed, left } = await shown.jsonValue();
  assert.equal(percentage, `${value} %`);
  assert.match(speed, /^[\d.]+ MB\/s$/);
  assert.match(left, /^\d+ s left$/);
});

test("an upload that is cancelled while it is sent leaves no asset, and the page announces it", async () => {
  await slowDown();
  const demo = await fixture.open();
  const path = await fixture.variant("cancelled.mp4", "sample.mp4", Buffer.alloc(24 * MEGABYTE));
  await demo.choose(path);
  await demo.page.waitForFunction(() => document.querySelector("progress")?.value > 0);
  await demo.press("Cancel");
  await demo.rowIn("cancelled", path);
  assert.equal((await demo.rows())[0].label, "Cancelled");
  assert.match((await demo.focused()).text, /^Try again/);
  await demo.page.waitForFunction(() =>
    document.querySelector("#status").textContent.includes("cancelled.mp4 is cancelled"),
  );
  await until(async () => {
    const { items } = await fixture.system.ask(demo.user, "/uploads");
    return items.length === 1 && items[0].status === "cancelled";
  });
  assert.deepEqual((await fixture.system.ask(demo.user, "/assets")).items, []);
  assert.deepEqual(await demo.cards(), []);
});

test("a cancelled upload can be tried again", async () => {
  await slowDown();
  const demo = await fixture.open();
  const path = await fixture.variant("again.mp4", "sample.mp4", Buffer.alloc(24 * MEGABYTE));
  await demo.choose(path);
  await demo.page.waitForFunction(() => document.querySelector("progress")?.value > 0);
  await demo.press("Cancel");
  await demo.rowIn("cancelled", path);
  await fixture.system.restore();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  await fixture.assertStored(demo.user, (await demo.rows())[0].assetId, path);
});

test("the API key is neither in the page nor in its traffic", async () => {
  const demo = await fixture.open();
  const seen = [];
  const reading = [];
  demo.page.on("request", (request) => {
    seen.push(request.url(), JSON.stringify(request.headers()), request.postData() ?? "");
  });
  demo.page.on("response", (response) => seen.push(JSON.stringify(response.headers())));
  // Only finished responses are read: a player pauses loading when it has enough, so its response does not end.
  demo.page.on("requestfinished", (request) => {
    // A preflight has no body, and a cached request may have no response.
    const read = async () => seen.push(await request.response().text());
    reading.push(read().catch(() => {}));
  });
  await demo.visit(fixture.system.demo);
  const long = await fixture.variant("long.mp4", "sample.mp4", Buffer.alloc(24 * MEGABYTE));
  await demo.upload(...SAMPLES, long);
  await Promise.all(reading);
  seen.push(await demo.page.content());
  const traffic = seen.join("\n");
  assert.match(traffic, /"uploadUrl"/);
  assert.ok(!traffic.includes(API_KEY));
  assert.ok(!traffic.includes("x-api-key"));
});

const slowDown = () =>
  fixture.system.injectFault({
    match: { method: "PUT" },
    times: 1,
    do: { kind: "slow", bytesPerSecond: 2_000_000 },
  });
