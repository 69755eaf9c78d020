import assert from "node:assert/strict";
import { test } from "../bounded.js";
import {
  BEGIN,
  BUSY,
  CANCEL,
  COMPLETE,
  choose,
  DONE,
  held,
  PUT,
  REFUSAL,
  setUpPages,
} from "./page.js";
import { problem, target } from "./server.js";

const open = setUpPages();

/** Return a page's code with Uppy and the plugin, whose uploader has these options. */
const plugin = (options = {}) => `
  import Uppy from "@uppy/core";
  import { createUploader } from "sync-upload-broker-client";
  import { SyncUpload } from "sync-upload-broker-client/uppy";

  const uploader = createUploader({
    endpoint: location.origin,
    getToken: "token-1",
    ...${JSON.stringify(options)},
  });
  window.uppy = new Uppy().use(SyncUpload, { uploader });
  window.events = [];
  const names = ["upload-start", "upload-success", "upload-error"];
  for (const name of names) uppy.on(name, () => events.push(name));
  window.take = (name = "take.mp4", text = "01234") =>
    uppy.addFile({ name, type: "video/mp4", data: new Blob([text], { type: "video/mp4" }) });`;

const EXAMPLE = `import { uppy } from "./uppy.ts"; window.uppy = uppy;`;

/** Open a page with Uppy, without an interface. */
async function openUppy(overrides, options) {
  const opened = await open(plugin(options), overrides);
  await opened.page.waitForFunction(() => window.take);
  return opened;
}

test("a result of Uppy has the asset's id", async () => {
  const { page, server, errors } = await openUppy();
  const { successful, failed, events } = await page.evaluate(async () => {
    window.take();
    return { ...(await window.uppy.upload()), events: window.events };
  });
  assert.equal(successful[0].response.body.asset.id, "asset-1");
  assert.deepEqual(failed, []);
  assert.deepEqual(events, ["upload-start", "upload-success"]);
  assert.equal(server.at(PUT)[0].body.toString(), "01234");
  assert.equal(server.at(PUT)[0].headers["content-type"], "video/mp4");
  assert.deepEqual(errors, []);
});

test("the broker gets the name that the file has in Uppy", async () => {
  const { page, server } = await openUppy();
  await page.evaluate(async () => {
    window.uppy.setFileMeta(window.take(), { name: "Take one" });
    await window.uppy.upload();
  });
  const body = JSON.parse(server.at(BEGIN)[0].body);
  assert.equal(body.fileName, "take.mp4");
  assert.equal(body.name, "Take one");
  assert.equal(body.contentType, "video/mp4");
});

test("a recording of Uppy's webcam keeps its name and type", async () => {
  const { page, server } = await openUppy();
  const type = "video/webm;codecs=vp8,opus";
  await page.evaluate(async (recorded) => {
    // The webcam plugin adds a recording like this.
    const data = new Blob(["01234"], { type: recorded });
    window.uppy.addFile({ source: "Webcam", name: "webcam-1.webm", type: recorded, data });
    await window.uppy.upload();
  }, type);
  const { fileName, contentType } = JSON.parse(server.at(BEGIN)[0].body);
  assert.deepEqual([fileName, contentType], ["webcam-1.webm", type]);
  assert.equal(server.at(PUT)[0].headers["content-type"], "video/mp4");
});

test("the app's labels replace the file's name", async () => {
  const { page, server } = await openUppy();
  await page.evaluate(async () => {
    const labels = ({ size }) => ({ name: `${size} bytes`, projectId: "project-1" });
    window.uppy.getPlugin("SyncUpload").setOptions({ labels });
    window.take();
    await window.uppy.upload();
  });
  const { name, projectId } = JSON.parse(server.at(BEGIN)[0].body);
  assert.deepEqual([name, projectId], ["5 bytes", "project-1"]);
});

test("progress reaches 100 per cent only when the asset is recorded", async () => {
  const { script, release } = held(DONE);
  const { page, server } = await openUppy({
    [COMPLETE]: script,
  });
  await page.evaluate(() => {
    window.id = window.take("long.mp4", "x".repeat(5000));
    window.result = window.uppy.upload();
  });
  await server.arrival(COMPLETE);
  await page.waitForFunction(() => window.uppy.getFile(window.id).progress.percentage === 99);
  const early = await page.evaluate(() => window.uppy.getFile(window.id).progress);
  assert.ok(!early.uploadComplete);
  release();
  const late = await page.evaluate(async () => {
    await window.result;
    return window.uppy.getFile(window.id).progress;
  });
  assert.equal(late.percentage, 100);
  assert.ok(late.uploadComplete);
});

test("a refusal has the broker's message, and a retry uploads", async () => {
  const good = { status: 201 };
  const { page, server } = await openUppy({ [BEGIN]: [REFUSAL, good] });
  good.body = target(server.url);
  const failed = await page.evaluate(async () => {
    window.id = window.take();
    return (await window.uppy.upload()).failed;
  });
  assert.equal(failed[0].error, "The server's own words.");
  assert.equal(failed[0].response.status, 422);
  const again = await page.evaluate(() => window.uppy.retryUpload(window.id));
  assert.equal(again.successful[0].response.body.asset.id, "asset-1");
  assert.equal(server.at(PUT).length, 1);
});

