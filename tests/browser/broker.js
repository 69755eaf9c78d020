import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { freePorts, ROOT } from "./system.js";

const STARTED_WITHIN = 20_000; // milliseconds

/** A second broker for the sandbox's table and upstream. Tests can kill it. */
export class SecondBroker {
  #environment;
  #process;

  static async start(system) {
    const self = new SecondBroker();
    const [port] = await freePorts(1);
    self.url = `http://127.0.0.1:${port}`;
    // After a kill, ambiguous outcomes are settled within one minute instead of three.
    self.#environment = { ...system.environment, BROKER_PORT: port, SETTLE_SECONDS: "1" };
    await self.start();
    return self;
  }

  async start() {
    this.#process = spawn(join(ROOT, ".venv/bin/python"), ["-m", "sandbox.broker"], {
      cwd: ROOT,
      env: this.#environment,
      stdio: "ignore",
    });
    const giveUpAt = Date.now() + STARTED_WITHIN;
    while (!(await fetch(`${this.url}/health`).catch(() => null))?.ok) {
      if (Date.now() > giveUpAt) throw new Error("The broker did not start.");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exit;
  }
}
