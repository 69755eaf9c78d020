import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const API_KEY = "sandbox-key-that-no-browser-may-see";
const JWT_SECRET = "the-tests-own-secret-of-enough-characters";
const STARTED_WITHIN = 60_000; // milliseconds
const STOPPED_WITHIN = 20_000; // milliseconds

/**
 * Start the whole system as `make run` does, on free ports and with a temporary folder. `settings` override the
 * sandbox's defaults. Tests may serve pages on the port `page`, which may use the system like the demo page.
 */
export async function startSystem(settings = {}) {
  const [broker, upstream, dynamodb, demo, page] = await freePorts(5);
  const folder = await mkdtemp(join(tmpdir(), "sandbox-"));
  const python = spawn(join(ROOT, ".venv/bin/python"), ["-m", "sandbox"], {
    cwd: ROOT,
    env: {
      ...process.env,
      BROKER_PORT: broker,
      UPSTREAM_PORT: upstream,
      DYNAMODB_PORT: dynamodb,
      DEMO_PORT: demo,
      SANDBOX_DIR: folder,
      SYNC_API_KEY: API_KEY,
      JWT_SECRET,
      SANDBOX_ORIGINS: `http://127.0.0.1:${page},http://localhost:${page}`,
      ...settings,
    },
  });
  const exit = once(python, "exit");

  async function stop() {
    python.kill("SIGTERM");
    const timer = setTimeout(() => python.kill("SIGKILL"), STOPPED_WITHIN);
    const [, signal] = await exit;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
    if (signal === "SIGKILL") throw new Error("The sandbox did not stop on SIGTERM.");
  }

  const urlOf = (port) => `http://127.0.0.1:${port}`;
  const system = {
    demo: urlOf(demo),
    broker: urlOf(broker),
    upstream: urlOf(upstream),
    dynamodb: urlOf(dynamodb),
    page: urlOf(page),
  };
  try {
    await printed(python, system.demo);
  } catch (error) {
    await stop();
    throw error;
  }
  const environment = brokerEnvironment(system);
  return { ...system, environment, stop, ...controls(system) };
}

/** Return the environment of another broker for the same system. */
const brokerEnvironment = ({ demo, upstream, dynamodb }) => ({
  PATH: process.env.PATH,
  ALLOWED_ORIGINS: "*",
  AUTH_MODE: "jwt",
  JWT_SECRET,
  PUBLIC_URL_EXCEPTIONS: demo,
  SYNC_API_KEY: API_KEY,
  SYNC_BASE_URL: upstream,
  SYNC_STORAGE_HOSTS: new URL(upstream).host,
  UPLOADS_TABLE: "uploads",
  AWS_ACCESS_KEY_ID: "sandbox",
  AWS_SECRET_ACCESS_KEY: "sandbox",
  AWS_REGION: "us-east-1",
  AWS_DEFAULT_REGION: "us-east-1",
  AWS_ENDPOINT_URL: dynamodb,
  AWS_EC2_METADATA_DISABLED: "true",
});

/** Return the functions by which tests control the upstream and call the broker. */
function controls({ demo, broker, upstream }) {
  const control = (method, path, body) =>
    json(`${upstream}/_sandbox/${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });

  return {
    /** Inject a fault into the upstream. */
    injectFault: (fault) => control("POST", "faults", fault),
    behave: (changes) => control("PATCH", "behavior", changes),
    /** Delete all faults, and restore all behaviours. */
    async restore() {
      await control("DELETE", "faults");
      await control("DELETE", "behavior");
    },
    /** Return all assets in Sync's own list. */
    async library() {
      const { items } = await json(`${upstream}/v2/assets?limit=100`, {
        headers: { "x-api-key": API_KEY },
      });
      return items;
    },
    /** Send a GET to the broker as this user, and return the body. */
    async ask(user, path) {
      const { token } = await json(`${demo}/token?sub=${user}`);
      return json(broker + path, { headers: { Authorization: `Bearer ${token}` } });
    },
  };
}

async function json(url, options) {
  const response = await fetch(url, options);
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} returned ${response.status}: ${text}`);
  return text && JSON.parse(text);
}

/** Wait until the process has printed a text. If it ends first, throw an error with its output. */
function printed(child, text) {
  let output = "";
  return new Promise((resolve, reject) => {
    const fail = (what) => reject(new Error(`The sandbox ${what}:\n${output}`));
    const timer = setTimeout(() => fail("did not start in time"), STARTED_WITHIN);
    const read = (chunk) => {
      output += chunk;
      if (!output.includes(text)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("error", reject);
    child.on("exit", () => {
      clearTimeout(timer);
      fail("ended");
    });
  });
}

const LOWEST_PORT = 10_000;
const PORTS = 22_000;
let nextPort = process.pid * 1021;

/**
 * Return ports that no process listens on. They are outside the range that the system uses for outgoing connections,
 * and each test process begins with another number, so they stay free until the caller's program uses them.
 */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) {
    const port = LOWEST_PORT + (nextPort++ % PORTS);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (isFree) {
      ports.push(String(port));
      await new Promise((resolve) => server.close(resolve));
    }
  }
  return ports;
}
