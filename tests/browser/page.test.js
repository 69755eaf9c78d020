import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { crc32, deflateSync } from "node:zlib";
import { test } from "../bounded.js";
import { sampleNamed, setStage } from "./stage.js";

const stage = setStage();
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A page that shows all that it can show: assets, a failure, an error at a field. */
async function openFull(options) {
  const demo = await stage.open(options);
  await demo.upload(
    sampleNamed("sample.mp4"),
    sampleNamed("sample.wav"),
    sampleNamed("sample.png"),
    await stage.variant(`${"a rather long name ".repeat(8)}.mp4`, "sample.mp4", "tail"),
    await stage.write("notes.txt", "Only words."),
  );
  await demo.page.type("#url", "http://169.254.169.254/");
  await demo.press("Add");
  await demo.page.waitForSelector("#url[aria-invalid]");
  return demo;
}

async function violationsOn(demo) {
  await demo.page.evaluate(axe);
  return demo.page.evaluate(async () => {
    const { violations } = await globalThis.axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
  });
}

test("a sample's public URL becomes an asset of its name", async () => {
  const demo = await stage.open();
  await demo.press("video");
  const url = await demo.page.$eval("#url", ({ value }) => value);
  assert.equal(url, `${stage.system.demo}/samples/sample.mp4`);
  await demo.page.type("#name", "The sample");
  await demo.press("Add");
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  assert.equal(card.name, "The sample");
  assert.match(card.facts, /^Video · mp4/);
  await stage.assertStored(demo.user, card.assetId, sampleNamed("sample.mp4"));
  assert.deepEqual(await demo.focused(), { id: "url", text: "", element: "input" });
  assert.deepEqual(demo.complaints, []);
});

