import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "../bounded.js";
import { OwnBroker } from "./broker.js";
import { ENGINES } from "./engines.js";
import { recordingsOf } from "./recordings.js";
import { SCENARIOS } from "./scenarios.js";
import { sampleNamed } from "./stage.js";
import { startSystem } from "./system.js";
import { TroubledNetwork } from "./troubled-network.js";

const PATIENCE = 150_000; // milliseconds
const LIMIT = 2 * PATIENCE; // for all that a scenario waits for

/** What a scenario has: a page of one engine, behind a network of its own, as a user of its own. */
class Stage {
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

  /** Closes the tab as a user does, and opens another one. */
  async reopen(options) {
    if (this.page) await this.close(this.page);
    this.page = await this.open(options);
  }

  sample = sampleNamed;

  /** Writes a file that is like no other: its first and last bytes are random, between them is nothing. */
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

  /** Chooses the files and begins. */
  async start(paths) {
    await this.page.choose(paths);
    assert.equal(await this.page.evaluate(() => globalThis.harness.start()), paths.length);
  }

  /** Waits until it is true of what the page was told last, and gives all that it was told. */
  async until(condition) {
    let told;
    await this.eventually(
      async () => {
        told = await this.page.evaluate(() => globalThis.harness.told());
        return condition(told.map(({ events, ...entry }) => ({ ...events.at(-1), ...entry })));
      },
      () => JSON.stringify(told).slice(-2000),
    );
    return told;
  }

  async eventually(condition, describeState = () => "") {
    const giveUpAt = Date.now() + PATIENCE;
    while (!(await condition())) {
      assert.ok(Date.now() < giveUpAt, `It did not come true. ${describeState()}`);
      await sleep(100);
    }
  }

  /** Waits for the end of every upload, and holds what the page told against what is there. */
  async arrived(paths) {
    const told = await this.until((entries) => entries.every(({ asset, error }) => asset || error));
    for (const [index, path] of paths.entries()) {
      const { asset, error, events, size } = told[index];
      assert.equal(error, null, JSON.stringify(error));
      await this.#assertSame(asset, path);
      assertTruth(events, size);
    }
    await this.#assertCount(paths.length);
    assert.equal(new Set(told.map(({ asset }) => asset)).size, paths.length);
    return told;
  }

  /** Waits until each file is stored, whoever completed it. */
  async stored(paths) {
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

  async ownBroker() {
    const broker = await OwnBroker.start(this.system);
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
    await this.system.calm();
  }

  async assertDigest(assetId, digest) {
    const { asset } = await this.system.ask(this.user, `/assets/${assetId}`);
    const { body } = await fetch(asset.url);
    assert.equal(await digestOf(body), digest, `${asset.name} differs`);
  }

  async #assertSame(assetId, path) {
    await this.assertDigest(assetId, await digestOf(createReadStream(path)));
  }

  /** Counts at sync. itself, whose list would show an asset that nobody recorded. */
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

/** What was told is true: never more than there is, 100 only at the end, and back to none with a new try. */
function assertTruth(events, size) {
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
          const network = await new TroubledNetwork(system).start();
          const stage = new Stage(engine, system, network, folder);
          try {
            await stage.reopen();
            network.passed.length = 0;
            await play(stage);
          } finally {
            await stage.end();
          }
        };
        test(`${name}: ${scenario}`, run, LIMIT);
      }
    });
  }
});
