import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import puppeteer from "puppeteer-core";
import { launchBrowser } from "./browser.js";
import { freePorts } from "./system.js";
import { WebDriver } from "./webdriver.js";

const MINI_BROWSERS = ["/usr/lib", "/usr/libexec"];
const READY_WITHIN = 30_000; // milliseconds

/**
 * A page of any engine: `evaluate(function, ...args)`, `choose(paths)` for its file control, `reload()`,
 * `close()` as a user closes a tab, and `setOffline(isOffline)` if the browser supports it.
 */
class PuppeteerPage {
  constructor(page) {
    this.page = page;
  }

  async go(url) {
    await this.page.goto(url);
    await this.page.waitForFunction(() => globalThis.harness);
    return this;
  }

  evaluate(work, ...args) {
    return this.page.evaluate(work, ...args);
  }

  async choose(paths) {
    const input = await this.page.$("#files");
    await input.uploadFile(...paths);
  }

  async reload() {
    await this.page.reload();
    await this.page.waitForFunction(() => globalThis.harness);
  }

  setOffline(isOffline) {
    return this.page.setOfflineMode(isOffline);
  }

  close() {
    return this.page.close();
  }
}

const byPuppeteer = (name, launch) => async () => {
  const browser = await launch();
  return {
    name,
    open: async (url) => new PuppeteerPage(await browser.newPage()).go(url),
    stop: () => browser.close(),
  };
};

const launchFirefox = () =>
  puppeteer.launch({
    browser: "firefox",
    executablePath: find("firefox-esr", "firefox"),
    extraPrefsFirefox: {
      "app.update.enabled": false,
      "datareporting.policy.dataSubmissionEnabled": false,
      // An imitated camera and microphone, which need no permission.
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
    },
  });

/** A tab of WebKitGTK's MiniBrowser. */
class WebKitPage {
  constructor(driver, handle) {
    this.driver = driver;
    this.handle = handle;
  }

  async go(url) {
    await this.#focus();
    await this.driver.command("POST", "/url", { url });
    await this.#ready();
    return this;
  }

  async evaluate(work, ...args) {
    await this.#focus();
    return this.driver.evaluate(work, ...args);
  }

  async choose(paths) {
    await this.#focus();
    await this.driver.choose("#files", paths);
  }

  async reload() {
    await this.#focus();
    await this.driver.command("POST", "/refresh");
    await this.#ready();
  }

  async close() {
    await this.#focus();
    await this.driver.command("DELETE", "/window");
  }

  #focus() {
    return this.driver.command("POST", "/window", { handle: this.handle });
  }

  async #ready() {
    const giveUpAt = Date.now() + READY_WITHIN;
    while (!(await this.driver.evaluate(() => Boolean(globalThis.harness)))) {
      if (Date.now() > giveUpAt) throw new Error("The page did not load its scripts.");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function launchWebKit() {
  const [port] = await freePorts(1);
  const driver = await WebDriver.start(
    find("xvfb-run"),
    ["--auto-servernum", find("WebKitWebDriver"), "--host=127.0.0.1", `--port=${port}`],
    port,
    { "webkitgtk:browserOptions": { binary: findMiniBrowser(), args: ["--automation"] } },
  );
  // The first window stays open, since the session ends with its last window.
  const [first] = await driver.command("GET", "/window/handles");
  return {
    name: "WebKit",
    async open(url) {
      await driver.command("POST", "/window", { handle: first });
      const { handle } = await driver.command("POST", "/window/new", { type: "tab" });
      return new WebKitPage(driver, handle).go(url);
    },
    stop: () => driver.stop(),
  };
}

function findMiniBrowser() {
  for (const root of MINI_BROWSERS.filter(existsSync)) {
    const found = readdirSync(root)
      .flatMap((name) => [join(root, name), join(root, name, "webkit2gtk-4.1")])
      .map((folder) => join(folder, "MiniBrowser"))
      .find(existsSync);
    if (found) return found;
  }
  throw missing("MiniBrowser");
}

function find(...names) {
  const folders = process.env.PATH.split(delimiter);
  const found = names
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find(existsSync);
  if (found) return found;
  throw missing(names[0]);
}

const missing = (name) =>
  new Error(`The browser tests need ${name}: run scripts/browser, which installs it.`);

/** The functions that launch the engines. */
export const ENGINES = {
  Chromium: byPuppeteer("Chromium", launchBrowser),
  Firefox: byPuppeteer("Firefox", launchFirefox),
  WebKit: launchWebKit,
};
