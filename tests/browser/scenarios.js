import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const MEGABYTE = 1_048_576;
const SLOW = 100_000; // bytes a second: even a slow machine acts before the file is sent
const PUT = "PUT /storage/*";
const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/*/complete";
const RENEW = "POST /uploads/*/renew";
const busy = { status: 503, headers: { "Retry-After": "1" }, body: "<h1>Busy</h1>" };

/**
 * The scenarios of an upload. Each gets a `fixture` (see engines.test.js), whose `assertUploaded` asserts that
 * each file is exactly one asset with the right bytes, and that the page reported the right progress.
 */
export const SCENARIOS = {
  async "a good network"(fixture) {
    const paths = [
      fixture.sample("sample.mp4"),
      fixture.sample("sample.wav"),
      fixture.sample("sample.png"),
    ];
    await fixture.start(paths);
    await fixture.assertUploaded(paths);
    assert.equal(fixture.network.count(PUT), 3);
  },

  ...Object.fromEntries(
    [0.1, 0.5, 0.99].map((cutAt) => [
      `a connection cut at ${cutAt * 100} %`,
      async (fixture) => {
        const path = await fixture.file("cut.mp4", 8 * MEGABYTE);
        fixture.network.injectFault(PUT, { cutAt });
        await fixture.start([path]);
        const [entry] = await fixture.assertUploaded([path]);
        assert.equal(fixture.network.count(PUT), 2);
        const pause = entry.events.find(({ error }) => error);
        assert.deepEqual([pause.phase, pause.loaded, pause.kind], ["waiting", 0, "NetworkError"]);
      },
    ]),
  ),

  async "offline for five seconds"(fixture) {
    const path = await fixture.file("offline.mp4", 4 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: 2 * MEGABYTE });
    await fixture.start([path]);
    await fixture.until((entries) => entries[0].percentage > 5);
    await fixture.page.setOffline?.(true);
    await fixture.network.down();
    await sleep(5000);
    await fixture.network.up();
    await fixture.page.setOffline?.(false);
    const back = await fixture.page.evaluate(() => performance.now());
    const [entry] = await fixture.assertUploaded([path]);
    if (!fixture.page.setOffline) return;
    // The upload resumes because the browser reports that it is online, and not after half a minute.
    const again = entry.events.find(({ at, phase }) => at >= back - 500 && phase === "uploading");
    assert.ok(again.at - back < 10_000, `it took ${again.at - back} ms`);
  },

  async "several 503 at every step"(fixture) {
    const paths = [fixture.sample("sample.mp4"), await fixture.file("storm.mp4", MEGABYTE)];
    for (const route of [BEGIN, PUT, COMPLETE])
      fixture.network.injectFault(route, { response: { ...busy, headers: {} } }, 3);
    await fixture.start(paths);
    await fixture.assertUploaded(paths);
  },

  async "a queue at the broker"(fixture) {
    const path = fixture.sample("sample.mp4");
    const queued = (ticket, position) => ({
      response: {
        status: 429,
        headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
        body: { code: "rate_limited", retryable: true, ticket, position, detail: "In the queue." },
      },
    });
    fixture.network.injectFault(BEGIN, queued("ticket-1", 2));
    fixture.network.injectFault(BEGIN, queued("ticket-2", 1));
    await fixture.start([path]);
    const [entry] = await fixture.assertUploaded([path]);
    const pauses = entry.events.filter(({ error }) => error);
    assert.deepEqual(
      pauses.map(({ phase, wait, kind }) => [phase, wait, kind]),
      [
        ["waiting", 1, "RateLimitError"],
        ["waiting", 1, "RateLimitError"],
      ],
    );
    const begun = fixture.network.requests.filter(
      ({ method, path: at }) => `${method} ${at}` === BEGIN,
    );
    assert.deepEqual(
      begun.map(({ ticket }) => ticket),
      [undefined, "ticket-1", "ticket-2"],
    );
  },

  async "a URL that expires before the PUT"(fixture) {
    await fixture.system.behave({ expiresIn: 2 });
    const paths = [];
    for (const name of ["first.mp4", "second.mp4", "third.mp4"])
      paths.push(await fixture.file(name, MEGABYTE));
    // The first try reaches the storage only after the URL has expired.
    fixture.network.injectFault(PUT, { delay: 3500 }, 3);
    await fixture.start(paths);
    const entries = await fixture.assertUploaded(paths);
    assert.ok(entries.every(({ events }) => events.some(({ error }) => error === "url_expired")));
    assert.ok(fixture.network.count(RENEW) >= 3);
  },

  async "a tab closed after the PUT, and opened again"(fixture) {
    const path = await fixture.file("closed.mp4", MEGABYTE);
    fixture.network.injectFault(COMPLETE, { response: busy }, 1000);
    await fixture.start([path]);
    await fixture.until(([{ phase }]) => phase === "finishing");
    await fixture.reopen();
    fixture.network.reset();
    const [left] = await fixture.page.evaluate(() => harness.pending());
    // If the sweeper has completed the upload by now, nothing is pending.
    if (left) assert.deepEqual([left.status, left.fileName], ["registered", "closed.mp4"]);
    await fixture.assertStored([path]);
    assert.equal(fixture.network.count(PUT), 0);
  },

  async "a reload in the middle of the PUT"(fixture) {
    const path = await fixture.file("reload.mp4", 4 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: SLOW });
    await fixture.start([path]);
    await fixture.until(([{ percentage }]) => percentage > 5);
    await fixture.page.reload();
    await fixture.page.choose([path]);
    const left = await fixture.page.evaluate(() => harness.resume());
    assert.deepEqual(left, [{ status: "pending", fileName: "reload.mp4" }]);
    await fixture.assertUploaded([path]);
    assert.equal(fixture.network.count(BEGIN), 1);
  },

  async "another tab that lists pending uploads while a file is sent"(fixture) {
    const path = await fixture.file("shared.mp4", 2 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: MEGABYTE });
    await fixture.start([path]);
    await fixture.until(([{ percentage }]) => percentage > 5);
    const other = await fixture.open();
    assert.deepEqual(await other.evaluate(() => harness.pending()), []);
    await fixture.close(other);
    await fixture.assertUploaded([path]);
    assert.equal(fixture.network.count(PUT), 1);
  },

  async "two tabs that resume one upload at the same time"(fixture) {
    const path = await fixture.file("both.mp4", 2 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: SLOW });
    fixture.network.injectFault(PUT, { bytesPerSecond: MEGABYTE }, 2);
    await fixture.start([path]);
    await fixture.until(([{ percentage }]) => percentage > 5);
    await fixture.reopen();
    const other = await fixture.open();
    const left = await fixture.page.evaluate(() => harness.pending());
    for (const page of [fixture.page, other]) {
      await page.choose([path]);
      await page.evaluate((known) => harness.resume(known), left);
    }
    const [{ asset }] = await fixture.assertUploaded([path]);
    await fixture.eventually(async () => {
      const [entry] = await other.evaluate(() => harness.entries());
      return entry.asset === asset;
    });
    assert.equal(fixture.network.count(PUT), 2);
  },

  async "a broker that is killed and started again"(fixture) {
    const broker = await fixture.startBroker();
    const paths = [await fixture.file("killed.mp4", 3 * MEGABYTE), fixture.sample("sample.wav")];
    fixture.network.injectFault(PUT, { bytesPerSecond: 2 * MEGABYTE });
    await fixture.start(paths);
    // A registration in a killed broker would keep its lease for a minute.
    await fixture.until(([{ percentage }, { asset }]) => percentage > 5 && asset);
    await broker.kill();
    await sleep(2500);
    await broker.start();
    await fixture.assertUploaded(paths);
  },

  async "a lost response at every step"(fixture) {
    const path = await fixture.file("lost.mp4", MEGABYTE);
    for (const route of [BEGIN, PUT, COMPLETE])
      fixture.network.injectFault(route, { dropResponse: true });
    await fixture.start([path]);
    await fixture.assertUploaded([path]);
    // The bytes were stored, so they are not sent again.
    assert.equal(fixture.network.count(PUT), 1);
    assert.equal((await fixture.uploads()).length, 1);
  },

  async "a connection that stalls"(fixture) {
    await fixture.reopen({ stallTimeout: 2 });
    const path = await fixture.file("stalled.mp4", 24 * MEGABYTE);
    fixture.network.injectFault(PUT, { stallAt: 0.3 });
    await fixture.start([path]);
    const [entry] = await fixture.assertUploaded([path]);
    assert.ok(entry.events.some(({ error }) => error === "storage_unreachable"));
  },

  async "a file of 200 MB"(fixture) {
    const path = await fixture.file("large.mp4", 200 * MEGABYTE);
    await fixture.start([path]);
    await fixture.assertUploaded([path]);
  },

  async "fifty small files at once"(fixture) {
    const paths = [];
    for (let index = 0; index < 50; index += 1)
      paths.push(await fixture.file(`small-${index}.wav`, 2000 + index));
    await fixture.start(paths);
    await fixture.assertUploaded(paths);
    assert.equal(fixture.network.count(PUT), 50);
  },

  async "two files of equal name, size and type"(fixture) {
    const paths = [
      await fixture.file("one/take.mp4", MEGABYTE),
      await fixture.file("two/take.mp4", MEGABYTE),
    ];
    // The second arrives before the first.
    fixture.network.injectFault(PUT, { bytesPerSecond: MEGABYTE });
    await fixture.start(paths);
    await fixture.assertUploaded(paths);
  },

  async "a slow link"(fixture) {
    const path = await fixture.file("slow.mp4", 24 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: 8 * MEGABYTE });
    await fixture.start([path]);
    const [{ events }] = await fixture.assertUploaded([path]);
    const steps = new Set(events.map(({ percentage }) => percentage));
    assert.ok(steps.size > 5, `the percentages are ${[...steps]}`);
    assert.deepEqual(
      events.filter(({ error }) => error),
      [],
    );
  },

  async "files that are changed while they are sent"(fixture) {
    const changes = {
      "rewritten.mp4": (path) => writeFile(path, randomBytes(4 * MEGABYTE)),
      "shorter.mp4": (path) => truncate(path, MEGABYTE),
      "deleted.mp4": (path) => rm(path),
    };
    const paths = [];
    for (const name of Object.keys(changes)) {
      const path = await fixture.file(name, 4 * MEGABYTE);
      // Chromium notices a change by the modification time in whole seconds.
      await utimes(path, 1e9, 1e9);
      paths.push(path);
    }
    fixture.network.injectFault(PUT, { bytesPerSecond: SLOW }, paths.length);
    await fixture.start(paths);
    // The client reports "uploading" before the browser sends the request.
    await fixture.eventually(() => fixture.network.count(PUT) === paths.length);
    for (const path of paths) await changes[basename(path)](path);
    const entries = await fixture.until((all) => all.every(({ error }) => error));
    for (const { name, error, events } of entries) {
      assert.deepEqual([error.code, error.name], ["file_unreadable", "RefusedError"], name);
      // There was neither another try nor a pause.
      assert.deepEqual(
        events.filter((event) => event.error),
        [],
        name,
      );
    }
    assert.equal(fixture.network.count(PUT), paths.length);
    await fixture.eventually(async () =>
      (await fixture.uploads()).every(({ status }) => status === "cancelled"),
    );
    assert.deepEqual(await fixture.assets(), []);
  },

  async "a file that grows while it is sent"(fixture) {
    const size = 3 * MEGABYTE;
    const path = await fixture.file("longer.mp4", size);
    await utimes(path, 1e9, 1e9);
    fixture.network.injectFault(PUT, { bytesPerSecond: MEGABYTE });
    await fixture.start([path]);
    await fixture.until(([{ phase }]) => phase === "uploading");
    await appendFile(path, "more");
    const [{ error }] = await fixture.until(([entry]) => entry.asset || entry.error);
    if (error) {
      assert.deepEqual([error.code, error.name], ["file_unreadable", "RefusedError"]);
      assert.deepEqual(await fixture.assets(), []);
    } else {
      // Firefox sends the file as it was when the user chose it.
      await truncate(path, size);
      await fixture.assertUploaded([path]);
    }
  },

  async "an abort in the middle of the PUT"(fixture) {
    const path = await fixture.file("aborted.mp4", 4 * MEGABYTE);
    fixture.network.injectFault(PUT, { bytesPerSecond: SLOW });
    await fixture.start([path]);
    await fixture.until(([{ percentage }]) => percentage > 5);
    await fixture.page.evaluate(() => harness.abort(0));
    const [{ error }] = await fixture.until(([entry]) => entry.error);
    assert.deepEqual([error.code, error.name], ["aborted", "AbortError"]);
    await fixture.eventually(async () => (await fixture.uploads())[0].status === "cancelled");
    assert.deepEqual(await fixture.assets(), []);
  },

  async "a file that the broker refuses, and an empty one"(fixture) {
    await fixture.page.evaluate(() => harness.make("data.unheardof", "", 10));
    await fixture.page.evaluate(() => harness.make("empty.mp4", "video/mp4", 0));
    const [{ error: refused }, { error: empty }] = await fixture.until((entries) =>
      entries.every(({ error }) => error),
    );
    assert.equal(refused.name, "RefusedError");
    assert.deepEqual([empty.code, empty.message], ["file_empty", '"empty.mp4" is empty.']);
    assert.equal(fixture.network.count(PUT), 0);
    assert.deepEqual(await fixture.uploads(), []);
  },

  ...Object.fromEntries(
    [
      ["a web worker", () => harness.inWorker()],
      ["a frame without an origin", () => harness.inSandboxedFrame()],
    ].map(([where, run]) => [
      where,
      async (fixture) => {
        const path = fixture.sample("sample.png");
        await fixture.page.choose([path]);
        const { asset, phases, left } = await fixture.page.evaluate(run);
        assert.deepEqual(phases, ["waiting", "uploading", "finishing", "done"]);
        assert.deepEqual(left, []);
        await fixture.assertStored([path]);
        assert.equal((await fixture.assets())[0].asset.id, asset);
      },
    ]),
  ),
};