test("a retry resumes the upload that was begun, without a second upload", async () => {
  const { page, server } = await openUppy({ [COMPLETE]: [BUSY, DONE] }, { patience: 0 });
  const again = await page.evaluate(async () => {
    window.id = window.take();
    const { failed } = await window.uppy.upload();
    if (failed.length !== 1) throw new Error("It did not fail.");
    return window.uppy.retryUpload(window.id);
  });
  assert.equal(again.successful[0].response.body.asset.id, "asset-2");
  assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [1, 1]);
});

test("a retry of an upload that can't be resumed begins a new one", async () => {
  const { page, server } = await openUppy({ [COMPLETE]: [problem(410, "upload_expired"), DONE] });
  await page.evaluate(async () => {
    window.id = window.take();
    await window.uppy.upload();
    await window.uppy.retryUpload(window.id);
  });
  assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [2, 2]);
});

test("a retry of all files skips those that are uploaded", async () => {
  const good = { status: 201 };
  const { page, server } = await openUppy({ [BEGIN]: [good, REFUSAL, good] });
  good.body = target(server.url);
  await page.evaluate(async () => {
    window.take("one.mp4");
    await window.uppy.upload();
    window.take("two.mp4");
    await window.uppy.upload();
    await window.uppy.retryAll();
  });
  const names = server.at(BEGIN).map(({ body }) => JSON.parse(body).fileName);
  assert.deepEqual(names, ["one.mp4", "two.mp4", "two.mp4"]);
});

test("removing a file aborts its upload and cancels it at the broker", async () => {
  const { script, release } = held();
  const { page, server } = await openUppy({ [PUT]: script });
  await page.evaluate(() => {
    window.id = window.take();
    window.result = window.uppy.upload();
  });
  await server.arrival(PUT);
  await page.evaluate(() => window.uppy.removeFile(window.id));
  await server.arrival(CANCEL);
  const { events } = await page.evaluate(async () => {
    await window.result;
    return { events: window.events };
  });
  assert.deepEqual(events, ["upload-start"]);
  assert.equal(server.at(COMPLETE).length, 0);
  release();
});

for (const [how, act] of [
  ["cancelAll", () => window.uppy.cancelAll()],
  ["destroy", () => window.uppy.destroy()],
]) {
  test(`${how} stops running uploads`, async () => {
    const { script, release } = held();
    const { page, server, errors } = await openUppy({ [PUT]: script });
    await page.evaluate(() => {
      window.take();
      window.result = window.uppy.upload();
    });
    await server.arrival(PUT);
    await page.evaluate(act);
    await server.arrival(CANCEL);
    assert.equal(server.at(COMPLETE).length, 0);
    assert.deepEqual(errors, []);
    release();
  });
}

test("a file of another service is refused with a clear error, and the other files are uploaded", async () => {
  const { page } = await openUppy();
  const { successful, failed } = await page.evaluate(async () => {
    window.uppy.addFile({
      name: "far.mp4",
      type: "video/mp4",
      isRemote: true,
      data: { size: 5 },
      remote: { companionUrl: location.origin, requestClientId: "far", url: "" },
    });
    window.take();
    return window.uppy.upload();
  });
  assert.deepEqual(
    failed.map(({ name, error }) => [name, error]),
    [["far.mp4", '"far.mp4" is not on this device. Save it here first, then choose it.']],
  );
  assert.equal(successful.length, 1);
});

test("the example's Dashboard uploads, and logs the asset's id", async () => {
  const { page, server, errors } = await open(EXAMPLE);
  const lines = [];
  page.on("console", (message) => lines.push(message.text()));
  await choose(page, "input.uppy-Dashboard-input");
  const button = await page.waitForSelector(".uppy-StatusBar-actionBtn--upload");
  await button.evaluate((element) => element.click());
  await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.uploadComplete);
  assert.deepEqual(errors, []);
  assert.ok(lines.includes("take.mp4 is asset asset-1"), `${lines}`);
  assert.equal(server.at(PUT)[0].body.toString(), "01234");
  assert.ok(server.at("GET /token").length > 0);
});

test("the example's Dashboard shows the broker's message, and its button tries again", async () => {
  const good = { status: 201 };
  const { page, server } = await open(EXAMPLE, { [BEGIN]: [REFUSAL, good] });
  good.body = target(server.url);
  await page.waitForSelector("input.uppy-Dashboard-input");
  await page.evaluate(async () => {
    const data = new File(["01234"], "take.mp4", { type: "video/mp4" });
    window.uppy.addFile({ name: data.name, type: data.type, data });
    await window.uppy.upload();
  });
  const retry = await page.waitForSelector(".uppy-StatusBar-actionBtn--retry");
  assert.equal(
    await page.evaluate(() => window.uppy.getFiles()[0].error),
    "The server's own words.",
  );
  await retry.evaluate((element) => element.click());
  await page.waitForFunction(() => window.uppy.getFiles()[0]?.progress.uploadComplete);
  assert.equal(server.at(PUT).length, 1);
});
