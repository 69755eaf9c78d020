import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { crc32, deflateSync } from "node:zlib";
import { test } from "../bounded.js";
import { sampleNamed, setUpFixture } from "./fixture.js";

const fixture = setUpFixture();
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Open a page with assets, a failure and an invalid field. */
async function openFull(options) {
  const demo = await fixture.open(options);
  await demo.upload(
    sampleNamed("sample.mp4"),
    sampleNamed("sample.wav"),
    sampleNamed("sample.png"),
    await fixture.variant(`${"a rather long name ".repeat(8)}.mp4`, "sample.mp4", "tail"),
    await fixture.write("notes.txt", "Only words."),
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

test("a sample's public URL becomes an asset with the given name", async () => {
  const demo = await fixture.open();
  await demo.press("video");
  const url = await demo.page.$eval("#url", ({ value }) => value);
  assert.equal(url, `${fixture.system.demo}/samples/sample.mp4`);
  await demo.page.type("#name", "The sample");
  await demo.press("Add");
  await demo.page.waitForSelector(".card");
  const [card] = await demo.cards();
  assert.equal(card.name, "The sample");
  assert.match(card.facts, /^Video · mp4/);
  await fixture.assertStored(demo.user, card.assetId, sampleNamed("sample.mp4"));
  assert.deepEqual(await demo.focused(), { id: "url", text: "", element: "input" });
  assert.deepEqual(demo.consoleErrors, []);
});

for (const url of ["http://169.254.169.254/", "ftp://media.example/talk.mp4", "talk.mp4", ""]) {
  test(`the public URL "${url}" is refused at its field, which gets the focus`, async () => {
    const demo = await fixture.open();
    if (url) await demo.page.type("#url", url);
    await demo.press("Add");
    await demo.page.waitForSelector("#url[aria-invalid=true]");
    const words = await demo.page.$eval("#url-error p", ({ textContent }) => textContent);
    assert.match(words, url ? /^"|^This link can't be added/ : /^Paste a web address/);
    assert.equal((await demo.focused()).id, "url");
    assert.deepEqual(await demo.cards(), []);
  });
}

test("a pasted URL is normalized as in the address bar", async () => {
  const demo = await fixture.open();
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

/** Return a black PNG of this size. */
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
  // Each line begins with the type of its filter, which is 0: none.
  const lines = Buffer.alloc((width + 1) * height);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("media of any size fit the gallery's tiles, whole and undistorted", async () => {
  const demo = await fixture.open();
  const forms = { portrait: [90, 400], square: [100, 100], wide: [900, 20], needle: [2, 900] };
  const images = Object.entries(forms).map(([name, size]) =>
    fixture.write(`${name}.png`, png(...size)),
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

test("a failure's code and request id are behind its details", async () => {
  const demo = await fixture.open();
  await demo.upload(await fixture.write("words.txt", "Only words."));
  const isShown = () => demo.page.$eval(".row .reference", (code) => code.checkVisibility());
  assert.equal(await isShown(), false);
  await demo.page.click(".row summary");
  assert.equal(await isShown(), true);
});

test("a right-to-left name does not change the order of the text around it", async () => {
  const demo = await fixture.open();
  const name = "\u05e9\u05dc\u05d5\u05dd.png";
  await demo.upload(await fixture.variant(name, "sample.png", "tail"));
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

test("no card has a name with characters that reverse its order", async () => {
  const demo = await fixture.open();
  const [{ failure }] = await demo.upload(
    await fixture.variant("\u202egnp.mp4", "sample.mp4", "tail"),
  );
  const names = (await demo.cards()).map(({ name }) => name);
  // The name is refused with the characters, or the file gets one without them.
  assert.ok(failure.includes("U+202A to U+202E") || names.length === 1);
  for (const name of names) assert.doesNotMatch(name, /[\u202a-\u202e]/);
});

test("an error at a field disappears when the next try succeeds", async () => {
  const demo = await fixture.open();
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

test("bob does not see alice's assets", async () => {
  const alice = await fixture.open({ user: "alice" });
  await alice.upload(sampleNamed("sample.png"));
  assert.equal((await alice.cards()).length, 1);
  await Promise.all([alice.page.waitForNavigation(), alice.page.click('a[href="?user=bob"]')]);
  const empty = await alice.page.waitForSelector("#no-assets:not([hidden])");
  assert.deepEqual(await alice.cards(), []);
  assert.match(await empty.evaluate(({ textContent }) => textContent), /^Nothing here yet/);
});

test("an invalid user name is refused with the server's message", async () => {
  const demo = await fixture.open();
  await demo.page.goto(`${fixture.system.demo}/?user=a%20b`);
  const failure = await demo.page.waitForSelector("#page-error:not([hidden])");
  assert.match(await failure.evaluate(({ textContent }) => textContent), /^The parameter sub/);
});

test("a button shows the assets of the next page, once each", async () => {
  const demo = await fixture.open();
  const paths = [];
  for (let index = 0; index < 26; index += 1) {
    paths.push(await fixture.variant(`page/${index}.png`, "sample.png", `tail ${index}`));
  }
  await demo.upload(...paths);
  await demo.visit(fixture.system.demo);
  assert.equal((await demo.cards()).length, 24);
  await demo.press("Show more");
  await demo.page.waitForFunction(() => document.querySelectorAll(".card").length === 26);
  assert.equal(new Set((await demo.cards()).map(({ assetId }) => assetId)).size, 26);
  assert.match((await demo.focused()).text, /^Copy/);
  assert.equal(await demo.page.$("#more:not([hidden])"), null);
});

test("a user can choose, upload, copy and add a URL with the keyboard only", async () => {
  const demo = await fixture.open();
  const { page } = demo;
  const tabTo = async (test) => {
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press("Tab");
      const focus = await demo.focused();
      if (test(focus)) return;
    }
    assert.fail("The Tab key does not reach the element.");
  };

  await tabTo(({ id }) => id === "files");
  const chooser = page.waitForFileChooser();
  // The browser processes commands in order, so after this one it expects the file chooser.
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
  await page.keyboard.type(`${fixture.system.demo}/samples/sample.png`);
  await page.keyboard.press("Tab");
  await page.keyboard.type("Image");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".card").length === 2);
});

test("after a row is removed the focus is in the next row", async () => {
  const demo = await fixture.open();
  await demo.upload(await fixture.write("a.txt", "a"), await fixture.write("b.txt", "b"));
  await demo.press("Remove a.txt");
  assert.match((await demo.focused()).text, /^Remove/);
  assert.deepEqual(
    (await demo.rows()).map(({ name }) => name),
    ["b.txt"],
  );
});

test("a file that would be refused again can only be removed", async () => {
  const demo = await fixture.open();
  const rows = await demo.upload(
    await fixture.write("d.txt", "Only words."),
    await fixture.write("nothing.mp4", ""),
  );
  for (const { label, buttons } of rows) assert.deepEqual([label, buttons], ["Failed", ["Remove"]]);
});

test("a file that failed for the sign-in can be tried again", async () => {
  const demo = await fixture.open();
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

test("new uploads are above the others, in their order and visible", async () => {
  const demo = await fixture.open({ width: 390 });
  const named = (prefix, count) =>
    Promise.all(
      Array.from({ length: count }, (_, index) => fixture.write(`${prefix}${index}.txt`, "Words.")),
    );
  await demo.upload(...(await named("old", 12)));
  await demo.choose(...(await named("new", 2)));
  await demo.rowIn("failed", "new1.txt");
  const rows = await demo.rows();
  assert.deepEqual(
    rows.slice(0, 3).map(({ name }) => name),
    ["new0.txt", "new1.txt", "old0.txt"],
  );
  const isVisible = await demo.page.$eval(".row", (row) => {
    const { top, bottom } = row.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  assert.ok(isVisible);
});

test("finished rows are cleared at once", async () => {
  const demo = await fixture.open();
  await demo.upload(sampleNamed("sample.png"), await fixture.write("c.txt", "c"));
  await demo.press("Clear finished");
  assert.deepEqual(await demo.rows(), []);
  assert.equal((await demo.focused()).id, "files");
});

for (const scheme of ["light", "dark"]) {
  test(`axe finds no violation in ${scheme} colours`, async () => {
    const demo = await openFull({ scheme });
    assert.deepEqual(await violationsOn(demo), []);
  });
}

test("axe finds no violation while a file is sent", async () => {
  await fixture.system.injectFault({
    match: { method: "PUT" },
    do: { kind: "slow", bytesPerSecond: 4_000_000 },
  });
  const demo = await fixture.open();
  await demo.choose(await fixture.variant("sent.mp4", "sample.mp4", Buffer.alloc(24_000_000)));
  await demo.rowIn("uploading", "sent.mp4");
  assert.deepEqual(await violationsOn(demo), []);
});

for (const width of [320, 390]) {
  test(`the page fits into ${width} pixels without horizontal scrolling`, async () => {
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

test("dark colours follow the system's setting", async () => {
  const background = (demo) =>
    demo.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.notEqual(
    await background(await fixture.open({ scheme: "dark" })),
    await background(await fixture.open({ scheme: "light" })),
  );
});

test("there are no transitions if the user prefers reduced motion", async () => {
  const demo = await fixture.open();
  const duration = () =>
    demo.page.$eval("#drop", (drop) => getComputedStyle(drop).transitionDuration);
  assert.notEqual(await duration(), "0s");
  await demo.page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
  assert.equal(await duration(), "0s");
});
