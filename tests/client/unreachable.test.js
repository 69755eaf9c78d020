import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { BEGIN, CANCEL, COMPLETE, held, PUT, setUpPages } from "./page.js";
import { startServer, target } from "./server.js";

const open = setUpPages();
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

/** Return the URL of a server that has stopped. */
async function stoppedUrl() {
  const server = await startServer({});
  await server.stop();
  return server.url;
}

/** Open the page, and collect its warnings and the milliseconds from the first failed request to the first warning. */
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

/** Wait for so many pauses, and return them. */
const pauses = async (page, count) => {
  const known = await page.waitForFunction(
    (wanted) => window.entry.pauses.length >= wanted && window.entry.pauses,
    {},
    count,
  );
  return known.jsonValue();
};

test("a broker that does not run is reported to the developer once, while the client retries", async (context) => {
  const endpoint = await stoppedUrl();
  const opened = await watch();
  const { page, warnings, server } = opened;
  await start(page, endpoint);
  const reported = await pauses(page, 2);
  const hint =
    `Can't reach the broker at ${endpoint}. Is it running? Is ${server.url} in its ALLOWED_ORIGINS? ` +
    "Does the page's CSP list it in connect-src?";
  assert.deepEqual(warnings, [hint]);
  for (const pause of reported)
    assert.deepEqual([pause.code, pause.message, pause.hint], ["broker_unreachable", PAUSED, hint]);
  context.diagnostic(`the warning came ${opened.delay} ms after the first failed request`);
});

test("the hint for a broker that the page's CSP forbids names the CSP", async () => {
  const policy = `<meta http-equiv="Content-Security-Policy" content="connect-src 'self'">`;
  const { page, warnings, server } = await watch({}, policy);
  await start(page, server.url.replace("127.0.0.1", "localhost"));
  await pauses(page, 1);
  while (!warnings.length) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(warnings[0], /CSP list it in connect-src/);
});

test("a storage that can't be reached is reported by its origin, since its URL is a secret", async () => {
  const storage = await stoppedUrl();
  const { page, warnings, server } = await watch({
    [BEGIN]: [{ status: 201, body: target(storage, "secret") }],
    [COMPLETE]: [{ status: 409, body: { code: "file_not_uploaded", retryable: true } }],
    "POST /uploads/upload-1/renew": [{ body: target(storage, "secret") }],
  });
  await start(page, server.url);
  const reported = await pauses(page, 2);
  const hint =
    `Can't reach the storage at ${storage}. Is it running? Is ${server.url} in its CORS rules? ` +
    "Does the page's CSP list it in connect-src?";
  assert.deepEqual(warnings, [hint]);
  assert.deepEqual(
    reported.map((pause) => [pause.code, pause.hint]),
    [
      ["storage_unreachable", hint],
      ["storage_unreachable", hint],
    ],
  );
});

test("an offline browser gets no hint", async () => {
  const { page, warnings } = await watch();
  const endpoint = await stoppedUrl();
  await page.setOfflineMode(true);
  await start(page, endpoint);
  const [pause] = await pauses(page, 1);
  assert.deepEqual([pause.hint, pause.message, warnings], [undefined, PAUSED, []]);
  await page.setOfflineMode(false);
});

test("an abort is not reported as an unreachable server", async () => {
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

test("the broker gets a recording's type with parameters, and the storage only the broker's type", async () => {
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

test("a stallTimeout of 0, of Infinity or of years ends no slow PUT", async () => {
  for (const stallTimeout of ["0", "Infinity", "1e9", "2_000_000.01"]) {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
    const { page, server } = await watch({ [PUT]: [{ before: pause, body: "" }] });
    await page.evaluate(`window.entry = send(location.origin, { stallTimeout: ${stallTimeout} })`);
    await page.waitForFunction(() => window.entry.end === "done");
    // A PUT that was given up would be reported as a pause, after which its bytes are found.
    assert.deepEqual(await page.evaluate(() => window.entry.pauses), []);
    assert.equal(server.at(PUT).length, 1);
  }
});
