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
import { target } from "./server.js";

const open = setUpPages();

/** Mount a component that writes the hook's last result and all its states to `window`. */
const HOOK = `
  import { StrictMode } from "react";
  import { createRoot } from "react-dom/client";
  import { createUploader } from "sync-upload-broker-client";
  import { useUpload } from "sync-upload-broker-client/react";

  const uploader = createUploader({ endpoint: location.origin, getToken: "token-1" });
  const record = (name) => (...facts) => calls.push([name, facts.length]);
  window.file = new File(["01234"], "take.mp4", { type: "video/mp4" });
  window.calls = [];
  window.states = [];
  function Probe() {
    window.hook = useUpload({
      uploader,
      onSuccess: record("onSuccess"),
      onError: record("onError"),
      onSettled: record("onSettled"),
    });
    states.push(hook);
    return <p>{hook.status}</p>;
  }
  window.root = createRoot(document.querySelector("#app"));
  root.render(<StrictMode><Probe /></StrictMode>);`;

const EXAMPLE = `
  import { createRoot } from "react-dom/client";
  import { Upload } from "./react.tsx";
  const onAsset = (asset) => { window.asset = asset; };
  createRoot(document.querySelector("#app")).render(<Upload onAsset={onAsset} />);`;

/** Open the page with an idle hook. */
async function openHook(overrides) {
  const opened = await open(HOOK, overrides);
  await opened.page.waitForFunction(() => window.hook);
  return opened;
}

const becomes = (page, status) =>
  page.waitForFunction((wanted) => window.hook.status === wanted, {}, status);

test("an upload goes from idle by pending to success, with its asset", async () => {
  const { page, errors } = await openHook();
  const asset = await page.evaluate(async () => (await window.hook.mutateAsync(window.file)).asset);
  assert.equal(asset.id, "asset-1");
  await becomes(page, "success");
  const { kinds, last, calls } = await page.evaluate(() => ({
    kinds: [...new Set(window.states.map(({ status }) => status))],
    last: { ...window.hook, name: window.hook.variables.name },
    calls: window.calls,
  }));
  assert.deepEqual(kinds, ["idle", "pending", "success"]);
  assert.deepEqual(
    [last.isIdle, last.isPending, last.isSuccess, last.isError],
    [false, false, true, false],
  );
  assert.equal(last.data.asset.id, "asset-1");
  assert.equal(last.name, "take.mp4");
  assert.equal(last.error, null);
  assert.deepEqual(last.progress, {
    loaded: 5,
    total: 5,
    percentage: 100,
    phase: "done",
    id: "upload-1",
  });
  assert.deepEqual(calls, [
    ["onSuccess", 2],
    ["onSettled", 3],
  ]);
  assert.deepEqual(errors, []);
});

test("the options reach the broker, and the caller's onProgress is called", async () => {
  const { page, server } = await openHook();
  const phases = await page.evaluate(async () => {
    const reported = [];
    const onProgress = ({ phase }) => reported.push(phase);
    await window.hook.mutateAsync(window.file, { name: "Take 1", onProgress });
    return reported;
  });
  assert.deepEqual([...new Set(phases)], ["waiting", "uploading", "finishing", "done"]);
  assert.equal(JSON.parse(server.at(BEGIN)[0].body).name, "Take 1");
});

test("a refusal has the broker's message, and `mutate` throws nothing", async () => {
  const { page, errors } = await openHook({ [BEGIN]: [REFUSAL] });
  await page.evaluate(() => window.hook.mutate(window.file));
  await becomes(page, "error");
  const { last, calls } = await page.evaluate(() => ({
    last: { ...window.hook, code: window.hook.error.code, message: window.hook.error.message },
    calls: window.calls,
  }));
  assert.equal(last.code, "invalid_request");
  assert.equal(last.message, "The server's own words.");
  assert.deepEqual([last.isError, last.isPending, last.data], [true, false, undefined]);
  assert.deepEqual(calls, [
    ["onError", 2],
    ["onSettled", 3],
  ]);
  assert.deepEqual(errors, []);
});

test("a failed upload can be tried again, and `reset` forgets it", async () => {
  const good = { status: 201, body: undefined };
  const { page, server } = await openHook({ [BEGIN]: [REFUSAL, good] });
  good.body = target(server.url);
  await page.evaluate(() => window.hook.mutate(window.file));
  await becomes(page, "error");
  await page.evaluate(() => window.hook.mutate(window.hook.variables));
  await becomes(page, "success");
  assert.equal(await page.evaluate(() => window.hook.error), null);
  await page.evaluate(() => window.hook.reset());
  await becomes(page, "idle");
  assert.equal(await page.evaluate(() => window.hook.data), undefined);
});

