import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./system.js";

const run = promisify(execFile);
const LARGEST_PACKAGE = 256 * 1_048_576; // bytes

/**
 * An npm registry on this machine with exactly the packages in this repository's `node_modules`, so that an app's
 * `npm install` and `npm ci` need no network.
 */
export class Registry {
  /** Archives by the path of their package. They are kept because a lock file requires the same bytes again. */
  #archives = new Map();
  #folders;
  #server;

  static async start() {
    const { packages } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));
    const registry = new Registry();
    registry.#folders = Object.keys(packages).filter((path) => existsSync(join(ROOT, path)));
    registry.#server = createServer((request, response) => registry.#serve(request, response));
    registry.#server.listen(0, "127.0.0.1");
    await once(registry.#server, "listening");
    return registry;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  stop() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve({ url }, response) {
    const path = decodeURIComponent(url).slice(1);
    try {
      const body = path.endsWith(".tgz")
        ? await this.#archive(path.replace(/\.tgz$/, ""))
        : JSON.stringify(await this.#packument(path));
      response.end(body);
    } catch (error) {
      response.writeHead(404).end(JSON.stringify({ error: error.message }));
    }
  }

  #foldersOf(name) {
    return this.#folders.filter((path) => path.split("node_modules/").at(-1) === name);
  }

  async #packument(name) {
    const versions = {};
    for (const folder of this.#foldersOf(name)) {
      const manifest = JSON.parse(await readFile(join(ROOT, folder, "package.json"), "utf8"));
      // Optional dependencies for other systems are not installed here, so this registry does not have them.
      const optional = Object.entries(manifest.optionalDependencies ?? {}).filter(
        ([dependency]) => this.#foldersOf(dependency).length > 0,
      );
      versions[manifest.version] = {
        ...manifest,
        optionalDependencies: Object.fromEntries(optional),
        dist: { tarball: `${this.url}/${folder}.tgz` },
      };
    }
    const [latest] = Object.keys(versions);
    if (!latest) throw new Error(`${name} is not installed in this repository.`);
    return { name, "dist-tags": { latest }, versions };
  }

  #archive(folder) {
    if (!this.#archives.has(folder)) this.#archives.set(folder, pack(folder));
    return this.#archives.get(folder);
  }
}

/** Return the folder's files as a tar archive. npm accepts it without compression. */
async function pack(folder) {
  const path = join(ROOT, folder);
  const { stdout } = await run(
    "tar",
    ["--create", "--exclude", "node_modules", "--directory", join(path, ".."), basename(path)],
    { encoding: "buffer", maxBuffer: LARGEST_PACKAGE },
  );
  return stdout;
}
