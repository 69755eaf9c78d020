import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "../bounded.js";
import { SecondBroker } from "./broker.js";
import { ENGINES } from "./engines.js";
import { FaultyNetwork } from "./faulty-network.js";
import { sampleNamed } from "./fixture.js";
import { recordingsOf } from "./recordings.js";
import { SCENARIOS } from "./scenarios.js";
import { startSystem } from "./system.js";

const PATIENCE = 150_000; // milliseconds
const LIMIT = 2 * PATIENCE; // for a whole scenario

/** The fixture of a scenario: a page of one engine with a separate network and a separate user. */
class Fixture {
  #brokers = [];
  #pages = [];

  constructor(engine, system, network, folder) {
    Object.assign(this, { engine, system, network, folder, user: `user-${randomUUID()}` });
  }

  async open(options) {
    const page = await this.engine.open(this.network.page(this.user, options));
    this.#pages.push(page);
    return page;
  }

  /** Close the tab as a user does, and open another one. */
  async reopen(options) {
    if (this.page) await this.close(this.page);
    this.page = await this.open(options);
  }

  sample = sampleNamed;

  /** Write a unique file with random bytes at both ends and zeros between them, and return its path. */
  async file(name, size) {
    const path = join(this.folder, randomUUID(), name);
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, "w");
    await file.write(randomBytes(Math.min(size, 1000)), 0);
    await file.truncate(size);
    if (size > 2000) await file.write(randomBytes(1000), 0, 1000, size - 1000);
    await file.close();
    return path;
  }

  /** Choose the files, and start their uploads. */
  async start(paths) {
    await this.page.choose(paths);
    assert.equal(await this.page.evaluate(() => globalThis.harness.start()), paths.length);
  }

  /** Wait until the latest progress of the page's uploads fulfils a condition, and return the uploads. */
  async until(condition) {
    let entries;
    await this.eventually(
      async () => {
        entries = await this.page.evaluate(() => globalThis.harness.entries());
        return condition(entries.map(({ events, ...entry }) => ({ ...events.at(-1), ...entry })));
      },
      () => JSON.stringify(entries).slice(-2000),
    );
    return entries;
  }

  async eventually(condition, describeState = () => "") {
    const giveUpAt = Date.now() + PATIENCE;
    while (!(await condition())) {
      assert.ok(Date.now() < giveUpAt, `The condition was not fulfilled. ${describeState()}`);
      await sleep(100);
    }
  }

  /** Wait until every upload ends, and assert that its asset, its bytes and its progress are right. */
  async assertUploaded(paths) {
    const entries = await this.until((all) => all.every(({ asset, error }) => asset || error));
    for (const [index, path] of paths.entries()) {
      const { asset, error, events, size } = entries[index];
      assert.equal(error, null, JSON.stringify(error));
      await this.#assertSame(asset, path);
      assertProgress(events, size);
    }
    await this.#assertCount(paths.length);
    assert.equal(new Set(entries.map(({ asset }) => asset)).size, paths.length);
    return entries;
  }

  /** Wait until each file is an asset, whether the page or the broker completed it. */
  async assertStored(paths) {
    await this.eventually(async () => (await this.assets()).length === paths.length);
    const assets = await this.assets();
    for (const path of paths) {
      const found = assets.find(({ fileName }) => fileName === basename(path));
      await this.#assertSame(found.asset.id, path);
    }
    await this.#assertCount(paths.length);
  }

  assets = async () => (await this.system.ask(this.user, "/assets?limit=100")).items;
  uploads = async () => (await this.system.ask(this.user, "/uploads?limit=100")).items;

  async startBroker() {
    const broker = await SecondBroker.start(this.system);
    this.#brokers.push(broker);
    this.network.redirect("broker", broker.url);
    return broker;
  }

  async close(page) {
    this.#pages = this.#pages.filter((other) => other !== page);
    await page.close();
  }

  async end() {
    for (const page of this.#pages) await page.close();
    await Promise.all(this.#brokers.map((broker) => broker.kill()));
    this.network.stop();
    await this.system.restore();
  }

  async assertDigest(assetId, digest) {
    const { asset } = await this.system.ask(this.user, `/assets/${assetId}`);
    const { body } = await fetch(asset.url);
    assert.equal(await digestOf(body), digest, `${asset.name} differs`);
  }

  async #assertSame(assetId, path) {
    await this.assertDigest(assetId, await digestOf(createReadStream(path)));
  }

  /** Count the assets at the broker and at Sync, whose list also has assets that the broker did not record. */
  async #assertCount(expected) {
    assert.equal((await this.assets()).length, expected);
    const urls = new Set((await this.assets()).map(({ asset }) => asset.url));
    const all = await this.system.library();
    assert.equal(all.filter(({ url }) => urls.has(url)).length, expected);
  }
}

async function digestOf(stream) {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

/** Assert that the progress never exceeds the size, is 100 only at the end, and is 0 while waiting. */
function assertProgress(events, size) {
  assert.equal(events[0].phase, "waiting");
  for (const { loaded, total, percentage, phase } of events) {
    assert.equal(total, size);
    assert.ok(loaded >= 0 && loaded <= total);
    assert.equal(percentage === 100, phase === "done");
    if (phase === "waiting") assert.equal(loaded, 0);
    if (phase === "finishing") assert.equal(loaded, size);
  }
  assert.equal(events.filter(({ phase }) => phase === "done").length, 1);
  assert.equal(events.at(-1).phase, "done");
}

const wanted = (process.env.ENGINES ?? Object.keys(ENGINES).join(",")).split(",");

describe("three engines", { concurrency: true }, () => {
  for (const name of wanted) {
    describe(name, { concurrency: 1 }, () => {
      let engine;
      let system;
      let folder;

      before(async () => {
        folder = await mkdtemp(join(tmpdir(), "engines-"));
        system = await startSystem();
        engine = await ENGINES[name]();
      });

      after(async () => {
        await engine?.stop();
        await system?.stop();
        await rm(folder, { recursive: true, force: true });
      });

      for (const [scenario, play] of Object.entries({ ...recordingsOf(name), ...SCENARIOS })) {
        const run = async () => {
          const network = await new FaultyNetwork(system).start();
          const fixture = new Fixture(engine, system, network, folder);
          try {
            await fixture.reopen();
            network.requests.length = 0;
            await play(fixture);
          } finally {
            await fixture.end();
          }
        };
        test(`${name}: ${scenario}`, run, LIMIT);
      }
    });
  }
});
