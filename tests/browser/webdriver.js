import { spawn } from "node:child_process";
import { once } from "node:events";

const ELEMENT = "element-6066-11e4-a52e-4f735466cecf"; // from the standard
const STARTED_WITHIN = 20_000; // milliseconds

/** A client with the part of W3C WebDriver that the tests need: one session of a browser. */
export class WebDriver {
  #base;
  #driver;
  #session;

  /** Start the driver and its browser. */
  static async start(command, args, port, capabilities) {
    const self = new WebDriver();
    self.#driver = spawn(command, args, { stdio: "ignore", detached: true });
    self.#base = `http://127.0.0.1:${port}`;
    const giveUpAt = Date.now() + STARTED_WITHIN;
    while (!(await fetch(`${self.#base}/status`).catch(() => null))?.ok) {
      if (Date.now() > giveUpAt) throw new Error(`${command} did not start.`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { sessionId } = await self.#call("POST", "/session", {
      capabilities: { alwaysMatch: capabilities },
    });
    self.#session = `/session/${sessionId}`;
    await self.command("POST", "/timeouts", { script: 60_000, pageLoad: 30_000 });
    return self;
  }

  command(method, path, body) {
    return this.#call(method, this.#session + path, body);
  }

  /** Run a function in the page, and return its value. */
  async evaluate(work, ...args) {
    const script = `
      const done = arguments[arguments.length - 1];
      Promise.resolve().then(() => (${work})(...arguments[0])).then(
        (value) => done({ value }),
        (error) => done({ error: String(error && error.stack || error) }),
      );`;
    const { value, error } = await this.command("POST", "/execute/async", { script, args: [args] });
    if (error) throw new Error(error);
    return value;
  }

  async choose(selector, paths) {
    const found = await this.command("POST", "/element", {
      using: "css selector",
      value: selector,
    });
    await this.command("POST", `/element/${found[ELEMENT]}/value`, { text: paths.join("\n") });
  }

  async stop() {
    await this.command("DELETE", "").catch(() => {});
    const exit = once(this.#driver, "exit");
    // The signal also stops the driver's children: the browser and its display.
    process.kill(-this.#driver.pid, "SIGTERM");
    await exit;
  }

  async #call(method, path, body) {
    const response = await fetch(this.#base + path, {
      method,
      body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  }
}