for (const url of ["http://169.254.169.254/", "ftp://media.example/talk.mp4", "talk.mp4", ""]) {
  test(`the public URL "${url}" is refused at the field, which gets the focus`, async () => {
    const demo = await stage.open();
    if (url) await demo.page.type("#url", url);
    await demo.press("Add");
    await demo.page.waitForSelector("#url[aria-invalid=true]");
    const words = await demo.page.$eval("#url-error p", ({ textContent }) => textContent);
    assert.match(words, url ? /^"|^This link can't be added/ : /^Paste a web address/);
    assert.equal((await demo.focused()).id, "url");
    assert.deepEqual(await demo.cards(), []);
  });
}

test("a pasted URL is sent as the address bar would send it", async () => {
  const demo = await stage.open();
  await demo.page.setRequestInterception(true);
  const sent = [];
  demo.page.on("request", (request) => {
    if (request.method() !== "POST") return request.continue();
    sent.push(JSON.parse(request.postData()).url);
    request.respond({
      status: 422,
      contentType: "application/problem+json",
      headers: { "Access-Control-Allow-Origin": "*" },
      body: JSON.stringify({ code: "invalid_input", detail: "No.", errors: [{ pointer: "/url" }] }),
    });
  });
  for (const pasted of ["  https://bücher.example/ä b.mp4 ", "HTTPS://Media.Example"]) {
    await demo.page.$eval("#url", (field, text) => Object.assign(field, { value: text }), pasted);
    await demo.press("Add");
    await demo.page.waitForSelector("#url[aria-invalid]");
  }
  assert.deepEqual(sent, [
    "https://xn--bcher-kva.example/%C3%A4%20b.mp4",
    "https://media.example/",
  ]);
});

/** A black PNG of this many pixels. */
function png(width, height) {
  const chunk = (name, body) => {
    const named = Buffer.concat([Buffer.from(name), body]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(body.length, 0);
    ends.writeUInt32BE(crc32(named), 4);
    return Buffer.concat([ends.subarray(0, 4), named, ends.subarray(4)]);
  };
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Each line begins with a byte that says how it is filtered: not at all.
  const lines = Buffer.alloc((width + 1) * height);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("media of any form keep the gallery's grid, whole and undistorted", async () => {
  const demo = await stage.open();
  const forms = { portrait: [90, 400], square: [100, 100], wide: [900, 20], needle: [2, 900] };
  const images = Object.entries(forms).map(([name, size]) =>
    stage.write(`${name}.png`, png(...size)),
  );
  await demo.upload(
    ...(await Promise.all(images)),
    ...["sample.mp4", "sample.wav"].map(sampleNamed),
  );
  for (const width of [1280, 390]) {
    await demo.page.setViewport({ width, height: 900 });
    await demo.page.$$eval(".media img", (shown) =>
      Promise.all(shown.map((image) => Object.assign(image, { loading: "eager" }).decode())),
    );
    const tiles = await demo.page.$$eval(".media", (elements) =>
      elements.map((element) => {
        const tile = element.getBoundingClientRect();
        const media = element.firstElementChild;
        const { width, height } = media.getBoundingClientRect();
        const isWhole =
          media.localName === "audio" || getComputedStyle(media).objectFit === "contain";
        const isInside = width <= tile.width + 0.5 && height <= tile.height + 0.5;
        return { form: (tile.width / tile.height).toFixed(2), isInside, isWhole };
      }),
    );
    const form = (16 / 9).toFixed(2);
    assert.deepEqual(tiles, Array(6).fill({ form, isInside: true, isWhole: true }));
  }
});

test("what only developers can use is behind the failure's details", async () => {
  const demo = await stage.open();
  await demo.upload(await stage.write("words.txt", "Only words."));
  const isShown = () => demo.page.$eval(".row .reference", (code) => code.checkVisibility());
  assert.equal(await isShown(), false);
  await demo.page.click(".row summary");
  assert.equal(await isShown(), true);
});

test("each place that shows a name keeps the name's direction to itself", async () => {
  const demo = await stage.open();
  const name = "\u05e9\u05dc\u05d5\u05dd.png";
  await demo.upload(await stage.variant(name, "sample.png", "tail"));
  await demo.page.waitForSelector(".card");
  const places = await demo.page.evaluate((shown) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) {
      const { data, parentElement } = texts.currentNode;
      if (!data.includes(shown)) continue;
      const { unicodeBidi } = getComputedStyle(parentElement);
      found.push(`${parentElement.className}: ${unicodeBidi}`);
    }
    return [...new Set(found)].sort();
  }, name);
  assert.ok(places.length >= 3, String(places));
  for (const place of places) assert.match(place, /: isolate$/);
});

test("no card has a name that can be read in another order", async () => {
  const demo = await stage.open();
  const [{ failure }] = await demo.upload(
    await stage.variant("\u202egnp.mp4", "sample.mp4", "tail"),
  );
  const names = (await demo.cards()).map(({ name }) => name);
  // The name is refused with the characters, or the file gets one without them.
  assert.ok(failure.includes("U+202A to U+202E") || names.length === 1);
  for (const name of names) assert.doesNotMatch(name, /[\u202a-\u202e]/);
});

test("an error at a field is gone when the next try goes well", async () => {
  const demo = await stage.open();
  await demo.page.type("#url", "talk.mp4");
  await demo.press("Add");
  await demo.page.waitForSelector("#url[aria-invalid=true]");
  await demo.press("image");
  await demo.press("Add");
  await demo.page.waitForSelector(".card");
  assert.equal((await demo.cards())[0].name, "sample.png");
  assert.equal(await demo.page.$("[aria-invalid]"), null);
  assert.equal(await demo.page.$eval("#url-error", ({ textContent }) => textContent), "");
});

test("bob does not see what alice added", async () => {
  const alice = await stage.open({ user: "alice" });
  await alice.upload(sampleNamed("sample.png"));
  assert.equal((await alice.cards()).length, 1);
  await Promise.all([alice.page.waitForNavigation(), alice.page.click('a[href="?user=bob"]')]);
  const empty = await alice.page.waitForSelector("#no-assets:not([hidden])");
  assert.deepEqual(await alice.cards(), []);
  assert.match(await empty.evaluate(({ textContent }) => textContent), /^Nothing here yet/);
});

test("a name that nobody can have is refused in the server's words", async () => {
  const demo = await stage.open();
  await demo.page.goto(`${stage.system.demo}/?user=a%20b`);
  const trouble = await demo.page.waitForSelector("#page-error:not([hidden])");
  assert.match(await trouble.evaluate(({ textContent }) => textContent), /^The parameter sub/);
});

test("assets beyond the first page come by one button, once each", async () => {
  const demo = await stage.open();
  const paths = [];
  for (let index = 0; index < 26; index += 1) {
    paths.push(await stage.variant(`page/${index}.png`, "sample.png", `tail ${index}`));
  }
  await demo.upload(...paths);
  await demo.visit(stage.system.demo);
  assert.equal((await demo.cards()).length, 24);
  await demo.press("Show more");
  await demo.page.waitForFunction(() => document.querySelectorAll(".card").length === 26);
  assert.equal(new Set((await demo.cards()).map(({ assetId }) => assetId)).size, 26);
  assert.match((await demo.focused()).text, /^Copy/);
  assert.equal(await demo.page.$("#more:not([hidden])"), null);
});

test("the keyboard alone is enough: choose, upload, copy, add a URL", async () => {
  const demo = await stage.open();
  const { page } = demo;
  const tabTo = async (test) => {
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press("Tab");
      const focus = await demo.focused();
      if (test(focus)) return;
    }
    assert.fail("The keyboard does not lead there.");
  };

  await tabTo(({ id }) => id === "files");
  const chooser = page.waitForFileChooser();
  // The browser has to know that somebody waits before the key comes, and it answers in order.
  await page.evaluate(() => {});
  await page.keyboard.press("Enter");
  await (await chooser).accept([sampleNamed("sample.wav")]);
  await demo.rowIn("done", "sample.wav");
  await tabTo(({ text }) => text?.startsWith("Copy"));
  await page.keyboard.press("Enter");
  await demo.copied();
  assert.equal(await demo.clipboard(), (await demo.rows())[0].assetId);

  await tabTo(({ text }) => text?.startsWith("Remove"));
  await page.keyboard.press("Space");
  assert.equal((await demo.focused()).id, "files");

  await tabTo(({ id }) => id === "url");
  await page.keyboard.type(`${stage.system.demo}/samples/sample.png`);
  await page.keyboard.press("Tab");
  await page.keyboard.type("Image");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".card").length === 2);
});

