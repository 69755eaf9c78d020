import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { BEGIN, BUSY, CANCEL, COMPLETE, DONE, held, PUT, REFUSAL, setUpPages } from "./page.js";
import { target } from "./server.js";

const open = setUpPages();

/** Open the example in a form, add a file, and let the test read the form's values. */
async function openPond(overrides) {
  const html = '<form><input type="file"></form>';
  const opened = await open(
    `document.querySelector("#app").innerHTML = ${JSON.stringify(html)};
     const { pond } = await import("./filepond.ts");
     // Besides the ids, the field has an empty file.
     const values = () => new FormData(document.querySelector("form")).getAll("asset");
     const ids = () => values().filter((value) => typeof value === "string");
     window.pond = Object.assign(pond, { ids });`,
    overrides,
  );
  const { page } = opened;
  await page.waitForFunction(() => window.pond);
  await page.evaluate(() => {
    window.pond.addFile(new File(["01234"], "take.mp4", { type: "video/mp4" }));
  });
  return opened;
}

const says = (page, words) =>
  page.waitForFunction(
    (wanted) => document.querySelector(".filepond--file-status")?.textContent.includes(wanted),
    {},
    words,
  );

test("an uploaded file gives the form the asset's id", async () => {
  const { page, server, errors } = await openPond();
  await page.waitForFunction(() => window.pond.getFile().serverId);
  assert.equal(await page.evaluate(() => window.pond.getFile().serverId), "asset-1");
  await page.waitForFunction(() => window.pond.ids()[0] === "asset-1");
  assert.equal(server.at(PUT)[0].body.toString(), "01234");
  assert.ok(server.at("GET /token").length > 0);
  assert.deepEqual(errors, []);
});

test("undo empties the field", async () => {
  const { page } = await openPond();
  await page.waitForFunction(() => window.pond.ids()[0] === "asset-1");
  const undo = await page.waitForSelector(".filepond--action-revert-item-processing:enabled");
  await undo.evaluate((button) => button.click());
  await page.waitForFunction(() => window.pond.ids().length === 0);
});

test("a refusal shows the broker's message, and another try uploads", async () => {
  const good = { status: 201 };
  const { page, server } = await openPond({ [BEGIN]: [REFUSAL, good] });
  good.body = target(server.url);
  await says(page, "The server's own words.");
  assert.equal(server.at(PUT).length, 0);
  await page.evaluate(() => void window.pond.processFile());
  await page.waitForFunction(() => window.pond.getFile().serverId === "asset-1");
});

test("another try resumes the upload that was begun", async () => {
  const { page, server } = await openPond({
    // The pause is longer than the client's patience.
    [COMPLETE]: [{ ...BUSY, headers: { "Retry-After": "999" } }, DONE],
  });
  await says(page, "The server has a problem. Try again later.");
  await page.evaluate(() => void window.pond.processFile());
  await page.waitForFunction(() => window.pond.getFile().serverId === "asset-2");
  assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [1, 1]);
});

test("a cancelled file is cancelled at the broker", async () => {
  const { script, release } = held();
  const { page, server } = await openPond({ [PUT]: script });
  await server.arrival(PUT);
  const cancel = await page.waitForSelector(".filepond--action-abort-item-processing");
  await cancel.evaluate((button) => button.click());
  await server.arrival(CANCEL);
  assert.equal(server.at(COMPLETE).length, 0);
  release();
});