test("an abort leaves the hook idle, rejects with an AbortError and cancels the upload", async () => {
  const { script, release } = held();
  const { page, server } = await openHook({ [PUT]: script });
  await page.evaluate(() => {
    window.hook.mutateAsync(window.file).catch(({ name }) => {
      window.thrown = name;
    });
  });
  await server.arrival(PUT);
  await page.evaluate(() => window.hook.abort());
  await page.waitForFunction(() => window.thrown);
  assert.equal(await page.evaluate(() => window.thrown), "AbortError");
  await becomes(page, "idle");
  await server.arrival(CANCEL);
  assert.deepEqual(await page.evaluate(() => window.calls), [["onSettled", 3]]);
  assert.equal(server.at(COMPLETE).length, 0);
  release();
});

test("the caller's own signal aborts the upload", async () => {
  const { script, release } = held();
  const { page, server } = await openHook({ [PUT]: script });
  await page.evaluate(() => {
    window.own = new AbortController();
    window.hook.mutate(window.file, { signal: window.own.signal });
  });
  await server.arrival(PUT);
  await page.evaluate(() => window.own.abort());
  await becomes(page, "idle");
  await server.arrival(CANCEL);
  release();
});

test("a second upload replaces the first on the screen, and both finish", async () => {
  const { script, release } = held();
  const { page, server } = await openHook({ [PUT]: [...script, { body: "" }] });
  await page.evaluate(() => {
    window.first = window.hook.mutateAsync(window.file, { name: "first" });
  });
  await server.arrival(PUT);
  await page.evaluate(() => {
    window.hook.mutate(new File(["56789"], "other.mp4", { type: "video/mp4" }));
  });
  await page.waitForFunction(() => window.hook.variables.name === "other.mp4");
  release();
  await page.evaluate(() => window.first);
  await becomes(page, "success");
  assert.equal(await page.evaluate(() => window.hook.variables.name), "other.mp4");
  assert.equal(server.at(COMPLETE).length, 2);
});

test("the functions stay the same, so that effects may depend on them", async () => {
  const { page } = await openHook();
  await page.evaluate(() => window.hook.mutateAsync(window.file));
  await becomes(page, "success");
  const kinds = await page.evaluate(() =>
    ["mutate", "mutateAsync", "abort", "reset"].map(
      (name) => new Set(window.states.map((state) => state[name])).size,
    ),
  );
  // Strict mode discards its first rendering.
  assert.ok(
    kinds.every((count) => count <= 2),
    `${kinds}`,
  );
});

test("an upload continues when its component is unmounted", async () => {
  const { script, release } = held();
  const { page, server, errors } = await openHook({ [PUT]: script });
  await page.evaluate(() => window.hook.mutate(window.file));
  await server.arrival(PUT);
  await page.evaluate(() => window.root.unmount());
  release();
  await page.waitForFunction(() => window.calls.length === 2);
  assert.deepEqual(errors, []);
});

test("an error that is no UploadError is a defect of the app, and is not swallowed", async () => {
  const { page, errors } = await openHook();
  await page.evaluate(() => window.hook.mutate(undefined));
  await becomes(page, "error");
  await page.waitForFunction(() => window.calls.length === 2);
  assert.equal(errors.length, 1);
  assert.match(String(errors[0]), /TypeError|undefined/);
});

test("the example uploads the chosen file and shows the asset's id", async () => {
  const { page, server } = await open(EXAMPLE);
  await choose(page);
  const output = await page.waitForSelector("output");
  assert.equal(await output.evaluate((element) => element.textContent), "asset-1");
  assert.equal(await page.evaluate(() => window.asset.id), "asset-1");
  assert.equal(server.at("GET /token").length > 0, true);
  assert.equal(server.at(PUT)[0].body.toString(), "01234");
});

test("the example's other try resumes the upload that was begun", async () => {
  const { page, server } = await open(EXAMPLE, {
    // The pause is longer than the client's patience.
    [COMPLETE]: [{ ...BUSY, headers: { "Retry-After": "999" } }, DONE],
  });
  await choose(page);
  await page.waitForSelector("[role=alert]");
  await page.click("[role=alert] button");
  const output = await page.waitForSelector("output");
  assert.equal(await output.evaluate((element) => element.textContent), "asset-2");
  assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [1, 1]);
});

test("the example cancels, shows the error and tries again", async () => {
  const { script, release } = held();
  const good = { status: 201 };
  const { page, server } = await open(EXAMPLE, {
    [BEGIN]: [REFUSAL, good],
    [PUT]: script,
  });
  good.body = target(server.url);
  await choose(page);
  const alert = await page.waitForSelector("[role=alert]");
  assert.match(await alert.evaluate((element) => element.textContent), /The server's own words\./);
  await page.click("[role=alert] button");
  await server.arrival(PUT);
  await page.waitForSelector("progress");
  await page.click("progress + button");
  await page.waitForFunction(() => !document.querySelector("progress"));
  await server.arrival(CANCEL);
  release();
});
