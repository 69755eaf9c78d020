import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const MEGABYTE = 1_048_576;
const CRAWL = 100_000; // bytes a second: the file is still on its way, however slow the machine is
const PUT = "PUT /storage/*";
const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/*/complete";
const RENEW = "POST /uploads/*/renew";
const busy = { status: 503, headers: { "Retry-After": "1" }, body: "<h1>Busy</h1>" };

/**
 * What may happen to an upload, each with a `stage` (see engines.test.js). Whatever happens, `arrived`
 * asserts that the right bytes are there, in exactly one asset for each file, and that the page told the
 * truth about it.
 */
export const SCENARIOS = {
  async "a good network"(stage) {
    const paths = [
      stage.sample("sample.mp4"),
      stage.sample("sample.wav"),
      stage.sample("sample.png"),
    ];
    await stage.start(paths);
    await stage.arrived(paths);
    assert.equal(stage.network.count(PUT), 3);
  },

  ...Object.fromEntries(
    [0.1, 0.5, 0.99].map((cutAt) => [
      `a connection cut at ${cutAt * 100} %`,
      async (stage) => {
        const path = await stage.file("cut.mp4", 8 * MEGABYTE);
        stage.network.order(PUT, { cutAt });
        await stage.start([path]);
        const [told] = await stage.arrived([path]);
        assert.equal(stage.network.count(PUT), 2);
        const pause = told.events.find(({ error }) => error);
        assert.deepEqual([pause.phase, pause.loaded, pause.kind], ["waiting", 0, "NetworkError"]);
      },
    ]),
  ),

  async "offline for five seconds"(stage) {
    const path = await stage.file("offline.mp4", 4 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: 2 * MEGABYTE });
    await stage.start([path]);
    await stage.until((told) => told[0].percentage > 5);
    await stage.page.setOffline?.(true);
    await stage.network.down();
    await sleep(5000);
    await stage.network.up();
    await stage.page.setOffline?.(false);
    const back = await stage.page.evaluate(() => performance.now());
    const [told] = await stage.arrived([path]);
    if (!stage.page.setOffline) return;
    // It goes on because the browser says that it is online, and not because half a minute is over.
    const again = told.events.find(({ at, phase }) => at >= back - 500 && phase === "uploading");
    assert.ok(again.at - back < 10_000, `it took ${again.at - back} ms`);
  },

  async "a storm of 503"(stage) {
    const paths = [stage.sample("sample.mp4"), await stage.file("storm.mp4", MEGABYTE)];
    for (const route of [BEGIN, PUT, COMPLETE])
      stage.network.order(route, { answer: { ...busy, headers: {} } }, 3);
    await stage.start(paths);
    await stage.arrived(paths);
  },

  async "a queue before the broker"(stage) {
    const path = stage.sample("sample.mp4");
    const queued = (ticket, position) => ({
      answer: {
        status: 429,
        headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
        body: { code: "rate_limited", retryable: true, ticket, position, detail: "In the queue." },
      },
    });
    stage.network.order(BEGIN, queued("ticket-1", 2));
    stage.network.order(BEGIN, queued("ticket-2", 1));
    await stage.start([path]);
    const [told] = await stage.arrived([path]);
    const pauses = told.events.filter(({ error }) => error);
    assert.deepEqual(
      pauses.map(({ phase, wait, kind }) => [phase, wait, kind]),
      [
        ["waiting", 1, "RateLimitError"],
        ["waiting", 1, "RateLimitError"],
      ],
    );
    const begun = stage.network.passed.filter(
      ({ method, path: at }) => `${method} ${at}` === BEGIN,
    );
    assert.deepEqual(
      begun.map(({ ticket }) => ticket),
      [undefined, "ticket-1", "ticket-2"],
    );
  },

  async "an address that expires in the middle of the queue"(stage) {
    await stage.system.behave({ expiresIn: 2 });
    const paths = [];
    for (const name of ["first.mp4", "second.mp4", "third.mp4"])
      paths.push(await stage.file(name, MEGABYTE));
    // The storage hears of the first try only when the address is too old.
    stage.network.order(PUT, { delay: 3500 }, 3);
    await stage.start(paths);
    const told = await stage.arrived(paths);
    assert.ok(told.every(({ events }) => events.some(({ error }) => error === "url_expired")));
    assert.ok(stage.network.count(RENEW) >= 3);
  },

  async "a tab closed after the PUT, and opened again"(stage) {
    const path = await stage.file("closed.mp4", MEGABYTE);
    stage.network.order(COMPLETE, { answer: busy }, 1000);
    await stage.start([path]);
    await stage.until(([{ phase }]) => phase === "finishing");
    await stage.reopen();
    stage.network.calm();
    const [left] = await stage.page.evaluate(() => harness.pending());
    // The sweep may have been there first; then nothing is pending.
    if (left) assert.deepEqual([left.status, left.fileName], ["registered", "closed.mp4"]);
    await stage.stored([path]);
    assert.equal(stage.network.count(PUT), 0);
  },

  async "a reload in the middle of the PUT"(stage) {
    const path = await stage.file("reload.mp4", 4 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: CRAWL });
    await stage.start([path]);
    await stage.until(([{ percentage }]) => percentage > 5);
    await stage.page.reload();
    await stage.page.choose([path]);
    const left = await stage.page.evaluate(() => harness.resume());
    assert.deepEqual(left, [{ status: "pending", fileName: "reload.mp4" }]);
    await stage.arrived([path]);
    assert.equal(stage.network.count(BEGIN), 1);
  },

  async "another tab looks while a file is sent"(stage) {
    const path = await stage.file("shared.mp4", 2 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: MEGABYTE });
    await stage.start([path]);
    await stage.until(([{ percentage }]) => percentage > 5);
    const other = await stage.open();
    assert.deepEqual(await other.evaluate(() => harness.pending()), []);
    await stage.close(other);
    await stage.arrived([path]);
    assert.equal(stage.network.count(PUT), 1);
  },

  async "two tabs that go on with one upload at once"(stage) {
    const path = await stage.file("both.mp4", 2 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: CRAWL });
    stage.network.order(PUT, { bytesPerSecond: MEGABYTE }, 2);
    await stage.start([path]);
    await stage.until(([{ percentage }]) => percentage > 5);
    await stage.reopen();
    const other = await stage.open();
    const left = await stage.page.evaluate(() => harness.pending());
    for (const page of [stage.page, other]) {
      await page.choose([path]);
      await page.evaluate((known) => harness.resume(known), left);
    }
    const [{ asset }] = await stage.arrived([path]);
    await stage.eventually(async () => {
      const [told] = await other.evaluate(() => harness.told());
      return told.asset === asset;
    });
    assert.equal(stage.network.count(PUT), 2);
  },

  async "a broker that is killed and started again"(stage) {
    const broker = await stage.ownBroker();
    const paths = [await stage.file("killed.mp4", 3 * MEGABYTE), stage.sample("sample.wav")];
    stage.network.order(PUT, { bytesPerSecond: 2 * MEGABYTE });
    await stage.start(paths);
    await stage.until(([{ percentage }]) => percentage > 5);
    await broker.kill();
    await sleep(2500);
    await broker.start();
    await stage.arrived(paths);
  },

  async "answers that get lost at every step"(stage) {
    const path = await stage.file("lost.mp4", MEGABYTE);
    for (const route of [BEGIN, PUT, COMPLETE]) stage.network.order(route, { loseAnswer: true });
    await stage.start([path]);
    await stage.arrived([path]);
    // The bytes had landed, so that they need not be sent again.
    assert.equal(stage.network.count(PUT), 1);
    assert.equal((await stage.uploads()).length, 1);
  },

  async "a connection that stalls"(stage) {
    await stage.reopen({ stallTimeout: 2 });
    const path = await stage.file("stalled.mp4", 24 * MEGABYTE);
    stage.network.order(PUT, { stallAt: 0.3 });
    await stage.start([path]);
    const [told] = await stage.arrived([path]);
    assert.ok(told.events.some(({ error }) => error === "storage_unreachable"));
  },

  async "a file of 200 MB"(stage) {
    const path = await stage.file("large.mp4", 200 * MEGABYTE);
    await stage.start([path]);
    await stage.arrived([path]);
  },

  async "fifty small files at once"(stage) {
    const paths = [];
    for (let index = 0; index < 50; index += 1)
      paths.push(await stage.file(`small-${index}.wav`, 2000 + index));
    await stage.start(paths);
    await stage.arrived(paths);
    assert.equal(stage.network.count(PUT), 50);
  },

  async "two files of equal name, size and type"(stage) {
    const paths = [
      await stage.file("one/take.mp4", MEGABYTE),
      await stage.file("two/take.mp4", MEGABYTE),
    ];
    // The second arrives before the first.
    stage.network.order(PUT, { bytesPerSecond: MEGABYTE });
    await stage.start(paths);
    await stage.arrived(paths);
  },

  async "a slow link"(stage) {
    const path = await stage.file("slow.mp4", 24 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: 8 * MEGABYTE });
    await stage.start([path]);
    const [{ events }] = await stage.arrived([path]);
    const steps = new Set(events.map(({ percentage }) => percentage));
    assert.ok(steps.size > 5, `it told ${[...steps]}`);
    assert.deepEqual(
      events.filter(({ error }) => error),
      [],
    );
  },

  async "files that are changed while they are sent"(stage) {
    const changes = {
      "rewritten.mp4": (path) => writeFile(path, randomBytes(4 * MEGABYTE)),
      "shorter.mp4": (path) => truncate(path, MEGABYTE),
      "deleted.mp4": (path) => rm(path),
    };
    const paths = [];
    for (const name of Object.keys(changes)) {
      const path = await stage.file(name, 4 * MEGABYTE);
      // Chromium knows a change by the time of the last one, in whole seconds.
      await utimes(path, 1e9, 1e9);
      paths.push(path);
    }
    stage.network.order(PUT, { bytesPerSecond: CRAWL }, paths.length);
    await stage.start(paths);
    // The client speaks of "uploading" before its request has left the browser.
    await stage.eventually(() => stage.network.count(PUT) === paths.length);
    for (const path of paths) await changes[basename(path)](path);
    const told = await stage.until((entries) => entries.every(({ error }) => error));
    for (const { name, error, events } of told) {
      assert.deepEqual([error.code, error.name], ["file_unreadable", "RefusedError"], name);
      // No try was lost, and nothing was waited for.
      assert.deepEqual(
        events.filter((event) => event.error),
        [],
        name,
      );
    }
    assert.equal(stage.network.count(PUT), paths.length);
    await stage.eventually(async () =>
      (await stage.uploads()).every(({ status }) => status === "cancelled"),
    );
    assert.deepEqual(await stage.assets(), []);
  },

  async "a file that grows while it is sent"(stage) {
    const size = 3 * MEGABYTE;
    const path = await stage.file("longer.mp4", size);
    await utimes(path, 1e9, 1e9);
    stage.network.order(PUT, { bytesPerSecond: MEGABYTE });
    await stage.start([path]);
    await stage.until(([{ phase }]) => phase === "uploading");
    await appendFile(path, "more");
    const [{ error }] = await stage.until(([told]) => told.asset || told.error);
    if (error) {
      assert.deepEqual([error.code, error.name], ["file_unreadable", "RefusedError"]);
      assert.deepEqual(await stage.assets(), []);
    } else {
      // Firefox sends the file as it was when it was chosen.
      await truncate(path, size);
      await stage.arrived([path]);
    }
  },

  async "an abort in the middle of the PUT"(stage) {
    const path = await stage.file("aborted.mp4", 4 * MEGABYTE);
    stage.network.order(PUT, { bytesPerSecond: CRAWL });
    await stage.start([path]);
    await stage.until(([{ percentage }]) => percentage > 5);
    await stage.page.evaluate(() => harness.abort(0));
    const [{ error }] = await stage.until(([told]) => told.error);
    assert.deepEqual([error.code, error.name], ["aborted", "AbortError"]);
    await stage.eventually(async () => (await stage.uploads())[0].status === "cancelled");
    assert.deepEqual(await stage.assets(), []);
  },

  async "a file that the broker refuses, and an empty one"(stage) {
    await stage.page.evaluate(() => harness.make("data.unheardof", "", 10));
    await stage.page.evaluate(() => harness.make("empty.mp4", "video/mp4", 0));
    const [{ error: refused }, { error: empty }] = await stage.until((told) =>
      told.every(({ error }) => error),
    );
    assert.equal(refused.name, "RefusedError");
    assert.deepEqual([empty.code, empty.message], ["file_empty", '"empty.mp4" is empty.']);
    assert.equal(stage.network.count(PUT), 0);
    assert.deepEqual(await stage.uploads(), []);
  },

  ...Object.fromEntries(
    [
      ["a web worker", () => harness.inWorker()],
      ["a frame without an origin", () => harness.inSandboxedFrame()],
    ].map(([where, run]) => [
      where,
      async (stage) => {
        const path = stage.sample("sample.png");
        await stage.page.choose([path]);
        const { asset, phases, left } = await stage.page.evaluate(run);
        assert.deepEqual(phases, ["waiting", "uploading", "finishing", "done"]);
        assert.deepEqual(left, []);
        await stage.stored([path]);
        assert.equal((await stage.assets())[0].asset.id, asset);
      },
    ]),
  ),
};