test("after a removal the keyboard's place is the next row", async () => {
  const demo = await stage.open();
  await demo.upload(await stage.write("a.txt", "a"), await stage.write("b.txt", "b"));
  await demo.press("Remove a.txt");
  assert.match((await demo.focused()).text, /^Remove/);
  assert.deepEqual(
    (await demo.rows()).map(({ name }) => name),
    ["b.txt"],
  );
});

test("what the same file would be refused for again can only be removed", async () => {
  const demo = await stage.open();
  const rows = await demo.upload(
    await stage.write("d.txt", "Only words."),
    await stage.write("nothing.mp4", ""),
  );
  for (const { says, buttons } of rows) assert.deepEqual([says, buttons], ["Failed", ["Remove"]]);
});

test("what a new sign-in can mend may be tried again", async () => {
  const demo = await stage.open();
  await demo.page.setRequestInterception(true);
  let isSignedOut = true;
  demo.page.on("request", (request) => {
    if (request.method() !== "POST" || !isSignedOut) return request.continue();
    request.respond({
      status: 401,
      contentType: "application/problem+json",
      headers: { "Access-Control-Allow-Origin": "*" },
      body: JSON.stringify({ code: "unauthorized", detail: "Sign in.", retryable: false }),
    });
  });
  const [{ failure, buttons }] = await demo.upload(sampleNamed("sample.png"));
  assert.match(failure, /^Sign in\.\s+unauthorized$/);
  assert.deepEqual(buttons, ["Try again", "Remove"]);
  isSignedOut = false;
  await demo.press("Try again");
  await demo.rowIn("done", "sample.png");
});

test("new uploads stand on top of the others, in their order and in sight", async () => {
  const demo = await stage.open({ width: 390 });
  const named = (prefix, count) =>
    Promise.all(
      Array.from({ length: count }, (_, index) => stage.write(`${prefix}${index}.txt`, "Words.")),
    );
  await demo.upload(...(await named("old", 12)));
  await demo.choose(...(await named("new", 2)));
  await demo.rowIn("failed", "new1.txt");
  const rows = await demo.rows();
  assert.deepEqual(
    rows.slice(0, 3).map(({ name }) => name),
    ["new0.txt", "new1.txt", "old0.txt"],
  );
  const isInSight = await demo.page.$eval(".row", (row) => {
    const { top, bottom } = row.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  assert.ok(isInSight);
});

test("finished rows are cleared at once", async () => {
  const demo = await stage.open();
  await demo.upload(sampleNamed("sample.png"), await stage.write("c.txt", "c"));
  await demo.press("Clear finished");
  assert.deepEqual(await demo.rows(), []);
  assert.equal((await demo.focused()).id, "files");
});

for (const scheme of ["light", "dark"]) {
  test(`axe finds nothing to mend in ${scheme} colours`, async () => {
    const demo = await openFull({ scheme });
    assert.deepEqual(await violationsOn(demo), []);
  });
}

test("axe finds nothing to mend while a file is sent", async () => {
  await stage.system.arm({
    match: { method: "PUT" },
    do: { kind: "slow", bytesPerSecond: 4_000_000 },
  });
  const demo = await stage.open();
  await demo.choose(await stage.variant("sent.mp4", "sample.mp4", Buffer.alloc(24_000_000)));
  await demo.rowIn("uploading", "sent.mp4");
  assert.deepEqual(await violationsOn(demo), []);
});

for (const width of [320, 390]) {
  test(`nothing is cut off or scrolls sideways at ${width} pixels`, async () => {
    const demo = await openFull({ width });
    const outside = await demo.page.evaluate(() =>
      [...document.querySelectorAll("main *, header *")]
        .filter((element) => !element.closest(".unseen, template"))
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
        .map((element) => element.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(outside, []);
    assert.equal(await demo.page.evaluate(() => document.documentElement.scrollWidth), width);
  });
}

test("dark colours follow the system's wish", async () => {
  const ground = (demo) =>
    demo.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.notEqual(
    await ground(await stage.open({ scheme: "dark" })),
    await ground(await stage.open({ scheme: "light" })),
  );
});

test("nothing moves for people who want it still", async () => {
  const demo = await stage.open();
  const duration = () =>
    demo.page.$eval("#drop", (drop) => getComputedStyle(drop).transitionDuration);
  assert.notEqual(await duration(), "0s");
  await demo.page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
  assert.equal(await duration(), "0s");
});
