import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { BEGIN, CANCEL, COMPLETE, held, PUT, setPages } from "./page.js";
import { startServer, target } from "./server.js";

const open = setPages();
const PAGE = `
  import { createUploader } from "sync-upload-broker-client";
  window.send = (endpoint, options) => {
    const controller = new AbortController();
    const uploader = createUploader({ endpoint, getToken: "token-1", ...options });
    const file = new File(["01234"], "take.mp4", { type: "video/mp4" });
    const entry = { pauses: [], abort: () => controller.abort() };
    const onProgress = ({ error, wait }) => {
      if (error) entry.pauses.push({ code: error.code, message: error.message, hint: error.hint, wait });
    };
    uploader.upload(file, { onProgress, signal: controller.signal }).then(
      () => { entry.end = "done"; },
      (error) => { entry.end = error.code; },
    );
    return entry;
  };
  window.upload = (endpoint, file) => createUploader({ endpoint, getToken: "t" }).upload(file);`;
const PAUSED = "Can't reach the server. Check your connection; the upload resumes when it is back.";

/** The address of a server that is gone. */
async function nobody() {
  const server = await startServer({});
  await server.stop();
  return server.url;
}

/** Opens the page, and keeps its warnings; each with the milliseconds since the first request that failed. */
async function watch(overrides, body) {
  const opened = await open(PAGE, overrides, {}, body);
  const warnings = [];
  let failedAt;
  opened.page.on("requestfailed", () => {
    failedAt ??= performance.now();
  });
  opened.page.on("console", (message) => {
    if (message.type() !== "warn") return;
    warnings.push(message.text());
    opened.delay ??= performance.now() - failedAt;
  });
  await opened.page.waitForFunction(() => window.send);
  return Object.assign(opened, { warnings });
}

const start = (page, ...args) =>
  page.evaluate(
    (...given) => {
      window.entry = window.send(...given);
    },
    ...args,
  );

/** Waits for so many pauses, and gives them. */
const pauses = async (page, count) => {
  const known = await page.waitForFunction(
    (wanted) => window.entry.pauses.length >= wanted && window.entry.pauses,
    {},
    count,
  );
  return known.jsonValue();
};

test("a broker that does not run is told to the developer at once and once, while the client tries on", async (context) => {
  const endpoint = await nobody();
  const opened = await watch();
  const { page, warnings, server } = opened;
  await start(page, endpoint);
  const told = await pauses(page, 2);
  const hint =
    `Can't reach the broker at ${endpoint}. Is it running? Is ${server.url} in its ALLOWED_ORIGINS? ` +
    "Does the page's CSP list it in connect-src?";
  assert.deepEqual(warnings, [hint]);
  for (const pause of told)
    assert.deepEqual([pause.code, pause.message, pause.hint], ["broker_unreachable", PAUSED, hint]);
  context.diagnostic(`the warning came ${opened.delay} ms after the first failed request`);
});

test("a page's own policy that forbids the broker is among the reasons", async () => {
  const policy = `<meta http-equiv="Content-Security-Policy" content="connect-src 'self'">`;
  const { page, warnings, server } = await watch({}, policy);
  await start(page, server.url.replace("127.0.0.1", "localhost"));
  await pauses(page, 1);
  while (!warnings.length) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(warnings[0], /CSP list it in connect-src/);
});

test("a storage that can't be reached is told by its origin alone, since its URL is a secret", async () => {
  const storage = await nobody();
  const { page, warnings, server } = await watch({
    [BEGIN]: [{ status: 201, body: target(storage, "secret") }],
    [COMPLETE]: [{ status: 409, body: { code: "file_not_uploaded", retryable: true } }],
    "POST /uploads/upload-1/renew": [{ body: target(storage, "secret") }],
  });
  await start(page, server.url);
  const told = await pauses(page, 2);
  const hint =
    `Can't reach the storage at ${storage}. Is it running? Is ${server.url} in its CORS rules? ` +
    "Does the page's CSP list it in connect-src?";
  assert.deepEqual(warnings, [hint]);
  assert.deepEqual(
    told.map((pause) => [pause.code, pause.hint]),
    [
      ["storage_unreachable", hint],
      ["storage_unreachable", hint],
    ],
  );
});

test("while the browser is offline nobody is told to look for another reason", async () => {
  const { page, warnings } = await watch();
  const endpoint = await nobody();
  await page.setOfflineMode(true);
  await start(page, endpoint);
  const [pause] = await pauses(page, 1);
  assert.deepEqual([pause.hint, pause.message, warnings], [undefined, PAUSED, []]);
  await page.setOfflineMode(false);
});

test("an abort is no unreachable server", async () => {
  for (const route of [BEGIN, PUT]) {
    const { script, release } = held();
    const { page, warnings, server } = await watch({ [route]: script });
    await start(page, server.url);
    await server.arrival(route);
    await page.evaluate(() => window.entry.abort());
    await page.waitForFunction(() => window.entry.end === "aborted");
    if (route === PUT) await server.arrival(CANCEL);
    assert.deepEqual(warnings, []);
    release();
  }
});

test("a recording's type with parameters goes to the broker, and the broker's alone to the storage", async () => {
  const type = "video/webm;codecs=vp8,opus";
  const { page, server } = await watch((url) => ({
    [BEGIN]: [
      { status: 201, body: { ...target(url), headers: { "Content-Type": "video/webm" } } },
      { status: 201, body: { ...target(url), headers: {} } },
    ],
  }));
  const upload = () =>
    page.evaluate(
      (given) => window.upload(location.origin, new Blob(["01234"], { type: given })),
      type,
    );
  await upload();
  await upload();
  assert.deepEqual(
    server.at(BEGIN).map(({ body }) => JSON.parse(body).contentType),
    [type, type],
  );
  assert.deepEqual(
    server.at(PUT).map(({ headers }) => headers["content-type"]),
    ["video/webm", undefined],
  );
});

test("a stallTimeout of 0, of Infinity or of years lets a PUT take its time", async () => {
  for (const stallTimeout of ["0", "Infinity", "1e9", "2_000_000.01"]) {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
    const { page, server } = await watch({ [PUT]: [{ before: pause, body: "" }] });
    await page.evaluate(`window.entry = send(location.origin, { stallTimeout: ${stallTimeout} })`);
    await page.waitForFunction(() => window.entry.end === "done");
    // A PUT that was given up would be told as a pause, and its bytes be found after it.
    assert.deepEqual(await page.evaluate(() => window.entry.pauses), []);
    assert.equal(server.at(PUT).length, 1);
  }
});
